"""Made-up facts for every kind of notice and every turn its templates take: for previews, checks and tests. Pure."""

from __future__ import annotations

from charging.call.decide import Cause
from charging.notify.model import (
    Expiry,
    Facts,
    FaxRefused,
    GiftEnding,
    LowCredit,
    LowFreeMinutes,
    MissedCall,
    MissedCalls,
    MissedFrom,
    NoticeKind,
    SubscriptionEnding,
)
from charging.pricing.money import CENT

_SAMPLES: dict[NoticeKind, tuple[Facts, ...]] = {
    NoticeKind.LOW_CREDIT: (
        LowCredit(credit=218 * CENT, free_seconds_left=0, can_forward=True, paid_voicemail=True),
        LowCredit(credit=218 * CENT, free_seconds_left=0, can_forward=True, paid_voicemail=False),
        LowCredit(credit=218 * CENT, free_seconds_left=80 * 60, can_forward=True, paid_voicemail=False),
        LowCredit(credit=4 * CENT, free_seconds_left=80 * 60, can_forward=False, paid_voicemail=False),
        LowCredit(credit=4 * CENT, free_seconds_left=0, can_forward=False, paid_voicemail=False),
        LowCredit(
            credit=20 * CENT, free_seconds_left=0, can_forward=False, paid_voicemail=True, message_price=15 * CENT
        ),
        LowCredit(
            credit=20 * CENT, free_seconds_left=80 * 60, can_forward=False, paid_voicemail=True, message_price=15 * CENT
        ),
        LowCredit(
            credit=14 * CENT, free_seconds_left=0, can_forward=False, paid_voicemail=True, message_price=15 * CENT
        ),
        LowCredit(credit=CENT // 2, free_seconds_left=0, can_forward=True, paid_voicemail=False),
        LowCredit(credit=0, free_seconds_left=0, can_forward=False, paid_voicemail=True),
        LowCredit(
            credit=0,
            free_seconds_left=0,
            can_forward=False,
            paid_voicemail=True,
            message_price=15 * CENT,
            free_messages=3,
        ),
    ),
    NoticeKind.LOW_FREE_MINUTES: (
        LowFreeMinutes(month="2026-11", free_seconds_left=24 * 60, credit=4 * CENT, paid_voicemail=False),
        LowFreeMinutes(month="2026-11", free_seconds_left=24 * 60, credit=0, paid_voicemail=True),
        LowFreeMinutes(
            month="2026-11",
            free_seconds_left=24 * 60,
            credit=20 * CENT,
            paid_voicemail=True,
            message_price=15 * CENT,
        ),
        LowFreeMinutes(
            month="2026-11", free_seconds_left=0, credit=20 * CENT, paid_voicemail=True, message_price=15 * CENT
        ),
        LowFreeMinutes(month="2026-11", free_seconds_left=30, credit=0, paid_voicemail=False),
        LowFreeMinutes(month="2026-11", free_seconds_left=0, credit=0, paid_voicemail=False),
        LowFreeMinutes(
            month="2026-11",
            free_seconds_left=0,
            credit=0,
            paid_voicemail=True,
            message_price=15 * CENT,
            free_messages=1,
        ),
    ),
    NoticeKind.MISSED_CALL: (
        MissedCall(number="+31851234567", caller="+31612345678", at="2026-11-21T14:05", credit=4 * CENT),
        MissedCall(number="+31851234567", caller="", at="2026-11-21T14:05", credit=0),
        MissedCall(
            number="+31851234567",
            caller="+31612345678",
            at="2026-11-21T14:05",
            credit=1000 * CENT,
            topped_up=True,
            suffices=True,
        ),
        *(
            MissedCall(
                number="+31851234567",
                caller="+31612345678",
                at="2026-11-21T14:05",
                credit=credit,
                suffices=credit > 0,
                causes=(cause,),
            )
            for cause in Cause
            if cause is not Cause.NO_CREDIT
            for credit in (24 * CENT, 0)
        ),
        MissedCall(
            number="+31851234567",
            caller="+31612345678",
            at="2026-11-21T14:05",
            credit=CENT // 2,
            suffices=True,
            causes=(Cause.CREDIT_IN_USE,),
        ),
    ),
    NoticeKind.MISSED_CALLS: (
        MissedCalls(
            calls=4,
            first="2026-11-21T14:09",
            last="2026-11-21T14:21",
            callers=(
                MissedFrom(number="+31851234567", caller="+31612345678", times=3, last="2026-11-21T14:21"),
                MissedFrom(number="+31851234568", caller="", times=1, last="2026-11-21T14:12"),
            ),
            others=0,
            credit=4 * CENT,
        ),
        MissedCalls(
            calls=433,
            first="2026-11-21T23:58",
            last="2026-11-22T03:51",
            callers=(MissedFrom(number="+31851234567", caller="+31612345678", times=2, last="2026-11-22T03:50"),),
            others=431,
            credit=0,
        ),
        MissedCalls(
            calls=2,
            first="2026-11-21T14:09",
            last="2026-11-21T14:21",
            callers=(MissedFrom(number="+31851234567", caller="+31612345678", times=2, last="2026-11-21T14:21"),),
            others=0,
            credit=1000 * CENT,
            topped_up=True,
            suffices=True,
        ),
        MissedCalls(
            calls=5,
            first="2026-11-21T14:09",
            last="2026-11-21T14:21",
            callers=(MissedFrom(number="+31851234567", caller="+31612345678", times=5, last="2026-11-21T14:21"),),
            others=0,
            credit=24 * CENT,
            suffices=True,
            causes=tuple(Cause),
        ),
    ),
    NoticeKind.CREDIT_EXPIRY: (
        Expiry(credit=1840 * CENT, last_day="2027-01-20", days_left=60),
        Expiry(credit=1840 * CENT, last_day="2026-11-22", days_left=1),
        Expiry(credit=1840 * CENT, last_day="2026-11-21", days_left=0),
    ),
    NoticeKind.SUBSCRIPTION_ENDING: (
        SubscriptionEnding(credit=1840 * CENT, paid_through="2026-12-21", last_day="2026-12-21", days_left=30),
        SubscriptionEnding(credit=1840 * CENT, paid_through="2026-12-21", last_day="2027-01-03", days_left=43),
        SubscriptionEnding(credit=1840 * CENT, paid_through="2026-11-21", last_day="2026-11-21", days_left=0),
    ),
    NoticeKind.GIFT_ENDING: (
        GiftEnding(kind="credit", title="", amount=250 * CENT, last_day="2026-12-31", days_left=7),
        GiftEnding(kind="minutes", title="Add-on 60", amount=24 * 60, last_day="2026-12-31", days_left=1),
        GiftEnding(kind="fax_pages", title="100 fax pages", amount=3, last_day="2026-12-31", days_left=0),
        GiftEnding(kind="messages", title="Voicemail 25", amount=1, last_day="2026-12-31", days_left=7),
    ),
    NoticeKind.FAX_REFUSED: (
        FaxRefused(document="offerte.pdf", number="+31201234567", pages=3, cost=24 * CENT, credit=4 * CENT),
        FaxRefused(document="", number="+31201234567", pages=1, cost=8 * CENT, credit=0),
    ),
}


def samples(kind: NoticeKind) -> tuple[Facts, ...]:
    """The most usual one first."""
    return _SAMPLES[kind]
