"""A statement as a PDF: the words and figures of its page, to keep or to print; tagged, so that it can be read aloud.

fpdf2 tags text by paragraphs alone. Headings and a table's rows and cells (ISO 32000-1, 14.8.4) are added here, in the
tree that it writes out. This module reads fpdf2 in: import it where a PDF is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fpdf import FPDF
from fpdf.prefs import ViewerPreferences
from fpdf.structure_tree import StructElem, StructureTreeBuilder
from fpdf.syntax import PDFArray, PDFObject

from charging.service.statement_page import Figure, Row, Shown, shown
from charging.service.statement_words import WORDS
from charging.service.statements import Statement

FONTS = Path(__file__).parent / "fonts"
"""DejaVu Sans with the Latin, Greek and Cyrillic letters alone: a PDF that is read aloud must have its fonts within."""
INK, SOFT, LINE, TINT = (28, 39, 51), (91, 107, 123), (216, 223, 230), (244, 247, 250)
MARGIN = 15.0
"""Millimetres, as all lengths here."""
WIDTHS = (24.0, 78.0, 16.0, 16.0, 23.0, 23.0)
"""Of the table's columns; all there is between the margins of A4."""
SMALL, NORMAL, LARGE = 7.0, 8.5, 17.0
"""Points."""
LINE_H, SMALL_H = 4.4, 3.6
GAP = 1.4
NUMBERS_FROM = 2
"""The columns from which on there are figures, which stand at their right edge."""


