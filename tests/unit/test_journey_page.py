"""The page that follows a message through the rooms stays true to the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = ["docs/develop/journey.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
PATH = re.compile(r"`((?:python|rust|tests|tools|docs|benches)/[\w./]+)`")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_a_page_names_is_there(page):
    named = PATH.findall((ROOT / page).read_text())
    assert named != []
    assert [path for path in named if not (ROOT / path).exists()] == []
