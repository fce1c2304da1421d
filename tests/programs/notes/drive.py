"""What a browser of the notes sees."""

import json
import time

from make_celery import celery_app, flask_app

client = flask_app.test_client()


def ask(task, *args):
    id = client.post(f"/{task}", json=list(args)).json["id"]
    deadline = time.monotonic() + 20
    while True:
        seen = client.get(f"/result/{id}").json
        if seen["ready"] or time.monotonic() > deadline:
            return seen
        time.sleep(0.02)


with flask_app.app_context():
    from notes.tasks import forgotten, greet

    direct = greet("direct")
    applied = greet.apply(("eager",)).get()
    forgotten_state = forgotten.delay().state

seen = {
    "greet": [ask("greet", "Ada"), ask("greet", "Grace")],
    "spell": [ask("spell", "abc"), ask("spell", "a?")],
    "direct": direct,
    "eager": applied,
    "forgotten": forgotten_state,
    "current": celery_app.main,
}
print(json.dumps(seen, sort_keys=True, default=str))
