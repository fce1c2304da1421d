import os
import pickle
import subprocess
import sys
from pathlib import Path

import billiard.exceptions
import celery.exceptions
import kombu.exceptions
import pytest

import celeriac
from celeriac import exceptions

HOMES = (celery.exceptions, kombu.exceptions, billiard.exceptions)
WARNINGS_AND_EXITS = {
    *(name for name in celery.exceptions.__all__ if name.endswith("Warning")),
    "AlwaysEagerIgnored",
    "NotConfigured",
    "WorkerShutdown",
    "WorkerTerminate",
}
NAMES = [
    *sorted(
        {name for name in celery.exceptions.__all__ if name[0].isupper()}
        - WARNINGS_AND_EXITS
        - {"CeleryCommandException"}
    ),
    *("EncodeError", "DecodeError", "ContentDisallowed", "SerializerNotInstalled"),
]


def celerys(name):
    return next(getattr(home, name) for home in HOMES if hasattr(home, name))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_raised_is_caught_under_both_names(name):
    raised = getattr(exceptions, name)("why")
    assert isinstance(raised, getattr(exceptions, name))
    assert isinstance(raised, celerys(name))


@pytest.mark.parametrize("name", sorted(set(celery.exceptions.__all__) - {"reraise"}))
def test_every_name_of_celery_exists_with_its_bases(name):
    bases = {base.__name__ for base in getattr(celery.exceptions, name).__mro__}
    assert bases <= {base.__name__ for base in getattr(exceptions, name).__mro__}


@pytest.mark.parametrize("name", NAMES)
def test_the_wire_name_is_celerys_and_leads_back(name):
    cls = getattr(exceptions, name)
    module = exceptions.wire_module(cls)
    assert module == celerys(name).__module__
    back = exceptions.class_from_wire(module, name)
    assert back is not None
    assert issubclass(back, cls)


def test_a_class_is_plain_where_celery_is_not_loaded():
    code = "from celeriac import exceptions as e; print(type(e.OperationalError('x')).__mro__[1])"
    environment = {**os.environ, "PYTHONPATH": str(Path(celeriac.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "<class 'celeriac.exceptions.KombuError'>"


def test_a_users_subclass_stays_what_it_is():
    class Mine(exceptions.OperationalError):
        pass

    assert type(Mine("x")) is Mine


@pytest.mark.parametrize(
    "exc",
    [
        exceptions.OperationalError("a", 1),
        exceptions.Reject("why", requeue=True),
        exceptions.NotRegistered("x"),
        exceptions.MaxRetriesExceededError("x", task_args=(1,), task_kwargs={"a": 2}),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_an_exception_pickles(exc):
    copy = pickle.loads(pickle.dumps(exc))
    assert type(copy) is type(exc)
    assert (copy.args, vars(copy)) == (exc.args, vars(exc))


@pytest.mark.parametrize(
    "arguments",
    [(None, ValueError("x"), 3), (None, None, 3), ("m", None, 3), (None, "text", None), ()],
    ids=str,
)
def test_a_retry_reads_as_celerys(arguments):
    ours, theirs = exceptions.Retry(*arguments), celery.exceptions.Retry(*arguments)
    assert str(ours) == str(theirs)
    assert ours.humanize() == theirs.humanize()
    assert pickle.loads(pickle.dumps(ours)).when == theirs.when


def test_reraise_replaces_the_traceback():
    try:
        raise ValueError("x")
    except ValueError as exc:
        error, trace = exc, exc.__traceback__
    with pytest.raises(ValueError, match="x") as caught:
        exceptions.reraise(ValueError, error, trace)
    assert caught.value is error


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="nope"):
        _ = exceptions.nope
