"""Types that users teach JSON travel as kombu's do."""

from datetime import datetime

import pytest
from kombu.utils import json as kombu_json

from celeriac import _native, serialization


class Money:
    def __init__(self, cents):
        self.cents = cents


class Euro(Money):
    pass


@pytest.fixture
def registries(monkeypatch):
    monkeypatch.setattr(serialization, "_JSON_ENCODERS", {})
    monkeypatch.setattr(serialization, "_JSON_DECODERS", {})
    monkeypatch.setattr(kombu_json, "_encoders", dict(kombu_json._encoders))
    monkeypatch.setattr(kombu_json, "_decoders", dict(kombu_json._decoders))
    yield
    _native.set_json_hooks(None, None)


def register(*args):
    serialization.register_type(*args)
    kombu_json.register_type(*args)


@pytest.mark.usefixtures("registries")
def test_a_registered_type_and_its_subclasses_travel_as_kombus():
    register(Money, "money", lambda money: money.cents, Money)
    values = [Money(5), {"price": Euro(7)}]
    encoded = _native.encode_json(values)
    assert encoded == kombu_json.dumps(values).encode()
    first, second = _native.decode_json(encoded)
    assert (first.cents, second["price"].cents) == (5, 7)


@pytest.mark.usefixtures("registries")
def test_without_a_marker_only_the_form_travels():
    register(Money, None, lambda money: [money.cents])
    assert _native.encode_json(Money(5)) == kombu_json.dumps(Money(5)).encode() == b"[5]"


@pytest.mark.usefixtures("registries")
def test_a_builtin_type_can_be_registered_anew():
    register(datetime, "datetime", lambda moment: moment.year, lambda year: datetime(year, 1, 1))
    moment = datetime(2024, 5, 6)
    encoded = _native.encode_json(moment)
    assert encoded == kombu_json.dumps(moment).encode()
    assert _native.decode_json(encoded) == kombu_json.loads(encoded) == datetime(2024, 1, 1)
