import threading
from concurrent.futures import ThreadPoolExecutor

import celery.app.defaults
import pytest

from celeriac import Celery
from celeriac.exceptions import ImproperlyConfigured
from celeriac.settings import TABLE, Settings, unhonoured
from celeriac.settings.table import BY_NAME

THEIRS = dict(celery.app.defaults.flatten(celery.app.defaults.NAMESPACES))
# Celery's documentation gives 0.2, its code 1: with it a publish is retried for 0.4 s.
DIFFERENT = {"task_publish_retry_policy"}


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_every_setting_of_celery_exists_with_its_default(name):
    assert name in BY_NAME
    if name not in DIFFERENT:
        assert BY_NAME[name].default == THEIRS[name].default


@pytest.mark.parametrize("name", sorted(name for name, option in THEIRS.items() if option.old))
def test_every_old_name_of_celery_reads_the_setting(name):
    for old in THEIRS[name].old:
        assert old.format(name).upper() in {BY_NAME[name].old_name, name.upper()}


def test_attribute_item_and_old_name_are_one_setting():
    conf = Settings()
    conf.task_serializer = "yaml"
    assert conf["task_serializer"] == conf.CELERY_TASK_SERIALIZER == "yaml"
    conf["CELERY_TASK_SERIALIZER"] = "json"
    assert conf.task_serializer == "json"


def test_unknown_keys_are_kept():
    conf = Settings({"redbeat_lock_key": "x"})
    assert conf.redbeat_lock_key == "x"
    assert "redbeat_lock_key" in conf
    assert conf.get("nothing") is None
    assert "nothing" not in conf
    with pytest.raises(AttributeError, match="nothing"):
        _ = conf.nothing
    with pytest.raises(KeyError, match="nothing"):
        _ = conf["nothing"]


def test_first_skips_what_is_none():
    conf = Settings({"a": None, "b": 2})
    assert conf.first("missing", "a", "b") == 2
    assert conf.first("missing") is None


def test_keys_list_the_table_and_what_is_set():
    keys = list(Settings({"mine": 1}).keys())
    assert {"mine", "task_serializer"} <= set(keys)
    assert len(keys) == len(set(keys)) == len(TABLE) + 1


def test_what_is_unset_falls_back_to_its_neighbour():
    conf = Settings({"broker_url": "redis://a", "task_default_queue": "q"})
    assert conf.broker_read_url == conf.broker_write_url == "redis://a"
    assert conf.task_default_exchange == conf.task_default_routing_key == "q"


def test_the_environment_wins(monkeypatch):
    conf = Settings({"broker_url": "redis://a"})
    assert conf.broker_url == "redis://a"
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://env")
    assert conf.broker_url == "redis://env"
    assert conf.broker_write_url == "redis://env"


def test_changes_win_over_what_was_loaded_and_that_over_defaults():
    conf = Settings({"task_serializer": "changed"})
    conf.load({"task_serializer": "loaded", "result_serializer": "loaded"})
    conf.add_defaults({"result_serializer": "default", "event_serializer": "default"})
    assert conf.task_serializer == "changed"
    assert conf.result_serializer == "loaded"
    assert conf.event_serializer == "default"


def test_a_change_is_counted():
    conf = Settings()
    before = conf.version
    conf.task_serializer = "yaml"
    assert conf.version > before


def test_a_namespace_is_stripped():
    conf = Settings()
    conf.load({"CELERY_TASK_SERIALIZER": "yaml", "OTHER": 1}, namespace="CELERY")
    assert conf.task_serializer == conf.CELERY_TASK_SERIALIZER == "yaml"
    assert conf.OTHER == 1


def test_old_and_new_names_do_not_mix():
    with pytest.raises(ImproperlyConfigured, match="CELERY_TASK_SERIALIZER -> task_serializer"):
        Settings().load({"CELERY_TASK_SERIALIZER": "json", "task_acks_late": True, "imports": ()})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("worker_prefetch_multiplier", "4", 4),
        ("task_time_limit", "2.5", 2.5),
        ("task_acks_late", "true", True),
        ("task_acks_late", "0", False),
        ("imports", "proj.tasks", ["proj.tasks"]),
        ("result_expires", None, None),
    ],
)
def test_text_becomes_what_the_setting_is(name, value, expected):
    assert Settings({name: value})[name] == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("worker_prefetch_multiplier", "many"),
        ("task_acks_late", "perhaps"),
        ("broker_transport_options", 3),
        ("result_expires", []),
    ],
)
def test_a_wrong_value_is_refused_by_name(name, value):
    with pytest.raises(ImproperlyConfigured, match=name):
        Settings({name: value})


def test_secrets_are_hidden():
    conf = Settings(
        {
            "broker_url": "redis://user:secret@host/0",
            "redis_password": "secret",
            "result_backend_transport_options": {"sentinel_kwargs": {"password": "secret"}},
            "task_default_routing_key": "shown",
        }
    )
    assert "secret" not in conf.humanize() + repr(conf)
    assert "shown" in conf.humanize()
    assert "redis://user:********@host/0" in conf.humanize()
    assert "secret" in conf.humanize(censored=False)


def test_find_value_for_key_takes_the_part_after_the_prefix():
    conf = Settings({"result_extended": True})
    assert conf.find_value_for_key("extended", "result") is True
    assert conf.get_by_parts("result", "extended") is True
    with pytest.raises(KeyError):
        conf.find_option("nothing_of_the_kind")


def test_what_has_no_effect_is_reported_once_set():
    conf = Settings(
        {"worker_state_db": "revoked.db", "task_time_limit": 5, "task_serializer": "json"}
    )
    found = {item.name: item.stops_worker for item in unhonoured(conf)}
    assert found == {"worker_state_db": False}


def test_a_setting_that_is_set_to_its_default_is_not_reported():
    assert unhonoured(Settings({"worker_timer_precision": 1.0})) == []


def test_a_configuration_is_loaded_when_first_read():
    app = Celery("x", set_as_current=False)
    loaded = []
    app.on_configure.connect(lambda **_kwargs: loaded.append(1), weak=False)
    app.conf.task_serializer = "yaml"
    assert loaded == []
    assert app.conf.task_serializer == "yaml"
    assert app.conf.task_default_queue == "celery"
    assert loaded == [1]


def test_a_second_thread_waits_for_the_configuration():
    app = Celery("x", set_as_current=False)
    started, go = threading.Event(), threading.Event()

    def slow(sender, **_kwargs):
        started.set()
        assert go.wait(10)

    app.on_configure.connect(slow, weak=False)
    app.config_from_object({"task_serializer": "yaml"})
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: app.conf.task_serializer)
        assert started.wait(10)
        second = pool.submit(lambda: app.conf.task_serializer)
        go.set()
        assert (first.result(10), second.result(10)) == ("yaml", "yaml")
    assert app.conf.task_serializer == "yaml"
