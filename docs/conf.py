"""How Sphinx makes the site (``make docs``) of the pages as they stand in the tree, README.md first.

A page links to another by its path, as everywhere else. A link to what is not there is a warning, which ends the build.
Nothing is loaded from elsewhere when the site is read: no web fonts, no scripts of others.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

project = "charging"
author = "the charging project"
project_copyright = author
language = "en"

extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "docs/**.md", "config/**.md"]
myst_heading_anchors = 3
highlight_language = "text"

html_theme = "furo"
html_title = "charging"
html_static_path = ["site/static"]
html_css_files = ["charging.css"]
html_additional_pages = {"index": "to-readme.html"}
templates_path = ["site"]
html_copy_source = False
html_show_sphinx = False

# By reader; the order in which he needs them. A page that is in none of them is a warning.
PARTS = {
    "First hour": ["docs/first-hour"],
    "Attach": ["docs/install", "docs/attach", "config/asterisk/README", "docs/legs"],
    "Operate": [
        "docs/operate",
        "docs/console",
        "docs/customer-page",
        "docs/high-availability",
        "docs/monitor",
        "docs/sizing",
        "docs/scale",
        "docs/settings",
        "docs/commands",
        "docs/why-not-forwarded",
        "config/grafana/README",
        "config/templates/README",
    ],
    "Tariff": ["docs/tariff", "config/tariff-examples"],
    "Integrate": ["docs/sandbox", "docs/integrate", "docs/fax-by-mail", "docs/fax-documents"],
    "Failure": ["docs/failure", "docs/limits"],
    "Promises": ["docs/promises"],
    "Security": ["docs/security", "docs/threat-model", "docs/attacks", "docs/privacy", "docs/supply"],
    "Internals": ["docs/internals", "docs/glossary", "docs/testing", "docs/speed", "docs/decisions", "CHANGELOG"],
}


def with_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """The site's contents, which no reader of README.md in the tree has to look at."""
    if name == root_doc:
        for title, pages in PARTS.items():
            source[0] += "\n```{toctree}\n:hidden:\n:caption: " + title + "\n\n" + "\n".join(pages) + "\n```\n"


def with_places_to_break(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """A long name in code may go on in the next line behind each ``_`` and ``/``; what is copied stays as it was."""
    if "body" in context:
        names = re.compile(r'(?<=<span class="pre">)[^<]+')
        context["body"] = names.sub(lambda name: re.sub(r"([_/])(?=\w)", r"\1<wbr>", name[0]), context["body"])


def setup(app: Sphinx) -> None:
    app.connect("source-read", with_contents)
    app.connect("html-page-context", with_places_to_break)
