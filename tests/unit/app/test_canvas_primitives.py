"""What canvases are and do in one process, each expression beside the real Celery."""

from __future__ import annotations

import json
import pickle
import re

import celery
import pytest
from celery.canvas import StampingVisitor as TheirVisitor

import celeriac
from celeriac.canvas import StampingVisitor as OurVisitor

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def tasks_of(app):
    def task(function, **options):
        return app.task(function, name=function.__name__, lazy=False, shared=False, **options)

    def add(x, y=0):
        return x + y

    def total(numbers):
        return sum(numbers)

    def fail(*_args):
        raise KeyError("k")

    return {function.__name__: task(function) for function in (add, total, fail)}


def visitor_of(base):
    class Visitor(base):
        """Stamps everything with what it is."""

        def on_signature(self, sig, **headers):
            return {"on": "signature"}

        def on_group_start(self, sig, **headers):
            return {"in_group": True}

        def on_chain_start(self, sig, **headers):
            return {"in_chain": True}

        def on_chord_body(self, sig, **headers):
            return {"in_body": True}

        def on_callback(self, sig, **headers):
            return {"is_callback": True}

        def on_errback(self, sig, **headers):
            return {"is_errback": True, "stamped_headers": ["is_errback"]}

    return Visitor


def stamped(sig, *args, **stamps):
    sig.stamp(*args, **stamps)
    return sig


def linked(sig, *links):
    for link in links:
        sig.link(link)
    return sig


def frozen(sig, *args, **options):
    handle = sig.freeze(*args, **options)
    return [sig, handle.as_tuple()]


def namespace(flavour, visitor_class):
    """What the expressions see of one of the two packages."""
    results = "memory://primitives" if flavour is celeriac else "cache+memory://"
    app = flavour.Celery("p", broker="memory://", backend=results, set_as_current=False)
    app.conf.task_allow_error_cb_on_chord_header = True
    names = {name: getattr(flavour, name) for name in ("chain", "chord", "group", "signature")}
    return {
        "app": app,
        "Visitor": visitor_of(visitor_class),
        "as_json": lambda sig: flavour.signature(json.loads(json.dumps(sig)), app=app),
        "as_pickle": lambda sig: flavour.signature(pickle.loads(pickle.dumps(sig)), app=app),
        "stamped": stamped,
        "linked": linked,
        "frozen": frozen,
        **names,
        **tasks_of(app),
    }


@pytest.fixture(scope="module")
def sides():
    return [namespace(celery, TheirVisitor), namespace(celeriac, OurVisitor)]


def shown(names, expression):
    """The expression's value as text, with ids numbered as they appear; or what it raises."""
    try:
        value = eval(expression, dict(names))
        text = json.dumps(without_nulls(value), sort_keys=True, indent=1, default=repr)
    except Exception as error:  # noqa: BLE001 - whatever either of them raises
        return type(error).__name__
    ids = {}
    return UUID.sub(lambda found: ids.setdefault(found[0], f"id {len(ids)}"), text)


