from celery import Task, current_app, shared_task
from celery.utils.log import get_task_logger
from django.db import connection

from .models import Order

logger = get_task_logger(__name__)


class CardDeclined(Exception):
    pass


@shared_task
def pack(order_id):
    order = Order.objects.get(pk=order_id)
    order.state = "packed"
    order.save()
    logger.info("packed order %d", order_id)
    return order.state


@shared_task(bind=True, max_retries=3, default_retry_delay=0)
def charge(self, order_id, declined=2):
    order = Order.objects.get(pk=order_id)
    order.attempts += 1
    order.save()
    if order.attempts <= declined:
        raise self.retry(exc=CardDeclined(order.attempts))
    return {"attempts": order.attempts, "retries": self.request.retries}


@shared_task
def has_open_connection():
    was_open = connection.connection is not None
    connection.ensure_connection()
    return was_open


@shared_task
def look_up(order_id):
    return Order.objects.get(pk=order_id).state


@shared_task(ignore_result=True)
def remind():
    logger.info("nothing to remind of")


class Receipt(Task):
    name = "orders.receipt"

    def run(self, order_id):
        return f"{self.name} for {Order.objects.get(pk=order_id).state}"


Receipt = current_app.register_task(Receipt())
