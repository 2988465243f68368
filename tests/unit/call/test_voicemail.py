"""Paid voicemail: reserved before the caller is answered, charged when a message was stored, else given back."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agi.port import Answer
from charging.call.model import Policy
from charging.call.switch_events import ChannelEnded
from charging.clock import MICROSECONDS, iso
from charging.engine.black_boxes import HOUSEKEEPING_S
from charging.engine.left_messages import _began_us
from charging.ledger.accounts import Account, Language, Number, Status
from charging.ledger.books.archive import archive
from charging.ledger.books.portable import Counts
from charging.ledger.memory import MemoryStore
from charging.ledger.model import Kind
from charging.ledger.port import IDS_REMEMBERED_S
from charging.pricing.money import parse_euro
from charging.service.ledger_contents import LedgerContents
from charging.service.numbers import Numbers
from charging.service.statements import Statement, Statements
from charging.tariff.tariff import Vat
from charging.whatif.past import PastMessage, past_of
from tests.contract.scenario import assert_sound
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig
from tests.fakes.switch import FakeCall

PRICE = 100_000
"""Of a message in the tests' plan ``free``."""
LOOKED_S = 2 * HOUSEKEEPING_S + 1


@pytest.fixture
async def store() -> FaultyStore:
    return FaultyStore(random.Random(1))


@pytest.fixture
async def rig(store: MemoryStore) -> AsyncIterator[Rig]:
    async with make_rig(store=store) as one:
        yield one


async def at_voicemail(rig: Rig) -> tuple[str, str]:
    """Session and channel of a caller who is with paid voicemail."""
    answer = await rig.ring()
    assert answer.decision == "voicemail", answer
    assert answer.session is not None
    return answer.session, f"u{rig._calls}"


async def test_r6_r13_paid_voicemail_reserves_its_price_before_it_answers(rig: Rig) -> None:
    await rig.subscriber(credit=PRICE, plan="free", forward_to="")
    await at_voicemail(rig)
    balance = await rig.balance()
    assert (balance.posted, balance.available) == (PRICE, 0)


