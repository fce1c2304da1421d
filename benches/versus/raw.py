"""What the bare clients do with the same messages: the ceilings that the goals are shares of."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import kombu
import redis

from surroundings import DEADLINE_S, Figures, Missing, Settings, Side, prepared

if TYPE_CHECKING:
    from surroundings import Round

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / "target" / "versus"
#: As many unconfirmed messages as a publisher of ours has in flight.
WINDOW = 4_096


def redis_benchmark(side: Side, seconds: float) -> Figures:
    """`redis-benchmark -P 64` pushing messages as long as ours."""
    program = shutil.which("redis-benchmark")
    if not program:
        raise Missing("redis-benchmark is not installed (Debian: redis-tools)")
    with prepared(side) as this:
        place = urlsplit(side.broker)
        command = [
            program, "-h", place.hostname or "127.0.0.1", "-p", str(place.port or 6379),
            "--dbnum", place.path.strip("/"), "-P", "64", "-t", "lpush", "--csv",
            "-d", str(len(redis_message(this))), "-n", str(max(10_000, int(500_000 * seconds))),
        ]  # fmt: skip
        printed = run(command)
    return {"per_s": float(next(csv.DictReader(io.StringIO(printed)))["rps"])}


def lpush_loop(side: Side, seconds: float) -> Figures:
    """A loop of plain Python: LPUSH, wait for the answer, again."""
    with prepared(side) as this:
        message = redis_message(this)
        place = urlsplit(side.broker)
        parts = (b"LPUSH", b"versus-loop", message)
        command = b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with socket.create_connection((place.hostname, place.port or 6379)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b"SELECT %s\r\n" % place.path.strip("/").encode())
            assert connection.recv(64) == b"+OK\r\n"
            return looped(connection, command, seconds)


def looped(connection: socket.socket, command: bytes, seconds: float) -> Figures:
    count = 0
    started_s, spent_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - started_s < seconds:
        for _ in range(50):
            connection.sendall(command)
            answer = connection.recv(64)
            while not answer.endswith(b"\r\n"):
                answer += connection.recv(64)
        count += 50
    taken_s, spent_s = time.perf_counter() - started_s, time.process_time() - spent_s
    return {"per_s": count / taken_s, "cpu_us": spent_s / count * 1e6}


def redis_message(this: Round) -> bytes:
    """A message of ours as it lies in the queue."""
    this.produce("captured", 0)
    with redis.Redis.from_url(this.side.broker) as client:
        found = client.rpop(this.queue)
    assert isinstance(found, bytes)
    return found


def rabbitmq_c(side: Side, seconds: float, window: int) -> Figures:
    """rabbitmq-c publishing a message of ours; `window` may be unconfirmed, 0: no confirms."""
    program = rabbitmq_publish()
    with prepared(side) as this:
        message, body = this.folder / "message", this.folder / "body"
        write_message(amqp_message(this), message, body)
        place = urlsplit(side.broker)
        arguments = [
            place.hostname, place.port or 5672, unquote(place.username or "guest"),
            unquote(place.password or "guest"), unquote(place.path[1:]) or "/", this.queue,
            seconds, window, message, body,
        ]  # fmt: skip
        figures: Figures = json.loads(run([program, *map(str, arguments)]))
        return figures


@cache
def rabbitmq_publish() -> str:
    """Compile the program, with Debian's librabbitmq-dev, which is installed if need be."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise Missing("no C compiler for rabbitmq-c (Debian: gcc)")
    BUILT.mkdir(parents=True, exist_ok=True)
    program = BUILT / "rabbitmq_publish"
    command = [compiler, "-O2", "-o", program, HERE / "rabbitmq_publish.c", "-lrabbitmq"]
    if not Path("/usr/include/amqp.h").exists():
        install("librabbitmq-dev")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"rabbitmq-c does not compile: {done.stderr.strip()[-300:]}")
    return str(program)


