"""Plain calls go the short way, and nobody can tell but by the clock."""

import gc
import threading
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac import Celery, group, signals, signature
from celeriac.app import shortcut
from celeriac.app.sending import Sender
from celeriac.exceptions import EncodeError, OperationalError

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
    | st.text()
    | st.uuids()
    | st.dates()
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
arguments = (
    st.none() | st.lists(json_values, max_size=4) | st.lists(json_values, max_size=4).map(tuple)
)
keywords = st.none() | st.dictionaries(st.text(min_size=1), json_values, max_size=4)
own_options = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.integers(0, 9),
        "time_limit": st.integers(1, 100),
        "soft_time_limit": st.floats(1, 100),
        "serializer": st.sampled_from(["json", "msgpack", "pickle"]),
        "compression": st.sampled_from(["zlib", "bzip2"]),
        "delivery_mode": st.sampled_from([1, 2]),
        "ignore_result": st.booleans(),
        "expires": st.integers(1_000, 2_000),
    },
)


#: How a member of a group may be written.
WRITTEN = {
    "a dictionary from JSON": lambda add, args, kwargs: {
        **add.signature(args, kwargs),
        "args": list(args),
    },
    "by its name": lambda add, args, kwargs: signature(add.name, args, kwargs, app=add.app),
    "of its task": lambda add, args, kwargs: add.s(*args, **kwargs),
    "with an option": lambda add, args, kwargs: add.s(*args, **kwargs).set(time_limit=9),
}


@pytest.fixture
def add(app):
    return app.task(lambda *_a, **_k: 1, name="add", lazy=False)


@pytest.fixture
def long_ways(monkeypatch):
    """Count the calls that go the long way."""
    taken = []
    original = Sender.send

    def counted(self, name, *call):
        taken.append(name)
        return original(self, name, *call)

    monkeypatch.setattr(Sender, "send", counted)
    return taken


def same(one):
    """Everything of a message but what is made anew for each."""
    task_id = one.headers["id"]
    headers = {
        key: "ID" if value == task_id else value
        for key, value in one.headers.items()
        if key != "expires"
    }
    left_out = {"delivery_tag", "correlation_id", "expiration"}
    properties = {key: value for key, value in one.properties.items() if key not in left_out}
    assert one.properties["correlation_id"] == task_id
    return repr((list(headers.items()), properties, one.body, one[3:]))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(args=arguments, kwargs=keywords, own=own_options, is_batch=st.booleans())
def test_the_short_way_yields_the_bytes_of_the_long_way(app, sent, args, kwargs, own, is_batch):
    add = app.task(lambda *_a, **_k: 1, name=f"add{id(own)}", lazy=False, **own)

    def send():
        try:
            if is_batch:
                with app.publisher() as publisher:
                    add.apply_async(args, kwargs, publisher=publisher)
            else:
                add.apply_async(args, kwargs)
        except EncodeError:  # what msgpack cannot carry
            return EncodeError
        return None

    refused = send()
    signals.before_task_publish.connect(_hear)
    try:
        assert send() == refused
    finally:
        signals.before_task_publish.disconnect(_hear)
    if refused is None:
        short, long = sent(app, 2)
        assert same(short) == same(long)


def _hear(**_kwargs):
    """Be there, so that the message is built in Python."""


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    members=st.lists(
        st.tuples(st.sampled_from(sorted(WRITTEN)), st.lists(json_values, max_size=3), keywords),
        min_size=1,
        max_size=6,
    )
)
def test_a_groups_members_go_the_short_way_as_they_go_the_long_way(app, add, sent, members):
    def send():
        made = [WRITTEN[kind](add, args, kwargs or {}) for kind, args, kwargs in members]
        return group(made, app=app).apply_async()

    short = send()
    signals.before_task_publish.connect(_hear)
    try:
        long = send()
    finally:
        signals.before_task_publish.disconnect(_hear)
    messages = sent(app, 2 * len(members))
    ids = [one.headers["id"] for one in messages]
    assert ids == [one.id for one in short] + [one.id for one in long]

    assert [one.headers["group_index"] for one in messages[: len(members)]] == list(
        range(len(members))
    )

    def without_group(one, its_group):
        assert one.headers["group"] == its_group.id
        return same(one).replace(its_group.id, "GROUP")

    half = len(members)
    assert [without_group(one, short) for one in messages[:half]] == [
        without_group(one, long) for one in messages[half:]
    ]


