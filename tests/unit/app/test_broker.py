import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import celeriac
from celeriac import Celery, broker
from celeriac.backends import DisabledBackend

WAIT_S = 30
PACKAGES = str(Path(celeriac.__file__).parents[1])


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CELERIAC_DB"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path):
    """Run a program in a directory of its own."""

    def run(text, cwd=".", *arguments, name="program.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        (tmp_path / cwd).mkdir(exist_ok=True)
        command = [sys.executable, *(arguments or (str(path),))]
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PACKAGES}"}
        done = subprocess.run(
            command, cwd=tmp_path / cwd, env=environment, capture_output=True, text=True,
            timeout=WAIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr

    return run


SHOW = """
    import celeriac
    from celeriac import broker
    app = celeriac.Celery("p")
    print(broker.embedded_path(app))
"""


def test_the_embedded_queue_lies_beside_the_program(run, tmp_path):
    shown, _ = run(SHOW, "elsewhere")
    assert shown == str(tmp_path / "celeriac.db")


def test_it_lies_beside_the_top_level_package(run, tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    by_import, _ = run(SHOW, "elsewhere", "-c", "import shop.app", name="shop/app.py")
    by_run, _ = run(SHOW, "elsewhere", "-m", "shop.app", name="shop/app.py")
    by_path, _ = run(SHOW, "elsewhere", str(tmp_path / "shop/app.py"), name="shop/app.py")
    assert by_import == by_run == by_path == str(tmp_path / "celeriac.db")


def test_the_variable_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("CELERIAC_DB", str(tmp_path / "mine.db"))
    app = Celery("x", set_as_current=False)
    assert broker.read_url(app) == (f"sqlite:///{tmp_path}/mine.db", {})
    assert app.backend.as_uri().endswith("mine.db")


@pytest.mark.parametrize("name", ["broker_url", "result_backend", "broker_read_url"])
def test_any_configured_url_switches_the_embedded_queue_off(name):
    app = Celery("x", set_as_current=False)
    app.conf[name] = "memory://"
    assert not broker.is_embedded(app)
    assert broker.announcement(app) is None


def test_the_environment_switches_it_off_too(monkeypatch):
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://env")
    assert not broker.is_embedded(Celery("x", set_as_current=False))


def test_with_a_broker_alone_results_are_disabled():
    app = Celery("x", broker="memory://", set_as_current=False)
    assert isinstance(app.backend, DisabledBackend)
    with pytest.raises(NotImplementedError, match="No result backend is configured"):
        app.AsyncResult("x").get(timeout=1)


def test_with_results_alone_the_broker_is_celerys_default():
    app = Celery("x", backend="memory://", set_as_current=False)
    assert broker.read_url(app)[0] == "amqp://localhost"


def test_the_first_publish_says_where_the_queue_is(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CELERIAC_DB", str(tmp_path / "told.db"))
    app = Celery("x", set_as_current=False)
    with caplog.at_level(logging.WARNING, logger="celeriac.broker"):
        app.send_task("a")
        app.send_task("b")
    line = f"no broker_url: embedded queue {tmp_path}/told.db; Celery would use amqp://localhost"
    assert caplog.messages == [line]


def test_read_and_write_may_differ():
    app = Celery("x", broker="memory:///both", set_as_current=False)
    app.conf.update(broker_write_url="memory:///write")
    assert broker.read_url(app)[0] == "memory:///both"
    assert broker.write_url(app)[0] == "memory:///write"


def test_one_url_has_one_publisher():
    one = Celery("x", broker="memory:///shared", set_as_current=False)
    two = Celery("y", broker="memory:///shared", set_as_current=False)
    assert broker.publisher(one) is broker.publisher(two) is broker.publisher(one)
    two.conf.broker_url = "memory:///other"
    assert broker.publisher(two) is not broker.publisher(one)


FORK = """
    import os, sys
    import celeriac
    app = celeriac.Celery("p")
    first = app.send_task("before.fork").id
    pid = os.fork()
    if pid == 0:
        app.send_task("in.child")
        sys.exit(0)
    _, status = os.waitpid(pid, 0)
    app.send_task("after.fork")
    from celeriac import broker
    print(status, broker.publisher(app).depth("celery", 5.0))
"""


def test_parent_and_child_both_publish_after_a_fork(run):
    assert run(FORK)[0] == "0 3"


EXIT = """
    import celeriac
    app = celeriac.Celery("p")
    publisher = app.publisher()
    for n in range(100):
        app.send_task("t", (n,), publisher=publisher)
"""
COUNT = """
    import celeriac
    from celeriac import broker
    print(broker.publisher(celeriac.Celery("p")).depth("celery", 5.0))
"""


def test_what_is_in_a_window_is_sent_when_the_process_ends(run):
    run(EXIT)
    assert run(COUNT)[0] == "100"
