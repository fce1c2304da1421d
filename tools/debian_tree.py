"""Folders that hold another release of Debian, to run its programs beside ours.

``tree("trixie", ["redis-server"])`` makes ``.matrix/trixie-redis-server`` with debootstrap, once;
``inside(tree, [...])`` is the command line that runs a program there. That is how this project
meets servers and interpreters that the machine's own Debian is too old for, without docker.

``python tools/debian_tree.py SUITE PACKAGE...`` makes one by hand and prints its path.

The folders belong to root, and so does the right to enter them: without it, sudo is asked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from services import install

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TREES = Path(__file__).resolve().parent.parent / ".matrix"
# Where Debian keeps programs; a PATH of ours would name folders of the wrong machine.
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Mounted for one command and gone with it, in a name space of its own: a killed run leaves nothing.
# Arguments: the tree, the shared folders, `--`, the command.
ENTER = """
set -e
tree=$1; shift
mount --rbind /proc "$tree/proc"
mount --rbind /dev "$tree/dev"
while [ "$1" != -- ]; do
    mkdir -p "$tree$1"
    mount --bind "$1" "$tree$1"
    shift
done
shift
exec chroot "$tree" "$@"
"""


def as_root() -> list[str]:
    """What to put before a command that only root may run.

    Returns:
        Nothing, or sudo.
    """
    if os.geteuid() == 0:
        return []
    # With our environment: what the caller sets for the command has to arrive.
    return (
        ["sudo", "--preserve-env"]
        if shutil.which("sudo")
        else sys.exit(
            "debian_tree: making and entering another Debian needs root, and there is no sudo"
        )
    )


def tree(suite: str, packages: Sequence[str]) -> Path:
    """A folder with a release of Debian and some of its packages; made when it is not there.

    Args:
        suite: The release: ``trixie``, ``sid``.
        packages: What is wanted of it, with all that depends on.

    Returns:
        The folder. It is complete, however the last attempt ended, and stays until ``make clean``.
    """
    target = TREES / "-".join([suite, *packages])
    with only_one_maker():
        if not target.exists():
            make(target, suite, packages)
    return target


@contextmanager
def only_one_maker() -> Iterator[None]:
    """Keep others from making trees at the same time: they would make the same ones.

    Yields:
        Nothing: it is our turn.
    """
    TREES.mkdir(exist_ok=True)
    with Path(TREES, ".lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make(target: Path, suite: str, packages: Sequence[str]) -> None:
    """Make a tree aside, and give it its name when it is complete.

    Args:
        target: Its folder.
        suite: The release.
        packages: What is wanted of it.
    """
    if not shutil.which("debootstrap", path=f"{PROGRAMS}:{os.environ['PATH']}"):
        install("debootstrap")
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        install("debian-archive-keyring")  # Ubuntu's debootstrap does not bring it
    print(f"debian_tree: making {target.name}, about a minute", file=sys.stderr, flush=True)
    unfinished = target.with_name(f"unfinished-{target.name}")
    log = TREES / f"{target.name}.log"
    remove = [*as_root(), "rm", "-rf", "--one-file-system", str(unfinished)]
    subprocess.run(remove, check=True)
    options = ["--variant=minbase", f"--include={','.join(packages)}"]
    with log.open("wb") as output:
        made = subprocess.run(
            [*as_root(), "debootstrap", *options, suite, str(unfinished)],
            check=False,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:{PROGRAMS}"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if made.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        subprocess.run(remove, check=True)
        sys.exit("\n".join([f"debian_tree: no {target.name}; {log} ends with", *last]))
    subprocess.run([*as_root(), "mv", "-T", str(unfinished), str(target)], check=True)


def inside(
    tree: Path,
    command: Sequence[str],
    *,
    shared: Sequence[Path] = (),
    environment: Sequence[str] = (),
) -> list[str]:
    """The command line that runs a program in a tree.

    It has this machine's network, processes and devices. Signals reach the program, and its exit
    code is the command's: nothing waits between them.

    Args:
        tree: From `tree`.
        command: The program, by its name there, and its arguments.
        shared: Folders of this machine that are at the same place in the tree, for writing too.
        environment: The program's environment, ``NAME=value`` each. It sees nothing of ours.

    Returns:
        What to give to `subprocess`.
    """
    return [
        *as_root(),
        *["unshare", "--mount", "--propagation=private", "sh", "-c", ENTER, "sh", str(tree)],
        *[str(folder) for folder in shared],
        *["--", "/usr/bin/env", "-i", f"PATH={PROGRAMS}", "LC_ALL=C.UTF-8", *environment, *command],
    ]


def main(arguments: Sequence[str]) -> int:
    """Make the tree that was asked for.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code.
    """
    match arguments:
        case [suite, *packages] if packages and not suite.startswith("-"):
            print(tree(suite, packages))
        case _:
            sys.exit("usage: debian_tree.py SUITE PACKAGE...")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
