"""Canvases that cannot be right are refused where they are made or sent."""

import pytest

from celeriac import Celery, chain, chord, group
from celeriac.exceptions import EncodeError


@pytest.fixture
def add(app):
    return app.task(lambda x, y=0: x + y, name="add", lazy=False)


@pytest.mark.parametrize(
    "compose", [lambda a: chain(1, a), lambda a: group(1, a).delay(), lambda a: chord([1], a)()]
)
def test_what_is_no_signature_is_named(add, compose):
    with pytest.raises(TypeError, match=r"1 is no signature"):
        compose(add.s())


def test_a_chord_without_a_body_is_refused(add):
    with pytest.raises(TypeError, match=r"has no body"):
        chord([add.s(1)]).apply_async()


def test_a_chord_without_a_result_backend_is_refused():
    app = Celery("p", broker="memory://nowhere", set_as_current=False)
    add = app.task(lambda x, y=0: x + y, name="add", lazy=False)
    for canvas in (chord([add.s(1)], add.s()), group(add.s(1), add.s(2)) | add.s()):
        with pytest.raises(NotImplementedError, match=r"needs a result backend"):
            canvas.apply_async()


def a_chain(add):
    made = add.s(1) | add.s(2)
    made.tasks.append(made)
    return made


def a_group(add):
    made = group([add.s(1)])
    made.tasks.append(made)
    return made


def a_header(add):
    made = chord([add.s(1)], add.s())
    made.tasks.append(made)
    return made


def a_body(add):
    made = chord([add.s(1)], add.s())
    made.body = made
    return made


@pytest.mark.parametrize("make", [a_chain, a_group, a_header, a_body])
def test_a_canvas_that_contains_itself_is_refused(add, make):
    with pytest.raises(ValueError, match=r"does it contain itself"):
        make(add).apply_async()


def test_a_callback_that_is_linked_to_itself_is_refused(add):
    sig = add.s(1)
    sig.link(sig)
    with pytest.raises(EncodeError, match=r"does it contain itself"):
        sig.apply_async()


def test_a_body_of_an_application_that_looks_elsewhere_is_refused(add):
    elsewhere = Celery("q", broker="memory://x", backend="memory://x", set_as_current=False)
    body = elsewhere.task(lambda values: values, name="body", lazy=False).s()
    with pytest.raises(ValueError, match=r"body belongs to the application 'q'"):
        chord([add.s(1)], body).apply_async()


def test_an_argument_that_cannot_travel_is_refused_before_anything_is_sent(add):
    with pytest.raises(EncodeError, match=r"chain\[0\].* is of type set"):
        (add.s(1) | add.s({1})).apply_async()


def test_an_empty_chain_sends_nothing():
    assert chain().apply_async() is None
    assert chain()() is None
