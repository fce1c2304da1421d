import celery
from celery.contrib import abortable as theirs

from celeriac.contrib.abortable import ABORTED, AbortableAsyncResult, AbortableTask


def _task(app):
    @app.task(bind=True, base=AbortableTask, name="look")
    def look(self):
        return self.is_aborted()

    return look


def test_the_state_is_named_as_celery_names_it():
    assert theirs.ABORTED == ABORTED


def test_a_task_sees_that_it_was_asked_to_stop(app):
    look = _task(app)
    handle = look.AsyncResult("id-1")
    assert isinstance(handle, AbortableAsyncResult)
    assert look.is_aborted(task_id="id-1") is False

    handle.abort()

    assert look.is_aborted(task_id="id-1") is True
    assert look.apply(task_id="id-1").get() is True
    assert look.apply(task_id="id-2").get() is False


def test_the_handle_of_a_sent_task_can_abort_it(app):
    result = _task(app).delay()

    result.abort()

    assert result.state == ABORTED
    assert result.is_aborted()


def test_a_task_that_has_returned_is_no_longer_aborted(app):
    handle = _task(app).AsyncResult("id-1")
    handle.abort()

    app.backend.store_result("id-1", 3, "SUCCESS")

    assert not handle.is_aborted()
    assert handle.get(timeout=10) == 3


def test_what_is_stored_is_what_celery_stores(app):
    other = celery.Celery("p", broker="memory://", backend="cache+memory://", set_as_current=False)
    theirs.AbortableAsyncResult("id-1", backend=other.backend).abort()
    AbortableAsyncResult("id-1", app=app).abort()

    expected = other.backend.get_task_meta("id-1", cache=False)
    stored = app.backend.get_task_meta("id-1")

    fields = ("status", "result", "traceback", "task_id")
    assert [stored[name] for name in fields] == [expected[name] for name in fields]
