"""What the shop's web process does, and what it sees."""

import json
import time
from contextlib import suppress

import django

import shop  # noqa: F401 - makes the application current

django.setup()

from celery.schedules import crontab
from django.core.management import call_command
from django.db import transaction
from orders import tasks
from orders.models import Order


class RolledBack(Exception):
    pass


def state_of(order, wanted):
    deadline = time.monotonic() + 20
    while Order.objects.get(pk=order.pk).state != wanted:
        if time.monotonic() > deadline:
            return "never " + wanted
        time.sleep(0.02)
    return wanted


def failure(result):
    try:
        return result.get(timeout=30)
    except Exception as exc:
        return [type(exc).__module__, type(exc).__name__, list(map(str, exc.args))]


call_command("migrate", run_syncdb=True, verbosity=0)

with transaction.atomic():
    first = Order.objects.create()
    tasks.pack.delay_on_commit(first.pk)
second = Order.objects.create()
with suppress(RolledBack), transaction.atomic():
    tasks.pack.apply_async_on_commit((second.pk,))
    raise RolledBack

seen = {
    "committed": state_of(first, "packed"),
    "charged": failure(tasks.charge.delay(first.pk)),
    "declined": failure(tasks.charge.delay(second.pk, declined=9)),
    "rolled back": Order.objects.get(pk=second.pk).state,
    "connections": [tasks.has_open_connection.delay().get(timeout=20) for _ in range(3)],
    "missing": failure(tasks.look_up.delay(10**6)),
    "receipt": tasks.Receipt.delay(first.pk).get(timeout=20),
    "bases": [base.__name__ for base in type(tasks.pack._get_current_object()).__mro__[1:4]],
    "schedule": shop.celery_app.conf.beat_schedule["remind-every-morning"]["schedule"]
    == crontab(hour=7, minute=30, day_of_week="1-5"),
    "zone": str(shop.celery_app.timezone),
}
print(json.dumps(seen, sort_keys=True, default=str))
