"""Errbacks that fail themselves, of both forms, in a worker."""

from __future__ import annotations

import pytest
from running import TASKS, Running, until

from celeriac import Celery

GET_S = 60
ERRBACKS = """
@app.task
def fails():
    raise KeyError("k")


@app.task
def raises(request, exc, traceback):
    raise ZeroDivisionError("in the errback")


@app.task
def notes(request, exc, traceback):
    (HERE / "noted").write_text(f"{request.id} {exc!r}")


@app.task
def raises_with_id(task_id):
    raise ZeroDivisionError(task_id)


@app.task
def notes_id(task_id):
    (HERE / "noted-id").write_text(task_id)
"""
NAMES = ["raises", "raises_with_id", "notes", "notes_id"]


@pytest.mark.timeout(180)
def test_an_errback_that_raises_stops_no_other_of_either_form(tmp_path):
    (tmp_path / "proj.py").write_text(TASKS + ERRBACKS)
    url = f"sqlite:///{tmp_path}/q.db"
    client = Celery("client", broker=url, backend=url, set_as_current=False)
    with Running(tmp_path, "-P", "solo") as worker:
        worker.ready()
        errbacks = [client.signature(f"proj.{name}", task_id=name) for name in NAMES]
        failed = client.send_task("proj.fails", link_error=errbacks)
        until((tmp_path / "noted").exists)
        until((tmp_path / "noted-id").exists)
        with pytest.raises(ZeroDivisionError, match=failed.id):
            client.AsyncResult("raises_with_id").get(timeout=GET_S)
        worker.wait_line(f"Errback proj.raises of task {failed.id} raised")
        assert isinstance(failed.get(timeout=GET_S, propagate=False), KeyError)
    assert (tmp_path / "noted").read_text() == f"{failed.id} KeyError('k')"
    assert (tmp_path / "noted-id").read_text() == failed.id
    client.close()