def test_members_are_sent_without_a_look_at_each_as_long_as_they_are_alike(
    app, add, sent, long_ways
):
    mul = app.task(lambda *_a, **_k: 1, name="mul", lazy=False)
    calls = [add.s(0), signature("add", (1,), app=app), mul.s(2), add.s(3)]
    made = group(member for member in calls)
    sent_as = made.apply_async()
    assert long_ways == []
    messages = sent(app, 4)
    assert [one.headers["task"] for one in messages] == ["add", "add", "mul", "add"]
    assert [one.headers["id"] for one in messages] == [one.id for one in sent_as]


def test_who_listens_from_the_middle_of_a_group_on_hears_the_rest_of_it(app, add, sent):
    heard = []

    def hear(headers, **_kwargs):
        heard.append(headers["group_index"])

    def calls():
        for number in range(4):
            if number == 2:
                signals.before_task_publish.connect(hear)
            yield add.s(number)

    try:
        group(calls()).apply_async()
    finally:
        signals.before_task_publish.disconnect(hear)
    assert heard == [2, 3]
    assert len(sent(app, 4)) == 4


def test_arguments_that_a_member_does_not_take_end_the_group_there(app, sent):
    one = app.task(lambda x: x, name="one", lazy=False)
    with pytest.raises(TypeError, match="positional argument"):
        group([one.s(1), one.s(1, 2), one.s(3)]).apply_async()
    assert [message.headers["group_index"] for message in sent(app, 1)] == [0]


def test_plain_calls_take_the_short_way(app, add, sent, long_ways):
    add.delay(1)
    add.apply_async((2,))
    with app.publisher() as publisher:
        add.apply_async((3,), publisher=publisher)
    assert len(sent(app, 3)) == 3
    assert long_ways == []


@pytest.mark.parametrize(
    "options", [{"countdown": 1}, {"task_id": "x"}, {"link": []}, {"retry": False}, {"priority": 1}]
)
def test_calls_that_say_more_go_the_long_way(add, long_ways, options):
    add.apply_async((1,), **options)
    assert len(long_ways) == (0 if options == {"link": []} else 1)


def test_who_listens_to_a_signal_meanwhile_hears_of_the_calls_until_it_leaves(app, add, long_ways):
    heard = []

    def hear(body, **_kwargs):
        heard.append(body[0])

    with app.publisher() as publisher:
        for number in range(3):
            if number == 1:
                signals.after_task_publish.connect(hear)
            add.apply_async((number,), publisher=publisher)
            if number == 1:
                signals.after_task_publish.disconnect(hear)
    assert heard == [(1,)]
    assert long_ways == ["add"]


def test_a_listener_that_is_gone_leaves_the_short_way_free(add, long_ways):
    def hear(**_kwargs):
        """Be there for one call."""

    signals.before_task_publish.connect(hear)
    add.delay(1)
    del hear
    gc.collect()
    add.delay(2)  # finds out
    add.delay(3)
    assert long_ways == ["add", "add"]


def test_a_task_that_another_application_has_bound_goes_through_that_one(app, add, sent):
    add.delay(1)
    other = Celery("other", broker=app.conf.broker_url, set_as_current=False)
    other.conf.task_default_queue = "others"
    type(add).bind(other)
    try:
        add.delay(2)
    finally:
        type(add).bind(app)
    assert len(sent(other, 1, "others")) == 1
    assert len(sent(app, 1)) == 1


def test_a_first_try_through_a_window_that_fails_counts_as_one_of_the_policy(app, add, monkeypatch):
    app.conf.task_publish_retry_policy = {"max_retries": 2, "interval_start": 0, "interval_max": 0}
    tries = []

    class Failing:
        def publish(self, *message):
            tries.append(message[1:4])
            raise OperationalError("gone")

    short = add._new_shortcut()
    with pytest.raises(OperationalError, match="gone"):
        short._hand_over_again(Failing(), (1,), {}, ("g", 3), OperationalError("gone"))
    call = {"reply_to": app.thread_oid, "group": "g", "group_index": 3}
    assert tries == [((1,), {}, call)] * 2


