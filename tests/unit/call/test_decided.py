"""Every decision over a call is noted with its reason and what it was made by, also where there is no answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from pathlib import Path

import pytest

from agi.port import Declined, IncomingCall, Unproven
from charging.call.decide import Decision, Reason
from charging.call.decided import FALLBACK, Decided, Fallback, Turn, advice, bodies, body, explanation
from charging.engine.desk import CLOSE_WAIT_S
from charging.errors import LedgerUnavailable, LinkDown
from charging.ledger.accounts import Account, Status
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, NUMBER, TARGET, Rig, make_rig

CALLER = "+3110765xxxx"
PRICE = 100_000
"""Of a message in the tests' plan ``free``."""


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as one:
        yield one


def last(rig: Rig) -> Decided:
    return rig.kept[-1]


async def test_a_forward_is_noted_with_what_money_there_was(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="pro")
    answer = await rig.ring()
    (noted,) = rig.kept
    assert noted == Decided(
        at_us=rig.clock.now().wall_us,
        turn=Turn.INCOMING,
        outcome="forward",
        reason="free_minutes",
        switch="test",
        took_ms=0,
        number=NUMBER,
        account="anna",
        plan="pro",
        caller=CALLER,
        target="+3161234xxxx",
        destination="nl_mobile",
        credit_available=EURO,
        credit_reserved=0,
        free_seconds=600,
        quota_s=answer.quota_s,
        session=answer.session or "",
    )


