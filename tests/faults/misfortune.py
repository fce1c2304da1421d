"""What goes wrong, drawn from a seed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from yard import POOLS, PUBLISHERS, Member, Yard

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


class Fault(NamedTuple):
    """One thing that went wrong.

    Attributes:
        what: Its name.
        names: Of the members that it has hit.
        begun_s: When it began, on the journals' clock.
        ended_s: When everything was as before, but for those who have to notice.
        limit_s: How soon who lives consumes again; None where somebody has died.
    """

    what: str
    names: tuple[str, ...]
    begun_s: float
    ended_s: float
    limit_s: float | None


#: Where the connection ended, and where it only fell silent (seconds).
NOTICED_S, SILENT_S = 5.0, 15.0


@dataclass
class Kind:
    """A kind of fault.

    Attributes:
        what: Does it and undoes it.
        weight: How often it is drawn.
        limit_s: See `Fault`.
        lines: Whether it needs a server.
        targets: Roles that it may hit; the server hits all.
    """

    what: Callable[[Yard, Member, random.Random], None]
    weight: int
    limit_s: float | None = NOTICED_S
    lines: bool = True
    targets: tuple[str, ...] = (*POOLS, *PUBLISHERS)


def cut(made: Yard, member: Member, chance: random.Random) -> None:
    """The connections end."""
    assert member.line
    member.line.cut(reset=chance.random() < 0.5)


def half_a_frame(made: Yard, member: Member, chance: random.Random) -> None:
    """They end in the middle of something."""
    assert member.line
    member.line.halve(on=True)
    time.sleep(chance.uniform(0.1, 0.5))
    member.line.halve(on=False)


def refusal(made: Yard, member: Member, chance: random.Random) -> None:
    """There is nobody to connect to for some seconds."""
    assert member.line
    member.line.refuse(on=True)
    time.sleep(chance.uniform(0.2, 4))
    member.line.refuse(on=False)


def slowness(made: Yard, member: Member, chance: random.Random) -> None:
    """Everything takes long."""
    assert member.line
    member.line.delay(chance.uniform(0.05, 0.5))
    time.sleep(chance.uniform(1, 3))
    member.line.delay(0)


def narrowness(made: Yard, member: Member, chance: random.Random) -> None:
    """A few kilobytes a second."""
    assert member.line
    member.line.throttle(chance.uniform(5_000, 50_000))
    time.sleep(chance.uniform(1, 3))
    member.line.throttle(0)


def pause(made: Yard, member: Member, chance: random.Random) -> None:
    """Nothing passes for some seconds, then all of it."""
    assert member.line
    member.line.silence(on=True)
    time.sleep(chance.uniform(0.5, 8))
    member.line.silence(on=False)


def silence(made: Yard, member: Member, chance: random.Random) -> None:
    """What was open is dead and does not say so; new connections work."""
    assert member.line
    member.line.forget()


def restart(made: Yard, member: Member, chance: random.Random) -> None:
    """The server is killed and comes back."""
    assert made.server
    made.server.kill()
    time.sleep(chance.uniform(0, 1))
    made.server.start()


def stop(made: Yard, member: Member, chance: random.Random) -> None:
    """The process and its children stand still, as on a machine that swaps."""
    pids = (member.process.pid, *member.descendants())
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(chance.uniform(1, 7))
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def kill(made: Yard, member: Member, chance: random.Random) -> None:
    """The process is gone with its children; another one takes its role."""
    member.kill()
    made.begin(member.role)


def kill_a_child(made: Yard, member: Member, chance: random.Random) -> None:
    """One process of a prefork pool is gone."""
    # The first is the server that the others are forked from; its end is the worker's.
    children = member.descendants()[1:]
    if children:
        os.kill(chance.choice(children), signal.SIGKILL)


PREFORK = tuple(role for role, (pool, _) in POOLS.items() if pool == "prefork")
KINDS = [
    Kind(cut, 6),
    Kind(half_a_frame, 4),
    Kind(refusal, 3),
    Kind(slowness, 2),
    Kind(narrowness, 2),
    Kind(pause, 3, SILENT_S),
    Kind(silence, 3, SILENT_S),
    Kind(restart, 2, NOTICED_S, targets=("all",)),
    Kind(stop, 3, NOTICED_S, lines=False),
    Kind(kill, 3, None, lines=False),
    Kind(kill_a_child, 3, NOTICED_S, lines=False, targets=PREFORK),
]


def happens(made: Yard, chance: random.Random) -> Fault:
    """Let something go wrong, and come right again."""
    kinds = [kind for kind in KINDS if made.server or not kind.lines]
    (kind,) = chance.choices(kinds, [kind.weight for kind in kinds])
    role = chance.choice(kind.targets)
    hit = made.members.values() if role == "all" else [made.members[role]]
    names = tuple(member.name for member in hit)
    begun_s = time.clock_gettime(time.CLOCK_MONOTONIC)
    kind.what(made, next(iter(hit)), chance)
    ended_s = time.clock_gettime(time.CLOCK_MONOTONIC)
    return Fault(kind.what.__name__, names, begun_s, ended_s, kind.limit_s)
