"""Tariff files for tests: a small right one, to be changed in one place."""

from __future__ import annotations

from pathlib import Path

from charging.tariff.file import load_tariff
from charging.tariff.tariff import Tariff

SHIPPED = Path(__file__).parents[3] / "config" / "tariff.yaml"

SMALL = """\
revision: small-1
zone: Europe/Amsterdam
region: NL
vat: {percent: 21, included: yes}
bands:
  night:
    - days: [mon, tue, wed, thu, fri, sat, sun]
      hours: 22:00-06:00
destinations:
  nl: {prefixes: ["+31"]}
  nl_mobile: {prefixes: ["+316"]}
  premium: {prefixes: ["+31900", "+31906", "+3166"], refuse: premium}
  own: {prefixes: ["+3185888"], refuse: loop}
  help: {short_codes: ["1233"]}
  emergency: {short_codes: ["112"], refuse: blocked}
  unpriced: {prefixes: ["+3110"]}
rates:
  standard:
    fax_page: 0.08
    destinations:
      nl: {price: 0.05, fax_page: 0.05}
      nl_mobile: {price: 0.12, increments: 60/1}
      help: {price: 0.01}
plans:
  light:
    rates: standard
    paid_subscription: yes
    voicemail: {paid: no}
  pro:
    rates: standard
    paid_subscription: yes
    free_minutes: {minutes: 10, destinations: [nl], increment: 30}
    voicemail: {paid: no}
"""


def write(folder: Path, text: str = SMALL) -> Path:
    path = folder / "tariff.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(old: str, new: str) -> str:
    """The small tariff with one passage changed."""
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def small(folder: Path, text: str = SMALL) -> Tariff:
    return load_tariff(write(folder, text))


def _examples() -> list[list[list[str]]]:
    """The cells of each table of the worked examples, without the head."""
    found: list[list[list[str]]] = []
    for line in SHIPPED.with_name("tariff-examples.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("|---"):
            found.append([])
        elif line.startswith("| voice"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return found


COSTS, LIMITS = _examples()