class _Element(StructElem):
    """A node of the tree; ``a`` are its attributes."""

    __slots__ = ("a",)

    def __init__(self, *args: Any, a: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.a = a


class _Branches(PDFArray):
    """The children of the document, which are written out; looped over, all nodes of the tree: fpdf2 tells each its
    page so."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[StructElem] = []

    def __iter__(self) -> Iterator[Any]:
        return iter(self.all)

    def serialize(self, _security_handler: Any = None, _obj_id: int | None = None) -> str:
        return PDFArray(list.__iter__(self)).serialize(_security_handler, _obj_id)


class _Tree(StructureTreeBuilder):
    """A tree with branches: what is added stands in the open one."""

    def __init__(self) -> None:
        super().__init__()
        self._branches = self.doc_struct_elem.k = _Branches()
        self._open: list[StructElem] = []
        self._marks: dict[int, int] = {}
        """How many pieces of a page are marked."""

    def _add(self, kind: str, page: int, kids: list[int], attributes: str | None = None) -> StructElem:
        parent = self._open[-1] if self._open else self.doc_struct_elem
        made = _Element(f"/{kind}", parent, kids, page, a=attributes)
        if parent is self.doc_struct_elem:
            list.append(self._branches, made)
        else:
            parent.k.append(made)
        self._branches.all.append(made)
        return made

    @contextmanager
    def branch(self, kind: str, page: int) -> Iterator[None]:
        """What is added within stands in a node of this kind."""
        self._open.append(self._add(kind, page, []))
        yield
        self._open.pop()

    def leaf(self, kind: str, page: int, attributes: str | None) -> tuple[int, int]:
        """A node of text: the mark of its text on the page, and the page's key in the tree."""
        mark = self._marks.get(page, 0)
        self._marks[page] = mark + 1
        key = self.spid_per_page_number.setdefault(page, len(self.spid_per_page_number))
        self.struct_tree_root.parent_tree.nums[key].append(self._add(kind, page, [mark], attributes))
        return mark, key

    def __iter__(self) -> Iterator[PDFObject]:
        yield self.struct_tree_root
        yield self.doc_struct_elem
        yield self.struct_tree_root.parent_tree
        yield from self._branches.all

    def empty(self) -> bool:
        return not self._branches.all


class _Paper(FPDF):
    """The document."""

    def __init__(self, language: str, title: str) -> None:
        super().__init__(format="A4")
        self.tree = _Tree()
        self.struct_builder = self.tree
        self.set_margin(MARGIN)
        self.set_auto_page_break(False)
        self.set_lang(language)
        self.set_title(title)
        self.viewer_preferences = ViewerPreferences(display_doc_title=True)
        for style, file in (("", "StatementSans.ttf"), ("B", "StatementSans-Bold.ttf")):
            self.add_font("StatementSans", style, FONTS / file)
        self.set_text_color(*INK)
        self.set_draw_color(*LINE)
        self.set_fill_color(*TINT)
        self.add_page()

    @contextmanager
    def text_of(self, kind: str, attributes: str | None = None) -> Iterator[None]:
        """What is written within is one piece of text of this kind."""
        mark, key = self.tree.leaf(kind, self.page, attributes)
        self.pages[self.page].struct_parents = key
        self._set_min_pdf_version("1.7")
        self._out(f"/{kind} <</MCID {mark}>> BDC")
        yield
        self._out("EMC")

    @contextmanager
    def decoration(self) -> Iterator[None]:
        """What is drawn within says nothing."""
        self._out("/Artifact BMC")
        yield
        self._out("EMC")

    def look(self, size: float, *, bold: bool = False, soft: bool = False) -> None:
        self.set_font("StatementSans", "B" if bold else "", size)
        self.set_text_color(*(SOFT if soft else INK))

    def lines_of(self, text: str, width: float) -> int:
        """How many lines a text takes in so wide a column; 0: what is between the margins."""
        lines = self.multi_cell(width, 1, text, dry_run=True, output="LINES")
        assert isinstance(lines, list)
        return len(lines)

    @property
    def lowest(self) -> float:
        return float(self.h) - MARGIN


def statement_pdf(statement: Statement) -> bytes:
    """The document. As long as its lines: not for a loop that has others to serve."""
    content = shown(statement)
    paper = _Paper(statement.account.language.value, content.title)
    paper.set_author(WORDS[statement.account.language]["title"])
    _head(paper, content)
    _figures(paper, content.figures)
    _table(paper, content)
    paper.ln(3)
    paper.look(SMALL, soft=True)
    for sentence in content.notes:
        _paragraph(paper, sentence, SMALL_H)
    return bytes(paper.output())


def _head(paper: _Paper, content: Shown) -> None:
    paper.look(LARGE, bold=True)
    with paper.text_of("H1"):
        paper.cell(text=content.title, new_x="LMARGIN", new_y="NEXT", h=9)
    paper.look(NORMAL, soft=True)
    _paragraph(paper, content.account, LINE_H)
    if content.note:
        paper.look(NORMAL)
        _paragraph(paper, content.note, LINE_H)
    paper.ln(3)


def _paragraph(paper: _Paper, text: str, height: float) -> None:
    if paper.y + paper.lines_of(text, 0) * height > paper.lowest:
        paper.add_page()
    with paper.text_of("P"):
        paper.multi_cell(0, height, text, new_x="LMARGIN", new_y="NEXT")


def _figures(paper: _Paper, figures: Sequence[Figure]) -> None:
    for figure in figures:
        top = paper.y
        with paper.decoration():
            paper.rect(MARGIN, top, paper.epw, LINE_H + (SMALL_H if figure.detail else 0) + 2 * GAP, style="F")
        with paper.tree.branch("Div", paper.page):
            for size, bold, text, align in ((NORMAL, False, figure.name, "L"), (NORMAL, True, figure.value, "R")):
                paper.look(size, bold=bold)
                paper.set_xy(MARGIN + 2, top + GAP)
                with paper.text_of("P"):
                    paper.cell(paper.epw - 4, LINE_H, text, align=align)
            if figure.detail:
                paper.look(SMALL, soft=True)
                paper.set_xy(MARGIN + 2, top + GAP + LINE_H)
                with paper.text_of("P"):
                    paper.cell(paper.epw - 4, SMALL_H, figure.detail)
        paper.set_xy(MARGIN, top + LINE_H + (SMALL_H if figure.detail else 0) + 2 * GAP + 1)
    paper.ln(3)


def _table(paper: _Paper, content: Shown) -> None:
    with paper.tree.branch("Table", paper.page):
        with paper.tree.branch("TR", paper.page):
            _heads(paper, content.heads, tagged=True)
        opening, *rows = content.rows
        if content.nothing:
            rows.insert(0, Row(("", content.nothing, "", "", "", "")))
        for row in (opening, *rows):
            _row(paper, content, row)


def _heads(paper: _Paper, heads: Sequence[str], *, tagged: bool) -> None:
    """Repeated on each page, and read aloud once."""
    paper.look(SMALL, bold=True, soft=True)
    for column, (text, width) in enumerate(zip(heads, WIDTHS, strict=True)):
        align = "R" if column >= NUMBERS_FROM else "L"
        with paper.text_of("TH", "<</O /Table /Scope /Column>>") if tagged else paper.decoration():
            paper.cell(width, LINE_H, text, align=align)
    paper.ln(LINE_H + GAP)
    _rule(paper)


def _rule(paper: _Paper) -> None:
    with paper.decoration():
        paper.line(MARGIN, paper.y, MARGIN + paper.epw, paper.y)
    paper.ln(GAP)


def _row(paper: _Paper, content: Shown, row: Row) -> None:
    cells, detail, bold = row.cells, row.detail, row.is_sum
    paper.look(NORMAL, bold=bold)
    height = LINE_H * paper.lines_of(cells[1], WIDTHS[1])
    if detail:
        paper.look(SMALL)
        height += SMALL_H * paper.lines_of(detail, WIDTHS[1])
    if paper.y + height > paper.lowest:
        paper.add_page()
        _heads(paper, content.heads, tagged=False)
    top = paper.y
    with paper.tree.branch("TR", paper.page):
        left = MARGIN
        for column, (text, width) in enumerate(zip(cells, WIDTHS, strict=True)):
            paper.look(NORMAL, bold=bold)
            paper.set_xy(left, top)
            with paper.text_of("TD"):
                align = "R" if column >= NUMBERS_FROM else "L"
                paper.multi_cell(width, LINE_H, text, align=align, new_x="LEFT", new_y="NEXT")
                if column == 1 and detail:
                    paper.look(SMALL, soft=True)
                    paper.set_x(left)
                    paper.multi_cell(width, SMALL_H, detail, align="L", new_x="LEFT", new_y="NEXT")
            left += width
    paper.set_xy(MARGIN, top + height + GAP)
    _rule(paper)
