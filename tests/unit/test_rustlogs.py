"""What Rust logs reaches Python's log, in producers too."""

import logging
import socket

import pytest

from celeriac import Celery
from celeriac.exceptions import OperationalError


def test_a_producer_says_why_publishing_is_held_up(caplog):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        app = Celery("t", broker=f"redis://127.0.0.1:{nobody.getsockname()[1]}/0")
        with caplog.at_level(logging.INFO), pytest.raises(OperationalError):
            app.send_task("t.add", (1, 2), retry_policy={"max_retries": 1})
    lines = [(r.name.partition(".")[0], r.levelname, r.getMessage()) for r in caplog.records]
    assert any(
        name == "celeriac" and level == "WARNING" and "publishing is held up" in line
        for name, level, line in lines
    ), lines
    assert any("sent again in 0.0 s" in line for _, _, line in lines), lines
