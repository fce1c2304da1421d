"""`app.log`: handlers and formats of a worker's log, as Celery has them.

Source:
    celery/app/log.py (arguments, order, names of loggers).
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import threading
from typing import Any, TextIO

from celeriac import signals
from celeriac._current import get_current_task
from celeriac.nodenames import node_format

LOG_LEVELS = dict(logging._nameToLevel)  # noqa: SLF001 - no public form before 3.11
LOG_LEVELS.update({level: name for name, level in list(LOG_LEVELS.items())})  # type: ignore[misc]
_COLORS = {"DEBUG": 34, "WARNING": 33, "ERROR": 31, "CRITICAL": 35}

base_logger = logging.getLogger("celery")
task_logger = logging.getLogger("celery.task")
worker_logger = logging.getLogger("celery.worker")


def get_logger(name: str) -> logging.Logger:
    """Return a logger.

    Returns:
        The logger of that name; it hands records to ``celery``, unless it is the root.
    """
    logger = logging.getLogger(name)
    if logging.root not in {logger, logger.parent} or logger is base_logger:
        return logger
    if logger is not logging.root and name.partition(".")[0] not in {"celery", "celeriac"}:
        logger.parent = base_logger
    return logger


def get_task_logger(name: str) -> logging.Logger:
    """Return a logger for a module of tasks: its records carry the task's name and id.

    Returns:
        A logger below ``celery.task``.

    Raises:
        RuntimeError: The name is one of the bases.
    """
    if name in {"celery", "celery.task"}:
        message = f"Logger name {name!r} is reserved!"
        raise RuntimeError(message)
    logger = logging.getLogger(name)
    if logger.parent is logging.root or logger.parent is base_logger:
        logger.parent = task_logger
    return logger


def mlevel(level: Any) -> int:
    """Turn a level's name into its number.

    Returns:
        The number; 0 for nothing.

    Raises:
        KeyError: There is no such level.
    """  # noqa: DOC502 - raised by the lookup
    if level and not isinstance(level, int):
        return int(LOG_LEVELS[level.upper()])
    return level or 0


class ColorFormatter(logging.Formatter):
    """Colours a line by its level."""

    def __init__(
        self,
        fmt: str | None = None,
        use_color: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        datefmt: str | None = None,
    ) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102 - inherited
        return self.painted(super().format(record), record.levelname)

    def painted(self, text: str, levelname: str) -> str:
        """Colour a formatted line.

        Returns:
            The line.
        """
        color = _COLORS.get(levelname)
        return f"\033[1;{color}m{text}\033[0m" if self.use_color and color else text


class TaskFormatter(ColorFormatter):
    """Adds the name and id of the task that runs."""

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102 - inherited
        task = get_current_task()
        record.task_id = "???" if task is None else task.request.id
        record.task_name = "???" if task is None else task.name
        return super().format(record)


class LoggingProxy:
    """A stream that writes to a logger, line by line.

    Args:
        logger: The logger.
        loglevel: The level.

    """

    mode = "w"
    name = None
    closed = False
    loglevel = logging.ERROR

    def __init__(self, logger: logging.Logger, loglevel: Any = None) -> None:
        self.logger = logger
        self.loglevel = mlevel(loglevel or logger.level or self.loglevel)
        self._thread = threading.local()

    def write(self, data: Any) -> int:
        """Write text.

        Returns:
            How many characters were given.
        """
        text = data.decode(errors="replace") if isinstance(data, bytes) else str(data)
        line = text.rstrip()
        # A handler that writes to this stream would write to itself for ever.
        if not line or self.closed or getattr(self._thread, "is_writing", False):
            return 0
        self._thread.is_writing = True
        try:
            self.logger.log(self.loglevel, "%s", line)
        finally:
            self._thread.is_writing = False
        return len(text)

    def writelines(self, sequence: Any) -> None:
        """Write several lines."""
        for part in sequence:
            self.write(part)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Write nothing more."""
        self.closed = True

    def isatty(self) -> bool:
        """Say that it is no terminal.

        Returns:
            False.
        """
        return False

    def fileno(self) -> int:
        """Return the descriptor of the real stream, for libraries that ask.

        Returns:
            The descriptor of stderr.
        """
        return 2


