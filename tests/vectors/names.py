"""The names that the calls of the cases may use."""

from datetime import date, datetime, time, timezone
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from billiard.exceptions import WorkerLostError
from celery import chord, group
from celery.exceptions import NotRegistered
from celery.result import GroupResult
from celery.utils.serialization import get_pickleable_exception
from vector_classes import Colour, CustomError, Level, Outer, Point, UnpicklableError

ID = "aaaaaaaa-0000-4000-8000-000000000001"
NAMES = {
    "Colour": Colour,
    "CustomError": CustomError,
    "Decimal": Decimal,
    "GroupResult": GroupResult,
    "ID": ID,
    "Level": Level,
    "NotRegistered": NotRegistered,
    "Outer": Outer,
    "PARIS": ZoneInfo("Europe/Paris"),
    "Point": Point,
    "UTC": timezone.utc,
    "UUID": UUID,
    "UnpicklableError": UnpicklableError,
    "WorkerLostError": WorkerLostError,
    "chord": chord,
    "date": date,
    "datetime": datetime,
    "get_pickleable_exception": get_pickleable_exception,
    "group": group,
    "time": time,
}
