"""This process's connections to brokers: one publisher for each URL, given up after a fork."""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac import _native
from celeriac.exceptions import OperationalError
from celeriac.green import cooperative
from celeriac.retry import delays_s, retried_errors
from celeriac.rustlogs import drain_rust_logs
from celeriac.settings.servers import in_order, url_list
from celeriac.settings.tls import tls_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac._protocols import App

logger = logging.getLogger("celeriac.broker")

CELERY_DEFAULT_URL = "amqp://localhost"
PATH_VARIABLE = "CELERIAC_DB"
FILE_NAME = "celeriac.db"
CLOSE_WAIT_S = 5.0
_SLEEP_SLICE_S = 1.0


# Where to ----------------------------------------------------------------------------------------


def is_embedded(app: App) -> bool:
    """Say whether the application uses the embedded queue.

    Args:
        app: The application.

    Returns:
        True only when neither a broker nor a result backend is set anywhere: arguments, settings
        or environment.
    """
    conf = app.conf
    names = ("broker_url", "broker_read_url", "broker_write_url", "result_backend")
    if any(conf.is_set(name) for name in names):
        return False
    # Compat: the parts of an address that Celery 2 had.
    return not any(conf.is_set(f"broker_{part}") for part in ("host", "transport"))


def embedded_path(app: App) -> Path:
    """Find the file of the embedded queue.

    Args:
        app: The application.

    Returns:
        ``$CELERIAC_DB``, otherwise a file beside the top-level package or module that defines the
        application, so that producers and workers with different working directories meet in one.
        Absolute.
    """
    given = os.environ.get(PATH_VARIABLE)
    if given:
        return Path(given).absolute()
    return _folder_of(getattr(app, "defined_in", None)).absolute() / FILE_NAME


def _folder_of(module_name: str | None) -> Path:
    module = sys.modules.get(module_name or "")
    spec = getattr(module, "__spec__", None)
    # `python -m proj.app` runs it as `__main__`; its spec has the name that others import.
    name = spec.name if spec is not None else module_name or ""
    top = sys.modules.get(name.partition(".")[0], module)
    for path in (getattr(top, "__file__", None), *_search_paths(top)):
        if path:
            folder = Path(path).absolute().parent
            # A package's directory is not beside it; a script inside of one belongs to it.
            while (folder / "__init__.py").exists():
                folder = folder.parent
            return folder
    return Path.cwd()


def _search_paths(module: Any) -> list[str]:
    # A package without `__init__.py` has directories, and no file.
    return [str(Path(path) / "x") for path in getattr(module, "__path__", ())][:1]


def embedded_url(app: App) -> str:
    """Return the URL of the embedded queue, which is its result store, too.

    Args:
        app: The application.

    Returns:
        ``sqlite:///<absolute path>``.
    """
    from urllib.parse import quote  # noqa: PLC0415 - `import celeriac` stays quick

    return f"sqlite:///{quote(str(embedded_path(app)))}"


def announcement(app: App) -> str | None:
    """Word what people must know about the embedded queue.

    Args:
        app: The application.

    Returns:
        One line for the worker's banner and the first publish; None if a broker is configured.
    """
    if not is_embedded(app):
        return None
    return (
        f"no broker_url: embedded queue {embedded_path(app)}; Celery would use {CELERY_DEFAULT_URL}"
    )


def read_url(app: App) -> tuple[str, dict[str, Any]]:
    """Say where workers take messages from.

    Args:
        app: The application.

    Returns:
        The URL, and the broker's options.
    """
    return _url(app, "broker_read_url")


def write_url(app: App) -> tuple[str, dict[str, Any]]:
    """Say where messages are sent to.

    Args:
        app: The application.

    Returns:
        The URL, and the broker's options.
    """
    return _url(app, "broker_write_url")


