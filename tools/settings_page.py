"""Write docs/configuration.md from the table of settings; with --check, only compare.

The page is committed, so that it can be read without building; `make lint` keeps it true.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))

from celeriac.settings.table import TABLE, Setting  # noqa: E402

#: What stands behind a meaning, where that is not "Celery <version>".
SINCE = {"5.4": "", "celeriac": " (celeriac's own)"}
PAGE = ROOT / "docs" / "configuration.md"
HEAD = """\
# Configuration

Names, defaults and meanings are Celery's; `app.conf` takes them in lower case, and the upper-case
names of older versions are understood. The last column says whether celeriac honours a setting yet.
One that it does not honour is named in a warning when a worker starts; where people rely on one to
guard production, the worker does not start (`--allow-unsupported` starts it all the same).

*This page is generated from `python/celeriac/settings/table.py` by `tools/settings_page.py`.*
"""


def section_of(setting: Setting) -> str:
    """First word of a setting's name, which is what they are grouped by."""
    return setting.name.partition("_")[0]


def cell(value: object) -> str:
    """A value as code in a table's cell."""
    return "`" + repr(value).replace("|", "\\|") + "`"


def line(setting: Setting) -> str:
    """One row of the page."""
    honoured = "yes" if setting.honoured else ("**guards**" if setting.guards else "not yet")
    since = SINCE.get(setting.since, f" (Celery {setting.since})")
    names = f"`{setting.name}` | `{setting.old_name}`"
    meaning = setting.meaning.replace("|", "\\|")
    return f"| {names} | {cell(setting.default)} | {meaning}{since} | {honoured} |"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, settings in groupby(sorted(TABLE, key=section_of), key=section_of):
        parts.append(f"\n## {name}\n")
        parts.append("| setting | old name | default | meaning | honoured |\n|---|---|---|---|---|")
        parts.extend(line(setting) for setting in settings)
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the page, or say that it is stale."""
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.exit("docs/configuration.md is stale: run `make docs-pages`")


if __name__ == "__main__":
    main()
