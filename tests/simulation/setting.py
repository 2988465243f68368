"""What does not change while a story of a simulated city runs: its places, its machines, the editions of its tariff."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from charging.clock import MICROSECONDS
from charging.pricing.rate import MAX_CALL_S
from charging.pricing.rate import Step as PriceStep
from charging.tariff.plans import Pack, Plan
from charging.tariff.tariff import Destination, Price, RateTable, Tariff, TopUps
from tests.fakes.rig import DESTINATIONS, EURO
from tests.simulation.machine import LEASE_S

PLANS = ("light", "pro", "free")
MESSAGE_PRICE = 100_000
FAX_PAGE = 80_000
DAY_CAP = 10_000 * EURO
"""More than any account has: what is spent is counted, and nobody is cut by it."""
PACK_OF = {"us30": frozenset({"us"}), "nl30": frozenset({"nl_mobile"}), "any30": None}
"""The packs of minutes, and for which destinations they pay; ``None``: for all."""
TOLD_DAYS = (30, 7, 1)
"""So many days before its end a subscriber is told that credit expires."""
LOW_CREDIT = 500_000
"""Micro-euro: credit below it is nearly gone."""
FREE_S = 3_000
"""Of each month, by the plan that has some."""
LOW_FREE_S = 600
"""Fewer free seconds are nearly gone."""
LONGEST_S = 8 * 3600
DAY_S = 24 * 3600
"""The longest call, where calls last hours, or a day."""


@dataclass(frozen=True, slots=True)
class Rates:
    """One edition of the tariff, as plainly as the inspector reads it."""

    a_minute: int
    """Micro-euro."""
    increment_s: int
    fee: int


@dataclass(frozen=True, slots=True)
class Setting:
    """What does not change while the story runs."""

    switches: int
    daemons: int
    """For each switch."""
    start: str
    """ISO 8601, UTC."""
    tick_s: int
    horizon_s: int
    audit_s: int
    """Between two looks of a daemon at its switch. Long calls of a slow story are looked at seldom, so that a second of
    CPU holds many hours."""
    calls_at_once: int
    """Of one account."""
    rates: tuple[Rates, ...]
    """Editions of the tariff; the first is in force."""
    longest_s: int = MAX_CALL_S
    """A call may last."""
    apart: bool = False
    """Whether each daemon starts on a machine that nobody has kept a call on: the switches' records alone tell of steps
    that no daemon lived through. Else all are of one machine with the switches, and those records have no up-time."""
    is_old: bool = False
    """Whether a switch's dialplan says of no leg when it answered."""
    on_disk: bool = False
    """Whether the ledger is a SQLite file, on a disk that may lose what was not flushed; else it is in memory, and may
    fail over."""

    @property
    def is_slow(self) -> bool:
        """Whether calls last hours."""
        return self.tick_s > 60

    @property
    def pace(self) -> int:
        """Seconds between two looks of what is looked at for ever. Where calls last hours, a second is nothing."""
        return 90 if self.is_slow else 1

    @property
    def booked_within_us(self) -> int:
        """Longer than any fault of a story lasts, but for days off, and two looks at the switch."""
        return (900 + 2 * self.audit_s) * MICROSECONDS

    @property
    def lease_s(self) -> int:
        return 12 * LEASE_S if self.is_slow else LEASE_S

    @property
    def grace_s(self) -> int:
        """After a fault is mended: for the lease, the next look at the switch, and the ticks that were missed."""
        return 3 * self.lease_s + 2 * self.audit_s


def tariff_of(setting: Setting, edition: int) -> Tariff:
    """The engine's tariff, of one edition."""
    rates, most = setting.rates[edition], setting.calls_at_once
    steps = (PriceStep(0, rates.a_minute, 60, rates.increment_s),)
    prices = dict.fromkeys(("nl_mobile", "us"), Price(steps, connect_fee=rates.fee))
    plans = {
        "light": Plan("light", "table", max_calls=most, max_credit_per_day=DAY_CAP),
        "pro": Plan(
            "pro",
            "table",
            is_paid=True,
            free_destinations=frozenset({"nl_mobile"}),
            free_seconds=FREE_S,
            max_calls=most,
        ),
        "free": Plan("free", "table", max_calls=most, voicemail_paid=True, voicemail_price=MESSAGE_PRICE),
    }
    return Tariff(
        revision=f"edition-{edition}",
        digest=f"d{edition}",
        zone="Europe/Amsterdam",
        region="NL",
        plans=MappingProxyType(
            {
                name: replace(
                    plan,
                    max_call_s=setting.longest_s,
                    low_credit=LOW_CREDIT,
                    low_free_seconds=LOW_FREE_S if plan.free_seconds else 0,
                )
                for name, plan in plans.items()
            }
        ),
        destinations={**DESTINATIONS, "us": Destination("us", ("+1",))},
        packs={
            name: Pack(name, name, 30 * 60, 1, pays, order=order) for order, (name, pays) in enumerate(PACK_OF.items())
        },
        tables={"table": RateTable("table", prices, fax_page=FAX_PAGE)},
        top_ups=TopUps(EURO // 100, ()),
        expiry_notices_days=TOLD_DAYS,
    )