def _url(app: App, setting: str) -> tuple[str, dict[str, Any]]:
    conf = app.conf
    options = dict(conf.broker_transport_options or {})
    if is_embedded(app):
        return embedded_url(app), options
    urls = url_list(conf[setting] or CELERY_DEFAULT_URL)
    if len(urls) == 1 and "://" not in urls[0]:
        # Compat: `broker_url="redis"` means the server on this machine.
        urls = [f"{urls[0]}://"]
    options |= tls_options("broker_use_ssl", conf.broker_use_ssl)
    limit = _CONNECT_LIMITS.get(urls[0].partition("://")[0].partition("+")[0])
    if limit is not None and conf.is_set("broker_connection_timeout"):
        options.setdefault(limit, conf.broker_connection_timeout)
    return ";".join(_ordered(tuple(urls), conf.broker_failover_strategy)), options


# By scheme: what the option is called that says how many seconds a try to connect may take.
_CONNECT_LIMITS = {
    **dict.fromkeys(("amqp", "amqps", "pyamqp"), "connect_timeout"),
    **dict.fromkeys(("redis", "rediss", "sentinel"), "socket_connect_timeout"),
}


def _ordered(urls: tuple[str, ...], strategy: Any) -> list[str]:
    # Once for each process, so that all who are given the same servers use the same one.
    known = _orders.get((urls, strategy))
    if known is None:
        known = _orders[urls, strategy] = in_order(list(urls), strategy)
    return known


# Publishers --------------------------------------------------------------------------------------

_lock = threading.Lock()
_orders: dict[tuple[tuple[str, ...], Any], list[str]] = {}
_publishers: dict[tuple[str, str], _native.Publisher] = {}
# Application -> (version of its settings, the URL in the environment, publisher): finding the URL
# takes longer than the publish itself.
_of_app: weakref.WeakKeyDictionary[Any, tuple[Any, _native.Publisher]] = weakref.WeakKeyDictionary()
# What a fork inherited is kept, and never touched: closing it would write to the parent's sockets.
_inherited: list[Any] = []
# What was handed over to them is accounted for when the process ends.
_windows: weakref.WeakSet[Any] = weakref.WeakSet()
_announced: set[str] = set()
_URL_VARIABLES = (
    "CELERY_BROKER_URL",
    "CELERY_BROKER_WRITE_URL",
    "CELERY_RESULT_BACKEND",
    PATH_VARIABLE,
)
# What `os.environ` looks up after it has encoded the name, which is ten times as long as the look:
# they are looked at before each message.
_environ_data: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_encode = getattr(os.environ, "encodekey", str) if _environ_data is not os.environ else str
_URL_KEYS = tuple(_encode(name) for name in _URL_VARIABLES)


def publisher(app: App) -> _native.Publisher:
    """Return this process's publisher for an application, opening it if need be.

    Args:
        app: The application.

    Returns:
        The publisher. No I/O happens before it is used.
    """
    raw = _environ_data
    first, second, third, fourth = _URL_KEYS
    state = (app.conf.version, raw.get(first), raw.get(second), raw.get(third), raw.get(fourth))
    known = _of_app.get(app)
    if known is not None and known[0] == state:
        return known[1]
    found = publisher_for(*write_url(app))
    with _lock:
        _of_app[app] = (state, found)
    _announce(app)
    return found


def publisher_of(app: App, connection: Any, option: str = "connection") -> _native.Publisher:
    """Return this process's publisher for a connection that a caller has named.

    Args:
        app: The application.
        connection: A `Connection` or kombu's, a producer or channel that has one, or None for the
            application's broker.
        option: What the caller has given it as.

    Returns:
        The publisher. No I/O happens before it is used.

    Raises:
        TypeError: It is none of these.
    """
    if connection is None:
        return publisher(app)
    named = getattr(connection, "connection", None) or connection
    own = getattr(named, "publisher", None)
    if own is not None:
        found: _native.Publisher = own
        return found
    # kombu's: a channel's connection is its transport's, which keeps the client.
    client = getattr(named, "client", None) or named
    if not hasattr(client, "as_uri"):
        message = (
            f"{option} must be one of app.publisher(), of app.connection_for_write(), of app.pool "
            f"or of kombu, not {connection!r}"
        )
        raise TypeError(message)
    url = client.as_uri(include_password=True)
    return publisher_for(url, getattr(client, "transport_options", None) or {})


