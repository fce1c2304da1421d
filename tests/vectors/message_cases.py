"""What is sent to record task messages.

Each case is a name, the call as Python text, and the fields of that call in the words of
``celeriac_core::wire::template::Call`` (texts plain, ``…_json`` as JSON text). The fields are
written by hand from Celery's documentation, not read back from the recorded message: that is
what makes comparing the two a test. ``None`` as fields: only decoding and encoding is compared
(several messages, or a body that the template does not know).
"""

ETA = "2030-01-02T03:04:05.000678+00:00"
EXPIRES = "2026-11-22T06:01:00+00:00"

ARGUMENTS = [
    ("no arguments", "send()"),
    ("integers", "send([0, -1, 1, 255, 2**31, 2**63 - 1, -2**63, 2**64 - 1])"),
    ("integers beyond 64 bits", "send([2**64, -2**63 - 1, 10**100, -10**30])"),
    ("booleans and null", "send([True, False, None])"),
    ("floats", "send([0.0, -0.0, 1.0, 0.1, 1e15, 1e16, 1.5e16, 1e-4, 1e-5, 5e-324, 1e22, 2.5])"),
    ("floats that are no numbers", "send([float('nan'), float('inf'), float('-inf')])"),
    ("text", "send(['', 'plain', 'é', '€', '漢字', '😀', 'a/b'])"),
    ("control characters", "send([''.join(map(chr, range(32))) + '\"\\\\\\x7f\\x80'])"),
    ("lone surrogates", "send(['\\ud800', 'a\\udfff b', '\\udc00\\ud800'], {'\\ud801': 1})"),
    ("nested containers", "send([[1, [2, [3, []]]], {'a': {'b': {}}}, (1, 2)], {'k': [{}]})"),
    ("keys that are no text", "send([{1: 1, 1.5: 2, True: 3, None: 4, 10**20: 5, 1e-7: 6}])"),
    ("keys that are no numbers", "send([{float('nan'): 1, float('inf'): 2, float('-inf'): 3}])"),
    ("keyword arguments", "send([], {'x': 1, 'é': 'ü', 'z': None})"),
    ("naive datetime", "send([datetime(2024, 1, 2, 3, 4, 5)])"),
    (
        "aware datetimes",
        "send([datetime(2024, 1, 2, 3, 4, 5, 678, UTC), datetime(2024, 7, 2, tzinfo=PARIS)])",
    ),
    (
        "date and times",
        "send([date(2024, 1, 2), time(3, 4, 5, 678), time(3, 4), time(3, 4, tzinfo=UTC)])",
    ),
    ("decimals", "send([Decimal('1.10'), Decimal('-0'), Decimal('1E+30'), Decimal('NaN')])"),
    ("uuid", "send([UUID(int=5)], {'id': UUID(int=2**127)})"),
    ("bytes", "send([b'', b'abc', 'é'.encode(), b'\\xff\\x00'])"),
    ("enumerations of text and integers", "send([Colour.RED, Level.HIGH])"),
    ("object with __json__", "send([Point(1, 2)])"),
]

OPTIONS = [
    ("eta with an offset", "send([1], eta=datetime(2030, 1, 2, 3, 4, 5, 678, UTC))", {"eta": ETA}),
    (
        "eta without an offset",
        "send([1], eta=datetime(2030, 1, 1, 12))",
        {"eta": "2030-01-01T12:00:00"},
    ),
    (
        "eta in a zone of its own",
        "send([1], eta=datetime(2030, 7, 1, 12, tzinfo=PARIS))",
        {"eta": "2030-07-01T12:00:00+02:00"},
    ),
    ("countdown", "send([1], countdown=10)", {"eta": "2026-11-22T06:00:10+00:00"}),
    (
        "fractional countdown",
        "send([1], countdown=0.25)",
        {"eta": "2026-11-22T06:00:00.250000+00:00"},
    ),
    ("expires in seconds", "send([1], expires=60)", {"expires": EXPIRES, "expiration": "60000"}),
    (
        "expires at a moment",
        "send([1], expires=datetime(2026, 11, 22, 6, 1, tzinfo=UTC))",
        {"expires": EXPIRES, "expiration": "60000"},
    ),
    (
        "expired already",
        "send([1], expires=datetime(2020, 1, 1, tzinfo=UTC))",
        {"expires": "2020-01-01T00:00:00+00:00", "expiration": "0"},
    ),
    (
        "eta and expires",
        "send([1], eta=datetime(2030, 1, 2, 3, 4, 5, 678, UTC), expires=60)",
        {"eta": ETA, "expires": EXPIRES, "expiration": "60000"},
    ),
    ("lowest priority step", "send([1], priority=0)", {"priority": 0}),
    ("priority", "send([1], priority=5)", {"priority": 5}),
    ("priority above the steps", "send([1], priority=9)", {"priority": 9}),
    ("transient", "send([1], delivery_mode=1)", {"delivery_mode": 1}),
    ("queue of its own", "send([1], queue='other')", {"routing_key": "other"}),
    (
        "exchange and routing key",
        "send([1], exchange='direct.ex', routing_key='key.é')",
        {"exchange": "direct.ex", "routing_key": "key.é"},
    ),
    ("task id that is no uuid", "send([1], task_id='my id/é')", {"task_id": "my id/é"}),
    ("reply_to", "send([1], reply_to='my-replies')", {"reply_to": "my-replies"}),
    ("correlation id", "send([1], correlation_id='other-id')", {"correlation_id": "other-id"}),
    (
        "group member",
        "send([1], group_id='GROUP', group_index=3)",
        {"group": "GROUP", "group_index": 3},
    ),
    (
        "child",
        "send([1], root_id='ROOT', parent_id='PARENT')",
        {"root_id": "ROOT", "parent_id": "PARENT"},
    ),
    ("shadow", "send([1], shadow='pretty \"name\"')", {"shadow": 'pretty "name"'}),
    ("ignored result", "send([1], ignore_result=True)", {"ignore_result": True}),
    (
        "time limits",
        "send([1], time_limit=10, soft_time_limit=5.5)",
        {"timelimit_json": "[10, 5.5]"},
    ),
    ("soft time limit", "send([1], soft_time_limit=3)", {"timelimit_json": "[null, 3]"}),
    ("retries", "send([1], retries=2)", {"retries": 2}),
    ("replaced", "send([1], replaced_task_nesting=1)", {"replaced_task_nesting": 1}),
    (
        "custom headers",
        "send([1], headers={'x-one': 1, 'deep': {'é': [None]}})",
        {"headers_json": [["x-one", "1"], ["deep", '{"\\u00e9": [null]}']]},
    ),
    (
        "custom header of a standard name",
        "send([1], headers={'lang': 'rs', 'mine': True})",
        {"headers_json": [["lang", '"rs"'], ["mine", "true"]]},
    ),
    (
        "custom properties",
        "send([1], app_id='a', number=5)",
        {"properties_json": [["app_id", '"a"'], ["number", "5"]]},
    ),
    (
        "explicit reprs",
        "send([1], argsrepr='(secret)', kwargsrepr='{***}')",
        {"argsrepr": "(secret)", "kwargsrepr": "{***}"},
    ),
    ("explicit origin", "send([1], origin='gen1@elsewhere')", {"origin": "gen1@elsewhere"}),
    (
        "stamps",
        "task.s(1).stamp(rank='gold').apply_async()",
        {"stamped_headers_json": '["rank"]', "stamps_json": '{"rank": "gold"}'},
    ),
    (
        "task unknown to the sender",
        "app.send_task('not.known', [1], {'k': 'v'})",
        {"task": "not.known", "ignore_result_is_null": True},
    ),
]

