"""Whose workers and publishers are put to the test: ours, or the real Celery's for comparison."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Subject:
    """What runs, and how it is set up.

    Attributes:
        name: As the report calls it.
        program: The module that `python -m` runs as a worker.
        late: Which tasks are acknowledged late: ``some`` (two of three), ``none`` or ``all``.
        conf: Settings, by broker.
    """

    name: str
    program: str = "celeriac"
    late: str = "some"
    conf: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it has to keep what we promise; of others the figures are only told."""
        return self.program == "celeriac"

    def is_late(self, task: str) -> bool:
        """Whether a task is acknowledged late."""
        return is_late(task, self.late)

    def setting(self, broker: str) -> dict[str, Any]:
        """The settings of a run."""
        return {**self.conf.get("all", {}), **self.conf.get(broker, {})}


def is_late(task: str, late: str) -> bool:
    """Whether a task is acknowledged late, where none, all or some are."""
    return late == "all" or (late == "some" and int(task.rpartition(".")[2]) % 3 != 0)


#: Celery's sweep of what was not acknowledged would come after an hour and not oftener than
#: every 100 s. It is ours too, for what Celery's workers hold.
REDIS = {
    "broker_transport_options": {
        "visibility_timeout": 20,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
    }
}
SUBJECTS = {
    "celeriac": Subject("celeriac", conf={"redis": REDIS}),
    # Nothing but what makes its sweep come within the time of a test.
    "celery": Subject("Celery, defaults", "celery", "none", {"redis": REDIS}),
    # What its documentation recommends to who wants to lose nothing.
    "celery-late": Subject(
        "Celery, late acks",
        "celery",
        "all",
        {
            "all": {"task_acks_late": True, "task_reject_on_worker_lost": True},
            "redis": REDIS,
            "rabbitmq": {"broker_transport_options": {"confirm_publish": True}},
        },
    ),
}
SUBJECT = SUBJECTS[os.environ.get("CELERIAC_TEST_FAULTS_OF", "celeriac")]
