"""`billiard.exceptions`: how a pool's children end."""

from celeriac.exceptions import (
    SoftTimeLimitExceeded,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)

__all__ = ["SoftTimeLimitExceeded", "Terminated", "TimeLimitExceeded", "WorkerLostError"]
