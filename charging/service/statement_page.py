"""A statement as a page that reads and prints well, in the account's language. Pure; one file without any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from charging.ledger.accounts import Language
from charging.pricing.money import MICRO, format_euro
from charging.service.statement_words import MONTHS, SHORT_MONTHS, WORDS
from charging.service.statements import (
    CORRECT,
    PACK_GIVEN,
    PIECES_GIVEN,
    PROMOTION,
    USAGE,
    Line,
    Part,
    Promotional,
    Statement,
    local_time,
    month_bounds_us,
)
from charging.tariff.tariff import format_percent

STYLE = """
:root{--ink:#1c2733;--soft:#5b6b7b;--line:#d8dfe6;--tint:#f4f7fa}
*{box-sizing:border-box}
body{margin:0;background:#fff;color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2.5rem 1.5rem}
h1{font-size:1.7rem;line-height:1.2;margin:0}
header p{margin:.3rem 0 0;color:var(--soft)}
.note{background:#fff6dc;border-left:4px solid #e5b21b;padding:.6rem .9rem;margin:1.2rem 0 0}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem;margin:1.6rem 0 2rem}
dl div{background:var(--tint);border-radius:.4rem;padding:.7rem .9rem}
dt{color:var(--soft);font-size:.85rem}
dd{margin:0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums}
dd small{display:block;font-size:.8rem;font-weight:400;color:var(--soft)}
table{width:100%;border-collapse:collapse}
th{text-align:left;font-size:.85rem;color:var(--soft);font-weight:600;border-bottom:2px solid var(--line)}
th,td{padding:.45rem .6rem;vertical-align:top}
td{border-bottom:1px solid var(--line)}
td small{display:block;color:var(--soft);overflow-wrap:anywhere}
th:first-child,td:first-child{padding-left:0;white-space:nowrap}
th:last-child,td:last-child{padding-right:0}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.sum td{font-weight:600}
td .narrow{display:none}
footer{margin-top:1.6rem;color:var(--soft);font-size:.85rem}
@media screen and (max-width:40rem){main{padding:1.2rem .8rem}table{font-size:.85rem}
th,td{padding:.4rem .25rem;overflow-wrap:anywhere;hyphens:auto}
th:first-child,td:first-child{white-space:normal;min-width:3.4rem}
.wide{display:none}td .narrow{display:block}}
@media print{@page{margin:18mm 15mm}body{font-size:10pt}main{max-width:none;padding:0}
thead{display:table-header-group}tr,dl div{break-inside:avoid}dl div,.note{border:1px solid var(--line)}}
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the sums at its head."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of its table."""

    cells: tuple[str, str, str, str, str, str]
    """When, what, duration, free time, amount, balance."""
    detail: str = ""
    """The small print beneath the second."""
    is_sum: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """All that a statement says, in the account's language."""

    title: str
    account: str
    note: str
    """Empty: the month is over."""
    figures: Sequence[Figure]
    heads: tuple[str, str, str, str, str, str]
    rows: Sequence[Row]
    """With the opening and the closing balance."""
    nothing: str
    """Said in the place of rows where nothing happened; empty: something did."""
    notes: Sequence[str]


def shown(statement: Statement) -> Shown:
    """What the page and the PDF both say."""
    language = statement.account.language
    words = WORDS[language]
    euro = _Euro.of(statement)
    rates = words["and"].join(_percent(part.rate, language) for part in statement.vat)
    heads = (words["when"], words["what"], words["duration"], words["free"], words["amount"], words["balance"])
    opening = Row(("", words["opening"], "", "", "", euro(statement.opening)), is_sum=True)
    closing = Row(("", words["closing"], "", "", "", euro(statement.closing)), is_sum=True)
    return Shown(
        title=f"{words['title']} {_month(statement)}",
        account=f"{words['account']} {statement.account.id}",
        note="" if statement.is_over else words["goes_on"],
        figures=_figures(statement, words, euro),
        heads=heads,
        rows=[opening, *(_row(statement, line, words, euro) for line in statement.lines), closing],
        nothing="" if statement.lines else words["nothing"],
        notes=(words["vat_note"].format(rates=rates), words["zone_note"].format(zone=statement.zone)),
    )


def statement_page(statement: Statement) -> str:
    """The HTML document."""
    says = shown(statement)
    note = f'<p class="note">{escape(says.note)}</p>' if says.note else ""
    return (
        f'<!doctype html>\n<html lang="{statement.account.language.value}">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(says.title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        f"<header><h1>{escape(says.title)}</h1><p>{escape(says.account)}</p></header>\n"
        f"{note}"
        f"<dl>{''.join(map(_figure, says.figures))}</dl>\n{_table(says)}\n"
        f"<footer>{escape(' '.join(says.notes))}</footer>\n"
        "</main></body>\n</html>\n"
    )


def _figures(statement: Statement, words: Mapping[str, str], euro: _Euro) -> list[Figure]:
    language, free = statement.account.language, statement.free
    parts = (
        words["vat_part"].format(amount=euro(part.vat), rate=_percent(part.rate, language)) for part in statement.vat
    )
    vat = words["vat"].format(parts=words["and"].join(parts))
    figures = [
        Figure(words["opening"], euro(statement.opening)),
        Figure(words["top_ups"], euro(statement.total("top_up"))),
        Figure(words["usage"], euro(statement.usage), vat),
        Figure(words["others"], euro(statement.total("correct", "expire"))),
        Figure(words["closing"], euro(statement.closing)),
    ]
    if free.granted:
        detail = words["free_detail"].format(
            granted=_minutes(free.granted), left=_minutes(free.left), expired=_minutes(free.expired)
        )
        figures.append(Figure(words["free_used"], _minutes(free.used), detail))
    for sort, month in statement.pieces.items():
        if month.granted:
            counts = {"granted": month.granted, "left": month.left, "expired": month.expired}
            figures.append(Figure(words[f"{sort}_used"], str(month.used), words["free_detail"].format(**counts)))
    given = statement.promotional
    if given != Promotional():
        sums = {name: euro(getattr(given, name)) for name in ("opening", "given", "used", "expired")}
        figures.append(Figure(words["promotional_left"], euro(given.left), words["promotional_detail"].format(**sums)))
    return figures


def _figure(figure: Figure) -> str:
    small = f"<small>{escape(figure.detail)}</small>" if figure.detail else ""
    return f"<div><dt>{escape(figure.name)}</dt><dd>{escape(figure.value)}{small}</dd></div>"


_KINDS = ("", "", ' class="n wide"', ' class="n wide"', ' class="n"', ' class="n"')
"""Attributes of the table's columns: figures, and what a narrow window shows beneath the second."""


def _table(says: Shown) -> str:
    head = "".join(f"<th{kind}>{escape(text)}</th>" for kind, text in zip(_KINDS, says.heads, strict=True))
    opening, *rows, closing = (_html_row(says.heads, row) for row in says.rows)
    if says.nothing:
        rows = [f'<tr><td colspan="6">{escape(says.nothing)}</td></tr>']
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{opening}{''.join(rows)}{closing}</tbody></table>"


def _html_row(heads: Sequence[str], row: Row) -> str:
    small = f"<small>{escape(row.detail)}</small>" if row.detail else ""
    cells = "".join(
        f"<td{kind}>{escape(text)}{small + _folded(heads, row) if column == 1 else ''}</td>"
        for column, (kind, text) in enumerate(zip(_KINDS, row.cells, strict=True))
    )
    return f'<tr class="sum">{cells}</tr>\n' if row.is_sum else f"<tr>{cells}</tr>\n"


def _folded(heads: Sequence[str], row: Row) -> str:
    """What a narrow window has no columns for."""
    wide = zip(_KINDS, heads, row.cells, strict=True)
    says = " · ".join(f"{head} {text}" for kind, head, text in wide if "wide" in kind and text)
    return f'<small class="narrow">{escape(says)}</small>' if says else ""


def _row(statement: Statement, line: Line, words: Mapping[str, str], euro: _Euro) -> Row:
    what, detail = _what(line, words)
    given = words["promotional_part"].format(amount=euro(line.promotional, signed=True)) if line.promotional else ""
    detail = "; ".join(filter(None, (detail, given, *_free(line, words), *_when_it_was(statement, line, words))))
    duration = "" if line.seconds is None else _minutes(line.seconds)
    free = _minutes(line.free_seconds) if line.free_seconds else ""
    amounts = euro(line.credit, signed=True), euro(line.balance)
    return Row((_when(line.at_us, statement), what, duration, free, *amounts), detail)


def _what(line: Line, words: Mapping[str, str]) -> tuple[str, str]:
    """What happened, and the small print beneath it."""
    if line.kind not in USAGE.values():
        return words[line.kind], line.reason if line.kind in (CORRECT, PROMOTION, PACK_GIVEN, PIECES_GIVEN) else ""
    cdr = line.cdr
    what = words[line.kind] + (f" → {cdr['target']}" if cdr.get("target") else "")
    if line.part is Part.CONTINUED:
        what = words["continued"].format(what=what)
    if line.kind == "fax":
        return what, words["fax_detail"].format(pages=cdr.get("pages", ""))
    caller = words["withheld_caller"] if cdr.get("withheld") else str(cdr.get("caller") or words["unknown_caller"])
    return what, words["call_detail"].format(caller=caller, number=cdr["number"]) if cdr.get("number") else ""


def _free(line: Line, words: Mapping[str, str]) -> Iterator[str]:
    """The small print of free pages and messages that were used, given, or have expired."""
    for sort, used in line.pieces.items():
        if line.kind in USAGE.values():
            yield words["pieces_used"].format(count=used)
        else:
            yield words[f"{sort}_given"].format(count=f"{-used:+d}".replace("-", "−"))


def _when_it_was(statement: Statement, line: Line, words: Mapping[str, str]) -> Iterator[str]:
    """The small print of a call that goes on, that other months' statements have a part of, or that began in another
    month."""
    if line.is_running:
        yield words["running"]
    if line.part is Part.FIRST:
        yield words["goes_over"]
    if line.began_us is not None and line.began_us < month_bounds_us(statement.month, statement.zone)[0]:
        yield words["began"].format(when=_when(line.began_us, statement))


def _when(wall_us: int, statement: Statement) -> str:
    when = local_time(wall_us, statement.zone)
    return f"{when.day} {SHORT_MONTHS[statement.account.language][when.month - 1]} {when:%H:%M}"


def _month(statement: Statement) -> str:
    year, month = statement.month.split("-")
    return f"{MONTHS[statement.account.language][int(month) - 1]} {year}"


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"


@dataclass(frozen=True, slots=True)
class _Euro:
    """Writes amounts exactly and as people of the language do, all of a page with as many decimals: 2, 4 or 6, because
    three look like thousands to some."""

    language: Language
    decimals: int

    @classmethod
    def of(cls, statement: Statement) -> _Euro:
        given = statement.promotional
        amounts = [statement.opening, statement.usage, given.opening, given.left]
        amounts += [amount for line in statement.lines for amount in (line.credit, line.promotional)]
        longest = max(len(format_euro(abs(amount)).partition(".")[2]) for amount in amounts)
        return cls(statement.account.language, longest + longest % 2)

    def __call__(self, amount: int, *, signed: bool = False) -> str:
        whole, micro = divmod(abs(amount), MICRO)
        thousands, point = (".", ",") if self.language is Language.NL else (",", ".")
        digits = f"{whole:,}".replace(",", thousands) + point + f"{micro:06d}"[: self.decimals]
        sign = "−" if amount < 0 else "+" if signed and amount > 0 else ""
        return f"{sign}€\u00a0{digits}"


def _percent(hundredths: int, language: Language) -> str:
    text = format_percent(hundredths)
    return text.replace(".", ",") if language is Language.NL else text
