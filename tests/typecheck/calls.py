"""What a type checker says of calls; a line that is an error is marked with the word at its end."""

from __future__ import annotations

from typing import Any

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
wrong: str = add.delay(1).get()  # error