SERIALIZERS = [
    ("msgpack", "send([1, -1, 'é', 1.5, None, True, {'k': b'\\xff'}], serializer='msgpack')"),
    ("yaml", "send([1, 'é'], serializer='yaml')"),
    ("pickle", "send([1, 'é'], serializer='pickle')"),
    ("zlib", "send(['a' * 100], compression='zlib')"),
    ("bzip2", "send(['a' * 100], compression='bzip2')"),
]

CANVAS = [
    ("link", "send([1], link=task.s(2))"),
    ("links", "send([1], link=[task.s(2), task.si(3)])"),
    ("errback", "send([1], link_error=task.s())"),
    ("chain", "(task.s(1) | task.s(3) | task.s(4)).apply_async()"),
    (
        "chain with callbacks",
        "(task.s(1) | task.s(3)).apply_async(link=task.s(5), link_error=task.s(6))",
    ),
    ("group", "group(task.s(1), task.s(2)).apply_async()"),
    ("chord", "chord([task.s(1), task.s(2)])(task.s(3))"),
    ("task before a group", "(task.s(1) | group(task.s(2), task.s(3))).apply_async()"),
]

#: Sent with `task_protocol=1`. No fields: what is written is compared with `celeriac.message`.
PROTOCOL1_CASES = [
    ("no arguments", "send()", None),
    ("arguments", "send([1, 'é', None, 1.5, [{}]], {'x': b'\\xff', 'é': 2**64})", None),
    ("values with an envelope", "send([datetime(2024, 1, 2, 3, 4, 5, 678, UTC)])", None),
    ("eta", "send([1], eta=datetime(2030, 1, 2, 3, 4, 5, 678, UTC))", None),
    ("eta without an offset", "send([1], eta=datetime(2030, 1, 1, 12))", None),
    ("countdown", "send([1], countdown=10)", None),
    ("expires", "send([1], expires=60)", None),
    ("priority", "send([1], priority=6)", None),
    ("queue", "send([1], queue='other')", None),
    ("own task id", "send([1], task_id='mine')", None),
    ("group member", "send([1], group_id='GROUP', group_index=3)", None),
    ("child", "send([1], root_id='ROOT', parent_id='PARENT')", None),
    ("shadow", "send([1], shadow='pretty')", None),
    ("ignored result", "send([1], ignore_result=True)", None),
    ("time limits", "send([1], time_limit=10, soft_time_limit=5.5)", None),
    ("retries", "send([1], retries=2)", None),
    ("custom headers", "send([1], headers={'x-one': 1, 'deep': {'é': [None]}})", None),
    ("custom properties", "send([1], app_id='a', number=5)", None),
    ("explicit origin", "send([1], origin='gen1@elsewhere')", None),
    ("explicit reprs", "send([1], argsrepr='(secret)', kwargsrepr='{***}')", None),
    ("task unknown to the sender", "app.send_task('not.known', [1], {'k': 'v'})", None),
    ("msgpack", "send([1, 'é', b'\\xff'], serializer='msgpack')", None),
    ("yaml", "send([1, 'é'], serializer='yaml')", None),
    ("pickle", "send([1, 'é'], serializer='pickle')", None),
    ("link", "send([1], link=task.s(2))", None),
    ("links", "send([1], link=[task.s(2), task.si(3)])", None),
    ("errback", "send([1], link_error=task.s())", None),
    ("chain", "(task.s(1) | task.s(3) | task.s(4)).apply_async()", None),
]


def all_cases():
    """Yields (name, call, fields or None)."""
    for name, call in ARGUMENTS:
        yield f"arguments: {name}", call, {}
    for name, call, fields in OPTIONS:
        yield f"option: {name}", call, fields
    for name, call in SERIALIZERS:
        yield f"serializer: {name}", call, None
    for name, call in CANVAS:
        yield f"canvas: {name}", call, None
