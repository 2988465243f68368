"""Voice Free, from the first ten euro to the day on which the last of them expires: calls, messages and faxes are paid
from credit, one by one; then a year passes without any."""

from __future__ import annotations

import json
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from charging.lab import Lab, fax_machine, mobile
from charging.ledger.accounts import Language
from tests.asterisk.engine import NUMBER
from tests.asterisk.story import ADDRESS, SATELLITE, Story, hears_the_prompt, story
from tests.asterisk.story_time import TENTH, YEAR, at, in_words
from tests.fakes.documents import pdf

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(900)]

LAST_DAY = TENTH.replace(year=YEAR + 1)


async def test_r1_r2_r3_r6_r9_r12_r13_r14_r15_r17_r19_r20_r21_r22_r23_voice_free_lives_through_a_year(
    lab: Lab, tmp_path: Path
) -> None:
    async with story(lab, tmp_path, "voice_free", Language.NL) as anna:
        await _buys_ten_euro(anna)
        await _is_rung_twice_while_a_fax_is_sent(anna)
        await _runs_out_in_a_call(anna)
        await _has_thirteen_cents(anna)
        await _tops_up_and_is_warned_again(anna)
        await _is_away_for_a_year(anna)
        await anna.verified()


async def _buys_ten_euro(anna: Story) -> None:
    refused = await anna.buys("5.00")  # R2
    assert (refused.status_code, "at least 10.00" in refused.text) == (422, True)
    assert (await anna.buys("10.00")).status_code == 201
    assert await anna.credit() == "10.00"  # R1


async def _is_rung_twice_while_a_fax_is_sent(anna: Story) -> None:
    fax = await anna.faxes(fax_machine.receives(21), pages=1)
    engaged = await anna.faxes(fax_machine.busy(), pages=1)
    call = await anna.talks(3)
    assert (call["destination"], call["reason"], call["cost"]) == ("nl_mobile", "credit", "0.12")  # R3, R6
    await anna.forwards_to(mobile.never_answers())
    await anna.leaves_message(await anna.call())
    (message,) = await anna.booked("voicemail")
    assert (message["dial_status"], message["cost"]) == ("NOANSWER", "0.15")
    sent, failed = await anna.fax_over(fax), await anna.fax_over(engaged)
    assert [(one["state"], one["cost"]) for one in (sent, failed)] == [("sent", "0.05"), ("failed", "0.00")]
    assert await anna.credit() == "9.68"
    anna.no_mail()


async def _runs_out_in_a_call(anna: Story) -> None:
    await anna.forwards_to(SATELLITE)
    call = await anna.call()
    low = await anna.mail()  # R15, during the call: its first ten seconds are charged
    assert low.subject == "Uw beltegoed is bijna op: nog € 0,28"
    assert "Dat is te weinig om oproepen door te schakelen: ze worden nu rechtstreeks naar uw voicemail" in low.text
    assert "zolang uw tegoed genoeg is voor een bericht (€ 0,15), en daarna niet beantwoord." in low.text  # R13
    await call.wait_end(60)
    (cdr,) = await anna.booked("forward")
    assert (cdr["billed_s"], cdr["cost"], cdr["warnings"]) == (10, "9.40", 1)  # R23
    assert hears_the_prompt(call)  # R17
    assert await anna.credit() == "0.28"


async def _has_thirteen_cents(anna: Story) -> None:
    caller = await anna.call()
    await anna.leaves_message(caller)
    assert caller.mobiles == []  # R12: straight, no phone rings
    (message,) = await anna.booked("voicemail")
    assert (message["reason"], message["cost"]) == ("no_credit", "0.15")
    assert await anna.credit() == "0.13"

    unreachable = await anna.call()  # R13: nothing is enough any more
    missed = await anna.mail()
    assert missed.subject == f"Gemiste oproep van {unreachable.caller}"
    assert f"{in_words(TENTH, Language.NL)} om 10:" in missed.text
    assert f"uw nummer {NUMBER} gebeld" in missed.text
    assert "omdat uw beltegoed te laag was om hem door te schakelen of een voicemail op te nemen." in missed.text
    assert "U heeft nu € 0,13 beltegoed." in missed.text
    await unreachable.hang_up()
    await unreachable.wait_end(60)
    assert (unreachable.was_answered, unreachable.mobiles) == (False, [])

    short = await anna.faxes(fax_machine.receives(22), pages=3)  # R14: at once, on the web
    assert short.status_code == 402
    assert {name: short.json()[name] for name in ("needed", "available", "missing")} == {
        "needed": "0.15",
        "available": "0.13",
        "missing": "0.02",
    }
    own = json.loads(await anna.charging("fax", "address", "new", "anna", "--json"))["name"]
    address = f"{own}@voice.example"
    fax = _mail_with_fax(3, address)
    await anna.charging("fax", "submit-mail", "--recipient", address, "--reply-by", "smtp", stdin=fax)
    returned = await anna.reply()  # and by return e-mail
    assert returned.subject == f"Uw fax naar {fax_machine.receives(22)} is niet verstuurd"
    assert "- 3 pagina’s: € 0,15 - uw beltegoed: € 0,13 - tekort: € 0,02" in returned.text
    assert await anna.credit() == "0.13"


def _mail_with_fax(pages: int, address: str) -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = ADDRESS, address, fax_machine.receives(22)
    message["Return-Path"] = f"<{ADDRESS}>"
    message.add_attachment(pdf(pages), "application", "pdf", filename="offerte.pdf")
    return message.as_bytes()


async def _tops_up_and_is_warned_again(anna: Story) -> None:
    assert (await anna.buys("10.00")).status_code == 201
    assert (await anna.talks(2))["cost"] == "9.40"  # R22: it works at once
    assert (await anna.mail()).subject == "Uw beltegoed is bijna op: nog € 0,73"  # R15: the top-up has cured the first
    assert await anna.credit() == "0.73"
    anna.no_mail()


async def _is_away_for_a_year(anna: Story) -> None:
    await anna.comes(at(TENTH.replace(month=2, day=1), "09:30:00"))
    month = await anna.statement(f"{YEAR}-01")
    assert (month["complete"], month["opening"], month["topped_up"]) == (True, "0.00", "20.00")
    assert (month["usage"], month["usage_vat"], month["closing"]) == ("19.27", "3.34", "0.73")
    calls = sorted((one["kind"], one["amount"]) for one in month["lines"] if one["cdr"])
    assert calls == [
        *(("call", amount) for amount in ("-0.12", "-9.40", "-9.40")),
        ("fax", "-0.05"),
        *[("voicemail", "-0.15")] * 2,
    ]
    for days in (61, 60, 59, 31, 30, 8, 7, 2, 1, 0):
        await anna.comes(at(LAST_DAY - timedelta(days=days), "09:30:00"))
        if days in (60, 30, 7, 1):  # R20: each once
            told = await anna.mail()
            when = "morgen" if days == 1 else f"over {days} dagen"
            assert told.subject == f"Uw beltegoed van € 0,73 vervalt {when}"
            assert f"tot en met {in_words(LAST_DAY, Language.NL)}; daarna vervalt het" in told.text
        anna.no_mail()
    assert await anna.credit() == "0.73"  # R19: all of the last day long
    await anna.comes(at(LAST_DAY + timedelta(days=1), "00:00:10"))
    assert await anna.credit() == "0.00"
    line = (await anna.journal())[-1]
    assert (line["kind"], line["reason"], line["legs"][0]["posted"]) == ("expire", "a_year_without_use", "-0.73")
    anna.no_mail()
