"""Chords whose results are in a database, which cannot join them: a task looks for the results."""

from __future__ import annotations

import json
import os
import uuid

import pytest

from processes import Producer, RemoteError, Worker

pytest.importorskip("sqlalchemy")
WORKERS = {"celery": ["solo"], "celeriac": ["prefork", "-c", "2"]}
PAIRS = [("celery", "celeriac"), ("celeriac", "celery")]
if os.environ.get("CELERIAC_TEST_INTEROP") == "all":
    PAIRS += [("celery", "celery"), ("celeriac", "celeriac")]
TWO = "[tasks.add.s(1, 1), tasks.add.s(2, 2)]"
CHORD = f"flavour.chord({TWO}, tasks.total.s())"
CANVASES = [
    (CHORD, 6),
    (f"{CHORD} | tasks.add.s(5)", 11),
    (f"flavour.group({TWO}) | tasks.total.s() | tasks.add.s(10)", 16),
    ("tasks.add.s(1, 1) | flavour.group(tasks.add.s(2), tasks.add.s(3)) | tasks.echo.s()", [4, 5]),
    (f"flavour.chord([{CHORD}, tasks.add.s(2, 2)], tasks.total.s())", 10),
    ("flavour.chord([], tasks.total.s())", 0),
    ("flavour.chord([tasks.add.s(i, 0) for i in range(25)], tasks.echo.s())", list(range(25))),
]


@pytest.fixture(
    scope="module",
    params=PAIRS,
    ids="-to-".join,
)
def asked(request, session_redis_url, tmp_path_factory):
    """A producer and a worker of either kind, with results in SQLite through SQLAlchemy."""
    folder = tmp_path_factory.mktemp("results")
    url = f"{session_redis_url} db+sqlite:///{folder}/results.db {session_redis_url}"
    queue = f"unlock-{uuid.uuid4().hex[:8]}"
    conf = {"result_chord_retry_interval": 0.1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTEROP_CONF", json.dumps(conf))
        worker = Worker(request.param[1], url, queue, *WORKERS[request.param[1]])
        producer = Producer(request.param[0], url, queue)
    yield producer
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()


def test_chords_have_their_values(asked):
    calls = ", ".join(f"({canvas}).apply_async()" for canvas, _ in CANVASES)
    found = asked.ask(f"[result.get(timeout=35) for result in [{calls}]]")
    assert found == [value for _, value in CANVASES]


def test_a_failed_part_fails_the_body_and_calls_its_errback_once(asked, session_redis):
    key = f"unlock:{uuid.uuid4().hex[:8]}"
    body = f"erring(tasks.total.s(), tasks.note_failure.s({key!r}))"
    failing = "[tasks.add.s(1, 1), tasks.fail.s('KeyError', 'k')]"
    asked.text(f"globals().update(r=flavour.chord({failing}, {body}).apply_async())")
    with pytest.raises(RemoteError, match=r"ChordError: .*KeyError\('k'"):
        asked.ask("r.get(timeout=35, follow_parents=False)")
    noted = session_redis.blpop([key], timeout=30)[1].decode()
    assert "ChordError(" in noted
    assert asked.ask("[tasks.add.delay(1, 1).get(timeout=35) for _ in range(4)]") == [2] * 4
    assert session_redis.lpop(key) is None