def without_nulls(value):
    """Leave out what means nothing: options of None, and the order of the names of stamps.

    Celery gives each member of a frozen header the whole body; here it has it when it is sent. An
    *option* named immutable, which Celery gives to errbacks of headers, is read by nobody.
    """
    if isinstance(value, (list, tuple)):
        return [without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value if type(value).__name__ != "_regen" else [without_nulls(i) for i in value]
    return {
        key: {
            k: sorted(v) if k == "stamped_headers" else without_nulls(v)
            for k, v in item.items()
            if v is not None and k not in {"reply_to", "chord", "immutable"}
        }
        if key == "options"
        else without_nulls(item)
        for key, item in value.items()
    }


A, B, C = "add.s(1, 1)", "add.s(2)", "add.s(3)"
GROUP = "group([add.s(1, 1), add.s(2, 2)])"
CHORD = "chord([add.s(1, 1), add.s(2, 2)], total.s())"
SHAPES = {
    "task": A,
    "immutable": "add.si(1, 1)",
    "chain": f"({A} | {B} | {C})",
    "chain of one": f"chain({A})",
    "empty chain": "chain()",
    "group": GROUP,
    "group of one": f"group({A})",
    "empty group": "group()",
    "chord": CHORD,
    "empty chord": "chord([], total.s())",
    "chord with a chain": f"chord([{A} | {B}, {A}], total.s() | {C})",
    "chord in a chord": f"chord([{CHORD}, {A}], total.s())",
    "chord in a chain in a chord": f"chord([{A} | {CHORD.replace('s(1, 1)', 's(1)')}], total.s())",
    "group in a chain": f"({A} | group({B}, {C}))",
    "group in a group": f"group({GROUP}, {A})",
    "group after a chord": f"({CHORD} | group({B}, {C}))",
    "chord after a group": f"({GROUP} | chord([total.s(), total.s()], total.s()))",
    "map": "add.map([1, 2])",
    "starmap": "add.starmap([(1, 2), (3, 4)])",
    "chunks": "add.chunks([(1, 2), (2, 3), (3, 4)], 2)",
}
#: What is done with each shape.
DOINGS = {
    "itself": "{}",
    "repr": "repr({})",
    "clone": "{}.clone()",
    "partial": "{}.clone((5,), countdown=3)",
    "set": "{}.set(priority=3, queue='q')",
    "immutable": "{}.set(immutable=True)",
    "json": "as_json({})",
    "pickle": "as_pickle({})",
    "freeze": "frozen({})",
    "freeze in a group": "frozen({}, group_id='g', group_index=3, root_id='r')",
    "link": "linked({}, add.s(7))",
    "on_error": "{}.on_error(fail.s())",
    "link_error": "[{}.link_error(fail.s()), {}]",
    "stamp": "stamped({}, tenant='blue')",
    "stamp twice": "stamped(stamped({}, tenant='blue'), append_stamps=True, tenant='red')",
    "visitor": "stamped({}, Visitor())",
    "visitor and links": "stamped({}.on_error(fail.s()).set(link=[add.s(1)]), Visitor(), a=1)",
    "apply": "{}.apply().get()",
    "apply with": "{}.apply((5,)).get()",
    "call": "repr({}.apply())[:5]",
    "then a task": "({}) | add.s(10)",
    "then a group": "({}) | group(add.s(10), add.s(20))",
    "then a chain": "({}) | (add.s(10) | add.s(20))",
    "then a chord": "({}) | chord([add.s(10), add.s(20)], total.s())",
    "then an empty group": "({}) | group()",
    "then a group of one": "({}) | group(add.s(10))",
    "after a task": "add.s(10, 10) | ({})",
    "after a group": "group(add.s(10), add.s(20)) | ({})",
    "after a chord": "chord([add.s(10), add.s(20)], total.s()) | ({})",
    "in a chain": "chain({}, add.s(4))",
    "in a group": "group({}, add.s(4))",
    "in a header": "chord([{}, add.s(4)], total.s())",
    "as a body": "chord([add.s(4)], {})",
    "flatten_links": "{}.flatten_links()",
    "id": "{}.set(task_id='i').id",
    "subtask_type": "[{0}.subtask_type, {0}.immutable, {0}.name]",
    "plus": "{} + add.s(1)",
    "times": "{} * 2",
    "invert eagerly": "[app.conf.update(task_always_eager=True), ~{}][1]",
    "unchain": "{}.unchain_tasks()",
    "size": "{}.__length_hint__()",
    "steps": "len({}.tasks)",
}


COMPOSED = [shape for shape in SHAPES if re.search("chain|group", shape) and "chord" not in shape]
DIFFERS = {
    # Celery drops the arguments of a chain's or group's clone.
    *((shape, "partial") for shape in [*COMPOSED, "group after a chord"]),
    # Celery shows an address, and a tuple as such.
    *((shape, "repr") for shape in COMPOSED if "group in" in shape or "empty chain" in shape),
    ("group after a chord", "repr"),
    # Celery links an errback to a chord in a header twice.
    ("chord in a chord", "on_error"),
    ("chord in a chord", "link_error"),
    ("chord in a chord", "visitor and links"),
    # Celery lets the stamps of one member leak, by name and without value, into those after it.
    ("chord with a chain", "visitor"),
    ("chord with a chain", "visitor and links"),
    ("chord in a chain in a chord", "visitor"),
    ("chord in a chain in a chord", "visitor and links"),
}


@pytest.mark.parametrize(
    ("shape", "doing"),
    [(shape, doing) for shape in SHAPES for doing in DOINGS if (shape, doing) not in DIFFERS],
)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_it_is_as_celerys(sides, shape, doing):
    expression = DOINGS[doing].replace("{0}", "{}").replace("{}", f"({SHAPES[shape]})")
    try:
        theirs, ours = (shown(names, expression) for names in sides)
    finally:
        for names in sides:
            names["app"].conf.task_always_eager = False
    assert ours == theirs
