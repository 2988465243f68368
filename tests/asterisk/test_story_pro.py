"""Voice Pro: free minutes go first, also in the midst of a call and over the end of a month; what they leave is paid
from credit; and what a call without credit is worth to the life of credit: nothing."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from charging.lab import Lab, fax_machine, mobile
from charging.ledger.accounts import Language
from tests.asterisk.story import SATELLITE, Story, hears_the_prompt, story
from tests.asterisk.story_time import YEAR, at, in_words

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(900)]

A_MONTH_S = 250 * 60
LEFT_S = 25
"""Of January's free seconds, as the story begins."""
FEBRUARY = date(YEAR, 2, 1)
MARCH = date(YEAR, 3, 1)
PAID_THROUGH = date(YEAR + 1, 1, 31)
LAST_DAY = MARCH.replace(year=YEAR + 1)
"""A year after the last call that credit paid."""


async def test_r5_r8_r9_r10_r11_r12_r14_r16_r17_r18_r19_r20_r23_voice_pro_lives_through_a_year(
    lab: Lab, tmp_path: Path
) -> None:
    async with story(lab, tmp_path, "voice_pro", Language.NL, used_free_s=A_MONTH_S - LEFT_S) as anna:
        await _has_few_minutes_and_no_credit(anna)
        await _runs_out_of_minutes_in_a_call(anna)
        await _pays_the_rest_of_a_call_from_credit(anna)
        await _talks_over_the_end_of_a_month(anna)
        await _calls_what_no_free_minute_pays(anna)
        await _credit_lives_a_year_after_it_was_used(anna)
        await anna.verified()


async def _has_few_minutes_and_no_credit(anna: Story) -> None:
    await anna.pays_subscription(PAID_THROUGH)
    assert (await anna.credit(), await anna.free_s()) == ("0.00", LEFT_S)
    low = await anna.mail()  # R16
    assert low.subject == "Uw gratis minuten zijn bijna op"
    assert "U heeft in januari nog minder dan een minuut gratis, en geen beltegoed om daarna oproepen door" in low.text
    refused = await anna.faxes(fax_machine.receives(41), pages=1)  # R9, R14
    assert (refused.status_code, refused.json()["missing"]) == (402, "0.05")
    call = await anna.talks(3)
    assert (call["reason"], call["cost"], call["free_seconds"]) == ("free_minutes", "0.00", {f"{YEAR}-01": 10})  # R10
    assert await anna.free_s() == 15  # R5


async def _runs_out_of_minutes_in_a_call(anna: Story) -> None:
    """Fifteen seconds are one step of ten, and no more: nothing is there to pay the rest of the next."""
    await anna.forwards_to(mobile.answers_mute())
    call = await anna.call()
    await anna.heard("call_answered", times=2)
    other = await anna.call()  # R12: while all that is left is set aside, another caller goes straight to voicemail
    await anna.leaves_message(other)
    assert other.mobiles == []
    assert (await anna.heard("prompt_played"))["prompt"] == "minutes_low"  # R17
    await call.wait_end(60)
    (cdr,) = await anna.booked("forward")
    assert (cdr["billed_s"], cdr["cost"], cdr["warnings"]) == (10, "0.00", 1)  # R23
    assert hears_the_prompt(call)
    assert (await anna.credit(), await anna.free_s()) == ("0.00", 5)  # R8: voicemail is included
    anna.no_mail()


async def _pays_the_rest_of_a_call_from_credit(anna: Story) -> None:
    assert (await anna.buys("10.00")).status_code == 201
    await anna.forwards_to(mobile.hangs_up(3))
    call = await anna.talks(5)
    assert (call["free_seconds"], call["cost"]) == ({f"{YEAR}-01": 5}, "0.01")  # R10: 5 s free, 5 s at 0.12 a minute
    assert (await anna.credit(), await anna.free_s()) == ("9.99", 0)


async def _talks_over_the_end_of_a_month(anna: Story) -> None:
    await anna.comes(at(FEBRUARY, "09:30:00"))
    assert await anna.free_s() == A_MONTH_S  # R11: granted again
    await anna.forwards_to(mobile.answers_mute())
    await anna.comes(at(MARCH - timedelta(days=1), "23:59:50"))
    call = await anna.talks(12)
    assert anna.time.now.date() == MARCH
    assert (call["free_seconds"], call["cost"]) == ({f"{YEAR}-02": 10, f"{YEAR}-03": 10}, "0.00")  # R11: each its own
    assert await anna.free_s() == A_MONTH_S - 10


async def _calls_what_no_free_minute_pays(anna: Story) -> None:
    await anna.comes(at(MARCH, "10:00:00"))
    expired = [line for line in await anna.journal() if line["kind"] == "expire"]
    assert [line["legs"] for line in expired] == [
        [{"balance": f"bundle:{YEAR}-02", "unit": "second", "posted": f"-{A_MONTH_S - 10}", "reserved": "0"}]
    ]  # R11: not carried over
    await anna.forwards_to(SATELLITE)
    assert (await anna.talks(2))["cost"] == "9.40"  # R8: the plan's free minutes are for other destinations
    low = await anna.mail()  # R15
    assert low.subject == "Uw beltegoed is bijna op: nog € 0,59"
    assert "te weinig om oproepen door te schakelen: ze worden nu rechtstreeks naar uw voicemail" in low.text
    assert "gratis" not in low.text, "no free minute pays a call to where he forwards to"
    assert (await anna.credit(), await anna.free_s()) == ("0.59", A_MONTH_S - 10)


async def _credit_lives_a_year_after_it_was_used(anna: Story) -> None:
    await anna.forwards_to(mobile.hangs_up(3))
    until = in_words(LAST_DAY, Language.NL)
    for days in (60, 30):  # R20: the subscription is still paid
        await anna.comes(at(LAST_DAY - timedelta(days=days), "09:30:00"))
        told = await anna.mail()
        assert told.subject == "Uw abonnement loopt af, en daarmee uw beltegoed van € 0,59"
        assert f"betaald tot en met {in_words(PAID_THROUGH, Language.NL)}" in told.text
        assert f"tot en met {until}; daarna vervalt het" in told.text
    assert (await anna.talks(5))["cost"] == "0.00"  # R19: free minutes alone are no use of credit
    await anna.comes(at(LAST_DAY - timedelta(days=7), "09:30:00"))
    assert (await anna.mail()).subject == "Uw beltegoed van € 0,59 vervalt over 7 dagen"
    fax = await anna.fax_over(await anna.faxes(fax_machine.receives(42), pages=1))
    assert (fax["state"], fax["cost"]) == ("sent", "0.05")  # R19: this is one
    for days in (1, -1):
        await anna.comes(at(LAST_DAY - timedelta(days=days), "09:30:00"))
        anna.no_mail()
    assert await anna.credit() == "0.54"