class Logging:
    """Sets up logging for an application.

    Args:
        app: The application.

    """

    already_setup = False

    def __init__(self, app: Any) -> None:
        self.app = app

    def setup(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        redirect_stdouts: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        redirect_level: str = "WARNING",
        colorize: bool | None = None,  # noqa: FBT001
        hostname: str | None = None,
    ) -> bool:
        """Set up logging for a worker.

        Args:
            loglevel: The level, as a name or a number.
            logfile: A path or a stream; stderr by default.
            redirect_stdouts: Whether `print` goes to the log.
            redirect_level: At which level.
            colorize: Whether to colour; by default if the log is a terminal.
            hostname: The worker's node name, for ``%n`` and others in `logfile`.

        Returns:
            Whether a receiver of `setup_logging` has done it instead.
        """
        level = mlevel(loglevel)
        handled = self.setup_logging_subsystem(level, logfile, colorize=colorize, hostname=hostname)
        if not handled and redirect_stdouts:
            self.redirect_stdouts(redirect_level)
        os.environ.update(CELERY_LOG_LEVEL=str(level) if level else "")
        os.environ.update(CELERY_LOG_FILE=str(logfile) if logfile else "")
        return handled

    def setup_logging_subsystem(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        format: str | None = None,  # noqa: A002 - Celery's name
        colorize: bool | None = None,  # noqa: FBT001
        hostname: str | None = None,
        datefmt: str | None = None,
        **_kwargs: Any,
    ) -> bool:
        """Set up handlers, once in a process.

        Returns:
            Whether a receiver of `setup_logging` has done it instead, or it was done before.
        """
        if self.already_setup:
            return True
        Logging.already_setup = True
        conf = self.app.conf
        level = mlevel(loglevel or logging.WARNING)
        format = format or conf.worker_log_format  # noqa: A001
        colorize = self.supports_color(colorize, logfile)
        options = {"loglevel": level, "logfile": logfile, "format": format, "colorize": colorize}
        if signals.setup_logging.send(sender=None, **options):
            return True
        datefmt = datefmt or conf.worker_log_datefmt
        root = logging.getLogger()
        if conf.worker_hijack_root_logger:
            root.handlers = []
        path = _expanded(logfile, hostname)
        self._configure(root, path, level, ColorFormatter(format, colorize, datefmt))
        signals.after_setup_logger.send(sender=None, logger=root, **options)
        self.setup_task_loggers(level, logfile, colorize=colorize, hostname=hostname)
        logging.captureWarnings(capture=True)
        return False

    def setup_task_loggers(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        format: str | None = None,  # noqa: A002 - Celery's name
        colorize: bool | None = None,  # noqa: FBT001
        propagate: bool = False,  # noqa: FBT001, FBT002
        datefmt: str | None = None,
        hostname: str | None = None,
        **_kwargs: Any,
    ) -> logging.Logger:
        """Set up the handler of task loggers, whose lines name the task.

        Returns:
            The logger ``celery.task``.
        """
        conf = self.app.conf
        level = mlevel(loglevel or logging.WARNING)
        format = format or conf.worker_task_log_format  # noqa: A001
        colorize = self.supports_color(colorize, logfile)
        formatter = TaskFormatter(format, colorize, datefmt or conf.worker_task_log_datefmt)
        self._configure(task_logger, _expanded(logfile, hostname), level, formatter)
        task_logger.propagate = propagate
        signals.after_setup_task_logger.send(
            sender=None,
            logger=task_logger,
            loglevel=level,
            logfile=logfile,
            format=format,
            colorize=colorize,
        )
        return task_logger

    def _configure(
        self, logger: logging.Logger, logfile: Any, level: int, formatter: logging.Formatter
    ) -> None:
        if not logger.handlers:
            handler = _handler(logfile)
            handler.setFormatter(formatter)
            logger.addHandler(handler)
        logger.setLevel(level)

    def supports_color(self, colorize: bool | None = None, logfile: Any = None) -> bool:  # noqa: FBT001 - Celery's signature
        """Say whether to colour.

        Returns:
            Whether the log goes to a terminal, unless a setting or argument says otherwise.
        """
        colorize = self.app.conf.worker_log_color if colorize is None else colorize
        if colorize is None:
            return not logfile and sys.__stderr__ is not None and sys.__stderr__.isatty()
        return bool(colorize) and not isinstance(logfile, str)

    def redirect_stdouts(self, loglevel: Any = None, name: str = "celery.redirected") -> None:
        """Send `print` to the log."""
        self.redirect_stdouts_to_logger(logging.getLogger(name), loglevel)
        os.environ.update(CELERY_LOG_REDIRECT="1", CELERY_LOG_REDIRECT_LEVEL=str(loglevel or ""))

    def redirect_stdouts_to_logger(
        self,
        logger: logging.Logger,
        loglevel: Any = None,
        stdout: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        stderr: bool = True,  # noqa: FBT001, FBT002
    ) -> LoggingProxy:
        """Send standard streams to a logger.

        Returns:
            The stream that stands for them.
        """
        proxy = LoggingProxy(logger, loglevel)
        stream: Any = proxy
        if stdout:
            sys.stdout = stream
        if stderr:
            sys.stderr = stream
        return proxy

    def get_default_logger(self, name: str = "celery", **_kwargs: Any) -> logging.Logger:
        """Return a logger.

        Returns:
            The logger.
        """
        return get_logger(name)


def _handler(logfile: Any) -> logging.Handler:
    if logfile is None or hasattr(logfile, "write"):
        stream: TextIO | None = logfile or sys.__stderr__
        return logging.StreamHandler(stream)
    return logging.handlers.WatchedFileHandler(logfile, encoding="utf-8")


def _expanded(logfile: Any, hostname: str | None) -> Any:
    if not isinstance(logfile, str) or not hostname:
        return logfile
    return node_format(logfile, hostname)