def install(package: str) -> None:
    """Install a package of Debian as the tests' servers are (tools/services.py)."""
    command = [sys.executable, "-c", f"import services; services.install({package!r})"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tools")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"{package} cannot be installed: {done.stderr.strip()[-300:]}")


def amqp_message(this: Round) -> kombu.Message:
    """A message of ours as the server hands it out."""
    this.produce("captured", 0)
    with kombu.Connection(this.side.broker) as connection, connection.channel() as channel:
        return channel.basic_get(this.queue, no_ack=True)


def write_message(message: Any, headers: Path, body: Path) -> None:
    """Write a message down for rabbitmq_publish.c."""
    names = ("content_type", "content_encoding", "correlation_id", "reply_to", "delivery_mode")
    lines = [
        f"p\t{name}\t{message.properties[name]}"
        for name in (*names, "priority")
        if message.properties.get(name) is not None
    ]
    lines += [described(name, value) for name, value in message.headers.items()]
    headers.write_text("\n".join([*lines, ""]))
    body.write_bytes(message.body if isinstance(message.body, bytes) else message.body.encode())


def described(name: str, value: Any) -> str:
    """One header for rabbitmq_publish.c."""
    match value:
        case None:
            return f"n\t{name}\t"
        case bool():
            return f"b\t{name}\t{int(value)}"
        case int():
            return f"i\t{name}\t{value}"
        case str():
            return f"s\t{name}\t{value}"
        case list() if not any(value):
            return f"l\t{name}\t{len(value)}"
        case dict() if not value:
            return f"t\t{name}\t"
    raise TypeError(f"rabbitmq_publish.c knows no header as {name}={value!r}")


def bare_lapin(side: Side, count: int, prefetch: int) -> Figures:
    """A consumer of lapin alone, that acknowledges, on a queue that we filled."""
    program = lapin_program()
    with prepared(side, Settings(results=False)) as this:
        this.produce("fill", count)
        figures: Figures = json.loads(
            run([program, side.broker, this.queue, str(count), str(prefetch)])
        )
        return figures


@cache
def lapin_program() -> str:
    """Build benches/rust/bare_lapin.rs, optimized as the wheel."""
    if not shutil.which("cargo"):
        raise Missing("no cargo for the bare lapin consumer")
    command = ["cargo", "bench", "--locked", "--quiet", "-p", "celeriac-core"]
    command += ["--bench", "bare_lapin", "--no-run", "--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        found = json.loads(line)
        if found.get("target", {}).get("name") == "bare_lapin" and found.get("executable"):
            program: str = found["executable"]
            return program
    raise Missing(f"the bare lapin consumer does not build: {done.stderr.strip()[-300:]}")


def bare_sqlite(side: Side, seconds: float, batch: int) -> Figures:
    """Python's sqlite3 inserting one of our messages into a table as ours, `batch` to a commit."""
    with prepared(side) as this:
        this.produce("captured", 0)
        schema, columns, values, synchronous = sqlite_message(this.folder / "queue.db")
        connection = sqlite3.connect(this.folder / "bare.db", isolation_level=None)
        connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}")
        connection.executescript(";".join(schema))
        insert = (
            f"INSERT INTO messages ({', '.join(columns)}) VALUES ({('?, ' * len(columns))[:-2]})"
        )
        try:
            return inserted(connection, insert, values, seconds, batch)
        finally:
            connection.close()


def inserted(
    connection: sqlite3.Connection, insert: str, values: tuple[Any, ...], seconds: float, batch: int
) -> Figures:
    count, rows = 0, [values] * batch
    started_s, spent_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - started_s < seconds:
        if batch == 1:
            connection.execute(insert, values)
        else:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows)
            connection.execute("COMMIT")
        count += batch
    taken_s, spent_s = time.perf_counter() - started_s, time.process_time() - spent_s
    return {"per_s": count / taken_s, "cpu_us": spent_s / count * 1e6}


def sqlite_message(file: Path) -> tuple[list[str], list[str], tuple[Any, ...], str]:
    """The tables of a file of ours, and the columns and values of a message in it.

    The synchronous that a publisher of ours sets belongs to its connection, not to the file: it
    is NORMAL unless a user asks for more.
    """
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        schema = [
            sql
            for (sql,) in connection.execute(
                "SELECT sql FROM sqlite_schema WHERE tbl_name = 'messages' AND sql IS NOT NULL"
            )
        ]
        found = connection.execute("SELECT * FROM messages")
        columns = [column[0] for column in found.description]
        values = found.fetchone()
    at = columns.index("id")
    return schema, columns[:at] + columns[at + 1 :], values[:at] + values[at + 1 :], "NORMAL"


def run(command: list[str]) -> str:
    """Run a program to its end.

    Returns:
        What it printed.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
