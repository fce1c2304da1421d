"""Configurations that are objects of other packages."""

import warnings

from celeriac import Celery


class Deprecating:
    """As Django's settings, which warn of each deprecated one that is read."""

    CELERY_TASK_DEFAULT_QUEUE = "orders"

    @property
    def EMAIL_BACKEND(self):  # noqa: N802 - a setting
        warnings.warn("EMAIL_BACKEND is deprecated", DeprecationWarning, stacklevel=2)
        return "smtp"


def test_a_deprecated_name_that_nobody_asked_for_is_no_warning():
    app = Celery("t", set_as_current=False)
    app.config_from_object(Deprecating(), namespace="CELERY")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert app.conf.task_default_queue == "orders"
