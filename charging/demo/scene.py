"""The scene: prices, plan, subscriber and money of the demo, and what must come of them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from charging.clock import SystemClock, month_name
from charging.lab import mobile
from charging.lab.daemon import DaemonProcess
from charging.ledger.accounts import Account, Language
from charging.ledger.balances import bundle, grant
from charging.ledger.model import Kind, Leg, Transfer
from charging.ledger.sqlite.store import SqliteStore
from charging.pricing.money import MICRO

ACCOUNT = "anna"
PLAN = "voice_pro"
NUMBER = "+31850000001"
RINGS_S = 2
MOBILE = mobile.answers(RINGS_S)
ZONE = "Europe/Amsterdam"

MONTH_S = 250 * 60
FREE_S = 8
TOP_UP_EURO = 10
TOP_UPS = 2
PRICE_A_SECOND = MICRO
"""Micro-euro."""
CREDIT_S = TOP_UP_EURO * TOP_UPS
TOTAL_S = FREE_S + CREDIT_S
"""So long the call can last, to the second."""

WARN_BEFORE_S = 8
TOP_UP_AFTER_WARNING_S = 3
POLICY = {"tick_s": 2, "horizon_s": 8, "warn_before_s": WARN_BEFORE_S, "setup_timeout_s": 5, "black_box_wait_s": 2}

TARIFF = f"""\
# The tariff of `charging demo`. A euro a second, so that nobody waits for hours to see ten euro spent.
revision: demo
zone: {ZONE}
region: NL
vat: {{percent: 21, included: yes}}
rounding: {{rule: half_up, decimals: 2}}
top_up: {{minimum: 10.00, amounts: [10.00, 25.00, 50.00]}}
destinations:
  nl_mobile: {{title: "Netherlands, mobile", prefixes: ["+316"]}}
  nl_pagers: {{title: "Netherlands, pagers", prefixes: ["+3166"], refuse: blocked}}
rates:
  standard:
    destinations:
      nl_mobile: {{price: 1.00, per: second, increments: 1/1}}
plans:
  {PLAN}:
    title: Voice Pro
    rates: standard
    paid_subscription: yes
    free_minutes: {{minutes: {MONTH_S // 60}}}
    voicemail: {{paid: no}}
    calls_at_once: 4
"""


async def seed(daemon: DaemonProcess, language: Language) -> None:
    """The subscriber, at the end of a month: of her free minutes only FREE_S seconds are left."""
    store = SqliteStore(daemon.ledger)
    await store.open()
    try:
        now_us = SystemClock().now().wall_us
        await store.directory.put_account(Account(ACCOUNT, PLAN, language, created_us=now_us))
        month = month_name(ZoneInfo(ZONE), now_us)
        used = (Leg(bundle(month), FREE_S - MONTH_S),)
        before = Transfer("earlier", ACCOUNT, Kind.CORRECT, now_us, used, reason="calls of this month")
        await store.apply(before, [grant(ACCOUNT, month, MONTH_S, now_us, PLAN)])
    finally:
        await store.close()