async def test_r3_a_message_s_price_without_vat_is_reserved_with_the_vat_of_the_day(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    today = rig.tariff.day_of(rig.clock.now().wall_us)
    rig.tariff = replace(rig.tariff, vat=Vat(2100, ((today, 900),), included=False))
    await at_voicemail(rig)
    assert (await rig.balance()).available == EURO - 109_000


async def test_r13_paid_voicemail_without_credit_is_not_answered(rig: Rig) -> None:
    await rig.subscriber(credit=PRICE - 1, plan="free", forward_to="")
    answer = await rig.ring()
    assert (answer.decision, answer.reason) == ("reject", "no_target")
    assert await rig.reserved() == {}


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("plan", ["light", "free"])
async def test_a_caller_at_voicemail_is_spoken_to_in_the_subscribers_language(
    rig: Rig, plan: str, language: Language
) -> None:
    """QuickBalance to voicemail, included or paid."""
    await rig.subscriber(credit=PRICE if plan == "free" else 0, plan=plan, forward_to="")
    account = await rig.store.directory.account("anna")
    assert account is not None
    assert await rig.store.directory.put_account(replace(account, language=language))
    answer = await rig.ring()
    assert (answer.decision, answer.language) == ("voicemail", language.value)


async def test_a_caller_whose_forward_failed_is_spoken_to_in_the_subscribers_language(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    call = await rig.ringing()
    rig.switch.fail(call.session, "BUSY")
    answer = await rig.desk.unanswered(call.session, "BUSY")
    assert (answer.decision, answer.language) == ("voicemail", "nl")


async def test_nobodys_number_has_no_language(rig: Rig) -> None:
    assert (await rig.ring("+31850000077")).language == ""


@pytest.mark.parametrize(("owner", "decision"), [("anna", "voicemail"), ("bob", "reject"), (None, "reject")])
async def test_r3_no_message_is_sold_for_a_number_that_is_anothers_by_then(
    rig: Rig, owner: str | None, decision: str
) -> None:
    """An operator gives the number to another while it rings: the message would be the other's, and the cost hers."""
    directory = rig.store.directory
    await rig.subscriber(credit=EURO, plan="free")
    number = await directory.number(NUMBER)
    assert number is not None
    await directory.put_account(Account("bob", "free"))
    call = await rig.ringing()
    await directory.remove_number(number)
    if owner is not None:
        await directory.put_number(replace(number, account=owner))
    rig.switch.fail(call.session, "BUSY")
    assert (await rig.desk.unanswered(call.session, "BUSY")).decision == decision
    assert (await rig.reserved()).get("credit") == (PRICE if decision == "voicemail" else None)


async def test_r3_stored_message_is_charged_per_piece(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    opened_us = rig.clock.now().wall_us
    session, uid = await at_voicemail(rig)
    rig.switch.leave_message(session, uid)
    await rig.clock.advance(1)
    assert (await rig.balance()).posted == EURO - PRICE
    assert await rig.reserved() == {}
    cdr = json.loads((await rig.store.cdrs())[0].document)
    assert (cdr["service"], cdr["messages"], cdr["cost"]) == ("voicemail", 1, "0.10")
    assert (cdr["tariff_revision"], cdr["tariff_digest"]) == ("r1", "d1")
    assert past_of(cdr) == PastMessage("anna", "free", NUMBER, opened_us, 1, PRICE)


async def test_r3_message_of_whoever_is_put_in_the_callers_place_is_charged(rig: Rig) -> None:
    """A transfer: the caller's channel ends, without a record; another bears the session, and its end has one."""
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    session, uid = await at_voicemail(rig)
    rig.switch.calls[session] = FakeCall(session, 0, "u-other", "")
    rig.switch.deliver(ChannelEnded(session, uid, "PJSIP/world-1<ZOMBIE>", "caller", 16, None))
    await rig.clock.advance(90)
    assert await rig.reserved() == {"credit": PRICE}
    rig.switch.leave_message(session, "u-other")
    await rig.clock.advance(1)
    assert (await rig.balance()).posted == EURO - PRICE
    assert await rig.reserved() == {}


async def test_r3_end_of_another_channel_under_its_name_is_not_the_end_of_a_message(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    session, uid = await at_voicemail(rig)
    rig.switch.deliver(ChannelEnded(session, "u-other", "PJSIP/world-2", "caller", 16, None))
    await rig.clock.advance(2 * rig.policy.black_box_wait_s)
    assert await rig.reserved() == {"credit": PRICE}
    rig.switch.leave_message(session, uid)
    await rig.clock.advance(1)
    assert (await rig.balance()).posted == EURO - PRICE


async def test_r3_caller_who_leaves_no_message_costs_nothing(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    session, uid = await at_voicemail(rig)
    rig.switch.leave_message(session, uid, stored=False)
    await rig.clock.advance(1)
    assert (await rig.balance()).available == EURO
    await rig.clock.advance(10)
    assert rig.switch.deleted == [[session]]


async def test_message_without_any_record_is_not_charged(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    await at_voicemail(rig)
    await rig.clock.advance(30)
    assert (await rig.balance()).available == EURO
    assert await rig.store.sessions() == []


async def test_r7_included_voicemail_reserves_nothing(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="light", forward_to="")
    answer = await rig.ring()
    assert (answer.decision, answer.session) == ("voicemail", None)
    assert await rig.reserved() == {}


async def failed_forward(rig: Rig) -> tuple[str, Answer]:
    call = await rig.ringing()
    rig.switch.fail(call.session, "BUSY")
    return call.session, await rig.desk.unanswered(call.session, "BUSY")


async def test_forward_that_fails_turns_into_paid_voicemail_in_one_operation(rig: Rig) -> None:
    await rig.subscriber(credit=120_000, plan="free")
    session, answer = await failed_forward(rig)
    assert (answer.decision, answer.reason, answer.session) == ("voicemail", "forward_failed", session)
    assert await rig.reserved() == {"credit": PRICE}
    rig.switch.leave_message(session, "u1")
    await rig.clock.advance(1)
    assert (await rig.balance()).posted == 120_000 - PRICE
    assert await rig.reserved() == {}
    cdr = json.loads((await rig.store.cdrs())[0].document)
    assert (cdr["dial_status"], cdr["reason"]) == ("BUSY", "forward_failed")


async def test_r13_forward_that_fails_with_too_little_for_voicemail_is_not_answered(rig: Rig) -> None:
    await rig.subscriber(credit=PRICE - 1, plan="free")
    _, answer = await failed_forward(rig)
    assert (answer.decision, answer.reason) == ("reject", "forward_failed")
    assert (await rig.balance()).available == PRICE - 1


async def test_caller_who_left_before_voicemail_was_paid_for_holds_no_money_for_it(
    rig: Rig, store: FaultyStore
) -> None:
    """His channel's end came before there was a voicemail: it is asked for at once, not at the next look."""
    await rig.subscriber(credit=120_000, plan="free")
    call = await rig.ringing()
    store.lose_answers = 1
    rig.switch.fail(call.session, "BUSY")
    asking = asyncio.create_task(rig.desk.unanswered(call.session, "BUSY"))
    await rig.clock.advance(0)
    await rig.hang_up(call)
    assert await rig.reserved() == {"credit": PRICE}
    await rig.clock.advance(rig.policy.retry_s + 0.1)
    assert (await asking).decision == "voicemail"
    assert await rig.reserved() == {}
    assert (await rig.balance()).posted == 120_000


async def test_turning_whose_outcome_was_lost_is_asked_again(rig: Rig, store: FaultyStore) -> None:
    await rig.subscriber(credit=120_000, plan="free")
    call = await rig.ringing()
    store.lose_answers = 1
    rig.switch.fail(call.session, "BUSY")
    with pytest.raises(TimeoutError):
        await rig.desk.unanswered(call.session, "BUSY")
    await rig.clock.advance(2)
    assert await rig.reserved() == {"credit": PRICE}
    rig.switch.leave_message(call.session, "u1", fallback=True)
    await rig.clock.advance(1)
    assert (await rig.balance()).posted == 120_000 - PRICE


@pytest.mark.parametrize(("given_s", "charged"), [(0, PRICE), (1, 0)])
async def test_r3_message_of_a_call_that_began_before_the_number_was_the_accounts_costs_nothing(
    rig: Rig, given_s: int, charged: int
) -> None:
    """It changed hands while its caller spoke: whoever had it as it was dialled has it no more."""
    await rig.subscriber(credit=EURO, plan="free")
    began_s = rig.clock.now().wall_us // MICROSECONDS
    number = await rig.store.directory.number(NUMBER)
    assert number is not None
    given = replace(number, since_us=(began_s + given_s) * MICROSECONDS)
    await rig.store.directory.put_number(given, number)
    await rig.clock.advance(30)
    rig.switch.leave_message(f"nosession-{began_s}.95", "u1", fallback=True)
    await rig.clock.advance(LOOKED_S)
    assert (await rig.balance()).posted == EURO - charged


@pytest.mark.parametrize(
    ("key", "began_us"),
    [
        *(
            ("nosession-1796083001.95", 1_796_083_001_000_000),
            ("nosession-pbx-2-17.9-1796083001.95", 1_796_083_001_000_000),
        ),
        *(("1a1fdfbb148-b2b725541252f10e", 0x1A1FDFBB148 * 1000), ("nosession-u8", 2**60), ("", 2**60)),
    ],
)
def test_a_records_key_tells_when_its_call_began(key: str, began_us: int) -> None:
    assert _began_us(key, 2**60) == began_us
    assert _began_us(key, 5) == 5


@pytest.mark.parametrize("restarts", [0, 1, 2])
async def test_r3_message_that_was_sold_but_taken_by_the_fallback_is_charged_once(rig: Rig, restarts: int) -> None:
    """The answer that sold it was lost on its way to the switch; the session has charged it, and the record stays."""
    await rig.subscriber(credit=EURO, plan="free")
    session, answer = await failed_forward(rig)
    assert answer.decision == "voicemail"
    rig.switch.deletes = False
    rig.switch.leave_message(session, "u1", fallback=True)
    await rig.clock.advance(10)
    for _ in range(restarts):  # or another daemon takes the lease
        await rig.kill_daemon()
        await rig.start_daemon()
        await rig.clock.advance(10)
    assert (await rig.balance()).posted == EURO - PRICE


@pytest.mark.parametrize(("fallback", "charged"), [(False, 0), (True, 1)])
async def test_r7_message_that_was_free_as_it_was_decided_costs_nothing_under_the_plan_of_later(
    rig: Rig, *, fallback: bool, charged: int
) -> None:
    """Its record is read when the number has paid voicemail. Only one that nobody decided over is sold then."""
    await rig.subscriber(credit=EURO, plan="free")
    await rig.kill_daemon()
    rig.switch.leave_message("free-of-yesterday", "u1", fallback=fallback)
    await rig.start_daemon()
    await rig.clock.advance(LOOKED_S)
    assert (await rig.balance()).posted == EURO - charged * PRICE


@pytest.mark.parametrize(("days", "charged"), [(33, 1), (34, 0), (400, 0)])
async def test_r3_message_whose_charge_may_be_archived_is_not_charged_again(rig: Rig, days: int, charged: int) -> None:
    """A switch that deletes no records goes on telling of it; the ledger remembers a charge for 35 days."""
    await rig.subscriber(credit=EURO, plan="free")
    await rig.kill_daemon()
    rig.switch.deletes = False
    rig.switch.leave_message("nosession-1", "u1", fallback=True)
    await rig.clock.advance(days * 86_400)
    await rig.start_daemon()
    await rig.clock.advance(LOOKED_S)
    assert (await rig.balance()).posted == EURO - charged * PRICE
    assert len(rig.heard("left_message_too_old")) == 1 - charged


@pytest.mark.parametrize(("waited_s", "charged"), [(0, 1), (1, 0)])
async def test_r3_message_that_was_left_before_its_number_was_given_to_the_account_costs_that_nothing(
    rig: Rig, waited_s: int, charged: int
) -> None:
    """Nobody decided over it, and it is read once another has the number."""
    await rig.subscriber(credit=EURO, plan="free")
    numbers = Numbers(rig.store, lambda: rig.tariff, rig.clock)
    await numbers.remove(NUMBER)
    await rig.kill_daemon()
    rig.switch.leave_message("nosession-1", "u1", fallback=True)
    await rig.clock.advance(waited_s)
    await numbers.add("anna", NUMBER, {})
    await rig.start_daemon()
    await rig.clock.advance(LOOKED_S)
    assert (await rig.balance()).posted == EURO - charged * PRICE


async def test_r3_left_message_is_charged_once_though_the_books_are_archived(rig: Rig, tmp_path: Path) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    rig.switch.deletes = False
    rig.switch.leave_message("nosession-1", "u1", fallback=True)
    await rig.clock.advance(21)
    assert (await rig.balance()).posted == EURO - PRICE
    await rig.kill_daemon()
    await rig.clock.advance(36 * 86_400)
    now_us = rig.clock.now().wall_us
    await archive(rig.store, now_us - IDS_REMEMBERED_S * MICROSECONDS, now_us, tmp_path, lambda _at: "old", Counts())
    assert [line.kind async for line in rig.store.journal("anna")] == [Kind.OPENING]
    await rig.start_daemon()
    await rig.clock.advance(21)
    assert (await rig.balance()).posted == EURO - PRICE


async def test_daemon_restarted_while_a_message_is_left_charges_it(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    session, uid = await at_voicemail(rig)
    await rig.kill_daemon()
    rig.switch.leave_message(session, uid)
    await rig.start_daemon()
    await rig.clock.advance(10)
    assert (await rig.balance()).posted == EURO - PRICE
    assert await rig.reserved() == {}


@pytest.mark.parametrize(("credit", "charged"), [(EURO, PRICE), (PRICE - 1, PRICE - 1), (0, 0)])
async def test_message_taken_while_the_daemon_was_dead_is_charged_as_far_as_credit_reaches(
    rig: Rig, credit: int, charged: int
) -> None:
    await rig.subscriber(credit=credit, plan="free")
    await rig.kill_daemon()
    rig.switch.leave_message("nosession-1700000000.1", "u1", fallback=True)
    for _ in range(2):
        await rig.start_daemon()
        await rig.clock.advance(LOOKED_S)
        await rig.kill_daemon()
    assert (await rig.balance()).posted == credit - charged
    lines = [line async for line in rig.store.journal("anna") if line.kind is Kind.CHARGE]
    assert len(lines) == (1 if charged else 0)


@pytest.mark.parametrize("away_s", [0, 30 * 24 * 3600])
async def test_message_charged_afterwards_leaves_a_cdr_so_that_cdrs_tell_all_that_the_journal_took(
    rig: Rig, away_s: float
) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    await rig.kill_daemon()
    rig.switch.leave_message("nosession-1700000000.1", "u1", fallback=True)
    ended_us = rig.clock.now().wall_us
    await rig.clock.advance(away_s)
    await rig.start_daemon()
    await rig.clock.advance(LOOKED_S)
    (row,) = await rig.store.cdrs()
    document = json.loads(row.document)
    told = {name: document[name] for name in ("service", "number", "messages", "cost", "reason", "ended")}
    assert told == {
        "service": "voicemail",
        "number": NUMBER,
        "messages": 1,
        "cost": "0.10",
        "reason": "fallback",
        "ended": iso(ended_us),
    }
    assert EURO - (await rig.balance()).posted == parse_euro(document["cost"])
    await assert_sound(rig.store, LedgerContents(rig.clock.now()))
    tariff, now_us = rig.tariff, rig.clock.now().wall_us
    month = await Statements(rig.store, lambda: tariff, rig.clock).of("anna", tariff.month_of(now_us))
    assert isinstance(month, Statement)
    assert [(line.kind, line.credit, line.cdr["caller"]) for line in month.lines if line.kind != "top_up"] == [
        ("voicemail", -PRICE, document["caller"])
    ]


@pytest.mark.parametrize(("kept", "shown"), [(False, ""), (True, "+31201234567")])
async def test_withheld_caller_stays_so_in_the_cdr_of_a_message_charged_afterwards(kept: bool, shown: str) -> None:
    async with make_rig(policy=Policy(keep_withheld=kept)) as rig:
        await rig.subscriber(credit=EURO, plan="free")
        await rig.kill_daemon()
        rig.switch.leave_message("nosession-1700000000.1", "u1", fallback=True, withheld=True)
        await rig.start_daemon()
        await rig.clock.advance(LOOKED_S)
        (row,) = await rig.store.cdrs()
        document = json.loads(row.document)
        assert (document["withheld"], document["caller"]) == (True, shown)
        assert rig.decided[-1].caller == "", "nor is it told by why it was not decided"


async def test_number_that_can_be_read_in_two_ways_is_read_the_same_for_a_call_and_a_left_message(rig: Rig) -> None:
    """As a national number of the Netherlands, though with a plus before it, it were one of Austria."""
    dialled, number = "431234567", "+31431234567"
    assert rig.tariff.normalise(f"+{dialled}") not in (None, number)
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    await rig.store.directory.put_number(Number(number, "anna"), None)
    assert (await rig.ring(dialled)).decision == "voicemail"
    await rig.kill_daemon()
    rig.switch.dialled = dialled
    rig.switch.leave_message("nosession-1700000000.1", "u1", fallback=True)
    await rig.start_daemon()
    await rig.clock.advance(30)
    assert (await rig.balance()).posted == EURO - PRICE


async def test_r7_message_taken_while_the_daemon_was_dead_is_free_where_voicemail_is_included(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="light")
    await rig.kill_daemon()
    rig.switch.leave_message("nosession-1700000000.1", "u1", fallback=True)
    await rig.start_daemon()
    await rig.clock.advance(LOOKED_S)
    assert (await rig.balance()).posted == EURO


async def test_fallback_message_of_a_reserved_forward_is_charged_after_its_release(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    answer = await rig.ring()
    assert answer.session is not None
    rig.switch.leave_message(answer.session, "u1", fallback=True)
    await rig.clock.advance(LOOKED_S)
    assert (await rig.balance()).posted == EURO - PRICE
    assert await rig.reserved() == {}


async def _set_status(rig: Rig, status: Status) -> None:
    account = await rig.store.directory.account("anna")
    assert account is not None
    await rig.store.directory.put_account(replace(account, status=status))


async def test_suspended_account_is_sold_no_voicemail(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    await _set_status(rig, Status.SUSPENDED)
    assert (await rig.ring(NUMBER)).decision == "reject"


async def test_account_that_was_suspended_while_it_rang_is_sold_no_voicemail(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    answer = await rig.ring()
    assert answer.session is not None
    await _set_status(rig, Status.SUSPENDED)
    assert (await rig.desk.unanswered(answer.session, "BUSY")).decision == "reject"
    assert await rig.reserved() == {}


@pytest.mark.parametrize(("status", "charged"), [(Status.ACTIVE, PRICE), (Status.SUSPENDED, 0), (Status.CLOSED, 0)])
async def test_message_that_the_fallback_took_is_charged_to_active_accounts_only(
    rig: Rig, status: Status, charged: int
) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    await _set_status(rig, status)
    rig.switch.leave_message("nosession-1", "u1", fallback=True)
    await rig.clock.advance(21)
    assert (await rig.balance()).posted == EURO - charged
    assert rig.switch.records == {}


@pytest.mark.parametrize("credit", [0, EURO])
@pytest.mark.parametrize("forward_to", ["", "+31612345678"])
async def test_r13_paid_voicemail_that_the_plan_has_no_price_for_costs_nothing(
    rig: Rig, credit: int, forward_to: str
) -> None:
    await rig.subscriber(credit=credit, plan="light", forward_to=forward_to, paid_voicemail=True)
    answer = await rig.ring()
    if answer.decision == "forward":
        assert answer.session is not None
        answer = await rig.desk.unanswered(answer.session, "BUSY")
    assert answer.decision == "voicemail"
    assert (await rig.balance()).available == credit
