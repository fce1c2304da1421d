"""What a type checker says of calls; a line that is an error is marked with the word at its end."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from typing_extensions import assert_type

from celeriac import Celery, Task, shared_task
from celeriac.result import AsyncResult, EagerResult

app = Celery("proj")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(bind=True, max_retries=5)
def fetch(self: Task, url: str) -> bytes:
    return f"{self.name} {url}".encode()


@app.task(name="proj.named")
def named(*, text: str) -> str:
    return text


@shared_task
def shared(x: int) -> list[int]:
    return [x]


@shared_task(bind=True)
def bound_shared(self: Task, x: int) -> float:
    return x / (self.max_retries or 1)


class Counting(Task[..., Any]):
    count = 0


@app.task(base=Counting)
def counted(x: int) -> int:
    return x


assert_type(add.delay(1, 2), AsyncResult[int])
assert_type(add.delay(1, y=2).get(timeout=1), int)
assert_type(add.apply_async((1, 2), countdown=3), AsyncResult[int])
assert_type(add.apply((1, 2)), EagerResult[int])
assert_type(add(1, 2), int)
assert_type(add.AsyncResult("id"), AsyncResult[int])
assert_type(fetch.delay("http://localhost"), AsyncResult[bytes])
assert_type(fetch("http://localhost"), bytes)
assert_type(named.delay(text="a").get(), str)
assert_type(shared.delay(1).get(), list[int])
assert_type(bound_shared.delay(1).get(), float)
assert_type(counted.count, Any)


@app.task
async def later(url: str) -> bytes:
    return url.encode()


@app.task(bind=True, autoretry_for=(OSError,))
async def bound_later(self: Task, url: str) -> list[str]:
    return [self.name, url]


@shared_task
async def shared_later(x: int) -> float:
    return x


class Order(BaseModel):
    number: int


@app.task(pydantic=True)
def buy(order: Order, many: int = 1) -> Order:
    return Order(number=order.number * many)


@app.task(pydantic=True, bind=True, pydantic_strict=True)
def bound_buy(self: Task, order: Order) -> int:
    return order.number


async def awaiting() -> None:
    """What coroutines see."""
    assert_type(await add.adelay(1, 2), AsyncResult[int])
    assert_type(await (await add.adelay(1, 2)).aget(timeout=1), int)
    assert_type(await add.aapply_async((1, 2), countdown=3), AsyncResult[int])
    assert_type(await (await bound_shared.adelay(1)).aget(), float)
    assert_type(await later("http://localhost"), bytes)
    assert_type(await (await later.adelay("http://localhost")).aget(), bytes)
    async for task_id, _value in app.GroupResult("id", []):
        assert_type(task_id, Any)
    await add.adelay("x")  # error
    await later.adelay(1)  # error
    also_wrong: str = await (await add.adelay(1)).aget()  # error
    print(also_wrong)


# A worker awaits a coroutine: its value is the result.
assert_type(later.delay("http://localhost"), AsyncResult[bytes])
assert_type(later.delay("http://localhost").get(), bytes)
assert_type(later.apply(("http://localhost",)).get(), bytes)
assert_type(bound_later.delay("http://localhost").get(), list[str])
assert_type(shared_later.delay(1).get(), float)
assert_type(buy.delay(Order(number=1)).get(), dict[str, Any])
assert_type(bound_buy.delay(Order(number=1)).get(), int)
add.s(1)  # a chain adds the rest
add.si(1, 2)
untyped: AsyncResult = app.send_task("proj.elsewhere", (1,))
assert_type(untyped.get(), Any)

add.delay("x")  # error
add.delay()  # error
add.delay(1, 2, 3)  # error
add.delay(1, z=2)  # error
add("x")  # error
add.si("x")  # error
fetch.delay(1)  # error
fetch.delay()  # error
named.delay("a")  # error
shared.delay("x")  # error
bound_shared.delay()  # error
later.delay(1)  # error
later("x", "y")  # error
bound_later.delay()  # error
shared_later.delay("x")  # error
buy.delay("x")  # error
bound_buy.delay(1)  # error
wrong: str = add.delay(1).get()  # error