def test_an_abandoned_application_is_collected_with_its_shortcuts(app):
    other = Celery("other", broker=app.conf.broker_url, set_as_current=False)
    task = other.task(lambda _x: 1, name="task", lazy=False)
    with other.publisher() as publisher:
        task.apply_async((1,), publisher=publisher)
    assert task._shortcut.holds()
    left = weakref.ref(other), weakref.ref(type(task))
    del other, task, publisher
    gc.collect()
    assert [one() for one in left] == [None, None]


def test_a_setting_that_changes_is_heeded_by_the_next_call(app, add, sent):
    add.delay(1)
    app.conf.task_default_queue = "other"
    add.delay(2)
    add.delay(3)
    assert len(sent(app, 1)) == 1
    assert len(sent(app, 2, "other")) == 2


def test_an_attribute_that_changes_is_heeded_by_the_next_call(app, add, sent):
    add.delay(1)
    add.priority = 5
    add.delay(2)
    assert sorted(one.properties["priority"] for one in sent(app, 2)) == [0, 5]


def test_another_router_is_heeded_by_the_next_call(app, add, sent):
    add.delay(1)
    app.conf.task_routes = {"add": {"queue": "routed"}}
    app.amqp.flush_routes()
    add.delay(2)
    assert len(sent(app, 1, "routed")) == 1


def test_a_send_task_of_the_users_is_called(app, add, monkeypatch):
    add.delay(1)
    calls = []
    monkeypatch.setattr(app, "send_task", lambda *args, **kwargs: calls.append(args))
    add.delay(2)
    assert [args[1] for args in calls] == [(2,)]


def test_what_a_task_calls_has_it_as_its_parent(app, add, sent, monkeypatch):
    caller = app.task(lambda: add.delay(1), name="caller", lazy=False)
    add.delay(0)
    request = {"id": "PARENT", "root_id": "ROOT", "called_directly": False}
    monkeypatch.setattr(
        caller, "push_request", lambda **_k: type(caller).push_request(caller, **request)
    )
    caller()
    assert sent(app, 2)[1].headers["parent_id"] == "PARENT"


def test_arguments_are_checked_before_anything_is_sent(app, sent):
    two = app.task(lambda _x, _y: 1, name="two", lazy=False)
    with app.publisher() as publisher:
        for args in ((1,), [1], (1, 2, 3), None):
            with pytest.raises(TypeError, match="positional argument"):
                two.apply_async(args)
            with pytest.raises(TypeError, match="positional argument"):
                two.apply_async(args, publisher=publisher)
        with pytest.raises(TypeError, match="unexpected keyword"):
            two.apply_async((1, 2), {"z": 1}, publisher=publisher)
        two.apply_async((1,), {"_y": 2}, publisher=publisher)
        assert publisher.window.entered == 1
    assert len(sent(app, 1)) == 1


def test_a_first_try_that_fails_counts_as_one_of_the_policy(app, add, monkeypatch):
    app.conf.task_publish_retry_policy = {"max_retries": 2, "interval_start": 0, "interval_max": 0}
    add.delay(0)
    tries = []

    class Failing:
        def publish_plain(self, *message):
            tries.append(message[4])
            raise OperationalError("gone")

    monkeypatch.setattr(shortcut.broker, "publisher", lambda _app: Failing())
    monkeypatch.setattr(shortcut._native, "Publisher", Failing)
    with pytest.raises(OperationalError, match="gone"):
        add.delay(1)
    assert len(tries) == 3
    assert len(set(tries)) == 1


def test_a_handle_of_the_short_way_is_like_any_other(app, add):
    quick = add.delay(1)
    assert (quick.app, quick.backend, quick.parent) == (app, app.backend, None)
    assert type(quick) is app.AsyncResult
    assert (quick.state, quick.ignored) == ("PENDING", False)


def test_ten_thousand_keywords_and_ten_megabytes_are_carried(app, add, sent):
    many = {f"k{number}": number for number in range(10_000)}
    with app.publisher() as publisher:
        add.apply_async((), many, publisher=publisher)
        add.apply_async(("x" * 10_000_000,), publisher=publisher)
    first, second = sent(app, 2)
    assert len(first.body) > 100_000
    assert len(second.body) > 10_000_000


def test_threads_share_a_publisher(app, add, sent):
    with app.publisher(window=16) as publisher:

        def work():
            for number in range(50):
                add.apply_async((number,), publisher=publisher)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({one.headers["id"] for one in sent(app, 200)}) == 200
