"""A queue in a file of SQLite, looked at by a process of its own.

The locks of a file belong to a process, and whoever closes the file drops them all: a second copy
of SQLite beside celeriac's (Python's own is one) would open the file to everybody, and what
celeriac still reads from would be deleted under it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

ASK_S = 30.0
PROGRAM = f"""
import json, sqlite3, sys
file, statement, values = json.load(sys.stdin)
database = sqlite3.connect(file, timeout={ASK_S})
with database:
    rows = database.execute(statement, [v.encode() if s else v for v, s in values]).fetchall()
json.dump(rows, sys.stdout, default=bytes.decode)
"""


def ask(file: Path, statement: str, *values: str | bytes | int) -> list[list[Any]]:
    """Runs one statement and commits it.

    Args:
        file: The queue file.
        statement: With a `?` for each of `values`.
        values: Bytes are bound as a blob, and must be UTF-8.

    Returns:
        Its rows; blobs as text.
    """
    bound = [
        (value.decode(), True) if isinstance(value, bytes) else (value, False) for value in values
    ]
    asked = json.dumps([str(file), statement, bound])
    command = [sys.executable, "-S", "-c", PROGRAM]
    told = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=ASK_S * 2)
    assert told.returncode == 0, told.stderr
    rows: list[list[Any]] = json.loads(told.stdout)
    return rows
