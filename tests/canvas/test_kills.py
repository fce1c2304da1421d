"""Workers killed at random, with late acknowledgement: each canvas closes, no body is sent twice.

``make faults`` kills during 200 canvases; ``CELERIAC_TEST_KILLS`` says another number, and
``CELERIAC_TEST_SEED`` draws others.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from fleet import Process, places, until, worker
from random_canvas import several

COUNT = int(os.environ.get("CELERIAC_TEST_KILLS", "10"))
SEED = int(os.environ.get("CELERIAC_TEST_SEED", "5000"))
pytestmark = pytest.mark.timeout(240 + 20 * COUNT)
CONF = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "result_chord_join_timeout": 1.0,
    "worker_prefetch_multiplier": 2,
}
SOON = {"visibility_timeout": 3, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
#: Once so much time has passed that some task runs, one process dies. Workers: two, of which one
#: has children.
PAUSES_S = (0.2, 1.2)
POOLS = [("prefork", "-c", "2"), ("threads", "-c", "2")]


class Fleet:
    """Two workers; whoever is killed is followed by another one of its kind."""

    def __init__(self, given, stack):
        self._given, self._stack = given, stack
        self.killed = set()
        self.members = [self._started(pool) for pool in POOLS]

    def _started(self, pool):
        return pool, self._stack.enter_context(worker(self._given, *pool))

    def ready(self):
        for _, member in self.members:
            member.wait_for(" ready.")

    def kill_one(self, chance):
        """Kill a worker with its children, or a child alone."""
        index = chance.randrange(len(self.members))
        pool, member = self.members[index]
        family = descendants(member.process.pid)
        # The server that children are forked from is the first; its end is the worker's.
        if len(family) > 1 and chance.random() < 0.4:
            child = chance.choice(family[1:])
            self.killed.add(child)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)
            return
        self.killed.update([member.process.pid, *family])
        member.kill()
        self.members[index] = self._started(pool)


def descendants(pid):
    found = []
    with contextlib.suppress(FileNotFoundError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_every_canvas_closes_once_though_workers_are_killed(broker, redis_url, redis, tmp_path):
    chance = random.Random(SEED)
    canvases = several(SEED, COUNT)
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(places(broker, redis_url, tmp_path))
        options = {"broker_transport_options": SOON} if broker == "redis" else {}
        given |= {
            "conf": CONF | options,
            "record": redis_url,
            "pause_s": 0.05,
            "wait_s": 100 + 8 * COUNT,
        }
        fleet = Fleet(given, stack)
        fleet.ready()
        sender = stack.enter_context(Process(given, "sender.py"))
        sender.process.stdin.write(json.dumps([c.text() for c in canvases]).encode() + b"\n")
        sender.process.stdin.flush()
        sender.wait_for("all sent", 60 + COUNT)
        kills = 0
        while "all done" not in sender.text and kills < 2 * COUNT:
            time.sleep(chance.uniform(*PAUSES_S))
            fleet.kill_one(chance)
            kills += 1
            if kills % 4 == 0:
                # Some get through, or nothing ever would: a worker takes longer to start.
                fleet.ready()
        until(lambda: "all done" in sender.text, 110 + 8 * COUNT, sender)
        found = [line for line in sender.text.splitlines() if line.startswith("canvas ")]
    expected = [
        f"canvas {number} {json.dumps({'value': canvas.value(None)})}"
        for number, canvas in enumerate(canvases)
    ]
    assert found == expected, f"{kills} kills"
    records = [json.loads(item) for item in redis.lrange(f"{given['queue']}.sent", 0, -1)]
    assert sent_twice(records, fleet.killed) == [], f"{kills} kills"


def sent_twice(records, killed):
    """Bodies that were sent twice though their header was sent once, and no sender had died.

    What a killed task had sent already, its next delivery sends again: that is late
    acknowledgement. A whole header may be among it, and then so is its body.
    """
    senders = defaultdict(list)
    for record in records:
        senders[record["id"]].append(record["pid"])
    often = Counter(record["id"] for record in records)
    headers, bodies = defaultdict(set), defaultdict(set)
    for record in records:
        if record["group"]:
            headers[record["group"]].add(record["id"])
            bodies[record["group"]].update(record["body"])
    return [
        (group, body, senders[body])
        for group, members in headers.items()
        for body in bodies[group]
        if all(often[member] == 1 for member in members)
        and sum(pid not in killed for pid in senders[body]) > 1
    ]
