"""`ledger verify` reads what is opaque to the ledger: the records of open sessions, and CDRs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from charging.call.voicemail import Voicemail
from charging.ledger.books.audit import Discrepancy, Fault
from charging.ledger.books.audit_calls import CDRS_STAY_S, OVERDUE_S
from charging.ledger.books.verify import verify
from charging.ledger.memory import MemoryStore
from charging.ledger.model import Kept
from charging.ledger.port import IDS_REMEMBERED_S
from charging.service.ledger_contents import LedgerContents
from tests.fakes.rig import EURO, Rig, make_rig

UNREADABLE = ["garbage", "[]", '"text"', "{}", '{"version":1}', '{"kind":"fax"}', '{"kind":[]}', "[" * 100_000]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as one:
        yield one


async def findings(rig: Rig, later_s: int = 0) -> list[Discrepancy]:
    return [finding async for finding in verify(rig.store, LedgerContents(rig.clock.now().plus(later_s)))]


async def past_call(rig: Rig, seconds: int) -> str:
    """The session of a call that is over."""
    call = await rig.talking()
    await rig.clock.advance(seconds)
    await rig.hang_up(call)
    return call.session


def cdrs_of(rig: Rig) -> dict[str, str]:
    """By session, the documents; to plant errors among them."""
    assert isinstance(rig.store, MemoryStore)
    return {session: cdr.document for session, cdr in rig.store._books["anna"].cdrs.items()}


def put_cdr(rig: Rig, session: str, document: str) -> None:
    assert isinstance(rig.store, MemoryStore)
    cdrs = rig.store._books["anna"].cdrs
    cdrs[session] = replace(cdrs[session], document=document)


def forget_cdr(rig: Rig, session: str) -> None:
    assert isinstance(rig.store, MemoryStore)
    del rig.store._books["anna"].cdrs[session]


async def test_calls_that_are_over_and_that_run_have_no_findings(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="pro")
    await past_call(rig, 700)  # beyond the free minutes
    await rig.hang_up(await rig.ringing())
    await rig.talking()
    assert await findings(rig) == []


@pytest.mark.parametrize("talks", [True, False])
async def test_a_session_that_should_have_been_over_long_ago_is_named_and_shown(rig: Rig, talks: bool) -> None:
    """A ghost: nothing ticks it and nothing books it, and its money stays reserved. A call of 120 s."""
    await rig.subscriber(credit=EURO)
    call = await rig.talking() if talks else await rig.ringing()
    for runner in rig.registry.open.runners.values():
        runner.stop()
    rig.registry.open.runners = {}
    assert await findings(rig, 120 + OVERDUE_S) == []
    (found,) = await findings(rig, 121 + OVERDUE_S)
    assert (found.fault, found.account, found.subject) == (Fault.OVERDUE, "anna", f"session {call.session}")
    assert "'test'" in found.detail


async def test_the_longest_overdue_of_the_open_sessions_is_told(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    assert rig.registry.open.overdue_s() == 0
    call = await rig.talking()
    await rig.clock.advance(300)
    assert rig.registry.open.overdue_s() == 0, "it is paid ahead"
    runner = rig.runner_of(call)
    runner.session = replace(rig.session_of(call), tick_mono_us=None, check_mono_us=None, funding=(), held={})
    assert rig.registry.open.overdue_s() == 300


@pytest.mark.parametrize("after_s", [0, 1])
async def test_a_voicemail_is_given_more_time_than_a_message_takes(rig: Rig, after_s: int) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    assert (await rig.ring()).session is not None
    found = [one.fault for one in await findings(rig, Voicemail.LONGEST_S + OVERDUE_S + after_s)]
    assert found == [Fault.OVERDUE] * after_s


@pytest.mark.parametrize("state", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_an_open_session_whose_record_can_not_be_read_is_named(rig: Rig, state: str) -> None:
    await rig.subscriber(credit=EURO)
    call = await rig.talking()
    await rig.kill_daemon()
    await rig.store.keep_session("anna", call.session, Kept(state, follows=1))
    (found,) = await findings(rig)
    assert (found.fault, found.account, found.subject) == (Fault.UNREADABLE, "anna", f"session {call.session}")


@pytest.mark.parametrize(("member", "other"), [("cost", "0.01"), ("free_seconds", {"2026-11": 59})])
async def test_a_cdr_that_does_not_say_what_the_journal_took_is_found(rig: Rig, member: str, other: object) -> None:
    await rig.subscriber(credit=EURO, plan="pro")
    session = await past_call(rig, 700)
    await past_call(rig, 60)
    put_cdr(rig, session, json.dumps(json.loads(cdrs_of(rig)[session]) | {member: other}))
    assert [(one.fault, one.subject) for one in await findings(rig)] == [
        (Fault.CDR_DIFFERS, f"CDR of session {session}")
    ]


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"cost":1}', '{"cost":"1.00","free_seconds":7}'])
async def test_a_cdr_that_can_not_be_read_is_found(rig: Rig, document: str) -> None:
    await rig.subscriber(credit=EURO)
    session = await past_call(rig, 60)
    put_cdr(rig, session, document)
    assert [(one.fault, one.subject) for one in await findings(rig)] == [
        (Fault.UNREADABLE, f"CDR of session {session}")
    ]


async def test_a_call_without_its_cdr_is_found_where_the_archive_can_not_have_taken_it(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    first, second, third = [await past_call(rig, 30) for _ in range(3)]
    forget_cdr(rig, second)
    missing = [(Fault.MISSING_CDR, f"session {second}")]
    assert [(one.fault, one.subject) for one in await findings(rig, CDRS_STAY_S)] == missing  # an older one has its own
    for session in (first, third):
        forget_cdr(rig, session)
    assert await findings(rig, CDRS_STAY_S) == []  # they may all have been archived
    assert [one.fault for one in await findings(rig)] == [Fault.MISSING_CDR] * 3


def test_the_audit_expects_no_cdr_that_the_archive_may_take() -> None:
    assert CDRS_STAY_S <= IDS_REMEMBERED_S
