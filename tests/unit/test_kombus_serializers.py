"""What a program registers with a kombu it has loaded counts here; kombu is never loaded by us."""

import subprocess
import sys

import pytest
from kombu import serialization as theirs

from celeriac import serialization
from celeriac.exceptions import DecodeError, EncodeError, SerializerNotInstalled

WITHOUT_KOMBU = """
import sys
from celeriac import Celery, compression, serialization
from celeriac.exceptions import SerializerNotInstalled

app = Celery("t", broker="memory://", backend="memory://")
app.send_task("t.add", (1,), serializer="msgpack", compression="zstd")
for look_up, name in ((serialization.dumps, (1, "shout")), (compression.method, ("bang",))):
    try:
        look_up(*name)
    except (SerializerNotInstalled, KeyError) as error:
        print(type(error).__name__)
print(serialization.loads(b"A", "application/x-shout", "utf-8"))
print([name for name in sys.modules if name.partition(".")[0] == "kombu"])
"""


@pytest.fixture(params=["utf-8", "binary", "latin-1"])
def shout(request):
    """A serializer of kombu's alone; says with which content encoding."""
    encoding = request.param
    theirs.register(
        "shout",
        lambda value: value.upper().encode("utf-8" if encoding == "binary" else encoding),
        lambda data: data.decode("utf-8" if encoding == "binary" else encoding).lower(),
        "application/x-shout",
        encoding,
    )
    yield encoding
    theirs.unregister("shout")


def test_values_are_written_and_read_as_kombu_writes_and_reads_them(shout):
    written = serialization.dumps("élan", "shout")
    content_type, content_encoding, data = theirs.dumps("élan", "shout")
    assert written == (content_type, content_encoding, data)
    assert content_encoding == shout
    accept = serialization.accepted(["shout"])
    assert accept == {"application/x-shout"}
    assert serialization.loads(data, content_type, content_encoding, accept) == "élan"
    assert theirs.loads(written[2], written[0], written[1], accept=accept) == "élan"
    assert not serialization.is_native("application/x-shout")


def test_text_of_an_encoder_leaves_as_utf_8(shout):
    theirs.register("shout", str.upper, bytes.decode, "application/x-shout", shout)
    assert serialization.dumps("élan", "shout")[2] == "ÉLAN".encode()


def test_what_such_a_serializer_raises_is_told_as_ours(shout):
    with pytest.raises(EncodeError, match="shout cannot carry args"):
        serialization.dumps(5, "shout", what="args")
    with pytest.raises(DecodeError, match="x-shout"):
        serialization.loads(5, "application/x-shout", shout)


def test_without_kombu_its_names_are_unknown_and_it_is_not_loaded():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_KOMBU], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["SerializerNotInstalled", "CompressionNotFoundError", "A", "[]"]


def test_once_removed_from_kombu_it_is_unknown_here(shout):
    theirs.unregister("shout")
    try:
        with pytest.raises(SerializerNotInstalled):
            serialization.dumps("a", "shout")
    finally:
        theirs.register("shout", str, str, "application/x-shout", shout)
