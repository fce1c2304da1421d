"""Workflows whose every step is executed by either kind, in every order."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest

from places import REACH, Place, delete, url_of
from processes import Producer, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("celery", "celeriac")
WAIT_S = 60.0
#: How many steps, the canvas, and what it gives: {0} is a step, {q0} the name of its queue.
CANVASES = {
    "chain": (3, "{0} | {1} | {2}", lambda a, b, c: [a, b, c]),
    "group": (3, "{0} | flavour.group({1}, {2})", lambda a, b, c: [[a, b], [a, c]]),
    "chord": (3, "flavour.chord([{0}, {1}], {2})", lambda a, b, c: [[a], [b], c]),
    "chord in a chain": (
        4,
        "{0} | flavour.group({1}, {2}) | {3}",
        lambda a, b, c, d: [[a, b], [a, c], d],
    ),
    "chord after a chord": (
        4,
        "flavour.chord([{0}], {1}) | flavour.chord([{2}], {3})",
        lambda a, b, c, d: [[[a], b, c], d],
    ),
    "chain in a header": (
        4,
        "flavour.chord([{0} | {1}, {2}], {3})",
        lambda a, b, c, d: [[a, b], [c], d],
    ),
    "chord in a header": (
        4,
        "flavour.chord([flavour.chord([{0}], {1}), {2}], {3})",
        lambda a, b, c, d: [[[a], b], [c], d],
    ),
    "replaced": (
        3,
        "tasks.trail_replaced.s({q1}).set(queue={q0}) | {2}",
        lambda a, b, c: [a, b, c],
    ),
    "replaced in a header": (
        4,
        "flavour.chord([tasks.trail_replaced.s({q1}).set(queue={q0}), {2}], {3})",
        lambda a, b, c, d: [[a, b], [c], d],
    ),
    "retried": (
        4,
        "tasks.trail_retried.s([{q1}, {q2}]).set(queue={q0}) | {3}",
        lambda a, b, c, d: [a, b, c, d],
    ),
    "retried in a header": (
        3,
        "flavour.chord([tasks.trail_retried.s([{q1}]).set(queue={q0})], {2})",
        lambda a, b, c: [[a, b], c],
    ),
    "stamped": (
        3,
        "stamped({0} | {1} | {2}, rank='gold')",
        lambda *who: [[one, {"rank": "gold"}] for one in who],
    ),
}


class Hops(NamedTuple):
    """Producers of both kinds, and the queue of each kind of worker."""

    producers: dict[str, Producer]
    queues: dict[str, str]


@pytest.fixture(scope="module", params=REACH, ids="-".join)
def hops(request, session_redis_url) -> Iterator[Hops]:
    """A worker of each kind on a queue of its own, so that a queue says who executes."""
    version, broker = request.param
    place = Place(version, broker, url_of(broker, session_redis_url))
    mark = uuid.uuid4().hex[:8]
    queues = {kind: f"hops-{kind}-{mark}" for kind in KINDS}
    workers = [
        Worker(place.celery, place.url, queues["celery"], "solo"),
        Worker("celeriac", place.url, queues["celeriac"], "prefork", "-c", "2"),
    ]
    flavours = {"celery": place.celery, "celeriac": "celeriac"}
    producers = {kind: Producer(flavours[kind], place.url, queues[kind]) for kind in KINDS}
    yield Hops(producers, queues)
    for each in (*producers.values(), *workers):
        each.stop()
    delete(broker, *(name for queue in queues.values() for name in (queue, f"{queue}-other")))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("producer", KINDS)
@pytest.mark.parametrize("name", CANVASES)
def test_a_workflow_hops_between_workers_in_every_order(hops, producer, name):
    count, canvas, value = CANVASES[name]
    orders = list(itertools.product(KINDS, repeat=count))
    calls = []
    for order in orders:
        queues = [repr(hops.queues[kind]) for kind in order]
        steps = [f"tasks.trail.s().set(queue={queue})" for queue in queues]
        named = {f"q{number}": queue for number, queue in enumerate(queues)}
        calls.append(f"({canvas.format(*steps, **named)}).apply_async()")
    found = hops.producers[producer].ask(
        f"[result.get(timeout=50) for result in [{', '.join(calls)}]]", WAIT_S
    )
    assert dict(zip(orders, found, strict=True)) == {order: value(*order) for order in orders}


@pytest.mark.parametrize("producer", KINDS)
@pytest.mark.parametrize("fails", KINDS)
@pytest.mark.parametrize("hears", KINDS)
def test_an_errback_hops_to_the_worker_of_its_queue(hops, session_redis, producer, fails, hears):
    errback = f"tasks.note_failed_id.s().set(queue={hops.queues[hears]!r})"
    failing = f"tasks.fail.s('KeyError', 'k').set(queue={hops.queues[fails]!r})"
    failed_id = hops.producers[producer].ask(f"erring({failing}, {errback}).apply_async().id")
    # The key is that of the worker which runs the errback.
    heard = session_redis.blpop([f"{hops.queues[hears]}:failed"], timeout=30)
    assert heard[1].decode() == failed_id
