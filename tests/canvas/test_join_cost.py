"""What it costs to join a large header."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

from celeriac import Celery
from celeriac.app import joining

MEMBERS = 10_000


def test_a_header_of_ten_thousand_is_read_once(redis_url, redis, monkeypatch):
    app = Celery("p", broker=redis_url, backend=redis_url, set_as_current=False)
    body = app.task(lambda values: values, name="body", lazy=False)
    sent = []
    monkeypatch.setattr(type(body), "apply_async", lambda *args, **_: sent.append(args[1]))
    group_id = uuid.uuid4().hex
    app.backend.set_chord_size(group_id, MEMBERS)

    def returned(index):
        request = SimpleNamespace(
            id=f"{group_id}-{index}", chord=body.s(), group=group_id, group_index=index
        )
        joining.part_returned(app, app.backend, request, "SUCCESS", index)

    for index in range(MEMBERS - 1):
        returned(index)
    assert sent == []
    with redis.monitor() as monitor:
        returned(MEMBERS - 1)
        redis.echo(f"the end of {group_id}")
        commands = []
        while not commands or not commands[-1].startswith("ECHO"):
            command = monitor.next_command()["command"]
            if group_id in command:
                commands.append(command)
    app.close()

    assert [values for ((values,),) in [sent]] == [list(range(MEMBERS))]
    reads = [one for one in commands if one.split()[0].upper() in {"ZRANGE", "MGET", "GET"}]
    of_parts = [one for one in reads if ".j" in one.split()[1]]
    of_results = [one for one in reads if "celery-task-meta-" in one]
    assert (len(of_parts), of_results) == (1, []), commands
    assert len(commands) < 30, commands
