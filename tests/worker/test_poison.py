"""Every malformed message there is, sent to real workers between good ones, on each broker."""

import base64
import json
import os
import signal
import uuid
from collections import Counter
from pathlib import Path

import amqp
import kombu
import pytest
import redis as redis_client
from poison import ASIDE, ENVELOPES, KEPT, MESSAGES, RUNS
from queue_file import ask
from running import Running, until, until_all

from celeriac import Celery, _native

pytestmark = pytest.mark.timeout(180)
WAIT_S = 20.0
#: How often all of it is sent while the memory is watched.
ROUNDS = int(os.environ.get("CELERIAC_TEST_ROUNDS", "6"))
MAX_GROWTH_KIB = 4096

PROJECT = """
from pathlib import Path
from celeriac import Celery

HERE = Path(__file__).parent
app = Celery("proj", broker={broker!r}, backend={backend!r})
app.conf.update(
    task_default_queue={queue!r}, decompressed_max_bytes=2_000_000, task_ignore_result=True,
    accept_content=["json", "yaml", "msgpack"],
)
done = (HERE / "done").open("a", buffering=1)
odd = (HERE / "odd").open("a", buffering=1)

@app.task(bind=True)
def note(self, who):
    odd.write(f"{{self.request.id!r}}\\n")

@app.task
def good(number):
    done.write(f"{{number}}\\n")
"""


