import datetime
import logging
import logging.handlers
import zlib

import pytest
from messages import FakeMessage

from celeriac import signals
from celeriac.app.logging import ColorFormatter
from celeriac.worker.dispatch import Door, TurnedAway
from celeriac.worker.outcome import (
    Expired,
    NotRegisteredHere,
    Poisonous,
    Refused,
    Undecodable,
)
from celeriac.worker.request import Request
from celeriac.worker.turned import announce, exception_for

NOW_MS = 1_800_000_000_000
PICKLE = "application/x-python-serialize"


def iso(offset_s):
    moment = datetime.datetime.fromtimestamp(NOW_MS / 1000 + offset_s, datetime.timezone.utc)
    return moment.isoformat()


@pytest.fixture
def door(app):
    @app.task(name="t.add")
    def add(x, y):
        return x + y

    @app.task(name="t.late", acks_late=True, reject_on_worker_lost=True)
    def late():
        return None

    app.finalize()
    accept = frozenset({"application/json"})
    return Door(app, "w1@here", accept, lambda: NOW_MS, sender="worker")


def turned_away(door, **fields):
    admitted = door.admit(FakeMessage(**fields))
    assert isinstance(admitted, TurnedAway)
    return admitted.outcome


def test_a_plain_message_is_admitted_with_its_tasks_policy(door):
    request = door.admit(FakeMessage(task="t.add", args=[1, 2]))
    assert isinstance(request, Request)
    assert not request.policy.acks_late
    late = door.admit(FakeMessage(task="t.late")).policy
    assert (late.acks_late, late.reject_on_worker_lost) == (True, True)


def test_an_unregistered_task_is_turned_away(door):
    assert turned_away(door, task="no.such") == NotRegisteredHere()


def test_an_unregistered_task_fails_with_its_name():
    exc = exception_for(NotRegisteredHere(), "no.such")
    assert (type(exc).__name__, exc.args) == ("NotRegistered", ("no.such",))


def test_a_message_with_a_task_but_no_id_is_set_aside(door):
    assert "no id" in turned_away(door, id=None).reason


def test_a_malformed_message_is_set_aside_with_the_brokers_words(door):
    assert turned_away(door, error="not JSON") == Poisonous("not JSON")


def test_a_refused_content_type_is_named(door):
    outcome = turned_away(door, raw=b"x", content_type=PICKLE)
    assert isinstance(outcome, Refused)
    assert PICKLE in outcome.reason


@pytest.mark.parametrize("content_type", ["", "application/data", "text/plain"])
def test_content_without_structure_is_set_aside(door, content_type):
    outcome = turned_away(door, raw=b"x", content_type=content_type)
    assert isinstance(outcome, Poisonous)


@pytest.mark.parametrize(
    ("fields", "feature"),
    [
        ({"embed": {"chord": ["t.add"]}}, "chord"),
        ({"embed": {"chain": [{"args": []}]}}, "chain"),
    ],
)
def test_a_message_that_asks_for_what_is_not_there_is_set_aside_and_names_it(door, fields, feature):
    outcome = turned_away(door, **fields)
    assert isinstance(outcome, Poisonous)
    assert feature in outcome.reason


def test_what_is_no_task_message_is_refused(door):
    assert isinstance(turned_away(door, task=None, content=["x"]), Refused)


def test_keyword_arguments_that_are_no_object_are_found_at_the_door(door):
    outcome = turned_away(door, content=[[1, 2], [3], {}])
    assert isinstance(outcome, Poisonous)


@pytest.mark.parametrize("field", ["eta", "expires"])
def test_a_time_that_cannot_be_read_is_refused(door, field):
    assert isinstance(turned_away(door, **{field: "tomorrow"}), Refused)


def test_an_expired_message_is_revoked_and_logged(door, caplog):
    heard = []

    def receiver(**named):
        heard.append(named)

    signals.task_revoked.connect(receiver)
    with caplog.at_level(logging.INFO):
        assert turned_away(door, expires=iso(-1)) == Expired()
    signals.task_revoked.disconnect(receiver)
    assert "Discarding revoked task: t.add[" in caplog.text
    assert heard[0]["expired"] is True


def test_a_message_that_expires_later_is_admitted(door):
    request = door.admit(FakeMessage(expires=iso(1)))
    assert request.expires_ms == NOW_MS + 1000


def test_an_eta_in_the_future_waits_and_one_in_the_past_does_not(door):
    assert door.waits(door.admit(FakeMessage(eta=iso(60))))
    assert not door.waits(door.admit(FakeMessage(eta=iso(-60))))


def test_a_time_without_an_offset_is_in_utc_whatever_the_apps_zone(app, door):
    app.conf.timezone = "Europe/Paris"
    paris = Door(app, "w1@here", None, lambda: NOW_MS)
    naive = iso(0)[:19]
    assert door.admit(FakeMessage(eta=naive)).due_ms == NOW_MS
    assert paris.admit(FakeMessage(eta=naive)).due_ms == NOW_MS


def test_received_is_logged_in_celerys_words_and_sent_as_a_signal(door, caplog):
    heard = []

    def receiver(sender, request, **_):
        heard.append((sender, request.id))

    signals.task_received.connect(receiver)
    message = FakeMessage()
    with caplog.at_level(logging.INFO, "celery.worker.strategy"):
        door.admit(message)
    signals.task_received.disconnect(receiver)
    assert caplog.records[0].getMessage() == f"Task t.add[{message.id}] received"
    assert heard == [("worker", message.id)]


@pytest.mark.parametrize(
    ("outcome", "words", "level"),
    [
        (NotRegisteredHere(), "Received unregistered task of type 't.add'.", logging.ERROR),
        (Refused("why"), "Received invalid task message: why", logging.ERROR),
        (Poisonous("why"), "Task message set aside: why.", logging.ERROR),
    ],
)
def test_who_is_turned_away_is_logged_once_in_celerys_words(caplog, outcome, words, level):
    announce(outcome, FakeMessage(), "worker")
    (record,) = caplog.records
    assert record.getMessage().startswith(words)
    assert record.levelno == level
    assert record.name == "celery.worker.consumer.consumer"


@pytest.mark.parametrize("raw", [b"\x78\x9c", b"noise", b"", zlib.compress(b"[[], {}, {}]")[:-1]])
def test_a_body_whose_compression_lies_is_undecodable(door, raw):
    assert isinstance(turned_away(door, compression="application/x-gzip", raw=raw), Undecodable)


def test_an_unknown_compression_is_undecodable_and_named(door):
    outcome = turned_away(door, compression="application/x-lz5", raw=b"x")
    assert isinstance(outcome, Undecodable)
    assert "application/x-lz5" in outcome.reason


@pytest.mark.parametrize("shadow", [None, "pretty"])
def test_a_received_task_is_told_the_same_with_a_record_and_without(
    door, tmp_path, monkeypatch, shadow
):
    logger = logging.getLogger("celery.worker.strategy")
    handler = logging.handlers.WatchedFileHandler(tmp_path / "log", encoding="utf-8")
    handler.setFormatter(ColorFormatter("%(levelname)s %(message)s"))
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()
    message = FakeMessage(more_headers={"shadow": shadow})

    door.admit(message)
    monkeypatch.setattr(logger, "filters", [lambda record: record.data["id"] == message.id])
    door.admit(message)
    handler.close()

    line = f"INFO Task {shadow or 't.add'}[{message.id}] received\n"
    assert (tmp_path / "log").read_text() == 2 * line
