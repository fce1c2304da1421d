"""Pickles between both kinds: each finds its own classes in what the other has pickled."""

import pickle
from collections import OrderedDict
from datetime import timedelta

import billiard.exceptions
import celery
import celery._state
import celery.exceptions
import celery.schedules
import celery.states
import pytest
from celery.utils.serialization import UnpickleableExceptionWrapper

from celeriac import Celery, exceptions, pickles, schedules, states
from celeriac.backends import exception_form
from celeriac.serialization import dumps, loads

PICKLE = "application/x-python-serialize"


def add(x, y):
    return x + y


class OwnError(Exception):
    """Of a user's module, which both sides have."""


# `pickle.loads` is what a Celery process does: it must not need celeriac for any of these.
OURS_AND_THEIRS = [
    (exceptions.Reject("r", requeue=True), celery.exceptions.Reject),
    (exceptions.Retry("m", ValueError("v"), 3), celery.exceptions.Retry),
    (exceptions.MaxRetriesExceededError("m"), celery.exceptions.MaxRetriesExceededError),
    (exceptions.TaskRevokedError("terminated"), celery.exceptions.TaskRevokedError),
    (exceptions.TimeLimitExceeded(3), billiard.exceptions.TimeLimitExceeded),
    (exceptions.SoftTimeLimitExceeded(), billiard.exceptions.SoftTimeLimitExceeded),
    (exceptions.WorkerLostError("w"), billiard.exceptions.WorkerLostError),
    (states.state("SUCCESS"), celery.states.state),
    (schedules.schedule(timedelta(seconds=3)), celery.schedules.schedule),
    (schedules.crontab(minute="*/5"), celery.schedules.crontab),
    (
        exception_form.UnpickleableExceptionWrapper("m", "C", ("a",), "C(a)"),
        UnpickleableExceptionWrapper,
    ),
]
named = pytest.mark.parametrize(
    ("ours", "theirs"), OURS_AND_THEIRS, ids=[cls.__name__ for _, cls in OURS_AND_THEIRS]
)


@named
def test_a_celery_process_finds_its_own_class_in_our_pickle(ours, theirs):
    found = pickle.loads(pickles.dumps(ours))
    assert type(found) is theirs
    assert str(found) == str(ours)


@named
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_no_name_of_ours_travels_in_any_protocol(monkeypatch, ours, theirs, protocol):
    monkeypatch.setattr(pickles, "PROTOCOL", protocol)
    data = pickles.dumps({"deep": [ours, ours]})
    assert b"celeriac" not in data
    first, second = pickle.loads(data)["deep"]
    assert first is second
    assert type(first) is theirs


@named
def test_we_find_our_class_in_a_celery_process_pickle_and_in_our_own(ours, theirs):
    made = pickle.loads(pickles.dumps(ours))
    for data in (pickle.dumps(made), pickles.dumps(ours)):
        assert isinstance(loads(data, PICKLE), type(ours))


def test_what_needs_no_name_of_ours_is_pythons_own_pickle():
    value = [OwnError("x"), OrderedDict(a=1), {1, 2}, timedelta(3)]
    assert dumps(value, "pickle")[2] == pickle.dumps(value, protocol=pickles.PROTOCOL)


def test_a_class_that_celery_has_not_keeps_its_name():
    assert pickles.loads(pickles.dumps(Celery)) is Celery


def test_a_task_is_its_name_on_both_sides(monkeypatch):
    # Celery gives each application the tasks of all others of its process, those of other tests.
    monkeypatch.setattr(celery._state, "_on_app_finalizers", set())
    apps = Celery("t", set_as_current=False), celery.Celery("t", set_as_current=False)
    for app in apps:
        app.task(name="t.add")(add)
    ours, theirs = apps
    data = pickles.dumps(ours.tasks["t.add"])
    theirs.set_current()
    assert pickle.loads(data) is theirs.tasks["t.add"]
    ours.set_current()
    assert pickles.loads(pickle.dumps(theirs.tasks["t.add"])) is ours.tasks["t.add"]


def test_without_pyyaml_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    for use in (lambda: dumps(1, "yaml"), lambda: loads(b"1", "yaml")):
        with pytest.raises(exceptions.SerializerNotInstalled, match=r"celeriac\[yaml\]"):
            use()


def test_yaml_that_would_build_an_object_is_refused():
    with pytest.raises(exceptions.DecodeError, match="python/object"):
        loads(b"!!python/object/apply:os.getcwd []", "application/x-yaml")
    with pytest.raises(exceptions.EncodeError, match="yaml cannot carry"):
        dumps(OwnError("x"), "yaml")