class Redis:
    """A queue on Redis: envelopes in a list."""

    only_envelopes = ENVELOPES

    def __init__(self, request, _folder, queue):
        self.url = request.getfixturevalue("redis_url")
        self.backend, self.queue = self.url, queue
        self.client = redis_client.Redis.from_url(self.url)

    def takes(self, odd):
        return True

    def send(self, odd, name):
        body, headers = named(odd, name)
        properties = {
            "correlation_id": name,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": self.queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        }
        parts = {
            "body": base64.b64encode(body).decode(),
            "content-type": odd.content_type,
            "content-encoding": odd.content_encoding,
            "properties": properties,
        }
        text = json.dumps(parts)
        self.client.lpush(self.queue, f'{text[:-1]}, "headers": {headers}}}')

    def send_raw(self, item, name):
        self.client.lpush(
            self.queue, item.replace(b"ID", name.encode()).replace(b"QUEUE", self.queue.encode())
        )

    def aside(self):
        return self.client.xlen(f"celeriac.aside.{self.queue}")

    def left(self):
        waiting = self.client.llen(self.queue)
        records = self.client.hvals("unacked")
        return waiting + sum(self.queue.encode() in record for record in records)

    def close(self):
        self.client.close()


class RabbitMQ:
    """A queue on RabbitMQ: headers are a table."""

    only_envelopes = ()

    def __init__(self, request, _folder, queue):
        self.url = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
        self.backend, self.queue = request.getfixturevalue("redis_url"), queue
        self.connection = kombu.Connection(self.url)
        self.channel = self.connection.channel()

    def takes(self, odd):
        return not odd.not_on_amqp

    def send(self, odd, name):
        body, headers = named(odd, name)
        message = amqp.Message(
            body,
            content_type=odd.content_type,
            content_encoding=odd.content_encoding,
            application_headers=json.loads(headers),
            delivery_mode=2,
        )
        self.channel.basic_publish_confirm(message, routing_key=self.queue)

    def aside(self):
        return self._depth(f"celeriac.aside.{self.queue}")

    def left(self):
        return self._depth(self.queue)

    def _depth(self, queue):
        try:
            return self.channel.queue_declare(queue, passive=True).message_count
        except amqp.NotFound:
            self.channel = self.connection.channel()
            return 0

    def close(self):
        for queue in (self.queue, f"celeriac.aside.{self.queue}"):
            self.channel.queue_delete(queue)
        self.channel.exchange_delete(self.queue)
        self.connection.release()


class SQLite:
    """A queue in a file: what celeriac has written itself is put out of shape."""

    only_envelopes = ()

    def __init__(self, _request, folder, queue):
        self.file = folder / "q.db"
        self.url = self.backend = f"sqlite:///{self.file}"
        self.queue = queue
        self.publisher = _native.Publisher(self.url)

    def takes(self, odd):
        return True

    def send(self, odd, name):
        body, headers = named(odd, name)
        properties = {"content_type": odd.content_type, "content_encoding": odd.content_encoding}
        # Nobody takes it before it is what it is to be.
        target = f"{self.queue}-in-the-making"
        self.publisher.publish_parts({}, properties, body, "", target, [], None, WAIT_S)
        ask(
            self.file,
            "UPDATE messages SET headers = ?, queue = ?, routing_key = ? WHERE queue = ?",
            *(headers.encode(), self.queue, self.queue, target),
        )

    def aside(self):
        return self._count("owner = 0")

    def left(self):
        return self._count("owner IS NOT 0")

    def _count(self, which):
        query = f"SELECT count(*) FROM messages WHERE queue = ? AND {which}"
        return ask(self.file, query, self.queue)[0][0]

    def close(self):
        self.publisher.close(WAIT_S)


def named(odd, name):
    return odd.body.replace(b"ID", name.encode()), odd.headers.replace('"ID', f'"{name}')


def lines(file):
    return file.read_text().splitlines() if file.exists() else []


def tree_kib(pid):
    """What a process and its children keep in memory for themselves."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    smaps = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    own = sum(int(line.split()[1]) for line in smaps if line.startswith("Private_Dirty:"))
    return own + sum(tree_kib(int(child)) for child in children)


class Post:
    """Sends everything, with a good task after each, and knows what is to come of it."""

    def __init__(self, at, folder):
        self.at, self.folder = at, folder
        self.client = Celery("client", broker=at.url, set_as_current=False)
        self.client.conf.task_default_queue = at.queue
        self._good = self.client.task(name="proj.good", ignore_result=True)(print)
        self.good = 0
        self.fates = Counter()

    def send_good(self):
        self._good.delay(self.good)
        self.good += 1

    def send_all(self):
        for number, odd in enumerate(MESSAGES):
            if self.at.takes(odd):
                self.at.send(odd, f"odd-{number}-{uuid.uuid4().hex[:6]}")
                self.fates[odd.fate] += 1
                self.send_good()
        for number, (item, fate) in enumerate(self.at.only_envelopes):
            self.at.send_raw(item, f"raw-{number}-{uuid.uuid4().hex[:6]}")
            self.fates[fate] += 1
        self.send_good()

    def wait(self, worker):
        try:
            until_all(lambda: len(lines(self.folder / "done")), self.good)
            until(lambda: self.at.left() == 0)
        except AssertionError as error:
            raise AssertionError(f"{error}; the worker: {worker.text[-3_000:]}") from error

    def surprises(self):
        """The messages that were executed and should not have been, and the other way round."""
        runs = Counter(line.split("-")[1] for line in lines(self.folder / "odd") if "odd-" in line)
        by_number = enumerate(MESSAGES)
        odd = [
            odd.name
            for number, odd in by_number
            if (odd.fate == RUNS) != (str(number) in runs) and self.at.takes(odd)
        ]
        raw = Counter(line.split("-")[1] for line in lines(self.folder / "odd") if "raw-" in line)
        return odd, [
            item[:300]
            for number, (item, fate) in enumerate(self.at.only_envelopes)
            if (fate == RUNS) != (str(number) in raw)
        ]

    def close(self):
        self.at.close()
        self.client.close()


@pytest.fixture
def post(request, tmp_path):
    """A place with its worker's project in this folder."""
    at = request.param(request, tmp_path, f"poison-{uuid.uuid4().hex[:8]}")
    text = PROJECT.format(broker=at.url, backend=at.backend, queue=at.queue)
    (tmp_path / "proj.py").write_text(text)
    made = Post(at, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("post", "pool", "level"),
    [
        (Redis, "prefork", "WARNING"),
        (Redis, "solo", "INFO"),
        (RabbitMQ, "threads", "WARNING"),
        (RabbitMQ, "prefork", "INFO"),
        (SQLite, "solo", "WARNING"),
        (SQLite, "aio", "INFO"),
    ],
    indirect=["post"],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_no_message_stops_a_worker_and_what_is_refused_is_accounted_for(post, pool, level):
    post.send_good()
    with Running(post.folder, "-P", pool, "-c", "1", "-l", level) as worker:
        post.wait(worker)
        post.send_all()
        post.wait(worker)
        children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
        children_before = children.read_text()
        sizes_kib = [tree_kib(worker.process.pid)]
        for _ in range(ROUNDS - 1):
            post.send_all()
            post.wait(worker)
            sizes_kib.append(tree_kib(worker.process.pid))
        assert children.read_text() == children_before, "a message has killed a child"
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.text[-2_000:]
    done = Counter(map(int, lines(post.folder / "done")))
    assert done == Counter(range(post.good)), "each good task is executed once"
    assert "The worker failed at a message" not in worker.text
    found = {
        ASIDE: post.at.aside(),
        RUNS: len(lines(post.folder / "odd")),
        "told of": worker.text.count("Task message set aside:"),
        "kept": worker.text.count("is kept: see `celeriac dead list`"),
    }
    kept = post.fates[ASIDE] + post.fates[KEPT]
    wanted = {
        ASIDE: kept,
        RUNS: post.fates[RUNS],
        "told of": post.fates[ASIDE],
        "kept": kept,
    }
    assert found == wanted, "; ".join(map(str, post.surprises()))
    assert sizes_kib[-1] - sizes_kib[len(sizes_kib) // 2] < MAX_GROWTH_KIB, sizes_kib
