"""What a producer's log says of a connection that is lost."""

import logging
from urllib.parse import urlsplit

import pytest
from line import Line

from celeriac import Celery
from celeriac.exceptions import OperationalError


@pytest.fixture
def line(redis_url):
    made = Line(urlsplit(redis_url).port)
    yield made
    made.close()


@pytest.fixture
def add(redis_url, line):
    app = Celery("t", broker=urlsplit(redis_url)._replace(netloc=f"127.0.0.1:{line.port}").geturl())
    return app.task(lambda x, y: x + y, name="t.add")


def test_that_a_window_is_sent_again_is_a_warning(add, line, caplog):
    with add.app.publisher() as publisher:
        add.apply_async((1, 1), publisher=publisher)
        publisher.flush(20)
        line.silence(on=True)
        for number in range(3):
            add.apply_async((number, 1), publisher=publisher)
        line.cut()
        line.silence(on=False)
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [line for line in lines if "messages are sent again" in line], lines


def test_that_a_call_is_tried_again_is_an_info_line(add, line, caplog):
    line.refuse(on=True)
    with caplog.at_level(logging.INFO), pytest.raises(OperationalError):
        add.apply_async((1, 1), retry_policy={"max_retries": 1})
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    assert [line for line in lines if "A message is sent again in 0.0 s" in line], lines


class PressesCtrlC(logging.Handler):
    """As a signal's handler that runs while a line is logged."""

    def emit(self, record):
        if "sent again" in record.getMessage():
            raise KeyboardInterrupt


def test_ctrl_c_that_comes_while_rusts_log_is_written_reaches_the_caller(add, line):
    handler, logger = PressesCtrlC(), logging.getLogger("celeriac")
    logger.addHandler(handler)
    publisher = add.app.publisher()
    try:
        add.apply_async((1, 1), publisher=publisher)
        publisher.flush(20)
        line.silence(on=True)
        add.apply_async((2, 1), publisher=publisher)
        line.cut()
        line.silence(on=False)
        with pytest.raises(KeyboardInterrupt):
            publisher.flush(20)
    finally:
        logger.removeHandler(handler)
    publisher.flush(20)
