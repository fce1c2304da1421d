"""Servers, workers and publishers of one broker, each with a line of its own that can go wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import amqp
import redis
import services
from line import Line
from subject import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from subject import Subject

HERE = Path(__file__).parent
PATH = os.pathsep.join(map(str, (HERE, HERE.parents[1] / "python")))
QUEUE = "faults"
STOP_S = 60.0
READY_S = 90.0
#: A RabbitMQ on a machine that is busy with the faults of others.
START_S = 180.0
POOLS = {"w0": ("prefork", "2"), "w1": ("threads", "2"), "w2": ("prefork", "1")}
PUBLISHERS = ("p0", "p1")


class Server:
    """A server of our own that keeps its data when it is killed.

    Args:
        broker: ``redis`` or ``rabbitmq``.
        folder: Where its data is.
    """

    def __init__(self, broker: str, folder: Path) -> None:
        self.port = services.free_port()
        self._names_port = services.free_port()
        self._environment: dict[str, str] = {}
        if broker == "redis":
            self._kind = services.REDIS
            durable = ["--appendonly", "yes", "--appendfsync", "always"]
            self._command = [services.REDIS.program()]
            self._command += [*services.redis_options(str(folder), self.port), *durable]
        else:
            self._kind = services.RABBITMQ
            self._environment = services.rabbitmq_environment(
                str(folder), self.port, self._names_port
            )
            self._command = [services.RABBITMQ.program()]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [*self._command, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **self._environment},
            start_new_session=True,
        )
        self._kind.wait_for(self._process, self.port, START_S)

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_S)

    def close(self) -> None:
        """End it for good."""
        self.kill()
        if self._kind is services.RABBITMQ:
            stop = ["epmd", "-port", str(self._names_port), "-kill"]
            subprocess.run(stop, check=False, stdout=subprocess.DEVNULL)


@dataclass
class Member:
    """A worker or a publisher, and what it is called; a new process has a new name.

    Attributes:
        role: ``w0``, ``p1``.
        name: The role and how often it was started: ``w0-3``.
        process: Itself.
        line: Its way to the server; SQLite needs none.
    """

    role: str
    name: str
    process: subprocess.Popen[bytes]
    line: Line | None
    log: Path

    def descendants(self) -> list[int]:
        """Processes that it has started."""
        return descendants(self.process.pid)

    def ended(self) -> int | None:
        """Its exit code, when it is over; None: it does not end, and is killed."""
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self) -> None:
        """SIGKILL, to its children too."""
        pids = [*self.descendants()]
        self.process.kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_S)


def descendants(pid: int) -> list[int]:
    """Processes below one, parents first."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


@dataclass(frozen=True)
class Work:
    """What is to be done in a run.

    Attributes:
        task_s: How long a task takes.
        rate: Tasks that each publisher sends in a second; 0: as many as are executed.
        conf: Settings beside those of the subject.
        environment: Of a role's processes, beside ours.
    """

    task_s: float = 0.02
    rate: float = 0
    conf: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, dict[str, str]] = field(default_factory=dict)


