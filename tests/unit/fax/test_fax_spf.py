"""SPF, by the test suite that the authors of RFC 7208 published (tests/data/spf), and by what it does not ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from charging.fax.dns_lookup import Unanswered
from charging.fax.spf import LOOKUPS_MAX, TERMS_MAX, Result, check_host
from tests.fakes.effort import lines_run
from tests.fakes.names import PlayedDns

SUITE = Path(__file__).parents[2] / "data" / "spf" / "rfc7208-tests.yaml"
KINDS = ("TXT", "A", "AAAA", "MX", "PTR")


def zone(data: dict[str, list[Any]]) -> PlayedDns:
    """The suite writes a record for SPF where it means TXT, unless it has a TXT for the name too."""
    records: dict[tuple[str, str], list[Any]] = {}
    dns = PlayedDns(records)
    for name, entries in data.items():
        name = name.lower()
        has_txt = any(isinstance(entry, dict) and "TXT" in entry for entry in entries)
        for entry in entries:
            if entry == "TIMEOUT":
                dns.silent |= {(name, kind) for kind in KINDS}
                continue
            ((kind, value),) = entry.items()
            if value == "NONE" or (kind == "SPF" and has_txt):
                continue
            kind = "TXT" if kind == "SPF" else kind
            text = value if kind == "MX" else "".join(value) if isinstance(value, list) else value
            records.setdefault((name, kind), []).append(text)
    for (_, kind), values in records.items():
        if kind == "MX":
            values[:] = [host for _, host in sorted(values)]
    return dns


def cases() -> Iterator[Any]:
    for scenario in yaml.safe_load_all(re.sub(r"\n---\n(?=\s*\Z)", "\n", SUITE.read_text())):
        if not scenario:
            continue
        for name, case in scenario["tests"].items():
            if case["mailfrom"]:
                yield pytest.param(scenario.get("zonedata", {}), case, id=name)


def outcome(dns: PlayedDns, client: str, sender: str, helo: str = "mail.example.net") -> str:
    try:
        return check_host(ip_address(client), sender, helo, dns)
    except Unanswered:
        return "temperror"


@pytest.mark.parametrize(("data", "case"), list(cases()))
def test_rfc_7208_suite(data: dict[str, list[Any]], case: dict[str, Any]) -> None:
    allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
    sender = case["mailfrom"] if "@" in case["mailfrom"] else f"@{case['mailfrom']}"
    assert outcome(zone(data), case["host"], sender, case["helo"]) in allowed


@pytest.mark.parametrize(
    ("record", "most"),
    [
        ("v=spf1 " + " ".join(f"exists:%{{i}}.{n}.x.nl" for n in range(1_000)), TERMS_MAX),
        ("v=spf1 include:a.nl", TERMS_MAX + 1),
        ("v=spf1 redirect=a.nl", TERMS_MAX + 2),
        ("v=spf1 " + " ".join(f"mx:m{n}.nl" for n in range(10)), LOOKUPS_MAX),
        ("v=spf1 " + "a" * 20_000, 1),
        ("v=spf1 a:%{d" + "9" * 5_000 + "}", 1),
    ],
)
def test_record_that_asks_for_much_is_given_up(record: str, most: int) -> None:
    dns = PlayedDns({("a.nl", "TXT"): [record], **{(f"m{n}.nl", "MX"): [f"h{n}.nl"] * 10 for n in range(10)}})
    assert outcome(dns, "198.41.0.4", "me@a.nl") == Result.PERMERROR
    assert len(dns.asked) <= most
    assert {kind for _, kind in dns.asked} <= {"TXT", "A", "MX"}


@pytest.mark.parametrize(("host", "passes"), [("mx.example.nl", True), ("example.nl", True), ("notexample.nl", False)])
def test_name_of_the_client_counts_below_the_domain_alone(host: str, passes: bool) -> None:
    """Anyone can have one that ends with the same letters."""
    client = ip_address("198.41.0.4")
    records = {("example.nl", "TXT"): ["v=spf1 ptr -all"], (client.reverse_pointer, "PTR"): [host]}
    dns = PlayedDns({**records, (host, "A"): [str(client)]})
    assert (outcome(dns, str(client), "me@example.nl") == Result.PASS) is passes


def test_server_that_the_client_chooses_is_asked_for_his_address_alone() -> None:
    """Whoever chooses his own reverse DNS had 20 s go by before the domain's own servers were asked."""
    client = ip_address("198.41.0.4")
    records = {("example.nl", "TXT"): ["v=spf1 ptr a -all"], (client.reverse_pointer, "PTR"): ["slow.evil.example"]}
    dns = PlayedDns(records, silent={("slow.evil.example", "A")})
    assert outcome(dns, str(client), "me@example.nl") == Result.FAIL
    assert [name for name, _ in dns.asked] == ["example.nl", client.reverse_pointer, "example.nl"]


@pytest.mark.parametrize(("letters", "kept"), [(57, "c.b."), (58, "b."), (59, "b."), (60, "")])
def test_name_that_is_too_long_loses_labels_at_its_beginning(letters: int, kept: str) -> None:
    """253 characters may be asked for (RFC 7208, 7.3)."""
    name = ".".join(["x" * 63] * 3 + ["y" * letters])
    dns = PlayedDns({("a.nl", "TXT"): [f"v=spf1 exists:c.b.{name} -all"]})
    outcome(dns, "198.41.0.4", "me@a.nl")
    assert dns.asked[1:] == [(f"{kept}{name}", "A")]


@pytest.mark.parametrize("macro", ["%{l}", "%{lr}", "%{L}", "%{l120}"])
def test_macro_costs_no_more_for_each_label_of_what_it_stands_for(macro: str) -> None:
    """A customer's own domain may have any record: with 10 kB of these, each of twenty terms took two seconds."""
    dns = PlayedDns({("a.nl", "TXT"): [f"v=spf1 exists:{macro * 500}.x.nl -all"]})

    def lines(local: str) -> int:
        return lines_run(lambda: outcome(dns, "198.41.0.4", f"{local}@a.nl"))

    assert lines("a" + ".a" * 110) < 1.2 * lines("a")


def test_explanation_is_never_asked_for() -> None:
    dns = PlayedDns({("a.nl", "TXT"): ["v=spf1 -all exp=explain.a.nl"]})
    assert outcome(dns, "198.41.0.4", "me@a.nl") == Result.FAIL
    assert dns.asked == [("a.nl", "TXT")]
