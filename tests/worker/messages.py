"""Messages for tests, without a broker."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


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
