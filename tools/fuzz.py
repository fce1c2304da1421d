"""Builds the fuzz targets of `rust/fuzz` and runs each for a while: `make fuzz SECONDS=60`.

What libFuzzer needs of the compiler is in the stable one. The corpora begin with what the real
Celery has sent (`tests/vectors`) and grow in `target/fuzz`; an input that breaks something is left
there, and `target/fuzz/run/<host>/release/TARGET INPUT` runs it again.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "target" / "fuzz"
FLAGS = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
]
#: For one input: more would be a bomb that worked.
MAX_MEMORY_MIB = 1024
MAX_INPUT_S = 10
URLS = (
    "redis://user:pass@host:6379/1?visibility_timeout=5",
    "amqp://user:p%40ss@[::1]:5672/v%2fh;amqps://other",
    "sentinel://a:1;sentinel://b:2?master_name=m",
    "redis+socket:///run/redis.sock?virtual_host=2",
    "sqlite:////var/lib/queue.db?synchronous=FULL",
    "memory://name",
)
TIMES = ("2026-11-22T07:46:13.793443+01:00", "2024-W09-4T12:30:00,5Z", "2024060 24:00-0130")


def seeds() -> dict[str, list[bytes]]:
    """What each corpus begins with.

    Returns:
        Inputs, by the target's name.
    """
    envelopes: list[dict[str, Any]] = []
    documents: list[bytes] = []
    for file in sorted((ROOT / "tests" / "vectors").glob("celery-5.7/*.json")):
        for raw in _raw(json.loads(file.read_text())):
            if file.stem == "documents":
                documents.append(raw.encode("latin-1", "replace"))
            else:
                envelopes.append(json.loads(raw))
    texts = [json.dumps(envelope).encode() for envelope in envelopes]
    headers = [json.dumps(envelope["headers"]).encode() for envelope in envelopes]
    bodies = [base64.b64decode(envelope["body"]) for envelope in envelopes]
    job = bytes([0x22, 0, 0, 0, 1]) + bytes(33)
    outcome = bytes([0x12, 0, 0, 0, 18]) + bytes(17)
    return {
        "body": bodies,
        "compression": [bytes([0x80 | which]) + bodies[0] for which in range(5)],
        "envelope": texts,
        "frame": [job + bytes([1, 0, 0, 0, 2]), outcome, bytes([9, 0, 0, 0, 17, *range(8)])],
        "headers": headers,
        "json": bodies + documents,
        "msgpack": [b"\x93\x90\x80\xc0", b"\x93\xdc\x00\x01\xa1x\x80\xdf\x00\x00\x00\x00"],
        "result_meta": documents,
        "time": [text.encode() for text in TIMES],
        "url": [url.encode() for url in URLS],
    }


def _raw(value: Any) -> list[str]:
    if isinstance(value, list):
        return [raw for inner in value for raw in _raw(inner)]
    if not isinstance(value, dict):
        return []
    own = [value["raw"]] if isinstance(value.get("raw"), str) else []
    return own + [raw for inner in value.values() for raw in _raw(inner)]


def build() -> Path:
    """Compile the targets.

    Returns:
        The folder they are in.
    """
    host = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    triple = next(line.split()[1] for line in host.splitlines() if line.startswith("host:"))
    command = ["cargo", "build", "--release", "--locked", "--target", triple]
    command += ["--manifest-path", str(ROOT / "rust/fuzz/Cargo.toml")]
    command += ["--target-dir", str(FOLDER / "run")]
    # With --target the flags are those of the targets alone, not of build scripts.
    subprocess.run(command, env={**os.environ, "RUSTFLAGS": " ".join(FLAGS)}, check=True)
    return FOLDER / "run" / triple / "release"


def run(program: Path, inputs: list[bytes], seconds: int) -> bool:
    """Run one target.

    Args:
        program: The target.
        inputs: What its corpus begins with.
        seconds: How long.

    Returns:
        Whether everything held.
    """
    corpus = FOLDER / "corpus" / program.name
    corpus.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    artifacts = FOLDER / "artifacts" / program.name
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [str(program), str(corpus), f"-max_total_time={seconds}", "-print_final_stats=1"]
    command += [f"-rss_limit_mb={MAX_MEMORY_MIB}", f"-timeout={MAX_INPUT_S}", "-max_len=65536"]
    command += [f"-artifact_prefix={artifacts}/", "-verbosity=1"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = done.stderr.splitlines()
    said = [line for line in lines if "panicked" in line or "ERROR" in line or "DONE" in line]
    stats = {line.split(":")[1].strip(" 0123456789"): line for line in lines if "stat::" in line}
    print(f"{program.name}: {'held' if done.returncode == 0 else 'BROKEN'}", *said[-3:], sep="\n  ")
    print("  " + "; ".join(line.replace("stat::", "") for line in stats.values()), flush=True)
    if done.returncode != 0:
        print("\n".join(lines[-40:]))
    return done.returncode == 0


def main() -> int:
    """Run the command.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("targets", nargs="*", help="all, if none is named")
    asked = parser.parse_args()
    begin = seeds()
    programs = build()
    held = [
        run(programs / name, begin[name], asked.seconds) for name in asked.targets or sorted(begin)
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
