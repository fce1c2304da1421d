"""Django's fixup: what it installs, and how connections are closed. In processes of their own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[3]
SETTINGS = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "the_settings"
import types, sys
module = types.ModuleType("the_settings")
module.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
module.USE_TZ = True
module.SECRET_KEY = "x"
module.CELERY_TASK_DEFAULT_QUEUE = "from-django"
module.CELERY_BROKER_URL = "memory://"
module.INSTALLED_APPS = ["django.contrib.contenttypes"]
sys.modules["the_settings"] = module
from celeriac import Celery, Task, signals
"""


def run(program: str, **env: str) -> list[str]:
    # A folder of its own: sqlite makes files there.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SETTINGS + textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=50,
            cwd=folder,
            env={"PYTHONPATH": str(ROOT / "python"), "PATH": "", **env},
        )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_an_application_beside_django_has_its_tasks_settings_and_time() -> None:
    program = """
    app = Celery("d")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    print(app.conf.task_default_queue, app.Task.__mro__[1].__name__)
    print(app.loader.now().tzinfo)
    app.loader.import_default_modules()
    print(app._fixups[0].autodiscover_tasks())
    """
    assert run(program) == ["from-django DjangoTask", "UTC", "['django.contrib.contenttypes']"]


def test_a_task_class_of_the_users_own_stays() -> None:
    program = """
    class Mine(Task):
        abstract = True
    print(Celery("d", task_cls=Mine).Task.__mro__[1].__name__)
    """
    assert run(program) == ["Mine"]


def test_without_the_variable_there_is_no_fixup() -> None:
    assert run("del os.environ['DJANGO_SETTINGS_MODULE']; print(Celery('d')._fixups)") == ["[None]"]


def test_checks_are_run_unless_they_are_skipped() -> None:
    program = """
    from django.core import checks
    @checks.register
    def mine(app_configs, **_):
        print("checked")
        return []
    Celery("d").loader.import_default_modules()
    """
    assert run(program) == ["checked"]
    assert run(program, CELERY_SKIP_CHECKS="1") == []


WORKER = """
app = Celery("d")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.loader.import_default_modules()
worker = type("W", (), {"app": app, "pool_cls": "prefork"})()
signals.worker_init.send(sender=worker)
from django.db import connection
"""


def test_connections_are_closed_before_and_after_every_task() -> None:
    program = (
        WORKER
        + """
for hook in (lambda: app.loader.on_task_init("id", None), app.loader.on_process_cleanup):
    connection.vendor; connection.ensure_connection(); connection.settings_dict["NAME"] = "x"
    hook()
    print(connection.connection)
"""
    )
    assert run(program) == ["None", "None"]


def test_another_applications_worker_is_left_alone() -> None:
    program = """
    app, other = Celery("d"), Celery("o")
    other.loader.on_task_init = "mine"
    signals.worker_init.send(sender=type("W", (), {"app": app})())
    print(other.loader.on_task_init)
    """
    assert run(program) == ["mine"]


def test_what_a_child_inherited_is_closed_without_a_word_to_the_server() -> None:
    program = (
        WORKER
        + """
import os, socket
ours, server = socket.socketpair()
class Raw:
    def fileno(self): return ours.fileno()
    def close(self):
        try:
            ours.send(b"goodbye")
        except OSError:
            pass
        ours.close()
connection.connection = Raw()
connection.settings_dict["NAME"] = "x"
child = os.fork()
if not child:
    signals.worker_process_init.send(sender=None)
    os._exit(0 if connection.connection is None else 1)
print(os.waitpid(child, 0)[1])
server.setblocking(False)
try:
    print("heard", server.recv(10))
except BlockingIOError:
    print("heard nothing")
ours.send(b"still open")
print(server.recv(20))
"""
    )
    assert run(program) == ["0", "heard nothing", "b'still open'"]
