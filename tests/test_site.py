"""``make docs``: a site of all pages, without a warning, that loads nothing from elsewhere when it is read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.pages import PAGES, ROOT, name_of

pytestmark = pytest.mark.timeout(400)  # the first time it installs what builds the site

LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"([^\"]*)\"")
FETCHED_BY_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)")


def from_elsewhere(text: str) -> list[str]:
    """What a page or a style sheet makes the browser load from another host."""
    loaded = [one for one in LOADED.findall(text) if re.match(r"(\w+:)?//", one)]
    return loaded + FETCHED_BY_CSS.findall(text)


def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        ["make", "-s", "docs", f"SITE={tmp_path}"], cwd=ROOT, capture_output=True, text=True, timeout=380, check=False
    )
    assert built.returncode == 0, built.stderr
    assert {page for page in PAGES if not (tmp_path / name_of(page)).with_suffix(".html").is_file()} == set()
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".html", ".css", ".svg")]
    assert {path.name: found for path in files if (found := from_elsewhere(path.read_text(encoding="utf-8")))} == {}


def test_what_is_loaded_from_elsewhere_would_be_noticed() -> None:
    for text in (
        '<script defer src="https://cdn.example/x.js">',
        '<link rel="stylesheet" href="//fonts.example/css" />',
        "@import 'https://fonts.example/x.css';",
        "src: url(https://fonts.example/x.woff2)",
    ):
        assert len(from_elsewhere(text)) == 1, text
    assert from_elsewhere('<a href="https://example.org/">there</a> <img src="x.png">') == []
