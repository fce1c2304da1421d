import gc
import logging

import celery.signals
import pytest

from celeriac import signals
from celeriac.signals import Signal


@pytest.fixture
def signal():
    return Signal(name="test")


def receiver(**kwargs):
    return kwargs.get("value")


def test_every_signal_of_celery_exists():
    theirs = {
        name for name, value in vars(celery.signals).items() if type(value).__name__ == "Signal"
    }
    assert theirs <= set(vars(signals))


def test_a_receiver_gets_the_sender_the_signal_and_the_arguments(signal):
    seen = []

    @signal.connect
    def on(**kwargs):
        seen.append(kwargs)

    signal.send("me", value=1)
    assert seen == [{"signal": signal, "sender": "me", "value": 1}]


def test_send_returns_what_the_receivers_return(signal):
    signal.connect(receiver)
    assert signal.send(None, value=3) == [(receiver, 3)]


def test_a_receiver_that_fails_is_logged_and_the_others_are_called(signal, caplog):
    def broken(**_kwargs):
        raise ValueError("no")

    signal.connect(broken)
    signal.connect(receiver)
    with caplog.at_level(logging.ERROR):
        (_, error), (_, value) = signal.send(None, value=3)
    assert isinstance(error, ValueError)
    assert value == 3
    assert "broken" in caplog.text


def test_a_receiver_for_a_sender_hears_no_other(signal):
    signal.connect(receiver, sender="a")
    assert signal.send("b") == []
    assert len(signal.send("a")) == 1
    assert signal.has_listeners("a")
    assert not signal.has_listeners("b")


def test_senders_that_are_text_compare_by_value(signal):
    signal.connect(receiver, sender="proj.add")
    assert len(signal.send("".join(["proj", ".add"]))) == 1


def test_a_receiver_is_held_weakly(signal):
    def local(**_kwargs):
        return None

    signal.connect(local)
    del local
    gc.collect()
    assert not signal.has_listeners()
    assert signal.receivers == []


def test_a_bound_method_dies_with_its_object(signal):
    class Listener:
        def on(self, **_kwargs):
            return "heard"

    listener = Listener()
    signal.connect(listener.on)
    assert [answer for _, answer in signal.send(None)] == ["heard"]
    del listener
    gc.collect()
    assert signal.send(None) == []


def test_a_strong_receiver_stays(signal):
    signal.connect(lambda **_kwargs: 1, weak=False)
    gc.collect()
    assert len(signal.send(None)) == 1


def test_a_second_connect_with_one_uid_is_ignored(signal):
    signal.connect(receiver, dispatch_uid="once")
    signal.connect(receiver, dispatch_uid="once")
    assert len(signal.send(None)) == 1


def test_disconnect_says_whether_it_was_connected(signal):
    signal.connect(receiver)
    assert signal.disconnect(receiver)
    assert not signal.disconnect(receiver)
    assert signal.send(None) == []


def test_the_decorator_takes_options(signal):
    @signal.connect(sender="a", weak=False)
    def on(**_kwargs):
        return None

    assert on is not None
    assert signal.has_listeners("a")
    assert not signal.has_listeners("b")


def test_a_receiver_without_keyword_arguments_is_refused(signal):
    with pytest.raises(ValueError, match="keyword arguments"):
        signal.connect(lambda value: value)


def test_what_cannot_be_called_is_refused(signal):
    with pytest.raises(TypeError, match="callable"):
        signal.connect(3)


def test_who_waits_for_changes_hears_of_each_way_to_change_the_receivers(signal):
    seen = []
    signal.on_change = lambda: seen.append(len(signal.receivers))

    def short_lived(**_kwargs):
        """Be there for a while."""

    signal.connect(receiver)
    signal.connect(short_lived)
    signal.disconnect(receiver)
    del short_lived
    gc.collect()
    signal.receivers = []
    assert seen == [1, 2, 1, 0, 0]