async def test_what_others_hold_is_noted_apart(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    await rig.ring()
    await rig.ring()
    assert (last(rig).credit_available, last(rig).credit_reserved) == (EURO - 120_000, 120_000)


async def test_r12_a_call_without_credit_is_noted_with_the_credit_that_did_not_suffice(rig: Rig) -> None:
    await rig.subscriber(credit=999)
    await rig.ring()
    noted = last(rig)
    assert (noted.outcome, noted.reason, noted.credit_available, noted.session) == ("voicemail", "no_credit", 999, "")
    assert noted.message_price is None
    assert explanation(noted) == "sent to voicemail: neither free minutes nor credit sufficed for the first seconds"
    assert "charging top-up anna AMOUNT" in advice(noted)


@pytest.mark.parametrize(("credit", "outcome"), [(PRICE - 1, "reject"), (PRICE, "voicemail")])
async def test_r13_whether_a_message_could_be_paid_is_noted(rig: Rig, credit: int, outcome: str) -> None:
    await rig.subscriber(credit=credit, plan="free", forward_to="")
    await rig.ring()
    noted = last(rig)
    assert (noted.outcome, noted.reason, noted.message_price) == (outcome, "no_target", PRICE)
    assert bool(noted.session) is (outcome == "voicemail")
    assert ("credit did not suffice for a voicemail" in explanation(noted)) is (outcome == "reject")
    assert noted.credit_available == (credit if outcome == "reject" else None), "looked at only where it was missed"


async def test_a_withheld_number_is_not_noted_at_all(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    await rig.ring(withheld=True)
    assert (last(rig).caller, last(rig).withheld) == ("", True)


async def test_a_number_that_is_nobodys_is_noted_masked(rig: Rig) -> None:
    await rig.ring("0201234999")
    noted = last(rig)
    assert (noted.outcome, noted.reason, noted.number, noted.account) == (
        "reject",
        "unknown_number",
        "+3120123xxxx",
        "",
    )
    assert "charging number add ACCOUNT NUMBER" in advice(noted)
    (told,) = rig.heard("call_decided")
    assert (told["reason"], told["number"]) == ("unknown_number", "0201234999"), "the log masks it"


async def test_a_plan_that_the_tariff_has_not_is_noted_with_its_account(rig: Rig) -> None:
    await rig.subscriber(plan="gone")
    await rig.ring()
    assert (last(rig).reason, last(rig).account, last(rig).number) == ("unknown_plan", "anna", NUMBER)


@pytest.mark.parametrize("target", ["+3102527123456", "+310900123456", "+310850000001"])
async def test_a_stored_target_that_is_no_certain_number_is_not_dialled_and_is_told(rig: Rig, target: str) -> None:
    """An older version took it: it would be priced as a Dutch number, and dialled as another."""
    await rig.subscriber(credit=EURO, forward_to=target)
    answer = await rig.ring()
    assert (answer.decision, answer.target) == (Decision.VOICEMAIL, None)
    assert last(rig).reason == "not_a_number"
    assert f"charging number set {NUMBER} --forward-to" in advice(last(rig))
    (told,) = rig.heard("target_uncertain")
    assert told["account"] == "anna"
    assert (await rig.balance()).reserved == 0


async def test_too_many_calls_and_a_suspended_account_are_noted(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    for _ in range(6):
        await rig.ring()
    assert last(rig).reason == "too_many_calls"
    account = await rig.store.directory.account("anna")
    assert account is not None
    await rig.store.directory.put_account(Account("anna", "light", status=Status.SUSPENDED, version=account.version))
    await rig.ring()
    assert last(rig).reason == "account_suspended"


async def test_how_long_it_took_is_noted(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)

    async def slow(caller_uid: str, proof: str) -> bool:
        await rig.clock.sleep_until(rig.clock.now().plus(0.25).mono_us)
        return True

    rig.switch.is_asking = slow  # type: ignore[method-assign]
    asked = rig.clock.now().wall_us
    deciding = asyncio.create_task(rig.ring())
    await rig.clock.advance(0.25)
    await deciding
    assert (last(rig).took_ms, last(rig).at_us) == (250, asked)


# --- after a forward ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("credit", "outcome"), [(PRICE - 1, "reject"), (PRICE, "voicemail")])
async def test_a_forward_that_failed_is_noted_with_what_came_of_it(rig: Rig, credit: int, outcome: str) -> None:
    await rig.subscriber(credit=credit, plan="free")
    call = await rig.ringing()
    await rig.desk.unanswered(call.session, "BUSY")
    noted = last(rig)
    assert (noted.turn, noted.outcome, noted.reason, noted.detail) == (
        Turn.UNANSWERED,
        outcome,
        "forward_failed",
        "BUSY",
    )
    assert (noted.session, noted.number, noted.account, noted.caller) == (call.session, NUMBER, "anna", CALLER)
    assert noted.message_price == PRICE


async def test_an_answer_that_could_not_be_delivered_is_noted(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    answer = await rig.ring()
    assert answer.session is not None
    await rig.desk.abandoned(answer.session)
    noted = last(rig)
    assert (noted.turn, noted.outcome, noted.reason) == (Turn.DELIVERY, FALLBACK, Fallback.NOT_DELIVERED)
    assert (noted.session, noted.account, noted.number) == (answer.session, "anna", NUMBER)


# --- no answer ------------------------------------------------------------------------------------------------


async def _unproven(rig: Rig) -> None:
    rig.switch.without_call = {"u1"}
    await rig.ring()


async def _ledger_away(rig: Rig) -> None:
    assert isinstance(rig.store, FaultyStore)
    rig.store.failing, rig.store.unreadable = 1, True
    await rig.ring()


async def _switch_silent(rig: Rig) -> None:
    rig.switch.up = False
    await rig.clock.advance(rig.policy.horizon_s + 1)
    await rig.ring()


async def _too_late(rig: Rig) -> None:
    async def never(caller_uid: str, proof: str) -> bool:
        await asyncio.Event().wait()
        return True

    rig.switch.is_asking = never  # type: ignore[method-assign]
    async with asyncio.timeout(0.01):
        await rig.ring()


async def _declined(rig: Rig) -> None:
    await rig.desk.unanswered("s-of-nobody", "BUSY")


async def _program_fails(rig: Rig) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("by zero")

    rig.store.directory.account = broken  # type: ignore[assignment]
    await rig.ring()


@pytest.mark.parametrize(
    ("happens", "raised", "reason"),
    [
        (_unproven, Unproven, Fallback.UNPROVEN),
        (_ledger_away, LedgerUnavailable, Fallback.LEDGER_UNAVAILABLE),
        (_switch_silent, LinkDown, Fallback.SWITCH_SILENT),
        (_too_late, TimeoutError, Fallback.TOO_LATE),
        (_declined, Declined, Fallback.DECLINED),
        (_program_fails, ZeroDivisionError, Fallback.FAILED),
    ],
)
async def test_that_there_was_no_decision_is_noted_with_why(
    happens: Callable[[Rig], Awaitable[None]], raised: type[Exception], reason: Fallback
) -> None:
    async with make_rig(store=FaultyStore(random.Random(1))) as rig:
        await rig.subscriber(credit=EURO)
        with pytest.raises(raised):
            await happens(rig)
        (noted,) = rig.kept
        assert (noted.outcome, noted.reason) == (FALLBACK, reason)
        assert explanation(noted).startswith("not decided: the dialplan took its fallback: ")


async def test_money_that_could_not_be_given_back_in_time_is_noted_as_too_late() -> None:
    async with make_rig(store=FaultyStore(random.Random(1))) as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.ringing()
        assert isinstance(rig.store, FaultyStore)
        rig.store.failing = 1
        assert CLOSE_WAIT_S < 3
        with pytest.raises(TimeoutError):
            await rig.desk.unanswered(call.session, "NOANSWER")
        assert (last(rig).reason, last(rig).detail) == (Fallback.TOO_LATE, "NOANSWER")


# --- the record and its words ---------------------------------------------------------------------------------


def test_a_record_is_stored_without_loss_whatever_is_in_it() -> None:
    filled = {
        one.name: {"int": 7, "int | None": 7, "bool": True, "Turn": Turn.DELIVERY}.get(str(one.type), "é")
        for one in fields(Decided)
    }
    whole = Decided(**filled)  # type: ignore[arg-type]
    bare = Decided(1, Turn.INCOMING, "reject", "no_credit", "main", 3)
    assert bodies(body([whole, bare])) == [whole, bare]
    assert len(body([bare])) < 120, "without what it has not"


def test_a_later_versions_record_is_read_without_what_is_new_in_it() -> None:
    bare = Decided(1, Turn.INCOMING, "reject", "no_credit", "main", 3)
    assert Decided.from_plain({**bare.to_plain(), "mood": "sad"}) == bare


@pytest.mark.parametrize("reason", [*Reason, *Fallback])
def test_every_reason_has_words_and_advice(reason: str) -> None:
    for outcome in (*Decision, FALLBACK):
        one = Decided(1, Turn.INCOMING, outcome, reason, "main", 3, account="anna", number=NUMBER)
        assert not explanation(one).endswith(f": {reason}")
        is_forwarded = reason in (Reason.CREDIT, Reason.FREE_MINUTES)
        assert bool(advice(one)) is not is_forwarded
        assert "ACCOUNT " not in advice(one)


def test_the_page_for_whoever_answers_customers_has_every_reason_and_outcome() -> None:
    page = (Path(__file__).parents[3] / "docs" / "why-not-forwarded.md").read_text(encoding="utf-8")
    assert [one for one in (*Reason, *Fallback, *Decision, FALLBACK) if f"`{one}`" not in page] == []


async def test_what_is_noted_names_no_stranger(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    await rig.desk.incoming(IncomingCall(NUMBER, "sip:anna@example.nl", "u1", "PJSIP/x-1"))
    assert "example" not in body(rig.kept)
    assert TARGET not in body(rig.kept)
