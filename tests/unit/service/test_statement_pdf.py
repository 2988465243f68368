"""A statement as PDF: it says what the page says, and can be read aloud."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from charging.ledger.accounts import Language
from charging.ledger.model import CREDIT, Kind, Leg
from charging.service.statement_page import shown
from charging.service.statement_pdf import statement_pdf
from charging.service.statements import Statement
from tests.unit.service.test_statements import ANNA, NOVEMBER_US, SECOND, a_month, line, november

ENGLISH = replace(ANNA, language=Language.EN)


def many_lines() -> Statement:
    """Three pages of it."""
    return november(
        *(
            line(number, NOVEMBER_US + number * SECOND, Kind.CORRECT, Leg(CREDIT, number), reason=f"because {number} →")
            for number in range(1, 120)
        )
    )


def text_of(pdf: bytes, folder: Path) -> str:
    """As Ghostscript reads it, without white space."""
    (folder / "statement.pdf").write_bytes(pdf)
    command = ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=txtwrite", "-o", "-", str(folder / "statement.pdf")]
    found = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert not found.stderr
    return re.sub(r"\s", "", found.stdout.decode())


@pytest.mark.parametrize("made", [a_month(), replace(a_month(), account=ENGLISH), many_lines(), november()])
def test_pdf_has_every_word_and_figure_of_the_page(made: Statement, tmp_path: Path) -> None:
    text, says = text_of(statement_pdf(made), tmp_path), shown(made)
    wanted = [says.title, says.account, says.note, says.nothing, *says.heads, *says.notes]
    wanted += [part for one in says.figures for part in (one.name, one.value, one.detail)]
    wanted += [part for row in says.rows for part in (*row.cells, row.detail)]
    assert [one for one in wanted if re.sub(r"\s", "", one) not in text] == []


def kinds(pdf: bytes) -> dict[str, int]:
    """How many nodes of each kind the tree has."""
    found = re.findall(rb"/S /(\w+)", pdf)
    return {kind.decode(): found.count(kind) for kind in sorted(set(found))}


def test_pdf_is_tagged_as_a_heading_and_a_table_of_rows_and_cells_in_the_accounts_language() -> None:
    """Heads that are repeated on a page are decoration: they are read once."""
    made = many_lines()
    pdf, rows = statement_pdf(made), len(made.lines) + 2
    found = kinds(pdf)
    assert (found["H1"], found["Table"], found["TH"]) == (1, 1, 6)
    assert (found["TR"], found["TD"]) == (rows + 1, 6 * rows)
    assert pdf.count(b"/Scope /Column") == 6
    assert b"/MarkInfo" in pdf
    assert b"/Marked true" in pdf
    assert b"/DisplayDocTitle true" in pdf
    assert b"/Lang (nl)" in pdf
    assert b"/Lang (en)" in statement_pdf(replace(made, account=ENGLISH))
    assert pdf.count(b"/FontFile2") >= 1, "its fonts are within"


def test_every_piece_of_text_is_found_by_its_mark_on_its_page() -> None:
    """The tree and the pages name the same marks: nothing is read twice, or never."""
    pdf = statement_pdf(many_lines())
    objects = dict(re.findall(rb"\n(\d+) 0 obj\n(.*?)\nendobj", pdf, re.DOTALL))
    leaves = {id: one for id, one in objects.items() if b"/StructElem" in one and re.search(rb"/K \[\d+\]", one)}
    (tree,) = re.findall(rb"/Nums \[(.*?)\]\s*>>", pdf, re.DOTALL)
    pages = re.findall(rb"\d+ \[(.*?)\]", tree + b"]", re.DOTALL)
    listed = [id for page in pages for id in re.findall(rb"(\d+) 0 R", page)]
    assert sorted(listed) == sorted(leaves)
    for page in pages:
        ids = re.findall(rb"(\d+) 0 R", page)
        assert [int(re.findall(rb"/K \[(\d+)\]", objects[id])[0]) for id in ids] == list(range(len(ids)))
        assert len({re.findall(rb"/Pg (\d+) 0 R", objects[id])[0] for id in ids}) == 1


def test_what_makes_pdfs_is_read_in_by_whoever_wants_one_alone() -> None:
    code = "import sys, charging.app_api; sys.exit('fpdf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=110).returncode == 0
