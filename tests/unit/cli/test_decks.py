from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from charging.cli.decks import load_with_bars

TARIFF = """\
revision: r
zone: Europe/Amsterdam
region: NL
vat: {percent: 21, included: yes}
rounding: {rule: half_up, decimals: 6}
top_up: {minimum: 10.00, amounts: []}
destinations:
  nl: {prefixes: ["+31"]}
rates:
  t:
    decks: [carrier.csv]
    destinations:
      nl: {price: 0.06}
plans:
  p: {title: P, rates: t, paid_subscription: no, voicemail: {paid: no}}
"""


def shown(tmp_path: Path, *, terminal: bool) -> str:
    (tmp_path / "tariff.yaml").write_text(TARIFF)
    rows = "\n".join(f"+49{row:06d};Germany;0.02;60/1" for row in range(5000))
    (tmp_path / "carrier.csv").write_text(f"prefix;name;price;increments\n{rows}\n")
    stream = io.StringIO()
    tariff = load_with_bars(tmp_path / "tariff.yaml", Console(file=stream, force_terminal=terminal, width=80))
    assert tariff.revision == "r"
    return stream.getvalue()


def test_reading_a_deck_shows_how_far_it_is_at_a_terminal(tmp_path: Path) -> None:
    assert "reading carrier.csv" in shown(tmp_path, terminal=True)


def test_reading_a_deck_is_silent_without_a_terminal(tmp_path: Path) -> None:
    assert shown(tmp_path, terminal=False) == ""
