"""What is stored to record result documents: a name and the call as Python text.

``done(result, **request)`` and ``failed(exception, traceback, **request)`` are the backend's
``mark_as_done`` and ``mark_as_failure`` with a request of these fields; ``extended_…`` the same
with ``result_extended``.
"""

EXTENDED = (
    "task='vectors.task', hostname='w1@host', retries=2, "
    "delivery_info={'routing_key': 'celery'}, args=(1, 'é'), kwargs={'k': None}"
)

CASES = [
    ("success", "done(3)"),
    ("success outside of a task", "backend.store_result(ID, 3, 'SUCCESS')"),
    ("success with null", "done(None)"),
    ("success with text", "done('é 😀 \\n')"),
    ("success with a lone surrogate", "done('\\ud83d')"),
    ("success with containers", "done({'a': [1, 2.5, {'b': None}], 1: ()})"),
    ("success with extended types", "done([datetime(2024, 1, 2, tzinfo=UTC), Decimal('1.10')])"),
    ("success with a uuid and bytes", "done([UUID(int=5), b'\\xff'])"),
    ("success with a big integer and no number", "done([10**40, float('nan'), 1e-7])"),
    ("in a group", "done(3, group='GROUP')"),
    ("with a parent", "done(3, parent_id='PARENT')"),
    ("with children", "done(3, _children=[app.AsyncResult('CHILD')])"),
    ("with a group as child", "done(3, _children=[GroupResult('GROUP', [app.AsyncResult('A')])])"),
    ("started", "backend.mark_as_started(ID, pid=4242, hostname='w1@host')"),
    ("custom state", "backend.store_result(ID, {'done': 1, 'of': 10}, 'PROGRESS')"),
    ("failure", "failed(KeyError('k', 1), 'Traceback: é\\n')"),
    ("failure without arguments", "failed(ValueError(), 'tb')"),
    ("failure with a custom exception", "failed(CustomError('why', code=3), 'tb')"),
    ("failure with an argument that cannot be encoded", "failed(ValueError({1}, 'x'), 'tb')"),
    (
        "failure that is not pickled",
        "failed(get_pickleable_exception(UnpicklableError('a')), 'tb')",
    ),
    ("failure with a nested class", "failed(Outer.InnerError(1), 'tb')"),
    ("failure without traceback", "failed(NotRegistered('no.such'), None)"),
    ("worker lost", "failed(WorkerLostError('Worker exited prematurely: exitcode 3.'), None)"),
    ("retry", "backend.mark_as_retry(ID, ZeroDivisionError('division by zero'), traceback='tb')"),
    ("revoked", "backend.mark_as_revoked(ID, 'revoked')"),
    ("expired", "backend.mark_as_revoked(ID, 'expired')"),
    ("extended success", f"extended_done(3, {EXTENDED})"),
    ("extended failure", f"extended_failed(KeyError('k'), 'tb', {EXTENDED})"),
    (
        "extended with stamps",
        f"extended_done(3, stamped_headers=['rank'], stamps={{'rank': ['gold']}}, {EXTENDED})",
    ),
]
