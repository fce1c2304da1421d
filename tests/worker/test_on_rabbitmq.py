"""RabbitMQ with real workers: priorities, results and remote control over lost connections."""

import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor

import kombu
import pytest
from proxy import Proxy
from running import Running, until

from celeriac import Celery, broker, exceptions
from celeriac.app.publishing import PublishError
from celeriac.exceptions import OperationalError, TaskRevokedError

pytestmark = pytest.mark.timeout(120)
URL = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
GET_S = 30.0

PROJECT = """
import time
from pathlib import Path
from celeriac import Celery

HERE = Path(__file__).parent
app = Celery("proj", broker={broker!r}, backend={backend!r})
app.conf.update({conf!r})

@app.task
def add(x, y):
    return x + y

@app.task
def hold(begun, release):
    (HERE / begun).touch()
    deadline = time.monotonic() + 60
    while not (HERE / release).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(release)
        time.sleep(0.005)
    return "held"

@app.task(ignore_result=True)
def note(name):
    with (HERE / "notes").open("a") as file:
        file.write(name + "\\n")
"""


@pytest.fixture
def proxy(request):
    """To RabbitMQ, or to the server that a test is parametrized with."""
    opened = Proxy(getattr(request, "param", URL))
    yield opened
    opened.close()


@pytest.fixture
def queue():
    """A queue's name, deleted with its exchange afterwards."""
    name = f"rabbit-{uuid.uuid4().hex[:8]}"
    yield name
    with kombu.Connection(URL) as connection, connection.channel() as channel:
        channel.queue_delete(name)
        channel.exchange_delete(name)


class Project:
    """A file of tasks for a worker, and a client of its own for them."""

    def __init__(self, folder, queue, client, worker, backend, **conf):
        conf = {"task_default_queue": queue, **conf}
        (folder / "notes").touch()
        text = PROJECT.format(broker=worker, backend=backend, conf=conf)
        (folder / "proj.py").write_text(text)
        self.folder = folder
        self.app = Celery("client", broker=client, backend=backend, set_as_current=False)
        self.app.conf.update(conf)
        self.add = self.app.task(name="proj.add")(print)
        self.hold = self.app.task(name="proj.hold")(print)
        self.note = self.app.task(name="proj.note", ignore_result=True)(print)

    def notes(self):
        return (self.folder / "notes").read_text().split()

    def exists(self, name):
        return (self.folder / name).exists()


@pytest.fixture
def project(tmp_path, queue):
    """Makes a project."""
    made = []

    def make(client=URL, worker=URL, backend=None, **conf):
        made.append(Project(tmp_path, queue, client, worker, backend, **conf))
        return made[-1]

    yield make
    for one in made:
        one.app.close()


# Priorities --------------------------------------------------------------------------------------


def test_all_priorities_are_served_in_their_order(tmp_path, queue, project):
    made = project(task_queue_max_priority=255)
    numbers = random.sample(range(256), 256)
    with made.app.publisher() as publisher:
        made.note.apply_async(("none",), publisher=publisher)
        for number in numbers:
            made.note.apply_async((str(number),), priority=number, publisher=publisher)
    assert broker.publisher(made.app).depth(queue, GET_S) == 257
    with Running(tmp_path, "-P", "solo", "--prefetch-multiplier", "1") as worker:
        worker.ready()
        until(lambda: len(made.notes()) == 257)
    # Without one it is 0, and the older of two goes first.
    assert made.notes() == [*map(str, range(255, 0, -1)), "none", "0"]


def test_a_queue_with_priorities_is_declared_as_kombu_declares_it(queue, project):
    made = project(task_queue_max_priority=10)
    made.note.delay("x")
    theirs = kombu.Queue(queue, kombu.Exchange(queue), queue, max_priority=10)
    with kombu.Connection(URL) as connection:
        # Refused with 406 where an argument is different.
        theirs(connection.default_channel).declare()


def test_a_priority_above_the_queues_highest_is_its_highest(tmp_path, project):
    made = project(task_queue_max_priority=5)
    for priority in (3, 200, 5, 4):
        made.note.apply_async((str(priority),), priority=priority)
    with Running(tmp_path, "-P", "solo", "--prefetch-multiplier", "1") as worker:
        worker.ready()
        until(lambda: len(made.notes()) == 4)
    assert made.notes() == ["200", "5", "4", "3"]


# Lost connections --------------------------------------------------------------------------------


