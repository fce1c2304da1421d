"""The prefork pool: gives tasks to children, and settles what a dead one held."""

import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from celeriac._native import ChildEvent, ChildLink, Intake
from celeriac.worker.call import SUCCEEDED, Report
from celeriac.worker.limits import TimeLimits, changed_soft_limit
from celeriac.worker.outcome import Expired, HandedBack, Outcome, TimedOut, WorkerLost
from celeriac.worker.pools.base import Host
from celeriac.worker.pools.prefork.control import Exited, Forked, NotForked, Said
from celeriac.worker.pools.prefork.forks import human_status
from celeriac.worker.pools.prefork.slot import SLOW_S, Child, Given, Watch
from celeriac.worker.reports import WORN_OUT, from_frame, to_extra, told_of
from celeriac.worker.request import Request

__all__ = ("PreforkPool",)

logger = logging.getLogger("celery.pool")

#: How often the server's reports are looked at although no socket closed: a program that a task
#: left behind can keep a dead child's socket open.
_LOOK_S = 2.0
#: The same while children are about to start.
_LOOK_SOON_S = 0.25
_EXIT_WAIT_S = 2.0
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
#: More tasks in one child's socket gain nothing.
_MOST_GIVEN = 64
_NO_LIMITS = TimeLimits()


class Server(Protocol):
    """Makes children and hears of their ends. A ConnectionError says that it is gone."""

    #: How children are made, for their names in the log.
    kind: str

    def fork(self, slot: int, fd: int) -> None:
        """Make a child that has ``fd`` as its end of a socket pair."""

    def kill(self, slot: int, signum: int = ...) -> None:
        """Send a signal to a child."""

    def reports(self) -> list[Said]:
        """Take what there is to say, without waiting."""

    def wait_exit(self, slot: int, wait_s: float) -> int | None:
        """Wait for a child's end; its status as ``waitpid`` gives it."""

    def close(self, wait_s: float) -> None:
        """End, and the children that are left."""


