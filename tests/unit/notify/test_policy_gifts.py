"""What was given for a time is told before it ends: promotional credit, and what is left of packs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from charging.ledger.accounts import Status
from charging.ledger.balances import promo
from charging.ledger.model import Balance
from charging.notify.model import GiftEnding, Notice, NoticeKind
from charging.notify.policy import due
from charging.notify.record import Record
from charging.pricing.packs import PAGES
from charging.tariff.plans import Pack
from charging.tariff.tariff import Tariff
from tests.fakes.rig import EURO
from tests.unit.notify.factories import ANNA, noon, standing, the_tariff

LAST = date(2026, 12, 31)
CREDIT_GIFT, MINUTES = promo("2026-12-31"), "pack:2026-12-31:addon"
FAXES = f"{PAGES}:2026-12-31:fax10"
PACKS = {"addon": Pack("addon", "Add-on 60", 3600, 30), "fax10": Pack("fax10", "Ten pages", 10, 30, sort=PAGES)}
DAYS = (60, 30, 7, 1)


def tariff_of(days: tuple[int, ...] = DAYS) -> Tariff:
    return replace(the_tariff(days), packs=PACKS)


def told(
    balances: dict[str, Balance], ahead: int, sent: dict[str, str] | None = None, days: tuple[int, ...] = DAYS
) -> list[Notice]:
    one = replace(standing(0), balances=balances, sent=sent or {})
    found = due(one, tariff_of(days), noon(LAST - timedelta(ahead)))
    return [notice for notice in found if notice.kind is NoticeKind.GIFT_ENDING]


@pytest.mark.parametrize(
    ("balance", "left", "kind", "title"),
    [
        (CREDIT_GIFT, 5 * EURO, "credit", ""),
        (MINUTES, 600, "minutes", "Add-on 60"),
        (FAXES, 3, "fax_pages", "Ten pages"),
    ],
)
@pytest.mark.parametrize("ahead", [7, 1])
def test_each_gift_is_told_a_week_and_a_day_ahead(balance: str, left: int, kind: str, title: str, ahead: int) -> None:
    [notice] = told({balance: Balance(left)}, ahead)
    assert notice.facts == GiftEnding(kind, title, left, "2026-12-31", ahead)
    assert notice.id.endswith(f"/{ahead}")
    assert told({balance: Balance(left)}, ahead, {notice.topic: notice.id}) == []


def test_a_gift_is_told_no_earlier_and_not_once_it_has_ended() -> None:
    assert told({CREDIT_GIFT: Balance(EURO)}, 8) == []
    assert len(told({CREDIT_GIFT: Balance(EURO)}, 0)) == 1
    assert told({CREDIT_GIFT: Balance(EURO)}, -1) == []
    assert len(told({CREDIT_GIFT: Balance(EURO)}, 30, days=(60, 30))) == 1
    assert told({CREDIT_GIFT: Balance(EURO)}, 31, days=(60, 30)) == []
    assert told({CREDIT_GIFT: Balance(EURO)}, 1, days=()) == []


@pytest.mark.parametrize(
    ("balance", "left"),
    [
        (CREDIT_GIFT, Balance(9_999)),
        (CREDIT_GIFT, Balance(EURO, EURO)),
        (MINUTES, Balance(59)),
        (FAXES, Balance(0)),
        ("pack:2026-12-31:unknown", Balance(600)),
        ("bundle:2026-12", Balance(600)),
        ("pages:2026-12", Balance(6)),
    ],
)
def test_what_cannot_be_used_or_ends_with_its_month_is_not_told(balance: str, left: Balance) -> None:
    assert told({balance: left}, 1) == []


def test_gifts_of_one_day_are_told_apart_and_each_once_whatever_was_told_between() -> None:
    balances = {CREDIT_GIFT: Balance(EURO), MINUTES: Balance(600), promo("2026-12-30"): Balance(EURO)}
    record = Record()
    found = told(balances, 7)
    assert len({notice.topic for notice in found}) == 3
    for notice in found:
        record = record.with_sent(notice, "2026-12-01")
    assert told(balances, 7, dict(record.sent)) == []
    assert {notice.id for notice in told(balances, 1, dict(record.sent))} == {
        "gift:2026-12-30:promo/1",
        "gift:2026-12-31:promo/1",
        "gift:2026-12-31:pack:addon/1",
    }


def test_what_was_told_of_a_gift_is_forgotten_once_it_is_long_over() -> None:
    [old] = told({CREDIT_GIFT: Balance(EURO)}, 1)
    record = Record().with_sent(old, "2026-12-01")
    later = promo("2027-01-04")
    one = replace(standing(0), balances={later: Balance(EURO)})
    [new] = [
        notice for notice in due(one, tariff_of(), noon(date(2027, 1, 3))) if notice.kind is NoticeKind.GIFT_ENDING
    ]
    assert set(record.with_sent(new, "2026-12-01").sent) == {new.topic}
    assert set(record.with_sent(replace(old, id="other/1"), "2026-12-01").sent) == {old.topic, "other"}


def test_a_suspended_account_is_told_and_a_closed_one_is_not() -> None:
    for status, count in ((Status.SUSPENDED, 1), (Status.CLOSED, 0)):
        one = replace(standing(0), account=replace(ANNA, status=status), balances={CREDIT_GIFT: Balance(EURO)})
        assert len(due(one, tariff_of(), noon(LAST))) == count


def test_what_is_left_of_a_pack_that_the_tariff_has_no_more_is_told_where_it_still_pays() -> None:
    (notice,) = told({"pack:2026-12-31:summer.k3v9qa": Balance(600), "pack:2026-12-31:older": Balance(600)}, 7)
    assert isinstance(notice.facts, GiftEnding)
    assert (notice.facts.kind, notice.facts.title) == ("minutes", "summer")
