from celery.signals import task_failure, task_postrun, task_prerun, task_retry, task_success

from .journal import note


@task_prerun.connect
def before(sender=None, task_id=None, task=None, args=None, kwargs=None, **extra):
    note("prerun", sender.name, list(args), sorted(kwargs))


@task_postrun.connect
def after(sender=None, state=None, retval=None, **extra):
    note("postrun", sender.name, state)


@task_success.connect
def worked(sender=None, result=None, **extra):
    note("success", sender.name, result)


@task_retry.connect
def again(sender=None, reason=None, einfo=None, **extra):
    note("retry", sender.name, str(reason))


@task_failure.connect
def failed(sender=None, exception=None, args=None, traceback=None, einfo=None, **extra):
    note("failure", sender.name, repr(exception), list(args), traceback is not None)
