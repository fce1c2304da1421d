"""Messages for tests, without a broker."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from celeriac.exceptions import DecodeError, EncodeError

EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
PLAIN_END = f", {json.dumps(EMBED)}]".encode()


@dataclass
class FakeMessage:
    task: str | None = "t.add"
    args: Any = ()
    kwargs: Any = field(default_factory=dict)
    embed: Any = field(default_factory=dict)
    id: str | None = field(default_factory=lambda: str(uuid.uuid4()))
    more_headers: dict[str, Any] = field(default_factory=dict)
    content: Any = None
    raw: bytes | None = None
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    redelivered: bool = False
    losses: int = 0
    exchange: str = ""
    routing_key: str = "celery"
    queue: str = "celery"
    error: str | None = None
    eta: str | None = None
    expires: str | None = None
    compression: str | None = None
    timelimit: tuple[float | None, float | None] = (None, None)
    minimal: bool = False
    "Only the two headers that a message needs."

    @property
    def ignore_result(self):
        return self.headers().get("ignore_result")

    @property
    def is_shadowed(self):
        return bool(self.headers().get("shadow"))

    @property
    def is_plain(self):
        return self.plain_arguments() is not None

    def plain_arguments(self):
        is_timed = self.eta is not None or self.expires is not None
        if not self.task or not self.id or self.error or is_timed or self.compression:
            return None
        if self.content_type != "application/json" or not self.raw_body().endswith(PLAIN_END):
            return None
        try:
            args, kwargs, _ = self.body()
        except DecodeError:
            return None
        return args, kwargs

    def success_document(self, value, date_done):
        document = {
            "status": "SUCCESS",
            "result": value,
            "traceback": None,
            "children": [],
            "date_done": date_done,
        }
        headers = self.headers()
        for name, header in (("group_id", "group"), ("parent_id", "parent_id")):
            if headers.get(header):
                document[name] = headers[header]
        try:
            return json.dumps({**document, "task_id": self.id}).encode()
        except TypeError as exc:
            raise EncodeError(str(exc)) from None

    def headers(self):
        if self.minimal:
            return {"task": self.task, "id": self.id}
        return {
            "lang": "py",
            "task": self.task,
            "id": self.id,
            "shadow": None,
            "eta": self.eta,
            "expires": self.expires,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": list(self.timelimit),
            "root_id": self.id,
            "parent_id": None,
            "argsrepr": repr(tuple(self.args)),
            "kwargsrepr": repr(self.kwargs),
            "origin": "gen1@here",
            "ignore_result": False,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
            **self.more_headers,
        }

    def properties(self):
        return {"correlation_id": self.id, "reply_to": "", "delivery_mode": 2, "priority": 0}

    def body(self, max_bytes=None):
        if self.content is not None:
            return self.content
        return json.loads(self.raw_body())

    def raw_body(self):
        if self.raw is not None:
            return self.raw
        if self.content is not None:
            return json.dumps(self.content).encode()
        return json.dumps([list(self.args), self.kwargs, {**EMBED, **self.embed}]).encode()