def publisher_for(url: str, options: Mapping[str, Any]) -> _native.Publisher:
    """Return this process's publisher for a broker, opening it if need be.

    Args:
        url: The broker's URL.
        options: As in `broker_transport_options`.

    Returns:
        The publisher. No I/O happens before it is used.
    """
    key = (url, json.dumps(options, sort_keys=True, default=repr))
    with _lock:
        found = _publishers.get(key)
        if found is None:
            found = _publishers[key] = _native.Publisher(url, dict(options))
    return cooperative(found)


def _announce(app: App) -> None:
    line = announcement(app)
    if line is not None and line not in _announced:
        _announced.add(line)
        logger.warning("%s", line)


def _sleep(wait_s: float) -> None:
    # In slices: a signal that comes just before a sleep begins is not noticed before it ends.
    ends_s = time.monotonic() + wait_s
    while (left_s := ends_s - time.monotonic()) > 0:
        time.sleep(min(left_s, _SLEEP_SLICE_S))


def publish_with_retries(
    send: Callable[[], Any],
    policy: Mapping[str, Any] | None,
    *,
    retry: bool,
    sleep: Callable[[float], None] = _sleep,
) -> Any:
    """Call `send` until it succeeds or the policy is used up.

    Args:
        send: Publishes once; the same task id each time.
        policy: As in `task_publish_retry_policy`; None for the default: 3 more tries after 0, 0.2
            and 0.2 seconds. ``retry_errors`` are classes of exceptions that are tried again beside
            `OperationalError`; ``errback`` is called with each and the seconds until the next try.
        retry: False tries once.
        sleep: Waits a number of seconds.

    Returns:
        What `send` returned.

    Raises:
        OperationalError: The broker could not be reached, or has refused.
    """  # noqa: DOC502 - what `send` raised
    given = policy or {}
    waits = None
    while True:
        try:
            return send()
        except Exception as exc:
            if not retry or not isinstance(exc, retried_errors(given)):
                raise
            waits = delays_s(given) if waits is None else waits
            wait_s = next(waits, None)
            if wait_s is None:
                raise
            if given.get("errback") is not None:
                given["errback"](exc, wait_s)
            logger.info("A message is sent again in %.1f s: %s", wait_s, exc)
        sleep(wait_s)


def close_all(wait_s: float = CLOSE_WAIT_S) -> None:
    """Close all publishers of this process; what could not be sent is logged.

    Args:
        wait_s: Seconds each may take to send what it still holds.
    """
    with _lock:
        items = list(_publishers.items())
        _publishers.clear()
        _of_app.clear()
    for (url, _), open_one in items:
        try:
            open_one.close(wait_s)
        except OperationalError as exc:  # noqa: PERF203 - each is closed, whatever another does
            logger.error("Not everything was sent to %s: %s", _native.redacted(url), exc)  # noqa: TRY400
    for window in list(_windows):
        try:
            window.flush(0.0)
        except OperationalError as exc:  # noqa: PERF203
            logger.error("The process ends: %s", exc)  # noqa: TRY400 - says which, by task id
    drain_rust_logs()


def account_for(window: Any) -> None:
    """Say when the process ends what a window could not get confirmed.

    Args:
        window: Something with a `flush(wait_s)` that raises what was not confirmed.
    """
    _windows.add(window)


def give_up(inherited: Any) -> None:
    """Keep something that a fork has inherited, so that it is never closed.

    Args:
        inherited: A result store or a subscription of the parent's.
    """
    _inherited.append(inherited)


def _forked() -> None:
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that is not here
    _lock = threading.Lock()
    _native.expire_shortcuts()
    _inherited.append((dict(_publishers), dict(_of_app)))
    _publishers.clear()
    _of_app.clear()
    _windows.clear()
    _native.after_fork_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forked)
atexit.register(close_all)
