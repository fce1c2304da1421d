"""Lines at INFO without a record, where nobody could tell the difference.

`logging` makes a record of some twenty fields, looks for who called, and formats the second anew
for each line: most of what "Task ... received" costs. Where nothing but a handler and formatter as
celeriac sets them up is on the way of a line, the same bytes are written at once. Whatever else is
on it, a filter, another handler, a factory of records, a patched method, is seen at the next line.

Source:
    logging/__init__.py (``Logger._log`` to ``StreamHandler.emit``).
"""

from __future__ import annotations

import logging
import logging.handlers
import re
import sys
import time
from operator import attrgetter
from typing import Any

from celeriac.app.logging import ColorFormatter

__all__ = ("InfoLines",)

#: What a line at INFO passes. Monitors replace some of them, by another function of the same name.
_PASSED = attrgetter(
    "Logger.info",
    "Logger._log",
    "Logger.makeRecord",
    "Logger.handle",
    "Logger.callHandlers",
    "Filterer.filter",
    "Handler.handle",
    "Handler.format",
    "StreamHandler.emit",
    "StreamHandler.flush",
    "FileHandler.emit",
    "handlers.WatchedFileHandler.emit",
    "Formatter.format",
    "Formatter.formatTime",
    "Formatter.formatMessage",
    "PercentStyle.format",
    "LogRecord.__init__",
    "LogRecord.getMessage",
)
_FACTORY = attrgetter("_logRecordFactory", "logMultiprocessing")
_PLAIN_FACTORY = (logging.LogRecord, True)
#: What a handler's lines look like, and whether it writes them as ours do.
_LOOK = attrgetter(
    "__class__",
    "level",
    "formatter",
    "formatter.__class__.format",
    "formatter._style",
    "formatter._style._fmt",
    "formatter.datefmt",
    "formatter.converter",
    "formatter.default_time_format",
    "formatter.default_msec_format",
)
_HANDLERS = (logging.StreamHandler, logging.handlers.WatchedFileHandler)
_FIELDS = frozenset({"asctime", "levelname", "levelno", "message", "name", "processName"})
_COLOR_FORMAT = ColorFormatter.format
_SOURCES = (logging.__file__, logging.handlers.__file__)


def _as_python_has_them() -> tuple[Any, ...] | None:
    # The methods of `logging`; None where somebody has replaced one before this was imported.
    passed: tuple[Any, ...] = _PASSED(logging)
    codes = [getattr(method, "__code__", None) for method in passed]
    is_own = all(code is not None and code.co_filename in _SOURCES for code in codes)
    return passed if is_own else None


_OWN = _as_python_has_them()


class InfoLines:
    """Writes a logger's lines at INFO.

    Args:
        logger: The logger.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._attributes = len(vars(logger))
        self._look: tuple[Any, ...] | None = None
        self._is_plain = False
        self._second = -1
        self._second_text = ""

    def info(self, message: str) -> bool:
        """Write a line; the caller has seen that the logger is enabled for INFO.

        Args:
            message: What the record's message would be.

        Returns:
            Whether it was written; otherwise it is for the logger.
        """
        handler = self.way()
        if handler is None:
            return False
        now_ns = time.time_ns()
        handler.acquire()
        try:
            if isinstance(handler, logging.handlers.WatchedFileHandler):
                handler.reopenIfNeeded()
            return handler.stream is not None and self._write(handler, message, now_ns)
        finally:
            handler.release()

    def _write(self, handler: logging.StreamHandler[Any], message: str, now_ns: int) -> bool:
        try:
            text = self._line(handler.formatter, message, now_ns)
            handler.stream.write(text + handler.terminator)
        except ValueError:
            return False  # Not encodable, or closed: nothing was written, and `logging` says so.
        except Exception:  # noqa: BLE001 - as every handler does
            handler.handleError(self._record(message))
            return True
        try:
            handler.flush()
        except Exception:  # noqa: BLE001
            handler.handleError(self._record(message))
        return True

    def _line(self, formatter: Any, message: str, now_ns: int) -> str:
        # Under the handler's lock.
        second, ns = divmod(now_ns, 1_000_000_000)
        if second != self._second:
            layout = formatter.datefmt or formatter.default_time_format
            self._second_text = time.strftime(layout, formatter.converter(now_ns / 1e9))
            self._second = second
        asctime = self._second_text
        if not formatter.datefmt and formatter.default_msec_format:
            asctime = formatter.default_msec_format % (asctime, float(ns // 1_000_000))
        levelname = logging.getLevelName(logging.INFO)
        text: str = formatter._style._fmt % {  # noqa: SLF001
            "asctime": asctime,
            "levelname": levelname,
            "levelno": logging.INFO,
            "message": message,
            "name": self._logger.name,
            "processName": _process_name(),
        }
        painted: str = formatter.painted(text, levelname)
        return painted

    def _record(self, message: str) -> logging.LogRecord:
        return self._logger.makeRecord(
            self._logger.name, logging.INFO, "(unknown file)", 0, message, (), None
        )

    def way(self) -> logging.StreamHandler[Any] | None:
        """Look for the only handler of the lines.

        Returns:
            It; None where a line must go through `logging`.
        """
        if _PASSED(logging) != _OWN or _FACTORY(logging) != _PLAIN_FACTORY:
            return None
        logger = self._logger
        if logger.filters or logger.disabled or len(logger.__dict__) != self._attributes:
            return None
        handler: logging.StreamHandler[Any] | None = _only_handler(logger)
        if handler is None or handler.filters or not self._is_ours(handler):
            return None
        return handler

    def _is_ours(self, handler: Any) -> bool:
        try:
            look = (len(handler.__dict__), len(handler.formatter.__dict__), _LOOK(handler))
        except AttributeError:
            return False
        if look != self._look:
            self._look, self._is_plain, self._second = look, _is_plain(handler), -1
        return self._is_plain


def _only_handler(logger: logging.Logger) -> Any:
    found = None
    at: logging.Logger | None = logger
    while at is not None:
        if at.handlers:
            if found is not None or len(at.handlers) > 1:
                return None
            found = at.handlers[0]
        at = at.parent if at.propagate else None
    return found


def _is_plain(handler: Any) -> bool:
    formatter = handler.formatter
    if type(handler) not in _HANDLERS or handler.level > logging.INFO:
        return False
    if type(formatter) is not ColorFormatter or ColorFormatter.format is not _COLOR_FORMAT:
        return False
    if _overrides(handler) or _overrides(formatter):
        return False
    style = formatter._style  # noqa: SLF001
    if type(style) is not logging.PercentStyle or getattr(style, "_defaults", None):
        return False
    layout = style._fmt  # noqa: SLF001
    return "%%" not in layout and _FIELDS.issuperset(re.findall(r"%\((.*?)\)", layout))


def _overrides(thing: Any) -> bool:
    # Whether an object has a method of its own.
    return any(callable(getattr(type(thing), name, None)) for name in vars(thing))


def _process_name() -> str:
    multiprocessing = sys.modules.get("multiprocessing")
    return "MainProcess" if multiprocessing is None else multiprocessing.current_process().name
