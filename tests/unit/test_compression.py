"""Compression: kombu's names, both paths of a publish, results, and what is refused."""

import bz2
import json
import lzma
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu import compression as kombus

from celeriac import Celery, _native, compression, message, serialization, signals
from celeriac.app.sending import Sender
from celeriac.exceptions import DecodeError, SerializerNotInstalled

NAMES = ["brotli", "bzip2", "bzip", "gzip", "zlib", "lzma", "xz", "zstd", "zstandard"]
STANDARD = {"zlib": zlib, "bzip2": bz2, "lzma": lzma}


def published(**settings_):
    """An app, and the calls that its publisher gets, as headers and body."""
    app = Celery("t", broker="memory://", **settings_)

    @app.task(name="t.add")
    def add(x, y=None):
        return x

    return app, add


def envelope_of(app, name, args, **options):
    """What a call puts on Redis by the fast path and by the slow one."""
    sender = Sender(app)
    prepared = sender._prepare(name, args, {}, dict(options))
    call = {**sender._call("an-id", {}), "delivery_tag": "a-tag"}
    fast = None if prepared.template is None else prepared.template.envelope(args, {}, call)
    built = message.build(prepared.common, call, args, {})
    headers, properties, body = message.encode(
        built, prepared.common.serializer, prepared.common.compression
    )
    common = prepared.common
    slow = _native.envelope_of_parts(headers, properties, body, common.exchange, common.routing_key)
    return fast, slow


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_kombu_leads_to_kombus_content_type(name):
    packed, content_type = compression.compress(b"some bytes " * 50, name)
    assert len(packed) < 550
    assert compression.decompress(packed, content_type) == b"some bytes " * 50
    assert content_type == kombus._aliases.get(name, content_type)


@pytest.mark.parametrize("name", STANDARD)
@given(data=st.binary(max_size=2000))
@settings(deadline=None, max_examples=40)
def test_pythons_own_modules_read_ours_and_we_read_theirs(name, data):
    module = STANDARD[name]
    assert module.decompress(compression.compress(data, name)[0]) == data
    assert compression.decompress(module.compress(data), name) == data


@pytest.mark.parametrize("name", ["brotli", "bzip2", "zlib", "lzma", "zstd"])
@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_the_fast_path_sends_the_bytes_of_the_slow_one(name, serializer):
    app, _ = published(task_compression=name, task_serializer=serializer)
    fast, slow = envelope_of(app, "t.add", ("x" * 100,))
    assert fast == slow
    headers = json.loads(fast)["headers"]
    assert list(headers)[-1] == "compression"
    assert headers["compression"] == compression.method(name).content_type


def test_the_option_counts_more_than_the_setting():
    app, _ = published(task_compression="zlib")
    assert b"application/x-bz2" in envelope_of(app, "t.add", (1,), compression="bzip2")[0]


def test_a_name_that_nothing_has_is_a_key_error_before_anything_is_sent():
    _, add = published()
    with pytest.raises(KeyError, match="No compression is called 'lz5'"):
        add.apply_async((1,), compression="lz5")
    with pytest.raises(SerializerNotInstalled, match="No serializer is called 'toml'"):
        add.apply_async((1,), serializer="toml")


def test_a_registered_method_is_honoured_on_both_sides(monkeypatch):
    monkeypatch.setattr(compression, "_METHODS", dict(compression._METHODS))
    monkeypatch.setattr(compression, "_ALIASES", dict(compression._ALIASES))
    compression.register(lambda b: b[::-1], lambda b: b[::-1], "application/x-back", ["back"])
    app, _ = published()
    fast, slow = envelope_of(app, "t.add", (1,), compression="back")
    assert fast is None
    assert json.loads(slow)["headers"]["compression"] == "application/x-back"
    assert compression.decompress(b"cba", "application/x-back") == b"abc"
    with pytest.raises(DecodeError, match="decompressed_max_bytes"):
        compression.decompress(b"cba", "back", 2)


def test_what_a_loaded_kombu_knows_is_known_here(monkeypatch):
    monkeypatch.setattr(kombus, "_encoders", dict(kombus._encoders))
    monkeypatch.setattr(kombus, "_decoders", dict(kombus._decoders))
    monkeypatch.setattr(kombus, "_aliases", dict(kombus._aliases))
    kombus.register(lambda b: b + b"!", lambda b: b[:-1], "application/x-bang", ["bang"])
    assert compression.compress(b"a", "bang") == (b"a!", "application/x-bang")
    assert compression.decompress(b"a!", "application/x-bang") == b"a"


def test_a_serializer_that_was_removed_is_gone():
    serialization.register("gone", str, str, "application/x-gone")
    serialization.unregister("gone")
    with pytest.raises(SerializerNotInstalled):
        serialization.dumps(1, "gone")
    with pytest.raises(SerializerNotInstalled):
        serialization.unregister("gone")


def test_yaml_that_would_build_objects_is_refused():
    with pytest.raises(DecodeError, match="python/object"):
        serialization.loads(b"!!python/object/apply:os.getpid []", "application/x-yaml")


@pytest.mark.parametrize("name", ["brotli", "bzip2", "zlib", "lzma", "zstd"])
def test_results_are_stored_as_celery_5_7_stores_them(name):
    app = Celery("t", broker="memory://", backend="memory://", result_compression=name)
    stored = app.backend.document("an-id", ["x" * 1000], "SUCCESS")
    content_type = compression.method(name).content_type
    assert stored.startswith(b"\x00celery-compressed\x00" + content_type.encode() + b"\x00")
    assert len(stored) < 500
    assert app.backend.decode_result(stored)["result"] == ["x" * 1000]
    if name in {"zlib", "bzip2", "lzma"}:
        from celery.backends.base import decompress_payload

        assert json.loads(decompress_payload(stored))["status"] == "SUCCESS"


def test_a_result_that_becomes_too_large_is_refused():
    app = Celery("t", backend="memory://", result_compression="zstd", decompressed_max_bytes=999)
    stored = app.backend.document("an-id", "x" * 1000, "SUCCESS")
    with pytest.raises(DecodeError, match="decompressed_max_bytes"):
        app.backend.decode_result(stored)


def test_signals_see_the_body_before_it_is_compressed():
    _, add = published(task_compression="zstd")
    seen = []

    def look(body, headers, **_named):
        seen.append((body[0], "compression" in headers))

    signals.before_task_publish.connect(look)
    try:
        add.delay(5)
    finally:
        signals.before_task_publish.disconnect(look)
    assert seen == [((5,), False)]
