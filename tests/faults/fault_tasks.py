"""The application of the fault tests; FAULT_TEST says what it uses, and whose."""

import json
import logging
import os
import pathlib
import sys
import time

from journal import Journal
from subject import is_late

given = json.loads(os.environ["FAULT_TEST"])
if given["program"] == "celery":
    from celery import Celery

    #: Its connections raise errors of their own beside `OperationalError`.
    NOT_SENT = Exception
else:
    from celeriac import Celery
    from celeriac.app.publishing import PublishError
    from celeriac.exceptions import OperationalError as NOT_SENT  # noqa: N814 - a set of errors

app = Celery("faults", broker=given["broker"])
app.conf.update(task_default_queue=given["queue"], task_ignore_result=True, **given["conf"])
journal = Journal(given["executed"])


def _work(self):
    info = self.request.delivery_info or {}
    who = self.request.hostname.partition("@")[0]
    again = "again" if info.get("redelivered") else "-"
    journal.note("start", self.request.id, who, again)
    time.sleep(given["task_s"])
    journal.note("done", self.request.id, who)


@app.task(bind=True, name="faults.early")
def early(self):
    """Acknowledged when it starts: from then on it may be lost."""
    _work(self)


@app.task(bind=True, name="faults.late", acks_late=True, reject_on_worker_lost=True)
def late(self):
    """Acknowledged when it is done."""
    _work(self)


class Ledger(logging.Handler):
    """Notes when the publisher sends again what was not confirmed."""

    def __init__(self, sent, who):
        super().__init__(logging.INFO)
        self._sent, self._who = sent, who

    def emit(self, record):
        """Note what the judge has to know, print the rest."""
        line = record.getMessage()
        print(line, flush=True)
        if "sent again" in line:
            self._sent.note("again", "-", self._who)


class Publisher:
    """Sends until the file `stop` is there, never far ahead of the workers."""

    def __init__(self, who):
        self._who = who
        self._sent = Journal(given["sent"])
        self._number = self._ahead = 0
        self._executed = pathlib.Path(given["executed"]).open("rb")  # noqa: SIM115 - as long as the process
        self._has_windows = given["program"] == "celeriac"
        logger = logging.getLogger("celeriac")
        logger.addHandler(Ledger(self._sent, who))
        logger.setLevel(logging.INFO)

    def run(self):
        """Send batch after batch: in a window, and each call by itself."""
        begun_s = time.monotonic()
        while not pathlib.Path(given["stop"]).exists():
            self._ahead -= self._executed.read().count(f" start {self._who}.".encode())
            due = (time.monotonic() - begun_s) * given["rate"] if given["rate"] else self._number
            if self._ahead > given["ahead"] or self._number > due:
                time.sleep(0.01)
                continue
            batch = [f"{self._who}.{self._number + n}" for n in range(given["batch"])]
            self._number += len(batch)
            if self._has_windows and self._number // given["batch"] % 2:
                self._in_a_window(batch)
            else:
                self._one_by_one(batch)
        print("all sent", flush=True)

    def _tell(self, task_id, error):
        if error is None:
            self._ahead += 1
            return self._sent.note("sent", task_id, self._who)
        print("unsent:", task_id, error, flush=True)
        return self._sent.note("unsent", task_id, self._who, type(error).__name__)

    def _one_by_one(self, batch):
        for task_id in batch:
            self._sent.note("try", task_id, self._who)
            try:
                task(task_id).apply_async(task_id=task_id)
            except NOT_SENT as error:
                self._tell(task_id, error)
            else:
                self._tell(task_id, None)

    def _in_a_window(self, batch):
        failed = {}
        try:
            with app.publisher(window=64) as publisher:
                for task_id in batch:
                    self._sent.note("try", task_id, self._who)
                    try:
                        task(task_id).apply_async(task_id=task_id, publisher=publisher)
                    except NOT_SENT as error:
                        failed[task_id] = error
        except PublishError as error:
            failed |= error.failures
        for task_id in batch:
            self._tell(task_id, failed.get(task_id))


def task(task_id):
    """By its number, which says when it is acknowledged."""
    return late if is_late(task_id, given["late"]) else early


if __name__ == "__main__":
    Publisher(sys.argv[1]).run()
