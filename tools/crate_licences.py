"""Write down whose code the wheel contains, and under which licences.

``python tools/crate_licences.py`` makes ``LICENSE-CRATES.txt`` beside LICENSE: every crate that is
compiled into the module, its licence, and the texts their authors want kept with copies. The wheel
and the source distribution take it along (``license-files`` in pyproject.toml). It is made when a
wheel is, from what Cargo.lock says then, and is not kept in git.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "LICENSE-CRATES.txt"
BINDING = "celeriac-python"
TEXTS = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")


def compiled_in(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """The crates the module is linked from: no tools of its build, no dependencies of tests.

    Args:
        metadata: From ``cargo metadata``.

    Returns:
        The packages that are not ours, by name.
    """
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    todo = [key for key, package in packages.items() if package["name"] == BINDING]
    seen = set(todo)
    while todo:
        for needed in nodes[todo.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in needed["dep_kinds"])
            if is_linked and needed["pkg"] not in seen:
                seen.add(needed["pkg"])
                todo.append(needed["pkg"])
    others = [packages[key] for key in seen if packages[key]["source"] is not None]
    return sorted(others, key=lambda package: (package["name"], package["version"]))


def texts_of(package: dict[str, Any]) -> list[str]:
    """What a crate's authors put beside it about its licence.

    Args:
        package: From ``cargo metadata``.

    Returns:
        The texts; none when the crate came without.
    """
    folder = Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if path.name.upper().startswith(TEXTS))
    return [path.read_text(encoding="utf-8").strip() for path in files if path.is_file()]


def page(packages: list[dict[str, Any]]) -> str:
    """The page: a list of crates, then each text once, with those it belongs to.

    Args:
        packages: The crates.

    Returns:
        The page's text.
    """
    owners: dict[str, tuple[str, list[str]]] = {}
    lines = ["celeriac's compiled module contains these crates, under the licences named:", ""]
    for package in packages:
        name = f"{package['name']} {package['version']}"
        lines.append(f"{name}: {package['license']} ({package['repository'] or 'no repository'})")
        texts = texts_of(package)
        if not texts:
            lines[-1] += f", by {', '.join(package['authors'])}; comes without a text"
        for text in texts:
            owners.setdefault(" ".join(text.split()), (text, []))[1].append(name)
    lines.append("libsqlite3-sys contains SQLite, which is in the public domain.")
    for text, names in owners.values():
        lines += ["", "=" * 80, ", ".join(names), "-" * 80, text]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page.

    Returns:
        The exit code.
    """
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
    packages = compiled_in(metadata)
    nameless = [package["name"] for package in packages if not package["license"]]
    if nameless:
        sys.exit(f"crate_licences: {nameless} name no licence; find out before shipping them")
    PAGE.write_text(page(packages), encoding="utf-8")
    print(f"{PAGE.name}: {len(packages)} crates, {PAGE.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
