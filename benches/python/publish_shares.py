"""Where each microsecond of a publish goes: caller, I/O thread, server.

Usage: publish_shares.py [URL [COUNT]]; URL is a Redis of which database 9 is emptied.
Linux only: the kernel counts what each thread has used.
"""

import sys
import time
from pathlib import Path

import redis

from celeriac import Celery, _native, group

URL = sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379"
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000

app = Celery("shares", broker=f"{URL}/9", backend=f"{URL}/9")
app.conf.task_default_queue = "shares"


@app.task(ignore_result=True)
def forget(x, y):
    return x + y


@app.task
def add(x, y):
    return x + y


def through_a_window(count):
    with app.publisher() as publisher:
        for number in range(count):
            forget.apply_async((number, 1), publisher=publisher)


def the_window_alone(count):
    window = app.publisher().window
    template = app.sender.template_of(app.tasks[forget.name], {})
    for number in range(count):
        window.publish_plain(template, (number, 1), {}, "oid", 30.0)
    window.flush(30.0)


def the_message_alone(count):
    template = app.sender.template_of(app.tasks[forget.name], {})
    for number in range(count):
        template.envelope((number, 1), {}, None)


def one_by_one(count):
    for number in range(count // 20):
        forget.delay(number, 1)


def one_by_one_with_results(count):
    for number in range(count // 20):
        add.delay(number, 1)


def as_a_group(count):
    group(forget.s(number, 1) for number in range(count // 5)).apply_async()


MEASURED = {
    "publisher, apply_async": (through_a_window, 1),
    "publisher, from its template on": (the_window_alone, 1),
    "a message and nothing else": (the_message_alone, 1),
    "delay()": (one_by_one, 20),
    "delay(), with results": (one_by_one_with_results, 20),
    "group": (as_a_group, 5),
}


def threads_us():
    """CPU of each thread of this process in microseconds, by name."""
    used = {}
    for task in Path("/proc/self/task").iterdir():
        name = (task / "comm").read_text().strip()
        nanoseconds = int((task / "schedstat").read_text().split()[0])
        used[name] = used.get(name, 0) + nanoseconds / 1000
    return used


def server_us(client):
    """CPU of the server in microseconds."""
    info = client.info("cpu")
    return (info["used_cpu_user"] + info["used_cpu_sys"]) * 1e6


if __name__ == "__main__":
    client = redis.Redis.from_url(f"{URL}/9")
    print(f"celeriac {_native.__version__}; microseconds a message")
    print(f"{'':34}{'wall':>8}{'caller':>8}{'I/O':>8}{'server':>8}")
    for name, (work, part) in MEASURED.items():
        client.flushdb()
        work(part * 200)
        before, before_server = threads_us(), server_us(client)
        began_s = time.perf_counter()
        work(COUNT)
        wall_us = (time.perf_counter() - began_s) * 1e6
        used = {key: us - before.get(key, 0) for key, us in threads_us().items()}
        io_us = used.pop("celeriac-io", 0)
        shares = (wall_us, sum(used.values()), io_us, server_us(client) - before_server)
        print(f"{name:34}" + "".join(f"{us / (COUNT // part):8.2f}" for us in shares))
    client.flushdb()
