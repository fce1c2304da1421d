"""A line that is written at once is the line that `logging` would write."""

import functools
import logging
import logging.handlers
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac.app.infolines import InfoLines
from celeriac.app.logging import ColorFormatter, TaskFormatter

DEFAULT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
LAYOUTS = [
    DEFAULT,
    "%(message)s",
    "%(levelname)-8s|%(name)s %(levelno)03d %(asctime)25s %(message).7s",
    "%(asctime)s %(message)s %(asctime)s %(message)s",
    "%(levelname)s only",
]
MOMENTS_NS = st.integers(0, 2_000_000_000).map(lambda ms: ms * 10**9 // 10 + 500_000)


class Own(logging.Handler):
    def emit(self, record):
        self.last = record


@pytest.fixture
def logger():
    """A logger below one that is apart from the root, which has pytest's handlers."""
    manager = logging.Manager(logging.RootLogger(logging.INFO))
    return manager.getLogger("below")


@pytest.fixture
def handled():
    """Give a logger's parent a handler as a worker has it."""
    handlers = []

    def handled(logger, path, layout=DEFAULT, datefmt=None, use_color=True):
        handler = logging.handlers.WatchedFileHandler(path, encoding="utf-8")
        handler.setFormatter(ColorFormatter(layout, use_color, datefmt))
        logger.parent.handlers = [handler]
        handlers.append(handler)
        return handler

    yield handled
    for handler in handlers:
        handler.close()


def takes(logger):
    return InfoLines(logger).way() is not None


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=60),
    form=st.tuples(
        st.sampled_from(LAYOUTS), st.sampled_from([None, "%H:%M:%S", "%%d"]), st.booleans()
    ),
    now_ns=MOMENTS_NS,
)
def test_a_line_is_what_logging_writes_byte_for_byte(
    logger, handled, tmp_path, monkeypatch, text, form, now_ns
):
    monkeypatch.setattr(time, "time", lambda: now_ns / 1e9)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    path = tmp_path / "log"
    path.write_bytes(b"")
    handler = handled(logger, path, *form)

    logger.info("%s", text)
    theirs = path.read_bytes()
    assert InfoLines(logger).info(text)
    handler.close()

    assert path.read_bytes() == 2 * theirs
    assert theirs


def test_the_second_goes_on(logger, handled, tmp_path, monkeypatch):
    lines, moments = InfoLines(logger), [1_800_000_000_100_500_000, 1_800_000_001_002_500_000]
    handled(logger, tmp_path / "log")
    for moment_ns in moments:
        monkeypatch.setattr(time, "time_ns", lambda moment_ns=moment_ns: moment_ns)
        monkeypatch.setattr(time, "time", lambda moment_ns=moment_ns: moment_ns / 1e9)
        assert lines.info("x")
        logger.info("x")
    one, as_one, two, as_two = (tmp_path / "log").read_text().splitlines()
    assert (one, two) == (as_one, as_two)
    assert one != two


def test_a_level_of_another_name_has_its_colour(logger, handled, tmp_path, monkeypatch):
    handled(logger, tmp_path / "log", "%(levelname)s %(message)s")
    monkeypatch.setitem(logging._levelToName, logging.INFO, "DEBUG")
    assert InfoLines(logger).info("x")
    logger.info("x")
    assert (tmp_path / "log").read_text() == 2 * "\033[1;34mDEBUG x\033[0m\n"


def test_a_line_that_cannot_be_encoded_is_left_to_logging_with_nothing_written(
    logger, handled, tmp_path
):
    handled(logger, tmp_path / "log")
    assert not InfoLines(logger).info("\udcff")
    assert InfoLines(logger).info("x")
    assert (tmp_path / "log").read_text().endswith("] x\n")
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_file_that_was_moved_away_is_opened_anew(logger, handled, tmp_path):
    handled(logger, tmp_path / "log")
    (tmp_path / "log").rename(tmp_path / "log.1")
    assert InfoLines(logger).info("x")
    assert (tmp_path / "log").read_text().endswith("] x\n")
    assert not (tmp_path / "log.1").read_text()