class Yard:
    """All of one run.

    Args:
        broker: ``redis``, ``rabbitmq`` or ``sqlite``.
        folder: Where everything is written.
        work: What is to be done.
        subject: Whose workers and publishers.

    Attributes:
        members: By role.
    """

    def __init__(
        self,
        broker: str,
        folder: Path,
        work: Work | None = None,
        subject: Subject = SUBJECTS["celeriac"],
    ) -> None:
        self.broker, self.folder, self.subject = broker, folder, subject
        self._work = work or Work()
        self.server = None if broker == "sqlite" else Server(broker, folder)
        self.members: dict[str, Member] = {}
        self._starts = 0
        self._lines: dict[str, Line] = {}

    def url(self, line: Line | None) -> str:
        """The broker's URL, through a line."""
        if line is None:
            return f"sqlite:///{self.folder}/queue.db"
        kind = "redis://" if self.broker == "redis" else "amqp://guest:guest@"
        return f"{kind}127.0.0.1:{line.port}/" + ("0" if self.broker == "redis" else "/")

    def start(self) -> None:
        """Start everything, and wait until all workers are ready."""
        for name in ("executed", "sent"):
            (self.folder / name).touch()
        if self.server:
            self.server.start()
        for role in (*POOLS, *PUBLISHERS):
            if self.server:
                self._lines[role] = Line(self.server.port)
            self.begin(role)
        for role in POOLS:
            self.ready(role)

    def begin(self, role: str) -> Member:
        """Start a worker or a publisher; a worker may not be ready yet."""
        self._starts += 1
        name = f"{role}-{self._starts}"
        line = self._lines.get(role)
        if role in POOLS:
            pool, slots = POOLS[role]
            program = self.subject.program
            command = ["-m", program, "-A", "fault_tasks", "worker", "-l", "INFO", "-P", pool]
            command += ["-c", slots, "-n", f"{name}@here"]
        else:
            command = ["fault_tasks.py", name]
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(role, line),
                cwd=HERE,
                start_new_session=True,
            )
        self.members[role] = Member(role, name, process, line, log)
        return self.members[role]

    def _environment(self, role: str, line: Line | None) -> dict[str, str]:
        given = {
            "program": self.subject.program,
            "late": self.subject.late,
            "broker": self.url(line),
            "queue": QUEUE,
            "conf": {**self.subject.setting(self.broker), **self._work.conf},
            "executed": str(self.folder / "executed"),
            "sent": str(self.folder / "sent"),
            "stop": str(self.folder / "stop"),
            "task_s": self._work.task_s,
            "rate": self._work.rate,
            "ahead": 60,
            "batch": 20,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CELER")}
        more = {"FAULT_TEST": json.dumps(given), "PYTHONPATH": PATH, "PYTHONUNBUFFERED": "1"}
        return {**kept, **more, **self._work.environment.get(role, {})}

    def ready(self, role: str) -> None:
        """Wait until a worker says that it is ready."""
        member = self.members[role]
        deadline_s = time.monotonic() + READY_S
        while b" ready." not in (text := member.log.read_bytes()):
            assert member.process.poll() is None, text.decode()
            assert time.monotonic() < deadline_s, text.decode()
            time.sleep(0.05)

    def stop_publishing(self) -> None:
        """Let the publishers account for what they have sent, and end."""
        (self.folder / "stop").touch()
        for role in PUBLISHERS:
            member = self.members[role]
            if member.ended() != 0 and self.subject.is_ours:
                raise AssertionError(member.log.read_text())

    def stop(self, role: str) -> int | None:
        """Stop a worker warmly; None where it does not end."""
        if self.subject.is_ours:
            self.ready(role)
        member = self.members[role]
        member.process.send_signal(signal.SIGTERM)
        return member.ended()

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"== {member.name}\n" + member.log.read_text(errors="replace")[-3000:]
            for member in self.members.values()
        )

    def contents(self) -> dict[str, int]:
        """What is in the broker: messages that wait, and those that somebody holds."""
        if self.broker == "sqlite":
            with contextlib.closing(sqlite3.connect(self.folder / "queue.db")) as database:
                (count,) = database.execute("SELECT count(*) FROM messages").fetchone()
            return {"messages": count}
        assert self.server
        if self.broker == "redis":
            with redis.Redis(port=self.server.port) as client:
                index = client.zcard("unacked_index")
                return {
                    QUEUE: client.llen(QUEUE),
                    "unacked": client.hlen("unacked"),
                    "index": index,
                }
        with amqp.Connection(f"127.0.0.1:{self.server.port}", connect_timeout=5) as connection:
            declared = connection.channel().queue_declare(QUEUE, passive=True)
        return {QUEUE: declared.message_count}

    def close(self) -> None:
        """End everything that is left."""
        for member in self.members.values():
            if member.process.poll() is None:
                member.kill()
        for line in self._lines.values():
            line.close()
        if self.server:
            self.server.close()


@contextlib.contextmanager
def yard(
    broker: str,
    folder: Path,
    work: Work | None = None,
    subject: Subject = SUBJECTS["celeriac"],
) -> Iterator[Yard]:
    """A yard that runs, and is gone on leaving."""
    made = Yard(broker, folder, work, subject)
    try:
        made.start()
        yield made
    finally:
        made.close()
