from celery import Task, current_app, current_task, shared_task
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject
from celery.utils.log import get_task_logger

from .app import app
from .journal import note

logger = get_task_logger(__name__)


class Mailing(Task):
    autoretry_for = (ConnectionError,)
    retry_kwargs = {"max_retries": 2}
    retry_backoff = False
    default_retry_delay = 0

    _server = None

    @property
    def server(self):
        if self._server is None:
            self._server = {"opened": True}
        return self._server

    def before_start(self, task_id, args, kwargs):
        note("before_start", self.name, list(args), self.request.retries)

    def on_success(self, retval, task_id, args, kwargs):
        note("on_success", self.name, retval)

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note("on_retry", self.name, type(exc).__name__)

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("on_failure", self.name, type(exc).__name__, str(exc), type(einfo).__name__)

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note("after_return", self.name, status)


@app.task(base=Mailing, bind=True)
def send(self, to, fails=0):
    if self.request.retries < fails:
        raise ConnectionError(f"try {self.request.retries}")
    return {"to": to, "server": self.server["opened"], "tries": self.request.retries + 1}


@app.task(bind=True)
def bulk_send(self, count):
    info = self.request.delivery_info
    return {"count": count, "key": info["routing_key"], "priority": info["priority"]}


@app.task(bind=True)
def announce(self, text):
    return [text, self.request.delivery_info["routing_key"], self.request.headers["campaign"]]


@app.task(bind=True, default_retry_delay=0)
def flaky(self, x):
    try:
        return 1 // x
    except ZeroDivisionError as exc:
        try:
            raise self.retry(exc=exc, countdown=0, args=(x,))
        except MaxRetriesExceededError:
            return "not here: the exception is the task's own"


@app.task(bind=True, max_retries=1)
def gives_up(self):
    try:
        self.retry(countdown=0)
    except MaxRetriesExceededError as exc:
        return f"gave up: {type(exc).__name__}"


@app.task
def ignored():
    raise Ignore


@app.task(acks_late=True)
def rejected():
    raise Reject("no", requeue=False)


@shared_task(name="mailer.report", typing=False)
def report(result, label):
    note("report", label, result, current_task.name)
    return result


@app.task
def resend(to):
    current_app.send_task("mailer.report", (to, "resent"), queue=app.conf.task_default_queue)
    return current_app.main


@app.task
def alarm(request, exc, traceback):
    note("alarm", type(exc).__name__, request.task)
