"""Notices, accounts and standings with defaults, so that a test says only what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from charging.ledger.accounts import Account, Language
from charging.ledger.balances import bundle
from charging.ledger.model import CREDIT, Balance
from charging.notify.model import Facts, Notice, NoticeKind
from charging.notify.policy import Standing
from charging.notify.samples import samples
from charging.notify.settings import Mail
from charging.tariff.plans import Plan
from charging.tariff.tariff import Tariff
from tests.fakes.clock import START_WALL_US
from tests.fakes.rig import EURO, make_tariff

MONTH = "2026-11"
"""Of FakeClock's first day, 21 November 2026, 13:00 in Amsterdam."""
ANNA = Account("anna", "pro", Language.NL, "anna@example.nl")
PLAN = Plan(
    "pro",
    "table",
    is_paid=True,
    free_seconds=600,
    voicemail_price=100_000,
    low_credit=2 * EURO,
    low_free_seconds=120,
)


def the_tariff(days: tuple[int, ...] = (60, 30, 7)) -> Tariff:
    tariff = make_tariff(plans={"pro": PLAN})
    return replace(tariff, expiry_notices_days=days)


def standing(
    credit: int | None = None,
    free: int | None = None,
    *,
    reserved: int = 0,
    account: Account = ANNA,
    plan: Plan | None = PLAN,
    paid_voicemail: bool = False,
    **more: Any,
) -> Standing:
    balances = {CREDIT: Balance(credit or 0, reserved)}
    if free is not None:
        balances[bundle(MONTH)] = Balance(free)
    price = plan.voicemail_price if plan is not None and paid_voicemail else 0
    chosen = {"last_cure": "top-up/1", "forward_cost": 60_000, "message_price": price, **more}
    return Standing(account, plan, balances, **chosen)


def at(text: str, zone: str = "Europe/Amsterdam") -> int:
    """Wall clock µs of a local time."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


def noon(day: date) -> int:
    return at(f"{day}T12:00")


def make_notice(
    id: str = "low-credit/top-up/1",
    kind: NoticeKind = NoticeKind.LOW_CREDIT,
    *,
    account: str = "anna",
    language: Language = Language.NL,
    address: str = "anna@example.nl",
    at_us: int = START_WALL_US,
    facts: Facts | None = None,
) -> Notice:
    return Notice(id, kind, account, language, address, at_us, facts or samples(kind)[0])


def make_mail(**more: Any) -> Mail:
    plain: Mapping[str, Any] = {
        "sender_address": "no-reply@voice.example",
        "sender_name": "Example Voice",
        "top_up_url": "https://www.voice.example/top-up",
        **more,
    }
    return Mail.model_validate(plain)