class PreforkPool:
    """Executes tasks in children.

    Args:
        make_server: Starts who makes the children; where it forks, this process must have one
            thread then.
        host: Hears of the tasks.
        size: How many children.
        max_given: How many tasks a child may have at once, the running one included.
        start_wait_s: How long a child may take to get ready (``worker_proc_alive_timeout``).
        max_tasks: After how many tasks a child is replaced; None for never.
        limits: How long tasks may run.
    """

    name = "prefork"
    leaves_threads = False

    def __init__(
        self,
        make_server: Callable[[], Server],
        host: Host,
        size: int,
        max_given: int,
        start_wait_s: float,
        max_tasks: int | None = None,
        limits: TimeLimits = _NO_LIMITS,
    ) -> None:
        self._make_server = make_server
        self._host = host
        self._size = size
        self._max_given = max(1, min(max_given, _MOST_GIVEN, max_tasks or _MOST_GIVEN))
        self._max_tasks = max_tasks
        self._limits = limits
        self._start_wait_s = start_wait_s
        self._children: dict[int, Child] = {}
        self._pending: deque[Request] = deque()
        self._unflushed: set[int] = set()
        self._next_slot = 1
        self._next_seq = 1
        self._failed_starts = 0
        self._start_again_s = 0.0
        self._look_again_s = 0.0
        self._is_stopping = False
        self._is_cold = False
        self._describes = False
        self._server: Server
        self._intake: Intake

    # Lifecycle -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Start who makes the children, while this process has one thread."""
        self._server = self._make_server()

    def start(self, intake: Intake) -> None:
        """Order the children.

        Args:
            intake: Reads what they say.
        """
        self._intake = intake
        self._fill()

    def _fill(self) -> None:
        """Order the children that are too few; those that are told to end do not count."""
        staying = sum(not child.is_retiring for child in self._children.values())
        for _ in range(staying, self._size):
            self._order_child()

    def describe(self, *, wanted: bool) -> None:
        """Report what events tell of the ends of tasks that are given from now on, or no more.

        Args:
            wanted: Which.
        """
        self._describes = wanted

    def resize(self, size: int) -> None:
        """Order more children, or let some end, the ones with the least to do first.

        Args:
            size: How many there are to be.
        """
        self._size = size
        self._fill()
        staying = [child for child in self._children.values() if not child.is_worn_out]
        staying.sort(key=lambda child: len(child.given))
        for child in staying[: max(0, len(staying) - size)]:
            self._wear_out(child)

    def stop(self, wait_s: float) -> None:
        """Ask the children to end, wait, and end the server.

        Args:
            wait_s: How long, in seconds; what is left then is killed.
        """
        self._is_stopping = True
        deadline_s = time.monotonic() + wait_s
        for child in self._children.values():
            child.link.stop()
        try:
            for child in self._children.values():
                self._server.wait_exit(child.slot, max(0.0, deadline_s - time.monotonic()))
        except ConnectionError:
            logger.warning("The fork server ended before its children did")
            for child in list(self._children.values()):
                self._bury(child, signal.SIGKILL)
        for child in self._children.values():
            child.link.close()
        self._children.clear()
        self._server.close(1.0)

    def terminate(self) -> None:
        """Kill the children; what they ran is lost."""
        self._is_stopping = self._is_cold = True
        for child in list(self._children.values()):
            self._kill(child)
            self._bury(child)

    # Giving ----------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Give a task to a child, or keep it until one has room.

        Args:
            request: The task.
        """
        if self._pending:
            self._pending.append(request)
            return
        child = self._roomiest()
        if child is None:
            self._pending.append(request)
        else:
            self._give(child, request)

    def _roomiest(self) -> Child | None:
        best, best_room = None, 0
        for child in self._children.values():
            if child.is_ready and not child.given and not child.is_worn_out:
                return child
            room = self._room(child)
            if room > best_room:
                best, best_room = child, room
        return best

    def _room(self, child: Child) -> int:
        room = child.room(self._max_given)
        if self._max_tasks is None:
            return room
        return min(room, self._max_tasks - child.done - len(child.given))

    def _give(self, child: Child, request: Request) -> None:
        if request.expires_ms and self._host.is_too_late(request):
            self._host.ended(request, Report(Expired()))
            return
        seq = self._next_seq
        self._next_seq += 1
        child.given.append(Given(seq, request))
        asked = to_extra(changed_soft_limit(request.task), describes=self._describes)
        child.link.send(seq, request.delivery, asked)
        self._unflushed.add(child.slot)

    def _give_pending(self, child: Child) -> None:
        pending = self._pending
        while pending and self._room(child) > 0:
            self._give(child, pending.popleft())

    @property
    def is_idle(self) -> bool:
        """Whether no task is with this pool."""
        return not self._pending and not any(child.given for child in self._children.values())

    def hand_back(self) -> None:
        """Give back to the host what is not started; what runs goes on."""
        self._is_stopping = True
        self._hand_back_pending()
        for child in self._children.values():
            if any(not given.is_taken for given in child.given):
                child.link.recall()

    def _hand_back_pending(self) -> None:
        while self._pending:
            self._host.ended(self._pending.popleft(), Report(HandedBack()))

    # One task --------------------------------------------------------------------------------

    @property
    def pids(self) -> list[int]:
        """The children."""
        return [child.pid for child in self._children.values() if child.pid]

    def withdraw(self, request: Request) -> None:
        """Take a task back from the child it waits in: the host is asked before it goes to one.

        Args:
            request: The task.
        """
        child = self._child_of(request)
        if child is not None:
            child.link.recall()

    def end_task(self, request: Request, signum: int) -> bool:
        """Signal the child that runs a task.

        Args:
            request: The task.
            signum: The signal. Those that stop a worker are not heard by children: it is SIGKILL
                then.

        Returns:
            Whether a child runs it.
        """
        child = self._child_of(request)
        if child is None or child.given[0].request is not request or not child.given[0].is_taken:
            return False
        unheard = signum in {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
        self._server.kill(child.slot, signal.SIGKILL if unheard else signum)
        return True

    def _child_of(self, request: Request) -> Child | None:
        for child in self._children.values():
            if any(given.request is request for given in child.given):
                return child
        return None

    # Hearing ---------------------------------------------------------------------------------

    def hear(self, event: ChildEvent) -> None:
        """Take note of what a child said.

        Args:
            event: Its words.
        """
        child = self._children.get(event.slot)
        if child is None:
            return
        match event.kind:
            case "executed":
                self._executed(child, event)
            case "taken":
                self._taken(child, event.seq)
            case "outcome":
                self._ended(child, event)
            case "recalled":
                self._recalled(child, event.seqs)
            case "ready":
                self._ready(child)
            case "gone":
                self._bury(child)

    def _ready(self, child: Child) -> None:
        child.is_ready = True
        self._failed_starts = 0
        self._hear_server()  # It has said the child's PID, which is told with each task.
        self._give_pending(child)

    def _taken(self, child: Child, seq: int) -> None:
        for given in child.given:
            if given.seq == seq:
                given.is_taken = True
                child.taken_s = time.monotonic()
                child.is_slow = False
                child.watch = self._watched(given.request, child.taken_s)
                self._host.started(given.request, child.pid)
                return

    def _watched(self, request: Request, now_s: float) -> Watch | None:
        hard_s, soft_s = request.delivery.timelimit
        hard_s = self._limits.hard(hard_s, request.task)
        soft_s = self._limits.soft(soft_s, request.task)
        return None if hard_s is None and soft_s is None else Watch(request, hard_s, soft_s, now_s)

    def _executed(self, child: Child, event: ChildEvent) -> None:
        executed = event.executed
        host, given = self._host, child.given
        child.is_slow = False
        child.done += len(executed)
        is_worn_out = False
        for _, code, document, detail in executed:
            request = given.popleft().request
            request.worker_pid = child.pid
            if code == 0 and document is None and not detail:
                host.executed(request, SUCCEEDED)
                continue
            host.executed(request, _report(code, document, detail or b""))
            is_worn_out = is_worn_out or bool(code & WORN_OUT)
        self._go_on(child, is_worn_out=is_worn_out)

    def _ended(self, child: Child, event: ChildEvent) -> None:
        first = child.given.popleft()
        child.is_slow = time.monotonic() - child.taken_s > SLOW_S
        child.watch = None
        child.done += 1
        self._host.ended(first.request, _report(event.code, event.document, event.detail))
        self._go_on(child, is_worn_out=bool(event.code & WORN_OUT))

    def _go_on(self, child: Child, *, is_worn_out: bool) -> None:
        is_done = self._max_tasks is not None and child.done >= self._max_tasks
        if child.is_worn_out or is_done or is_worn_out:
            self._wear_out(child)
        if self._pending:
            self._give_pending(child)

    def _wear_out(self, child: Child) -> None:
        """Give a child no more; it ends, and is replaced, when it has nothing left."""
        child.is_worn_out = True
        if child.given:
            child.link.recall()
        elif not child.is_retiring and not self._is_stopping:
            child.is_retiring = True
            child.link.stop()
            self._fill()

    def _recalled(self, child: Child, seqs: list[int]) -> None:
        back = child.take_back(seqs)
        if child.is_worn_out and not child.given:
            self._wear_out(child)
        self._pending.extendleft(reversed(back))
        if self._is_stopping:
            self._hand_back_pending()
            return
        # Its own child, too: it may have become free before it could answer.
        for other in self._children.values():
            self._give_pending(other)

    # Tending ---------------------------------------------------------------------------------

    def tend(self) -> float:
        """Recall what waits behind slow tasks, replace dead children, give up on stuck ones.

        Returns:
            In how many seconds there may be something to do again.
        """
        self._flush()
        now_s = time.monotonic()
        look_s = _LOOK_S if self._is_settled() else _LOOK_SOON_S
        wait_s = look_s
        for child in list(self._children.values()):
            if child.watch is not None:
                if child.watch.is_over(now_s):
                    self._time_out(child, child.watch.hard_s or 0.0)
                    continue
                wait_s = min(wait_s, child.watch.left_s(now_s))
            due_s = child.holds_up(now_s)
            if due_s is None:
                continue
            if due_s <= 0:
                child.is_slow = True
                child.link.recall()
            else:
                wait_s = min(wait_s, due_s)
        if now_s >= self._look_again_s or now_s + look_s < self._look_again_s:
            self._look_again_s = now_s + look_s
            self._look(now_s)
        return wait_s

    def _is_settled(self) -> bool:
        # Whether every child is there and works.
        children = self._children
        return len(children) >= self._size and all(child.is_ready for child in children.values())

    def _flush(self) -> None:
        # What was given since the last time goes to each child in one write.
        for slot in self._unflushed:
            child = self._children.get(slot)
            if child is not None:
                child.link.flush()
        self._unflushed.clear()

    def _time_out(self, child: Child, limit_s: float) -> None:
        self._kill(child)
        self._bury(child, end=TimedOut(limit_s))

    def _look(self, now_s: float) -> None:
        self._hear_server()
        for child in list(self._children.values()):
            if not child.is_ready and now_s - child.born_s > self._start_wait_s:
                logger.error("Timed out waiting for %s to start; it is replaced", child.name)
                self._kill(child)
                self._bury(child)
        if self._is_stopping:
            return
        if now_s >= self._start_again_s:
            self._fill()

    def _hear_server(self) -> None:
        for said in self._server.reports():
            self._note(said)

    def _note(self, said: Said) -> None:
        child = self._children.get(said.slot)
        if child is None:
            return
        match said:
            case Forked(_, pid):
                child.pid = pid
            case Exited(_, status):
                self._bury(child, status)
            case NotForked(_, errno):
                logger.error("Cannot fork %s: %s", child.name, os.strerror(errno))
                self._bury(child, 0)

    def _order_child(self) -> None:
        slot = self._next_slot
        self._next_slot += 1
        ours, theirs = socket.socketpair()
        try:
            self._server.fork(slot, theirs.fileno())
        finally:
            theirs.close()
        link = ChildLink(self._intake, slot, ours.detach())
        self._children[slot] = Child(slot, link, time.monotonic(), kind=self._server.kind)

    def _kill(self, child: Child) -> None:
        try:
            self._server.kill(child.slot, signal.SIGKILL)
        except OSError:
            logger.debug("The fork server is gone; %s ends with it", child.name)

    def _bury(self, child: Child, status: int | None = None, end: Outcome | None = None) -> None:
        """Settle what a dead child held: its running task is lost, the others go back.

        Args:
            child: The child.
            status: What ``waitpid`` said, where that is known.
            end: What became of the running task, where it was this worker's doing.
        """
        self._children.pop(child.slot, None)
        child.link.close()
        if status is None:
            status = self._exit_status(child)
        how = human_status(status)
        if not self._is_stopping and not child.is_retiring and end is None:
            logger.error("Process %r pid:%r exited with %r", child.name, child.pid, how)
        for given in child.given:
            if given.is_taken:
                lost = end or WorkerLost(_cause(how, given.seq), self._is_cold)
                self._host.ended(given.request, Report(lost))
            else:
                self._host.ended(given.request, Report(HandedBack()))
        if not self._is_stopping and not child.is_retiring:
            self._replace(child)

    def _exit_status(self, child: Child) -> int:
        try:
            status = self._server.wait_exit(child.slot, _EXIT_WAIT_S)
            if status is None:
                # Its socket is closed, and yet it lives: it cannot be talked to.
                self._kill(child)
                status = self._server.wait_exit(child.slot, _EXIT_WAIT_S)
        except ConnectionError:
            # No child outlives the server; what this one held is settled all the same.
            status = signal.SIGKILL
        return signal.SIGKILL if status is None else status

    def _replace(self, child: Child) -> None:
        now_s = time.monotonic()
        if child.is_ready:
            self._fill()
            return
        # One that dies at its start would die again at once: wait longer each time.
        pause_s = min(_FIRST_PAUSE_S * 2**self._failed_starts, _LONGEST_PAUSE_S)
        self._failed_starts = min(self._failed_starts + 1, 16)
        self._start_again_s = now_s + pause_s
        logger.error("%s died while it started; the next one starts in %.2fs", child.name, pause_s)


def _cause(how: str, seq: int) -> str:
    # Word a death as Celery does: a job number only where a signal ended the process.
    job = f" Job: {seq}" if how.startswith("signal") else ""
    return f"Worker exited prematurely: {how}{job}."


def _report(code: int, document: bytes | None, detail: bytes) -> Report:
    ended = code & ~WORN_OUT
    return Report(from_frame(ended, detail), document, told_of(ended, detail))
