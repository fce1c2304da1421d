"""What goes wrong, drawn from a seed."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import redis
import services
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
#: Longer than a lease (60 s on Redis, 30 s on SQLite) and than RabbitMQ waits for a heartbeat.
LONG_STOP_S = 90.0
#: A Redis that reads its data this slowly answers `LOADING` for two seconds or three.
LOADING_KEYS = 2_000
LOADING = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")


@dataclass
class Kind:
    """A kind of fault.

    Attributes:
        what: Does it and undoes it.
        weight: How often it is drawn.
        limit_s: See `Fault`.
        brokers: Where it can happen.
        targets: Roles that it may hit; the server hits all.
    """

    what: Callable[[Yard, Member, random.Random], None]
    weight: int
    limit_s: float | None = NOTICED_S
    brokers: tuple[str, ...] = ("redis", "rabbitmq")
    targets: tuple[str, ...] = (*POOLS, *PUBLISHERS)


def cut(made: Yard, member: Member, chance: random.Random) -> None:
    """The connections end."""
    assert member.line
    member.line.cut(reset=chance.random() < 0.5)


def two_cuts(made: Yard, member: Member, chance: random.Random) -> None:
    """They end, and again 2 s later, when not everything may be as before."""
    cut(made, member, chance)
    time.sleep(2)
    cut(made, member, chance)


def half_a_frame(made: Yard, member: Member, chance: random.Random) -> None:
    """They end in the middle of something."""
    assert member.line
    member.line.halve(on=True)
    time.sleep(chance.uniform(0.1, 0.5))
    member.line.halve(on=False)


def cuts_while_it_declares(made: Yard, member: Member, chance: random.Random) -> None:
    """They end, and so do those that are opened next, somewhere in their first words."""
    assert member.line
    member.line.last(chance.randint(2, 24))
    member.line.cut(reset=True)
    time.sleep(chance.uniform(0.5, 2))
    member.line.last(None)


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


def loading(made: Yard, member: Member, chance: random.Random) -> None:
    """It is killed and comes back, and reading its data takes it some seconds."""
    assert made.server
    with redis.Redis(port=made.server.port) as client:
        filler = {f"filler-{number}": "" for number in range(LOADING_KEYS)}
        client.mset(filler)
        client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.02)
        made.server.kill()
        made.server.start(*LOADING)
        client.config_set("key-load-delay", 0)
        client.delete(*filler)


def forgotten_scripts(made: Yard, member: Member, chance: random.Random) -> None:
    """Redis has none of the scripts that were loaded."""
    assert made.server
    with redis.Redis(port=made.server.port) as client:
        client.script_flush()


def read_only(made: Yard, member: Member, chance: random.Random) -> None:
    """Redis is a replica for some seconds, and refuses to write; its master is not there."""
    assert made.server
    with redis.Redis(port=made.server.port) as client:
        client.replicaof("127.0.0.1", str(services.free_port()))
        time.sleep(chance.uniform(0.2, 3))
        client.replicaof("NO", "ONE")


def locked(made: Yard, member: Member, chance: random.Random) -> None:
    """Another program holds the database's lock for some seconds."""
    database = sqlite3.connect(made.folder / "queue.db", timeout=30, isolation_level=None)
    with contextlib.closing(database):
        database.execute("BEGIN IMMEDIATE")
        time.sleep(chance.uniform(0.2, 4))
        database.execute("ROLLBACK")


def stop(made: Yard, member: Member, chance: random.Random) -> None:
    """The process and its children stand still, as on a machine that swaps."""
    stand_still(member, chance.uniform(1, 7))


def long_stop(made: Yard, member: Member, chance: random.Random) -> None:
    """The same for longer than a lease lasts, so that others take over."""
    stand_still(member, LONG_STOP_S)


def stand_still(member: Member, lasts_s: float) -> None:
    """Stop a process with its children, and let it go on."""
    pids = (member.process.pid, *member.descendants())
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(lasts_s)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def kill(made: Yard, member: Member, chance: random.Random) -> None:
    """The process is gone with its children; another one takes its role."""
    member.kill()
    made.begin(member.role)


def kill_a_child(made: Yard, member: Member, chance: random.Random) -> None:
    """One process of a prefork pool is gone."""
    # Our first is the server that the others are forked from; its end is the worker's.
    children = member.descendants()[1 if made.subject.is_ours else 0 :]
    if children:
        os.kill(chance.choice(children), signal.SIGKILL)


PREFORK = tuple(role for role, (pool, _) in POOLS.items() if pool == "prefork")
EVERYWHERE = ("redis", "rabbitmq", "sqlite")
LONG_STOP = Kind(long_stop, 0, NOTICED_S, EVERYWHERE, targets=tuple(POOLS))
KINDS = [
    Kind(cut, 6),
    Kind(two_cuts, 2),
    Kind(half_a_frame, 4),
    Kind(cuts_while_it_declares, 3),
    Kind(refusal, 3),
    Kind(slowness, 2),
    Kind(narrowness, 2),
    Kind(pause, 3, SILENT_S),
    Kind(silence, 3, SILENT_S),
    Kind(restart, 2, NOTICED_S, targets=("all",)),
    Kind(loading, 1, NOTICED_S, ("redis",), ("all",)),
    Kind(forgotten_scripts, 2, NOTICED_S, ("redis",), ("all",)),
    Kind(read_only, 2, NOTICED_S, ("redis",), ("all",)),
    Kind(locked, 2, NOTICED_S, ("sqlite",), ("all",)),
    Kind(stop, 3, NOTICED_S, EVERYWHERE),
    Kind(kill, 3, None, EVERYWHERE),
    Kind(kill_a_child, 3, NOTICED_S, EVERYWHERE, PREFORK),
]


def drawn(made: Yard, chance: random.Random) -> Kind:
    """Which kind comes next."""
    kinds = [kind for kind in KINDS if made.broker in kind.brokers]
    (kind,) = chance.choices(kinds, [kind.weight for kind in kinds])
    return kind


def happens(made: Yard, kind: Kind, chance: random.Random) -> Fault:
    """Let something go wrong, and come right again."""
    role = chance.choice(kind.targets)
    hit = made.members.values() if role == "all" else [made.members[role]]
    names = tuple(member.name for member in hit)
    begun_s = time.clock_gettime(time.CLOCK_MONOTONIC)
    kind.what(made, next(iter(hit)), chance)
    ended_s = time.clock_gettime(time.CLOCK_MONOTONIC)
    return Fault(kind.what.__name__, names, begun_s, ended_s, kind.limit_s)
