"""When a periodic task is due: intervals, crontabs, the sun. Time is `nowfun`'s or the app's."""

from celeriac.schedules.base import BaseSchedule, schedstate
from celeriac.schedules.cron import crontab
from celeriac.schedules.cron_parser import ParseException, crontab_parser
from celeriac.schedules.interval import maybe_schedule, schedule
from celeriac.schedules.sun import solar

__all__ = [
    "BaseSchedule",
    "ParseException",
    "crontab",
    "crontab_parser",
    "maybe_schedule",
    "schedstate",
    "schedule",
    "solar",
]
