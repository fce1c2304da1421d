"""Environments of the Celery versions that the interoperability tests meet.

``python tools/celery_versions.py`` makes one per file in ``tests/interop/peers``, under
``.peers/``, from the file's pinned and hashed packages, and leaves alone what is up to date. The
version that ``uv.lock`` pins is not among them: it is in ``.venv``, beside celeriac.

``python tools/celery_versions.py --lock`` writes the files anew, with the newest packages that each
version's constraints allow.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "tests" / "interop" / "peers"
PLACE = ROOT / ".peers"
#: What is asked for; the lock says what that is. kombu is held at the series that was current with
#: the version, because the transports' rows of the wire belong to it.
REQUIREMENTS = {
    "5.4": ("celery[redis,yaml]==5.4.*", "kombu==5.3.*", "brotli", "zstandard"),
    "5.5": ("celery[redis,yaml]==5.5.*", "kombu==5.5.*"),
    "5.6": ("celery[redis,yaml]==5.6.*", "kombu==5.6.*"),
}
ALWAYS = ("msgpack", "tzdata")
OLDEST_PYTHON = "3.10"
STAMP = "made-from"


def lock(version: str) -> None:
    """Write the lock file of a version.

    Args:
        version: Such as ``5.4``.
    """
    wanted = "\n".join([*REQUIREMENTS[version], *ALWAYS])
    command = ["uv", "pip", "compile", "-", "--universal", "--python-version", OLDEST_PYTHON]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    command += ["--output-file", str(LOCKS / f"celery-{version}.txt")]
    subprocess.run(command, input=wanted, text=True, check=True, stdout=subprocess.DEVNULL)


def make(version: str) -> Path:
    """Make the environment of a version, unless it is there and made from the same lock.

    Args:
        version: Such as ``5.4``.

    Returns:
        The path of its Python.
    """
    requirements = LOCKS / f"celery-{version}.txt"
    folder = PLACE / f"celery-{version}"
    python = folder / "bin" / "python"
    made_from = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    stamp = folder / STAMP
    if python.exists() and stamp.exists() and stamp.read_text() == made_from:
        return python
    print(f"celery_versions: making {folder.relative_to(ROOT)}", flush=True)
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    venv = ["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
    subprocess.run(venv, check=True, env=environment)
    install = ["uv", "pip", "install", "--quiet", "--python", str(python), "--require-hashes"]
    subprocess.run([*install, "-r", str(requirements)], check=True, env=environment)
    stamp.write_text(made_from)
    return python


def main(arguments: list[str]) -> int:
    """Lock, or make what is missing.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code.
    """
    if arguments not in ([], ["--lock"]):
        sys.exit("usage: celery_versions.py [--lock]")
    for version in REQUIREMENTS:
        lock(version) if arguments else make(version)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
