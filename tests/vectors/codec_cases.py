"""Texts for the codec vectors: JSON that is or is not accepted, floats, times."""

import itertools
import random
import struct

JSON_TEXTS = [
    # Accepted by json.loads.
    *["null", " true\t", "\nfalse\r", "0", "-0", "-0.0", "1e5", "1E+5", "1e-05", "1e400", "-1e400"],
    *["123456789012345678901234567890", "-9223372036854775809", "9223372036854775808"],
    *["18446744073709551615", "18446744073709551616", "NaN", "Infinity", "-Infinity", "[]", "{}"],
    *["[ ]", "{ }", "[1 , 2]", '{"a" : 1 , "b" : [ ] }', '{"a": 1, "b": 2, "a": 3}', '{"": ""}'],
    *['"\\/\\b\\f\\n\\r\\t\\"\\\\"', '"\\u00E9\\u20ac"', '"\\ud83d\\ude00"', '"\\uD83D\\uDE00"'],
    *['"\\ud83d"', '"\\ude00\\ud83d"', '"\\ud83d\\ud83d\\ude00"', '"\\ud83dx"', '"\\ud83d\\n"'],
    *['"é€😀"', '"\x7f"', '"\u2028"', '{"\\ud800": 1}', "[[[[[[]]]]]]", "[NaN, -Infinity]"],
    '["' + "x" * 40 + "\\n" + "é" * 20 + '"]',
    # Refused.
    *[
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "None",
        "tru",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "-",
        "1e",
        "1e+",
    ],
    *["0x10", "1_000", "--1", "-NaN", "+Infinity", "nan", "Infinit", "[", "]", "[1", "[1,", "[1,]"],
    *["[,]", "[1 2]", "[1,,2]", "{", "}", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', "{,}"],
    *[
        '{"a" 1}',
        "{a: 1}",
        "{'a': 1}",
        "{1: 1}",
        '{"a": 1 "b": 2}',
        '"',
        '"a',
        '"\\',
        '"\\x"',
        '"\\u12"',
    ],
    *[
        '"\\u12g4"',
        '"\\u+123"',
        '"\n"',
        '"\t"',
        '"\x00"',
        "1 2",
        "[] []",
        "\ufeff1",
        "\u00a01",
        "/**/1",
    ],
    *['"\\ud83d\\u"', '"\\ud83d\\uzzzz"', "'a'", "[1}", '{"a": 1]', "\v1", "\f1"],
]


def floats():
    """Yields floats that reprs differ on: edges, powers, decimals, random bit patterns."""
    yield from [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        1 / 3,
        2 / 3,
        100.0,
        123456.789,
        5e-324,
        1.7976931348623157e308,
    ]
    yield from [
        2.2250738585072014e-308,
        9007199254740993.0,
        9999999999999998.0,
        1e23,
        2**-44,
        2**-1074,
    ]
    yield from (2.0**exponent for exponent in range(-1074, 1024, 3))
    yield from (
        float(f"{digits}e{exponent}")
        for exponent in range(-30, 31)
        for digits in (1, 1.5, -9.99, 1234567)
    )
    chance = random.Random(5)
    for _ in range(1500):
        (value,) = struct.unpack("<d", struct.pack("<Q", chance.getrandbits(64)))
        if value == value and abs(value) != float("inf"):  # noqa: PLR0124
            yield value
    yield from (round(chance.uniform(-1e6, 1e6), chance.randrange(8)) for _ in range(500))


DATES = [
    "2024",
    "2024-02",
    "2024-02-29",
    "20240229",
    "2023-02-29",
    "2024-060",
    "2024060",
    "2024-W09-4",
]
DATES += [
    "2024W094",
    "2024-W09",
    "2024W09",
    "2020-W53-7",
    "2024-13-01",
    "2024-00-01",
    "0000-01-01",
    "1969-12-31",
]
DATES += [
    "2024-366",
    "2023-366",
    "2024-000",
    "9998-12-31",
    "0001-01-01",
    "2024-W54-1",
    "2024-W09-8",
    "24-01-01",
]
CLOCKS = [
    "T00:00:00",
    "T12:30",
    "T1230",
    "T123045",
    "T12",
    "T24:00:00",
    "T24:00:01",
    " 12:30:45",
    "x12:30:45",
]
CLOCKS += [
    "T12:30:45.5",
    "T12:30:45,123456",
    "T12:30:45.123456789",
    "T12:30:45.",
    "T12:60",
    "T12:30:60",
    "T1",
    "T",
]
CLOCKS += ["T12:3045", "T1230:45", "T25:00", "T123045.250", "T12:30:45.0004"]
ZONES = [
    "",
    "Z",
    "z",
    "+00:00",
    "-00:00",
    "+01:00",
    "-0530",
    "+14",
    "+1",
    "+24:00",
    "+01:60",
    "Zjunk",
    " +01:00",
]


def times():
    """Yields texts that are or are not ISO-8601."""
    yield from DATES
    for day, clock, zone in itertools.product(
        ["2024-02-29", "20240229", "2024-060"], CLOCKS, ZONES
    ):
        yield f"{day}{clock}{zone}"
    for day in DATES:
        yield f"{day}T12:30:45.000678+02:00"
    yield from [
        "",
        "soon",
        "1700000000",
        "1700000000.5",
        "2024-02-29T12:30:45+02:00 ",
        "é024-01-01",
        "now",
    ]
