"""What figures were measured with: a figure without it says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any


def machine(*packages: str) -> dict[str, Any]:
    """This machine, its Python, and the versions of packages.

    Args:
        packages: Names of distributions; "none" stands for one that is not installed.

    Returns:
        What JSON can carry. No name of the machine.
    """
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in packages},
    }


def version(package: str) -> str:
    """The version of an installed distribution."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def processor() -> str:
    """The processor's own name for itself."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor()


def commit() -> str:
    """The commit that is measured; with a "+" where the source differs from it."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here)]
    name = subprocess.run(
        [*command, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    changed = subprocess.run(
        [*command, "status", "--porcelain", "--", "../../rust", "../../python"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    return f"{name}+" if changed else name
