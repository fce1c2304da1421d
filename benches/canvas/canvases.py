"""Tasks and canvases for both: CANVAS_FLAVOUR says which package they are built on."""

from __future__ import annotations

import importlib
import os

flavour = importlib.import_module(os.environ["CANVAS_FLAVOUR"])
url = os.environ["CANVAS_URL"]

app = flavour.Celery("canvases", broker=url, backend=url)
app.conf.update(
    broker_connection_retry_on_startup=True,
    # A chord in a chord is joined by who waits for the inner results.
    result_chord_join_timeout=60.0,
)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


def chain_of(count):
    """Steps one after the other."""
    return flavour.chain(add.s(0, 1), *(add.s(1) for _ in range(count - 1)))


def group_of(count):
    """Members side by side, from a generator."""
    return flavour.group(add.s(number, 1) for number in range(count))


def chord_of(count):
    """A header, and one task with all its results."""
    return flavour.chord([add.s(number, 1) for number in range(count)], total.s())


def chords_in_a_row(count):
    """Chords of ten tasks each, one after the other."""
    made = flavour.chord([add.s(number, 1) for number in range(10)], total.s())
    for _ in range(count - 1):
        made |= flavour.chord([add.s(number) for number in range(10)], total.s())
    return made


def groups_in_groups(depth):
    """A group of a task and a group, which is one of a task and a group, ..."""
    made = flavour.group(add.s(0, 1), add.s(0, 2))
    for _ in range(depth - 1):
        made = flavour.group(add.s(0, 1), made)
    return made


def value_of(name, size):
    """What the canvas gives."""
    if name == "chain_of":
        return size
    if name == "group_of":
        return [number + 1 for number in range(size)]
    if name == "chord_of":
        return size * (size + 1) // 2
    if name == "groups_in_groups":
        return None
    value = 55
    for _ in range(size - 1):
        value = 10 * value + 45
    return value
