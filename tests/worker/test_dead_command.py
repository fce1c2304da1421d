"""``celeriac dead``: what is kept is listed, shown, replayed and deleted."""

import json
import os
import uuid

import kombu
import pytest
from click.testing import CliRunner

from celeriac import Celery, broker
from celeriac._native import Intake
from celeriac.cli.main import celeriac

WAIT_S = 20.0
AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
REASON = "who held it died\nfar too often"


class Desk:
    """An application with messages that a worker has set aside."""

    def __init__(self, url, queue):
        self.app = Celery("dead", broker=url, set_as_current=False)
        self.app.conf.task_default_queue = queue
        self.queue = queue
        self.url = url
        self.publisher = broker.publisher(self.app)

    def set_aside(self, *names):
        """Sends a task for each name, and lets a worker keep all of them, in order."""
        ids = [self.app.send_task(f"t.{name}", (name,), queue=self.queue).id for name in names]
        spec = self.app.amqp.queues[self.queue].as_spec()
        intake = Intake(self.url, None, [spec], node="w1@here", prefetch=0, results=None)
        intake.start()
        left = len(names)
        while left:
            for delivery in intake.next_events(10, WAIT_S):
                intake.settle(delivery, "aside lost", REASON)
                left -= 1
            assert intake.flush(WAIT_S)
        intake.close(WAIT_S)
        return ids

    def depth(self):
        return self.publisher.depth(self.queue, WAIT_S)

    def run(self, *arguments, exit_code=0, **named):
        result = CliRunner().invoke(celeriac, ("dead", *arguments), obj=self.app, **named)
        assert result.exit_code == exit_code, result.output
        return result.output

    def listed(self):
        return [json.loads(line) for line in self.run("list", "--json").splitlines()]


@pytest.fixture
def queue():
    """A queue's name, deleted on RabbitMQ afterwards with all that it has there."""
    name = f"dead-{uuid.uuid4().hex[:8]}"
    yield name
    with kombu.Connection(AMQP) as connection, connection.channel() as channel:
        channel.queue_delete(name)
        channel.queue_delete(f"celeriac.aside.{name}")
        channel.exchange_delete(name)


@pytest.fixture(params=["memory", "sqlite", "redis", "rabbitmq"])
def desk(request, tmp_path, queue):
    match request.param:
        case "memory":
            url = f"memory://{queue}"
        case "sqlite":
            url = f"sqlite:///{tmp_path}/q.db"
        case "redis":
            url = request.getfixturevalue("redis_url")
        case _:
            url = AMQP
    made = Desk(url, queue)
    yield made
    made.app.close()


def test_a_walk_through_what_is_kept(desk):
    first, second, third = desk.set_aside("one", "two", "three")
    assert [one["task_id"] for one in desk.listed()] == [first, second, third]
    line, *_ = desk.run("list").splitlines()
    assert f"{desk.queue}  t.one[{first}], lost 1 time: who held it died far too often" in line
    (shown,) = desk.listed()[:1]
    assert (shown["worker"], shown["losses"], shown["routing_key"]) == ("w1@here", 1, desk.queue)
    text = desk.run("show", shown["id"])
    assert '"task": "t.one"' in text
    assert "['one']" in text or '["one"]' in text
    assert desk.run("replay", shown["id"], second) == "Replayed 2 messages.\n"
    assert desk.depth() == 2
    assert desk.run("purge", "--all", "--force") == "Deleted 1 message.\n"
    assert desk.run("list") == "Nothing is kept.\n"
    assert desk.depth() == 2
    assert desk.run("replay", "--all") == "Replayed 0 messages.\n"


@pytest.fixture
def one(tmp_path):
    made = Desk(f"sqlite:///{tmp_path}/q.db", "mail")
    yield made
    made.app.close()


def test_what_is_replayed_is_the_message_as_it_was_sent(one):
    (task_id,) = one.set_aside("one")
    kept = one.publisher.list_aside("mail", 1, WAIT_S)[0]
    one.run("replay", task_id)
    spec = one.app.amqp.queues["mail"].as_spec()
    intake = Intake(one.url, None, [spec], node="w2@here", prefetch=0, results=None)
    intake.start()
    (delivery,) = intake.next_events(10, WAIT_S)
    assert (delivery.id, delivery.losses) == (task_id, 0)
    assert delivery.headers() == kept.headers()
    assert delivery.raw_body() == kept.raw_body()
    intake.close(WAIT_S)


def test_an_id_that_is_not_there_is_named_and_nothing_is_done(one):
    (task_id,) = one.set_aside("one")
    output = one.run("replay", task_id, "elsewhere", exit_code=69)
    assert "Nothing is kept with the id elsewhere" in output
    assert len(one.listed()) == 1


@pytest.mark.parametrize("arguments", [(), ("x", "--all")])
def test_ids_or_all_of_them_are_asked_for_and_not_both(one, arguments):
    assert "--all" in one.run("replay", *arguments, exit_code=2)


def test_deleting_asks_first(one):
    (task_id,) = one.set_aside("one")
    assert "Aborted!" in one.run("purge", task_id, exit_code=1, input="n\n")
    assert len(one.listed()) == 1
    one.run("purge", task_id, input="y\n")
    assert one.listed() == []


def test_another_queue_is_looked_at_where_it_is_named(one):
    one.set_aside("one")
    assert one.run("list", "-Q", "other") == "Nothing is kept.\n"
    assert one.run("list", "-Q", "mail,other").count("t.one") == 1
