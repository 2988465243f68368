"""Which grant of a month's free seconds is due (R11)."""

from __future__ import annotations

import pytest

from charging.ledger.accounts import Account
from charging.ledger.balances import bundle, due_grant, grant, granted, left, raised_by, ruled_by
from charging.ledger.memory import MemoryStore
from charging.ledger.model import Balance, Kind, Leg, Outcome, Transfer

MONTH = "2026-11"
KEY, ALL, RAISED = bundle(MONTH), granted(MONTH), raised_by(MONTH, "max")


def test_r11_a_month_that_nobody_used_is_as_large_as_the_plan_says() -> None:
    assert left({}, MONTH, 600) == Balance(600)
    assert due_grant("anna", MONTH, {}, 600, 5, "max") == grant("anna", MONTH, 600, 5, "max")
    assert due_grant("anna", MONTH, {}, 0, 5, "max") is None


@pytest.mark.parametrize(("plan", "due"), [(599, 0), (600, 0), (601, 1), (1500, 900), (0, 0)])
def test_r11_what_a_plan_gives_beyond_what_was_granted_is_due(plan: int, due: int) -> None:
    balances = {KEY: Balance(500, 60), ALL: Balance(600)}
    assert left(balances, MONTH, plan) == Balance(500 + due, 60)
    made = due_grant("anna", MONTH, balances, plan, 5, "max")
    if not due:
        assert made is None
    else:
        assert made is not None
        assert (made.id, made.kind, made.legs) == (
            f"grant/{MONTH}/after-600",
            Kind.GRANT,
            (Leg(KEY, due), Leg(ALL, due), Leg("plan:2026-11:max", plan)),
        )


def test_r11_the_first_grant_to_a_bundle_that_a_gift_has_made_is_the_months_own() -> None:
    """A call's end makes the month's grant again, knowing no balances: the ledger skips it by its id."""
    gift = {KEY: Balance(60), ALL: Balance(0)}
    assert due_grant("anna", MONTH, gift, 600, 5, "max") == grant("anna", MONTH, 600, 5, "max")


def test_r11_a_month_that_has_expired_is_not_granted_again() -> None:
    balances = {KEY: Balance(0), ALL: Balance(600)}
    assert due_grant("anna", MONTH, balances, 600, 5, "max") is None


def test_r11_a_bundle_whose_grants_were_not_counted_is_as_large_as_its_plan() -> None:
    assert left({KEY: Balance(100)}, MONTH, 600) == Balance(100)
    assert due_grant("anna", MONTH, {KEY: Balance(100)}, 600, 5, "max") is None


async def test_r11_the_grant_comes_with_the_first_use_and_once() -> None:
    store = MemoryStore()
    await store.directory.put_account(Account("anna", "max"))
    for number, (plan, used) in enumerate([(600, 100), (1500, 1300), (600, 100), (1500, 0)]):
        due = due_grant("anna", MONTH, await store.balances("anna"), plan, number, "max")
        use = Transfer(f"use/{number}", "anna", Kind.SETTLE, number, (Leg(KEY, -used),))
        assert (await store.apply(use, [due] if due is not None else [])).outcome is Outcome.CREATED
    assert dict(await store.balances("anna")) == {KEY: Balance(0), ALL: Balance(1500), RAISED: Balance(1500)}


@pytest.mark.parametrize(
    ("raised", "plan", "free_seconds", "rules"),
    [
        ({}, "light", 0, "light"),  # an older version's grant
        ({"pro": 600}, "light", 0, "pro"),  # a downgrade: what is left is what it was
        ({"pro": 600}, "pro", 600, "pro"),
        ({"pro": 600}, "max", 1500, "max"),  # an upgrade whose grant is due
        ({"pro": 600, "max": 1500}, "light", 0, "max"),
        ({"max": 1500, "pro": 600}, "pro", 600, "max"),
    ],
)
def test_r8_a_bundle_has_the_rules_of_the_plan_that_granted_it(
    raised: dict[str, int], plan: str, free_seconds: int, rules: str
) -> None:
    balances = {raised_by(MONTH, name): Balance(seconds) for name, seconds in raised.items()}
    balances |= {KEY: Balance(100), ALL: Balance(max(raised.values(), default=600))}
    assert ruled_by(balances, MONTH, plan, free_seconds) == rules
