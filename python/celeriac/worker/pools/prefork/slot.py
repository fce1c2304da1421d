"""What the worker knows of one child."""

from collections import deque
from dataclasses import dataclass, field

from celeriac._native import ChildLink
from celeriac.worker.limits import log_exceeded
from celeriac.worker.request import Request

__all__ = ("SLOW_S", "Child", "Given", "Watch")

#: A task that runs longer than this must have nothing waiting behind it.
SLOW_S = 0.010
_LONG_S = 3600.0


@dataclass(slots=True)
class Given:
    """A task that was given to a child."""

    seq: int
    request: Request
    is_taken: bool = False


@dataclass(slots=True)
class Watch:
    """The limits of the task that runs: seconds, and when they end (monotonic)."""

    request: Request
    hard_s: float | None
    soft_s: float | None
    begun_s: float

    def is_over(self, now_s: float) -> bool:
        """Say whether the task is to be killed.

        Args:
            now_s: The time (monotonic).

        Returns:
            Whether its hard limit has passed; the soft one is logged here when it has.
        """
        ran_s = now_s - self.begun_s
        if self.soft_s is not None and ran_s >= self.soft_s:
            log_exceeded(self.request, "Soft", self.soft_s)
            self.soft_s = None
        if self.hard_s is None or ran_s < self.hard_s:
            return False
        log_exceeded(self.request, "Hard", self.hard_s)
        return True

    def left_s(self, now_s: float) -> float:
        """Say when to look again.

        Args:
            now_s: The time (monotonic).

        Returns:
            In how many seconds.
        """
        limits = [limit for limit in (self.hard_s, self.soft_s) if limit is not None]
        return max(0.0, self.begun_s + min(limits) - now_s) if limits else _LONG_S


@dataclass(slots=True)
class Child:
    """One child, from its order to its end.

    Attributes:
        slot: Its number, never used twice.
        link: The worker's end of its socket pair.
        born_s: When it was ordered (monotonic).
        given: Its tasks, in the order they were given; at most the first runs.
        pid: Its process, once the server has said so.
        is_ready: Whether it has said that it takes jobs.
        taken_s: When its current task was taken up (monotonic).
        is_slow: Whether its current or last task ran longer than `SLOW_S`.
        done: How many tasks it has executed.
        is_worn_out: Whether it gets no more tasks: it has done as many as it may, or grown.
        is_retiring: Whether it was told to end.
        watch: Until when its current task may run; None without limits.
        kind: How it was made.
    """

    slot: int
    link: ChildLink
    born_s: float
    given: deque[Given] = field(default_factory=deque)
    pid: int = 0
    is_ready: bool = False
    taken_s: float = 0.0
    is_slow: bool = False
    done: int = 0
    is_worn_out: bool = False
    is_retiring: bool = False
    watch: Watch | None = None
    kind: str = "Fork"

    @property
    def name(self) -> str:
        """What its log lines are signed with."""
        return f"{self.kind}PoolWorker-{self.slot}"

    def room(self, max_given: int) -> int:
        """Say how many more tasks it may be given.

        Args:
            max_given: How many a fast child may have.

        Returns:
            A number; 0 where none.
        """
        if not self.is_ready or self.is_worn_out:
            return 0
        return (1 if self.is_slow else max_given) - len(self.given)

    def holds_up(self, now_s: float) -> float | None:
        """Say when what waits behind its current task is to be recalled.

        Args:
            now_s: The time (monotonic).

        Returns:
            In how many seconds (0 or less: now); None where nothing waits, or is recalled already.
        """
        if self.is_slow or len(self.given) < 2 or not self.given[0].is_taken:  # noqa: PLR2004
            return None
        return self.taken_s + SLOW_S - now_s

    def take_back(self, seqs: list[int]) -> list[Request]:
        """Remove tasks it gave back.

        Args:
            seqs: Their numbers.

        Returns:
            The tasks, in the order they had been given.
        """
        wanted = set(seqs)
        back = [given.request for given in self.given if given.seq in wanted]
        self.given = deque(given for given in self.given if given.seq not in wanted)
        return back
