"""Queues, exchanges and routes of the tests of routing, in the words of either package."""

import importlib
import json
import re

import errors


class Chooser:
    """A router as an object."""

    def route_for_task(self, task, args=None, kwargs=None):
        return {"queue": chosen["object"]} if task == "routed.object" else None


def choose(name, args, kwargs, options, task=None, **_kwargs):
    return chosen["function"] if name == "routed.function" else None


#: Queues that the two above choose; named by `set_up`.
chosen = {}


def entities(flavour):
    """`Queue`, `Exchange`, `binding` and `Broadcast` of a package."""
    if flavour.__name__ == "celery":
        kombu, common = (importlib.import_module(name) for name in ("kombu", "kombu.common"))
        return kombu.Queue, kombu.Exchange, kombu.binding, common.Broadcast
    return flavour.Queue, flavour.Exchange, flavour.binding, flavour.Broadcast


def set_up(app, flavour, prefix):
    """Give an application its queues, routes, and the tasks that say where they came from."""
    queue_of, exchange_of, binding_of, broadcast_of = entities(flavour)
    news = exchange_of(f"{prefix}-news", "topic")
    work = exchange_of(f"{prefix}-work", "direct")
    # Declared otherwise by one of the two, RabbitMQ refuses it to the other.
    passing = exchange_of(f"{prefix}-passing", "topic", durable=False, auto_delete=True)
    app.conf.task_queues = [
        queue_of(prefix, exchange_of(prefix), prefix),
        queue_of(f"{prefix}-heavy", work, "heavy"),
        queue_of(f"{prefix}-feed", news, "feed.#"),
        queue_of(f"{prefix}-sport", news, "*.sport"),
        queue_of(
            f"{prefix}-many",
            bindings=[
                binding_of(passing, "one.*"),
                binding_of(passing, "two.#"),
                binding_of(work, "many"),
            ],
        ),
        broadcast_of(f"{prefix}-all"),
    ]
    chosen.update(object=f"{prefix}-heavy", function=f"{prefix}-made")
    app.conf.task_routes = (
        {
            "routed.exact": {"queue": f"{prefix}-feed", "routing_key": "feed.exact", "priority": 3},
            "routed.gl*b": f"{prefix}-heavy",
            re.compile(r"routed\.(regex|other)"): {"queue": f"{prefix}-made"},
        },
        choose,
        "routes:Chooser",
    )
    names = ("plain", "exact", "glob", "regex", "function", "object")
    return {name: app.task(say, name=f"routed.{name}", bind=True) for name in names}


def say(self, key):
    """Tell a list on Redis who runs this, and how it came."""
    info = self.request.delivery_info
    with errors.connection() as client:
        client.rpush(
            key, json.dumps([self.request.hostname, info["exchange"], info["routing_key"]])
        )
