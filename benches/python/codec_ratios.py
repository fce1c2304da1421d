"""Serializers and compressions against Python's own, as a table of ratios.

Run with ``python benches/python/codec_ratios.py``. Both sides of a row take turns, and the least
time of the thread's processor counts, so that a busy machine shows much the same ratios.
"""

import bz2
import json
import lzma
import pickle
import sys
import time
import zlib

import brotli
import msgpack

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from celeriac import compression, serialization

ROUNDS = 25
BATCH_S = 0.002

RECORDS = [
    {"id": number, "name": f"user {number}", "score": number / 7, "tags": ["a", "b"]}
    for number in range(100)
]
TEXTS = {
    "Latin": "Größe für Ähnliches, déjà vu. ",
    "Cyrillic": "Быстрая лиса прыгает через собаку. ",
    "Chinese": "敏捷的棕色狐狸跳过了懒狗",
    "emoji": "😀🎉🚀 ok ",
}
TEXT = json.dumps(RECORDS * 8).encode()

SERIALIZERS = {
    "json": (json.dumps, json.loads),
    "msgpack": (msgpack.packb, msgpack.unpackb),
    "pickle": (pickle.dumps, pickle.loads),
}
# The levels that kombu uses: each module's own.
COMPRESSIONS = {
    "zlib": (zlib.compress, zlib.decompress),
    "bzip2": (bz2.compress, bz2.decompress),
    "lzma": (lzma.compress, lzma.decompress),
    "brotli": (brotli.compress, brotli.decompress),
    "zstd": (zstd.compress, zstd.decompress),
}


def cpu_s(work, argument, times):
    begun = time.thread_time()
    for _ in range(times):
        work(argument)
    return (time.thread_time() - begun) / times


def compare(ours, theirs, our_argument, their_argument=None):
    their_argument = our_argument if their_argument is None else their_argument
    times = max(1, round(BATCH_S / max(cpu_s(theirs, their_argument, 1), 1e-7)))
    found = [
        (cpu_s(ours, our_argument, times), cpu_s(theirs, their_argument, times))
        for _ in range(ROUNDS)
    ]
    return min(own for own, _ in found) / min(other for _, other in found)


def row(label, encode, decode):
    print(f"| {label} | {encode:.2f} | {decode:.2f} |", flush=True)


def main():
    print("| | encode | decode |\n|---|---|---|")
    for name, (encode, decode) in SERIALIZERS.items():
        kind, _, data = serialization.dumps(RECORDS, name)
        row(
            f"`{name}`, a hundred records",
            compare(lambda value, name=name: serialization.dumps(value, name), encode, RECORDS),
            compare(lambda data, kind=kind: serialization.loads(data, kind), decode, data),
        )
    for name, text in TEXTS.items():
        value = [(text * (10_000 // len(text) + 1))[:10_000]]
        kind, _, data = serialization.dumps(value, "json")
        assert data == json.dumps(value).encode()
        row(
            f"`json`, 10,000 characters of {name}",
            compare(lambda value: serialization.dumps(value, "json"), json.dumps, value),
            compare(lambda data: serialization.loads(data, "application/json"), json.loads, data),
        )
    for name, (encode, decode) in COMPRESSIONS.items():
        packed, kind = compression.compress(TEXT, name)
        assert decode(packed) == TEXT
        row(
            f"`{name}`, {len(TEXT) // 1000} kB of records",
            compare(lambda data, name=name: compression.compress(data, name), encode, TEXT),
            compare(lambda data, kind=kind: compression.decompress(data, kind), decode, packed),
        )


if __name__ == "__main__":
    main()
