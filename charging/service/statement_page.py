"""A statement as a page that reads and prints well, in the account's language. Pure; one file without any other."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from charging.ledger.accounts import Language
from charging.money import MICRO, format_euro
from charging.service.statement_words import MONTHS, WORDS
from charging.service.statements import CALL, Line, Statement, local_time

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
    title = f"{words['title']} {_month(statement)}"
    note = "" if statement.is_over else f'<p class="note">{escape(words["goes_on"])}</p>'
    vat = words["vat_note"].format(rate=_percent(statement.vat_rate, language))
    return (
        f'<!doctype html>\n<html lang="{language.value}">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        f"<header><h1>{escape(title)}</h1><p>{escape(words['account'])} {escape(statement.account.id)}</p></header>\n"
        f"{note}"
        f"{_figures(statement, words)}\n{_table(statement, words)}\n"
        f"<footer>{escape(vat)} {escape(words['zone_note'].format(zone=statement.zone))}</footer>\n"
        "</main></body>\n</html>\n"
    )


def _figures(statement: Statement, words: Mapping[str, str]) -> str:
    language, free = statement.account.language, statement.free
    vat = words["vat"].format(rate=_percent(statement.vat_rate, language), amount=_euro(statement.usage_vat, language))
    figures = [
        (words["opening"], _euro(statement.opening, language), ""),
        (words["top_ups"], _euro(statement.total("top_up"), language), ""),
        (words["usage"], _euro(statement.usage, language), vat),
        (words["others"], _euro(statement.total("correct", "expire", "opening"), language), ""),
        (words["closing"], _euro(statement.closing, language), ""),
    ]
    if free.granted:
        detail = words["free_detail"].format(
            granted=_minutes(free.granted), left=_minutes(free.left), expired=_minutes(free.expired)
        )
        figures.append((words["free_used"], _minutes(free.used), detail))
    return "<dl>" + "".join(_figure(*figure) for figure in figures) + "</dl>"


def _figure(name: str, value: str, detail: str) -> str:
    small = f"<small>{escape(detail)}</small>" if detail else ""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{small}</dd></div>"


def _table(statement: Statement, words: Mapping[str, str]) -> str:
    language = statement.account.language
    heads = (
        ("", words["when"]),
        ("", words["what"]),
        ("n wide", words["duration"]),
        ("n wide", words["free"]),
        ("n", words["amount"]),
        ("n", words["balance"]),
    )
    head = "".join(f'<th class="{kind}">{escape(text)}</th>' for kind, text in heads)
    rows = "".join(_row(statement, line, words) for line in statement.lines)
    if not rows:
        rows = f'<tr><td colspan="6">{escape(words["nothing"])}</td></tr>'
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>\n"
        f"{_sum_row(words['opening'], _euro(statement.opening, language))}{rows}"
        f"{_sum_row(words['closing'], _euro(statement.closing, language))}</tbody></table>"
    )


def _sum_row(name: str, balance: str) -> str:
    return (
        f'<tr class="sum"><td></td><td>{escape(name)}</td><td class="wide"></td><td class="wide"></td><td></td>'
        f'<td class="n">{escape(balance)}</td></tr>\n'
    )


def _row(statement: Statement, line: Line, words: Mapping[str, str]) -> str:
    language = statement.account.language
    when = local_time(line.at_us, statement.zone)
    what, detail = _what(line, words)
    small = f"<small>{escape(detail)}</small>" if detail else ""
    seconds = line.cdr.get("charged_s")
    duration = _minutes(seconds) if isinstance(seconds, int) else ""
    free = _minutes(line.free_seconds) if line.free_seconds else ""
    return (
        f"<tr><td>{when.day} {MONTHS[language][when.month - 1][:3]} {when:%H:%M}</td><td>{escape(what)}{small}</td>"
        f'<td class="n wide">{duration}</td><td class="n wide">{free}</td>'
        f'<td class="n">{escape(_euro(line.credit, language, signed=True))}</td>'
        f'<td class="n">{escape(_euro(line.balance, language))}</td></tr>\n'
    )


def _what(line: Line, words: Mapping[str, str]) -> tuple[str, str]:
    """What happened, and the small print beneath it."""
    if line.kind != CALL:
        name = "opening_line" if line.kind == "opening" else line.kind
        return words.get(name, line.kind), line.reason if line.kind == "correct" else ""
    cdr = line.cdr
    what = words.get(str(cdr.get("kind", "")), words["call"])
    if not cdr.get("target"):
        return what, ""
    caller = str(cdr.get("caller") or words["unknown_caller"])
    return what + f" → {cdr['target']}", words["call_detail"].format(caller=caller, number=cdr.get("number", ""))


def _month(statement: Statement) -> str:
    year, month = statement.month.split("-")
    return f"{MONTHS[statement.account.language][int(month) - 1]} {year}"


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"


def _euro(amount: int, language: Language, *, signed: bool = False) -> str:
    """Exact, at least two decimals, as people of the language write it."""
    whole, _, decimals = format_euro(abs(amount) % MICRO).partition(".")
    assert whole == "0", whole
    thousands, point = (".", ",") if language is Language.NL else (",", ".")
    digits = f"{abs(amount) // MICRO:,}".replace(",", thousands)
    sign = "−" if amount < 0 else "+" if signed and amount > 0 else ""
    return f"{sign}€\u00a0{digits}{point}{decimals}"


def _percent(hundredths: int, language: Language) -> str:
    text = f"{hundredths // 100}.{hundredths % 100:02d}".rstrip("0").rstrip(".")
    return (text.replace(".", ",") if language is Language.NL else text) + "%"
