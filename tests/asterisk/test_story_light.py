"""Voice Light, on a ledger in Redis: voicemail is included, forwarding is paid from credit by day and by night, a call
runs out and goes on with new money; and a subscription that is paid year by year keeps what is left."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from charging.lab import Lab, fax_machine, mobile
from charging.ledger.accounts import Language
from tests.asterisk.story import SATELLITE, Story, hears_the_prompt, story
from tests.asterisk.story_time import TENTH, YEAR, at, in_words
from tests.integration.redis_servers import RedisServer

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(900)]

PAID_THROUGH = date(YEAR + 1, 3, 31)


async def test_r3_r4_r5_r7_r11_r12_r15_r17_r18_r20_r21_r22_r23_voice_light_lives_through_two_years(
    lab: Lab, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        async with story(lab, tmp_path, "voice_light", Language.EN, ledger_url=redis.url) as anna:
            await _subscribes_and_is_rung_while_a_fax_is_sent(anna)
            await _is_rung_at_night(anna)
            await _tops_up_in_a_call_that_runs_out(anna)
            await _has_too_little_to_be_reached(anna)
            await _keeps_credit_by_a_subscription(anna)
            await _leaves(anna)
            await anna.verified()


async def _subscribes_and_is_rung_while_a_fax_is_sent(anna: Story) -> None:
    bought = json.loads(await anna.charging("top-up", "anna", "10", "--json"))
    assert (bought["created"], bought["credit"]) == (True, "10.00")
    fax = await anna.faxes(fax_machine.receives(31), pages=2)
    paid = json.loads(await anna.charging("subscription", "paid", "anna", "--until", str(PAID_THROUGH), "--json"))
    assert paid["paid_until"].startswith(f"{PAID_THROUGH}T22:00")  # the end of that day in the operator's zone
    assert (await anna.talks(3))["cost"] == "0.12"  # R3
    await anna.forwards_to(mobile.busy())
    await anna.leaves_message(await anna.call())  # R7: included
    (busy,) = await anna.booked("forward")
    assert (busy["dial_status"], busy["cost"]) == ("BUSY", "0.00")
    assert (await anna.fax_over(fax))["cost"] == "0.10"  # R3: two pages
    assert await anna.credit() == "9.78"


async def _is_rung_at_night(anna: Story) -> None:
    await anna.comes(at(TENTH, "20:00:00"))
    await anna.forwards_to(mobile.hangs_up(3))
    assert (await anna.talks(4))["cost"] == "0.10"  # off-peak
    assert await anna.credit() == "9.68"
    anna.no_mail()


async def _tops_up_in_a_call_that_runs_out(anna: Story) -> None:
    """€ 9.68 pay the first ten seconds on a satellite phone (€ 9.40), € 10.28 ten more (€ 9.00)."""
    await anna.forwards_to(SATELLITE)
    call = await anna.call()
    assert (await anna.mail()).subject == "Your credit is running low: €0.28 left"  # R15, and R4: charged as it is used
    (running,) = (await anna.shown())["calls"]  # R5
    assert (running["state"], running["cost"], running["covered_s"]) == ("running", "9.40", 10)
    await anna.heard("prompt_played")  # R17
    assert (await anna.buys("10.00")).status_code == 201  # R22
    low = await anna.mail()  # of the next ten seconds: the top-up has cured the first one
    assert low.subject == "Your credit is running low: €1.28 left"
    assert "That is too little to forward calls to you: they will go straight to your voicemail." in low.text
    await call.wait_end(60)
    (cdr,) = await anna.booked("forward")
    assert (cdr["billed_s"], cdr["cost"], cdr["warnings"]) == (20, "18.40", 2)  # R23
    assert hears_the_prompt(call)
    assert await anna.credit() == "1.28"


async def _has_too_little_to_be_reached(anna: Story) -> None:
    caller = await anna.call()
    await anna.leaves_message(caller)
    assert caller.mobiles == []  # R12: straight to voicemail
    assert await anna.credit() == "1.28"  # R7
    anna.no_mail()


async def _keeps_credit_by_a_subscription(anna: Story) -> None:
    await anna.comes(at(TENTH.replace(month=2, day=1), "09:30:00"))
    month = await anna.statement(f"{YEAR}-01")
    assert (month["opening"], month["topped_up"], month["usage"], month["closing"]) == (
        "0.00",
        "20.00",
        "18.72",
        "1.28",
    )

    await anna.comes(at(TENTH.replace(year=YEAR + 1) + timedelta(days=1), "09:30:00"))
    assert await anna.credit() == "1.28"  # R18: a year has passed, and the subscription is paid
    await anna.comes(at(PAID_THROUGH - timedelta(days=60), "09:30:00"))
    told = await anna.mail()  # R20
    assert told.subject == "Your subscription is ending, and with it your credit of €1.28"
    assert (
        f"you can use it up to and including {in_words(PAID_THROUGH, Language.EN)}; after that it expires" in told.text
    )
    await anna.pays_subscription(PAID_THROUGH.replace(year=YEAR + 2))
    for days in (30, 7, 1, -1):
        await anna.comes(at(PAID_THROUGH - timedelta(days=days), "09:30:00"))
        anna.no_mail()
    assert await anna.credit() == "1.28"


async def _leaves(anna: Story) -> None:
    """R21: what is left is not paid out, by nobody and never; and what was stays to be seen."""
    before = (await anna.journal(), await anna.statement(f"{YEAR}-01"))
    await anna.charging("account", "close", "anna", "--reason", "moved abroad")
    caller = await anna.call()
    await caller.wait_end(60)
    assert (caller.was_answered, caller.mobiles) == (False, [])
    assert (await anna.buys("10.00")).status_code == 409
    assert (await anna.faxes(fax_machine.receives(31), pages=1)).status_code == 409
    await anna.comes(at(PAID_THROUGH + timedelta(days=2), "09:30:00"))
    assert (await anna.journal(), await anna.statement(f"{YEAR}-01")) == before
    assert (await anna.shown())["credit"]["posted"] == "1.28"
    anna.no_mail()