def test_a_stream_that_fails_is_told_as_logging_tells_it(logger, handled, tmp_path, monkeypatch):
    handler = handled(logger, tmp_path / "log")
    told = []
    monkeypatch.setattr(type(handler), "handleError", lambda self, record: told.append(record))
    handler.stream.close()
    handler.stream = FullDisk()

    assert InfoLines(logger).info("x")

    handler.stream = None
    assert [record.getMessage() for record in told] == ["x"]


class FullDisk:
    def write(self, text):
        return len(text)

    def flush(self):
        raise OSError(28, "No space left on device")


CHANGES = {
    "a filter of the logger": lambda logger, _handler: logger.addFilter(lambda record: True),
    "a filter of the handler": lambda _logger, handler: handler.addFilter(lambda record: True),
    "a handler of the logger": lambda logger, _handler: logger.addHandler(Own()),
    "a second handler above": lambda logger, _handler: logger.parent.addHandler(Own()),
    "another handler": lambda logger, _handler: setattr(logger.parent, "handlers", [Own()]),
    "no handler": lambda logger, _handler: setattr(logger.parent, "handlers", []),
    "no way up": lambda logger, _handler: setattr(logger, "propagate", False),
    "a disabled logger": lambda logger, _handler: setattr(logger, "disabled", True),
    "a handler's own level": lambda _logger, handler: handler.setLevel(logging.WARNING),
    "no formatter": lambda _logger, handler: handler.setFormatter(None),
    "a plain formatter": lambda _logger, handler: handler.setFormatter(logging.Formatter()),
    "a formatter of tasks": lambda _logger, handler: handler.setFormatter(TaskFormatter()),
    "a layout with a task's id": lambda _logger, handler: handler.setFormatter(
        ColorFormatter("%(task_id)s %(message)s")
    ),
    "a layout with a thread": lambda _logger, handler: handler.setFormatter(
        ColorFormatter("%(threadName)s %(message)s")
    ),
    "a layout with a per cent sign": lambda _logger, handler: handler.setFormatter(
        ColorFormatter("%%(message)s")
    ),
    "a handler's own method": lambda _logger, handler: setattr(handler, "emit", print),
    "a formatter's own method": lambda _logger, handler: setattr(
        handler.formatter, "formatTime", print
    ),
    "a logger's own method": lambda logger, _handler: setattr(logger, "handle", print),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_somebody_has_changed_is_seen_at_the_next_line(logger, handled, tmp_path, change):
    handler = handled(logger, tmp_path / "log")
    lines = InfoLines(logger)
    assert lines.info("before")

    change(logger, handler)

    assert not lines.info("after")
    assert "after" not in (tmp_path / "log").read_text()


def test_another_factory_of_records_is_seen(logger, handled, tmp_path):
    handled(logger, tmp_path / "log")
    assert takes(logger)
    logging.setLogRecordFactory(functools.partial(logging.LogRecord))
    try:
        assert not takes(logger)
    finally:
        logging.setLogRecordFactory(logging.LogRecord)
    assert takes(logger)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (logging.Logger, "callHandlers"),
        (logging.Logger, "makeRecord"),
        (logging.Handler, "handle"),
        (logging.StreamHandler, "emit"),
        (logging.Formatter, "format"),
        (logging.LogRecord, "getMessage"),
        (ColorFormatter, "format"),
    ],
)
def test_a_method_that_a_monitor_has_replaced_is_seen(
    logger, handled, tmp_path, monkeypatch, owner, name
):
    handled(logger, tmp_path / "log")
    assert takes(logger)
    monkeypatch.setattr(owner, name, functools.partial(getattr(owner, name)))
    assert not takes(logger)


def test_another_clock_of_all_formatters_is_seen(logger, handled, tmp_path, monkeypatch):
    handled(logger, tmp_path / "log")
    lines = InfoLines(logger)
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.25)
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_250_000_000)
    assert lines.info("x")
    monkeypatch.setattr(
        logging.Formatter, "converter", lambda self, s: time.gmtime(s + 86_400), raising=False
    )
    assert lines.info("x")
    logger.info("x")
    first, second, theirs = (tmp_path / "log").read_text().splitlines()
    assert first != second
    assert second == theirs
