"""What is stored to record result documents: a name and the call as Python text."""

EXTENDED = (
    "request(args=(1, 'é'), kwargs={'k': None}, task='vectors.task', retries=2, hostname='w1@host', "
    "delivery_info={'routing_key': 'celery'}, ignore_result=False)"
)

CASES = [
    ("success", "backend.mark_as_done(ID, 3, request=request())"),
    ("success outside of a task", "backend.store_result(ID, 3, 'SUCCESS')"),
    ("success with null", "backend.mark_as_done(ID, None, request=request())"),
    ("success with text", "backend.mark_as_done(ID, 'é 😀 \\n', request=request())"),
    ("success with a lone surrogate", "backend.mark_as_done(ID, '\\ud83d', request=request())"),
    (
        "success with containers",
        "backend.mark_as_done(ID, {'a': [1, 2.5, {'b': None}], 1: ()}, request=request())",
    ),
    (
        "success with extended types",
        "backend.mark_as_done(ID, [datetime(2024, 1, 2, tzinfo=UTC), Decimal('1.10'), UUID(int=5), b'\\xff'], "
        "request=request())",
    ),
    (
        "success with a big integer and no number",
        "backend.mark_as_done(ID, [10**40, float('nan'), 1e-7], request=request())",
    ),
    ("in a group", "backend.mark_as_done(ID, 3, request=request(group='GROUP'))"),
    ("with a parent", "backend.mark_as_done(ID, 3, request=request(parent_id='PARENT'))"),
    (
        "with children",
        "backend.mark_as_done(ID, 3, request=request(_children=[app.AsyncResult('CHILD')]))",
    ),
    (
        "with a group as child",
        "backend.mark_as_done(ID, 3, request=request(_children=[GroupResult('GROUP', [app.AsyncResult('A')])]))",
    ),
    ("started", "backend.mark_as_started(ID, pid=4242, hostname='w1@host')"),
    (
        "custom state",
        "backend.store_result(ID, {'done': 1, 'of': 10}, 'PROGRESS', request=request())",
    ),
    (
        "failure",
        "backend.mark_as_failure(ID, KeyError('k', 1), traceback='Traceback: é\\n', request=request())",
    ),
    (
        "failure without arguments",
        "backend.mark_as_failure(ID, ValueError(), traceback='tb', request=request())",
    ),
    (
        "failure with a custom exception",
        "backend.mark_as_failure(ID, CustomError('why', code=3), traceback='tb', request=request())",
    ),
    (
        "failure with an argument that cannot be encoded",
        "backend.mark_as_failure(ID, ValueError({1, }, 'x'), traceback='tb', request=request())",
    ),
    (
        "failure with an exception that cannot be pickled",
        "backend.mark_as_failure(ID, get_pickleable_exception(UnpicklableError('a')), traceback='tb', request=request())",
    ),
    (
        "failure with a nested class",
        "backend.mark_as_failure(ID, Outer.InnerError(1), traceback='tb', request=request())",
    ),
    (
        "failure without traceback",
        "backend.mark_as_failure(ID, NotRegistered('no.such'), request=request())",
    ),
    (
        "worker lost",
        "backend.mark_as_failure(ID, WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL) Job: 2.'), "
        "request=request())",
    ),
    (
        "retry",
        "backend.mark_as_retry(ID, ZeroDivisionError('division by zero'), traceback='tb', request=request())",
    ),
    ("revoked", "backend.mark_as_revoked(ID, 'revoked', request=request())"),
    ("expired", "backend.mark_as_revoked(ID, 'expired', request=request())"),
    ("extended success", f"extended.mark_as_done(ID, 3, request={EXTENDED})"),
    (
        "extended failure",
        f"extended.mark_as_failure(ID, KeyError('k'), traceback='tb', request={EXTENDED})",
    ),
    (
        "extended with stamps",
        "extended.mark_as_done(ID, 3, request=request(args=(), kwargs={}, task='vectors.task', retries=0, "
        "hostname='w1@host', delivery_info={'routing_key': 'celery'}, stamped_headers=['rank'], "
        "stamps={'rank': ['gold']}))",
    ),
]