@pytest.mark.parametrize("results", ["rpc", "redis"])
@pytest.mark.parametrize("side", ["client", "worker"])
def test_a_result_reaches_its_caller_though_a_connection_was_cut(
    tmp_path, redis_url, project, proxy, results, side
):
    cut_url = proxy.url
    ends = {"client": URL, "worker": URL, side: cut_url}
    made = project(**ends, backend="rpc://" if results == "rpc" else redis_url)
    # An ack that is lost makes the first task run twice, which may take two of the threads.
    with Running(tmp_path, "-P", "threads", "-c", "4") as worker, ThreadPoolExecutor() as waiting:
        worker.ready()
        assert made.add.delay(2, 3).get(timeout=GET_S) == 5
        result = made.hold.delay("begun", "release")
        until(lambda: made.exists("begun"))
        answer = waiting.submit(result.get, timeout=GET_S)
        until(proxy.cut)
        # With rpc as with Celery, what is sent before the client listens again goes nowhere.
        until(lambda: is_served(made))
        (tmp_path / "release").touch()
        assert answer.result(GET_S) == "held"


def is_served(project):
    try:
        return project.add.delay(1, 1).get(timeout=2.0) == 2
    except (OperationalError, exceptions.TimeoutError):
        return False


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_remote_control_answers_and_revokes_after_its_connection_was_cut(
    tmp_path, request, redis_url, project, kind
):
    url = redis_url if kind == "redis" else URL
    proxy = Proxy(url)
    request.addfinalizer(proxy.close)
    made = project(url, proxy.url, redis_url)
    name = f"cut-{uuid.uuid4().hex[:8]}@here"
    pong = [{name: {"ok": "pong"}}]
    control = made.app.control
    with Running(tmp_path, "-P", "solo", "-n", name) as worker:
        worker.ready()
        assert control.ping([name], timeout=GET_S) == pong
        for _ in range(2):
            until(proxy.cut)
            until(lambda: control.ping([name], timeout=1.0) == pong)
        task_id = str(uuid.uuid4())
        answers = control.revoke(task_id, destination=[name], reply=True, timeout=GET_S)
        assert [list(answer) for answer in answers] == [[name]]
        with pytest.raises(TaskRevokedError):
            made.add.apply_async((1, 1), task_id=task_id).get(timeout=GET_S)
        assert made.add.delay(1, 1).get(timeout=GET_S) == 2


# Unroutable --------------------------------------------------------------------------------------


@pytest.fixture
def nobodys():
    """An exchange that no queue is bound to."""
    name = f"nobodys-{uuid.uuid4().hex[:8]}"
    with kombu.Connection(URL) as connection:
        exchange = kombu.Exchange(name, "topic")(connection.default_channel)
        exchange.declare()
        yield {"exchange": name, "routing_key": "a.b"}
        exchange.delete()


def test_a_mandatory_call_that_no_queue_takes_is_an_error(project, nobodys):
    made = project()
    made.note.apply_async(("lost, as in Celery",), **nobodys)
    with pytest.raises(OperationalError, match="no queue is bound to exchange"):
        made.note.apply_async(("x",), mandatory=True, retry=False, **nobodys)
    # The way of messages that Python builds.
    with pytest.raises(OperationalError, match="no queue is bound to exchange"):
        made.note.apply_async(("x",), mandatory=True, retry=False, serializer="yaml", **nobodys)


def test_mandatory_calls_of_a_publisher_fail_by_task_id(queue, project, nobodys):
    made = project()
    publisher = made.app.publisher()
    for number in range(20):
        where = nobodys if number % 5 == 0 else {}
        options = {"task_id": f"{queue}-{number}", "mandatory": True, **where}
        made.note.apply_async((str(number),), publisher=publisher, **options)
    with pytest.raises(PublishError) as caught:
        publisher.flush()
    assert set(caught.value.failures) == {f"{queue}-{number}" for number in (0, 5, 10, 15)}
    assert broker.publisher(made.app).depth(queue, GET_S) == 16


def test_a_call_to_a_queue_that_was_deleted_is_an_error(queue, project):
    made = project()
    made.note.delay("x")
    with kombu.Connection(URL) as connection:
        connection.default_channel.queue_delete(queue)
    with pytest.raises(OperationalError, match="there is no queue"):
        made.note.apply_async(("x",), retry=False)


@pytest.mark.parametrize("serializer", ["json", "yaml"])
def test_a_call_that_is_not_mandatory_is_lost_with_its_queue_as_in_celery(
    queue, project, serializer
):
    made = project()
    made.note.delay("x")
    with kombu.Connection(URL) as connection:
        connection.default_channel.queue_delete(queue)
    options = {"retry": False, "serializer": serializer}
    made.note.apply_async(("lost",), mandatory=False, **options)
    with pytest.raises(OperationalError, match="there is no queue"):
        made.note.apply_async(("x",), **options)


def test_a_mandatory_call_without_confirms_is_refused(queue, project):
    made = project(broker_transport_options={"confirm_publish": False})
    with pytest.raises(OperationalError, match="confirm_publish"):
        made.note.apply_async(("x",), mandatory=True, retry=False)
    assert broker.publisher(made.app).depth(queue, GET_S) == 0
