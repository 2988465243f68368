"""A statement as a page that reads and prints well, in the account's language. Pure; one file without any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from charging.ledger.accounts import Language
from charging.pricing.money import MICRO, format_euro
from charging.pricing.vat import format_percent
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
footer{margin-top:1.6rem;color:var(--soft);font-size:.85rem}
@media (max-width:40rem){main{padding:1.2rem .8rem}th,td{padding:.4rem .3rem}.wide{display:none}}
@media print{@page{margin:18mm 15mm}body{font-size:10pt}main{max-width:none;padding:0}
thead{display:table-header-group}tr,dl div{break-inside:avoid}dl div,.note{border:1px solid var(--line)}}
"""


def statement_page(statement: Statement) -> str:
    """The HTML document."""
    language = statement.account.language
    words = WORDS[language]
    euro = _Euro.of(statement)
    title = f"{words['title']} {_month(statement)}"
    note = "" if statement.is_over else f'<p class="note">{escape(words["goes_on"])}</p>'
    rates = words["and"].join(_percent(part.rate, language) for part in statement.vat)
    vat = words["vat_note"].format(rates=rates)
    return (
        f'<!doctype html>\n<html lang="{language.value}">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        f"<header><h1>{escape(title)}</h1><p>{escape(words['account'])} {escape(statement.account.id)}</p></header>\n"
        f"{note}"
        f"{_figures(statement, words, euro)}\n{_table(statement, words, euro)}\n"
        f"<footer>{escape(vat)} {escape(words['zone_note'].format(zone=statement.zone))}</footer>\n"
        "</main></body>\n</html>\n"
    )


def _figures(statement: Statement, words: Mapping[str, str], euro: _Euro) -> str:
    language, free = statement.account.language, statement.free
    parts = (
        words["vat_part"].format(amount=euro(part.vat), rate=_percent(part.rate, language)) for part in statement.vat
    )
    vat = words["vat"].format(parts=words["and"].join(parts))
    figures = [
        (words["opening"], euro(statement.opening), ""),
        (words["top_ups"], euro(statement.total("top_up")), ""),
        (words["usage"], euro(statement.usage), vat),
        (words["others"], euro(statement.total("correct", "expire")), ""),
        (words["closing"], euro(statement.closing), ""),
    ]
    if free.granted:
        detail = words["free_detail"].format(
            granted=_minutes(free.granted), left=_minutes(free.left), expired=_minutes(free.expired)
        )
        figures.append((words["free_used"], _minutes(free.used), detail))
    for sort, month in statement.pieces.items():
        if month.granted:
            counts = {"granted": month.granted, "left": month.left, "expired": month.expired}
            figures.append((words[f"{sort}_used"], str(month.used), words["free_detail"].format(**counts)))
    given = statement.promotional
    if given != Promotional():
        sums = {name: euro(getattr(given, name)) for name in ("opening", "given", "used", "expired")}
        figures.append((words["promotional_left"], euro(given.left), words["promotional_detail"].format(**sums)))
    return "<dl>" + "".join(_figure(*figure) for figure in figures) + "</dl>"


def _figure(name: str, value: str, detail: str) -> str:
    small = f"<small>{escape(detail)}</small>" if detail else ""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{small}</dd></div>"


def _table(statement: Statement, words: Mapping[str, str], euro: _Euro) -> str:
    heads = (
        ("", words["when"]),
        ("", words["what"]),
        ("n wide", words["duration"]),
        ("n wide", words["free"]),
        ("n", words["amount"]),
        ("n", words["balance"]),
    )
    head = "".join(f'<th class="{kind}">{escape(text)}</th>' for kind, text in heads)
    rows = "".join(_row(statement, line, words, euro) for line in statement.lines)
    if not rows:
        rows = f'<tr><td colspan="6">{escape(words["nothing"])}</td></tr>'
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>\n"
        f"{_sum_row(words['opening'], euro(statement.opening))}{rows}"
        f"{_sum_row(words['closing'], euro(statement.closing))}</tbody></table>"
    )


def _sum_row(name: str, balance: str) -> str:
    return (
        f'<tr class="sum"><td></td><td>{escape(name)}</td><td class="wide"></td><td class="wide"></td><td></td>'
        f'<td class="n">{escape(balance)}</td></tr>\n'
    )


def _row(statement: Statement, line: Line, words: Mapping[str, str], euro: _Euro) -> str:
    what, detail = _what(line, words)
    given = words["promotional_part"].format(amount=euro(line.promotional, signed=True)) if line.promotional else ""
    detail = "; ".join(filter(None, (detail, given, *_free(line, words), *_over_the_edge(statement, line, words))))
    small = f"<small>{escape(detail)}</small>" if detail else ""
    duration = "" if line.seconds is None else _minutes(line.seconds)
    free = _minutes(line.free_seconds) if line.free_seconds else ""
    return (
        f"<tr><td>{_when(line.at_us, statement)}</td><td>{escape(what)}{small}</td>"
        f'<td class="n wide">{duration}</td><td class="n wide">{free}</td>'
        f'<td class="n">{escape(euro(line.credit, signed=True))}</td>'
        f'<td class="n">{escape(euro(line.balance))}</td></tr>\n'
    )


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


def _over_the_edge(statement: Statement, line: Line, words: Mapping[str, str]) -> Iterator[str]:
    """The small print of a call that other months' statements have a part of, or that began in another month."""
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
