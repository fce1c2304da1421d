"""What looking at a call's options costs: a plain call with it and without, in one run."""

import pytest

from celeriac import Celery
from celeriac.app import sending
from celeriac.app.checking import check_options

PLAIN = {"serializer": "json", "ignore_result": False}


@pytest.fixture
def app():
    return Celery("bench", broker="memory:///options", set_as_current=False)


def test_look_at_the_options_of_a_plain_call(benchmark):
    benchmark(check_options, PLAIN)


@pytest.mark.parametrize("is_checked", [True, False], ids=["checked", "unchecked"])
def test_plan_a_plain_call(benchmark, monkeypatch, app, is_checked):
    if not is_checked:
        monkeypatch.setattr(sending, "check_options", lambda _options: None)
    benchmark(lambda: app.sender.plan("tasks.add", (2, 3), {}, dict(PLAIN)))
