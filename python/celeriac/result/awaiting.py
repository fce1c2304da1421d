"""How coroutines wait for results: woken by the documents, one descriptor for all of a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac.exceptions import TimeoutError  # noqa: A004 - Celery's name
from celeriac.green import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

#: How long subscribing may take, in seconds.
WAIT_S = 10.0
#: When a result is read without having been announced: an announcement may be lost with its
#: connection. The wait doubles up to the second figure.
LOOK_S = (5.0, 60.0)
#: The same where nobody announces results.
POLL_S = (0.1, 1.0)


async def final_document(
    result: Any,
    timeout_s: float | None,
    on_message: Callable[[dict[str, Any]], Any] | None,
) -> dict[str, Any]:
    """Wait for the last document of a result.

    Args:
        result: The handle.
        timeout_s: Seconds; None without end.
        on_message: Called with each document.

    Returns:
        Its fields.

    Raises:
        TimeoutError: It did not come in time.
    """
    if result.final is not None and on_message is None:
        return result.final  # type: ignore[no-any-return]
    import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

    waiting = _final_document(result, on_message)
    try:
        return await asyncio.wait_for(waiting, timeout_s)
    except asyncio.TimeoutError:  # Python 3.10's is its own
        message = "The operation timed out."
        raise TimeoutError(message) from None


async def _final_document(
    result: Any, on_message: Callable[[dict[str, Any]], Any] | None
) -> dict[str, Any]:
    from celeriac import aio  # noqa: PLC0415 - asyncio is slow to import

    here = aio.door()
    token, rung = here.enter()
    subscription: Any = None
    try:
        subscription = await _subscription(result)
        is_watched = subscription.watch(here.bell, token)
        wait_s, longest_s = LOOK_S if is_watched else POLL_S
        while True:
            while (document := subscription.take()) is not None:
                meta = _told(result, result.backend.meta_of(document), on_message)
                if meta is not None:
                    return meta
            if not await aio.wait_rung(rung, wait_s):
                meta = await _looked(result)
                if meta is not None:
                    return _told(result, meta, on_message) or meta
                wait_s = min(2 * wait_s, longest_s)
    finally:
        here.leave(token)
        if subscription is not None:
            result.take_back(subscription)


def _told(
    result: Any, meta: dict[str, Any], on_message: Callable[[dict[str, Any]], Any] | None
) -> dict[str, Any] | None:
    if on_message is not None:
        on_message({**meta, "task_id": result.id})
    if meta["status"] not in states.READY_STATES:
        return None
    result.final = meta
    return meta


async def _subscription(result: Any) -> Any:
    lent = result.lend_subscription()
    if lent is not None:
        return plain(lent)
    store = result.backend.native
    if store is None:
        message = f"{type(result.backend).__name__} is a class of Python: use `get` in a thread."
        raise NotImplementedError(message)
    await result.backend.alisten()
    from celeriac import aio  # noqa: PLC0415 - see above

    def start(bell: Any, token: int) -> Any:
        return plain(store).post_subscribe(result.id, WAIT_S, bell, token)

    return await aio.answer(start, WAIT_S)


async def in_thread(read: Callable[[], Any]) -> Any:
    """Read results of a chain's earlier steps beside the loop: each may ask the store.

    Args:
        read: What reads them.

    Returns:
        What it returns.
    """
    import asyncio  # noqa: PLC0415 - see above

    return await asyncio.to_thread(read)


async def _looked(result: Any) -> dict[str, Any] | None:
    from celeriac.exceptions import OperationalError  # noqa: PLC0415

    try:
        meta: dict[str, Any] = await in_thread(lambda: result.backend.get_task_meta(result.id))
    except OperationalError:
        return None  # The store is away: it announces the result when it is back.
    return meta if meta["status"] in states.READY_STATES else None


async def all_of(
    results: Sequence[Any],
    timeout_s: float | None,
    propagate: bool,  # noqa: FBT001 - as `get`
    on_message: Callable[[dict[str, Any]], Any] | None,
) -> list[Any]:
    """Wait for many results.

    Args:
        results: The handles.
        timeout_s: Seconds for all together.
        propagate: Whether an exception is raised.
        on_message: Called with each document.

    Returns:
        Their values, in order.
    """
    import asyncio  # noqa: PLC0415 - see above

    # One after the other: each is subscribed to already, and its document waits there.
    clock = asyncio.get_running_loop().time
    end_s = None if timeout_s is None else clock() + timeout_s
    values = []
    for result in results:
        left_s = None if end_s is None else max(0.0, end_s - clock())
        values.append(await result.aget(left_s, propagate, on_message))
    return values


async def as_they_come(results: Sequence[Any]) -> AsyncIterator[tuple[str, Any]]:
    """Go through results in the order in which they are done.

    Args:
        results: The handles.

    Yields:
        Id and value; the exception of one that has failed is raised.
    """
    import asyncio  # noqa: PLC0415 - see above

    async def named(result: Any) -> tuple[str, Any]:
        return result.id, await result.aget()

    waits = [asyncio.ensure_future(named(result)) for result in results]
    try:
        for done in asyncio.as_completed(waits):
            yield await done
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
