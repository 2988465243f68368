"""How long rating takes, in µs and in multiples of one quantised ``decimal`` multiplication of the same run.

    python -m tests.benchmarks.bench_rating

Medians of many repetitions in one process. Figures to reach on a quiet two-core machine stand beside each row.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from statistics import median
from time import perf_counter_ns

from charging.pricing.calendar import Window
from charging.pricing.funding import Pools, plan
from charging.pricing.money import MICRO
from charging.pricing.rate import CREDIT, Band, Rate, Segment, Step, charge, consumed, cost_of_seconds
from charging.records import Codec
from charging.tariff.deck_file import parse_deck
from charging.tariff.tariff import Prefixes
from tests.unit.pricing.strategies import affordable_seconds

START_US = 1_793_790_000 * MICRO
HOUR_S = 3600
ALWAYS = frozenset(range(8))


def microseconds(call: Callable[[], object], repetitions: int = 300, inner: int = 20) -> float:
    """The median time of one call."""
    for _ in range(100):
        call()
    times = []
    for _ in range(repetitions):
        begin = perf_counter_ns()
        for _ in range(inner):
            call()
        times.append((perf_counter_ns() - begin) / inner / 1000)
    return median(times)


def rate(increment_s: int, **more: object) -> Rate:
    return Rate("plan", "somewhere", (Step(0, 120_000, 60, increment_s),), connect_fee=50_000, decimals=4, **more)  # type: ignore[arg-type]


def rows() -> list[tuple[str, Callable[[], object], str]]:
    minutes, seconds = rate(60), rate(1)
    night = Band("night", (Window(ALWAYS, 1320, 360),), (Step(0, 60_000, 60, 1),))
    banded = rate(1, bands=(night,))
    hour = (Segment(0, HOUR_S, CREDIT),)
    mixed = (Segment(0, 1800, "bundle:2026-11"), Segment(1800, HOUR_S, CREDIT))
    three_hours = Pools(credit=50_000 + 3 * 60 * 120_000)
    free = Pools(credit=100 * MICRO, bundles={"bundle:2026-11": 1800})
    codec = Codec(Rate)
    snapshot = codec.dump(banded)
    prefixes = Prefixes((f"+{number}", number) for number in range(100_000, 300_000))
    return [
        ("cost of a 60 s call, 60 s blocks", lambda: cost_of_seconds(minutes, START_US, 60), "≤ 12 µs"),
        ("cost of 1 h, 1 s increments", lambda: cost_of_seconds(seconds, START_US, HOUR_S), "≤ 15 µs"),
        ("limit of 3 h, 1 s increments", lambda: affordable_seconds(seconds, START_US, three_hours), "≤ 20 µs"),
        ("longest match, 200,000 prefixes", lambda: prefixes.match("+299999123456"), "≤ 2 µs"),
        ("no match, 200,000 prefixes", lambda: prefixes.match("+999999123456"), "≤ 2 µs"),
        ("charge of 1 h, 1 s increments", lambda: charge(seconds, START_US, hour), ""),
        ("charge of 1 s, 1 s increments", lambda: charge(seconds, START_US, (Segment(0, 1, CREDIT),)), ""),
        ("charge of 1 h, half of it free", lambda: charge(seconds, START_US, mixed), ""),
        ("charge of 1 h with a night band", lambda: charge(banded, START_US, hour), ""),
        ("limit of 3 h with a night band", lambda: affordable_seconds(banded, START_US, three_hours), ""),
        ("a tick: consumed, then plan", lambda: tick(seconds, mixed, free), ""),
        ("a rate from its snapshot", lambda: codec.load(snapshot), ""),
    ]


def tick(one: Rate, funding: tuple[Segment, ...], pools: Pools) -> object:
    return plan(one, START_US, consumed(one, START_US, funding, 1900), pools, 2020)


def main() -> None:
    cent = Decimal("0.0001")
    left, right = Decimal("0.12345"), Decimal("61.7")
    gc.disable()
    unit = microseconds(lambda: (left * right).quantize(cent, rounding=ROUND_HALF_UP))
    print(f"{'one quantised decimal multiplication':40} {unit:8.2f} µs")
    for name, call, aim in rows():
        taken = microseconds(call)
        print(f"{name:40} {taken:8.2f} µs {taken / unit:8.1f} ×   {aim}")
    gc.enable()
    rows_of_deck = 200_000
    text = "prefix;name;price;increments\n" + "".join(
        f"{number};Destination {number % 900};0,{number % 2000:04d};60/1\n"
        for number in range(100_000, 100_000 + rows_of_deck)
    )
    begin = perf_counter_ns()
    parse_deck(text.encode(), "deck.csv")
    print(f"{'a deck of 200,000 rows':40} {(perf_counter_ns() - begin) / 1e9:8.2f} s")


if __name__ == "__main__":
    main()
