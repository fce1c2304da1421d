"""Calls of unusual size go the way of all others, and what people see of them stays short."""

from __future__ import annotations

import base64
import json

import pytest

from celeriac import Celery

MOST_SHOWN = 1_100  # `argsrepr` is cut at 1,024 characters, and says so


@pytest.fixture
def app(redis_url: str) -> Celery:
    app = Celery("large", broker=redis_url)
    app.conf.task_default_queue = "large"
    return app


@pytest.mark.parametrize("is_window", [False, True], ids=["alone", "in a window"])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {f"key{number}": number for number in range(10_000)}), (("x" * 3_000_000,), {})],
    ids=["10,000 keyword arguments", "an argument of 3 MB"],
)
def test_it_arrives_whole_and_is_shown_in_short(app, redis, args, kwargs, *, is_window):
    @app.task
    def take(*args, **kwargs):
        pass

    if is_window:
        with app.publisher() as publisher:
            take.apply_async(args, kwargs, publisher=publisher)
    else:
        take.apply_async(args, kwargs)
    envelope = json.loads(redis.rpop("large"))
    sent_args, sent_kwargs, _ = json.loads(base64.b64decode(envelope["body"]))
    assert (sent_args, sent_kwargs) == (list(args), kwargs)
    shown = envelope["headers"]["argsrepr"], envelope["headers"]["kwargsrepr"]
    assert all(len(text) <= MOST_SHOWN for text in shown)
