"""Tasks with ``pydantic=True``, beside Celery's own."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Optional

import celery
import pydantic
import pytest

from celeriac.exceptions import EncodeError, ImproperlyConfigured


class Order(pydantic.BaseModel):
    number: int
    note: str = ""


class Urgent(Order):
    by: str


class Receipt(pydantic.BaseModel):
    total: int


class Picky(pydantic.BaseModel):
    number: int

    @pydantic.field_validator("number")
    @classmethod
    def told_who_asks(cls, value: int, info: pydantic.ValidationInfo) -> int:
        if info.context is None:
            return value
        return value + len(info.context["celery_task_name"]) + info.context.get("more", 0)


def buy(order: Order, many: int = 1) -> Receipt:
    assert type(order) is Order
    return Receipt(total=order.number * many)


def maybe(order: Order | None = None, other: Optional[Order] = None) -> Receipt | None:  # noqa: UP045
    kinds = type(order).__name__, type(other).__name__
    return None if order is None else Receipt(total=len(kinds[1]))


def rest(*orders: Order, **more: Order) -> str:
    return f"{[type(one).__name__ for one in orders]} {sorted(more)}"


def undeclared(order: Order):
    return {"kind": type(order).__name__}


def later(order: Written) -> Written:
    return order


class Written(pydantic.BaseModel):
    text: str


ORDER = {"number": 3, "note": "n"}
CALLS = [
    (buy, (ORDER,), {}),
    (buy, (), {"order": ORDER, "many": 2}),
    (buy, ({"number": "3"},), {}),
    (buy, (Order(number=5),), {}),
    (maybe, (), {}),
    (maybe, (ORDER, ORDER), {}),
    (maybe, (ORDER, None), {}),
    (undeclared, (ORDER,), {}),
]


@pytest.fixture
def theirs():
    return celery.Celery("p", broker="memory://", backend="cache+memory://", set_as_current=False)


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_a_call_gives_what_celery_gives(app, theirs, function, args, kwargs):
    found, expected = (
        one.task(function, pydantic=True, shared=False, name="t")
        .apply(args, kwargs, throw=True)
        .get()
        for one in (app, theirs)
    )
    assert found == expected
    assert type(found) is type(expected)


def test_each_of_many_arguments_is_validated(app, sent):
    # Celery validates the tuple of them as one model, which always fails.
    task = app.task(rest, pydantic=True, shared=False, name="t")
    assert task.apply((ORDER, ORDER), {"a": ORDER}).get() == "['Order', 'Order'] ['a']"
    assert task.apply((ORDER, 1)).failed()
    task.delay(Order(number=1), a=Order(number=2))
    assert json.loads(sent(app, 1)[0].body)[:2] == [
        [{"number": 1, "note": ""}],
        {"a": {"number": 2, "note": ""}},
    ]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("given", [{"number": "3"}, {"number": "x"}, {}, None, 5])
def test_what_is_refused_is_what_celery_refuses(app, theirs, given, strict):
    def outcome(one):
        task = one.task(buy, pydantic=True, shared=False, pydantic_strict=strict, name="t")
        result = task.apply((given,))
        return result.state, type(result.result), str(result.result)

    assert outcome(app) == outcome(theirs)


def test_validators_see_the_context(app, theirs):
    def asked(order: Picky) -> int:
        return order.number

    found, expected = (
        one.task(asked, pydantic=True, shared=False, name="four", pydantic_context={"more": 100})
        .apply(({"number": 1},))
        .get()
        for one in (app, theirs)
    )
    assert found == expected == 1 + 4 + 100


def test_a_result_is_dumped_as_the_options_say(app, theirs):
    def whole(order: Order) -> Order:
        return order

    found, expected = (
        one.task(
            whole, pydantic=True, shared=False, name="t", pydantic_dump_kwargs={"exclude": {"note"}}
        )
        .apply((ORDER,))
        .get()
        for one in (app, theirs)
    )
    assert found == expected == {"number": 3}


def test_a_bound_task_does_not_count_itself(app):
    @app.task(bind=True, pydantic=True)
    def bound(self, order: Order) -> Receipt:
        return Receipt(total=len(self.name) + order.number)

    assert bound.apply((ORDER,)).get() == {"total": len(bound.name) + 3}
    with pytest.raises(TypeError, match="order"):
        bound.delay()


def test_a_coroutine_function_is_validated_and_dumped_too(app):
    @app.task(pydantic=True)
    async def buy_later(order: Order) -> Receipt:
        await asyncio.sleep(0)
        return Receipt(total=order.number)

    assert buy_later.apply((ORDER,)).get() == {"total": 3}


def test_a_model_may_stand_below_the_task(app):
    assert app.task(later, pydantic=True).apply(({"text": "t"},)).get() == {"text": "t"}


MODELS: list[tuple[Any, Any, Any]] = [
    (buy, (Order(number=5),), {}),
    (buy, [Order(number=5)], {"many": 3}),
    (buy, (), {"order": Order(number=5, note="n")}),
    (maybe, (Order(number=5), Order(number=6)), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), MODELS)
def test_models_of_a_caller_are_sent_as_celery_sends_them(
    app, theirs, sent, function, args, kwargs
):
    ours = app.task(function, pydantic=True, shared=False, name="t")
    ours.apply_async(args, kwargs)
    (message,) = sent(app, 1)
    their_args, their_kwargs = (
        theirs.task(function, pydantic=True, shared=False, name="t")
        ._get_current_object()
        ._dump_pydantic_arguments(args, kwargs)
    )
    assert json.loads(message.body)[:2] == [list(their_args), their_kwargs]


@pytest.mark.parametrize("args", [(Urgent(number=1, by="now"),), (Receipt(total=1),)])
def test_what_a_worker_would_not_make_again_is_not_sent(app, args):
    with pytest.raises(EncodeError, match=type(args[0]).__name__):
        app.task(buy, pydantic=True, shared=False, name="t").apply_async(args)


def test_pickle_carries_models_as_they_are(app, sent):
    app.task(buy, pydantic=True, shared=False, name="t").apply_async(
        (Order(number=5),), serializer="pickle"
    )
    assert b"Order" in sent(app, 1)[0].body


def test_a_coroutine_sends_models_too(app, sent):
    asyncio.run(
        app.task(buy, pydantic=True, shared=False, name="t").aapply_async((Order(number=5),))
    )
    assert json.loads(sent(app, 1)[0].body)[0] == [{"number": 5, "note": ""}]


def test_without_pydantic_the_error_says_what_to_install(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ImproperlyConfigured, match="pip install pydantic"):
        app.task(buy, pydantic=True, shared=False, name="t", lazy=False)
