import os

from celery.schedules import crontab

SECRET_KEY = "only for tests"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "orders.apps.OrdersConfig"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["PROGRAM_FOLDER"] + "/shop.sqlite3",
        "OPTIONS": {"timeout": 20},
    }
}

CELERY_BROKER_URL = os.environ["PROGRAM_BROKER"]
CELERY_RESULT_BACKEND = os.environ["PROGRAM_RESULTS"]
CELERY_TASK_DEFAULT_QUEUE = os.environ["PROGRAM_QUEUE"]
CELERY_TASK_TRACK_STARTED = True
CELERY_TIMEZONE = "Europe/Berlin"
CELERY_BEAT_SCHEDULE = {
    "remind-every-morning": {
        "task": "orders.tasks.remind",
        "schedule": crontab(hour=7, minute=30, day_of_week="mon-fri"),
    },
}
