"""Faxes from the wish to the books, on a switch and a folder in memory."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

import pytest

from charging.call.events import BlackBoxRead
from charging.call.fax import Fax
from charging.call.storage import revive
from charging.call.switch_events import ChannelEnded
from charging.engine.ports import FaxOrder
from charging.errors import ActionRefused, ActionTimeout, LedgerUnavailable, SwitchError
from charging.fax.desk import FaxDesk, FaxPage, FaxSent, FaxWish, Paper, TooLittle
from charging.fax.listed import ListedFaxes
from charging.fax.sending import DIAL_WITHIN_S, TRIES_MAX, Faxes, session_of
from charging.fax.views import FaxView
from charging.ledger.accounts import Account, Status
from charging.ledger.model import Applied, JournalLine, Kind, Transfer
from charging.ledger.remembered import remember
from charging.pricing.rate import Step
from charging.service.refusal import Code, Obstacle, Refused
from charging.tariff.tariff import Destination, Price, RateTable, Refusal
from charging.whatif.past import PastFax, past_of
from tests.fakes.ami import eventually
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig, make_tariff
from tests.fakes.switch import FakeCall
from tests.unit.service.conftest import refused

TARGET = "+31612345678"
PAGE = 80_000


@dataclass
class Office:
    """Sends faxes by a rig's engine; stands for the switch's fax line and the folder of documents too."""

    rig: Rig
    pages: int = 3
    trouble: SwitchError | None = None
    """What the switch answers to an order, which it carries out all the same unless it refuses."""
    orders: list[FaxOrder] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)
    known: dict[bytes, int] = field(default_factory=dict)
    """Pages of documents that were made ready lately."""
    patient: list[bool] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    at_once: int = 4
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Until it is set documents are being made ready."""

    def __post_init__(self) -> None:
        self.ready.set()
        self.faxes = self.opened()
        self.listed = ListedFaxes(self.rig.store, self.rig.clock)

    def opened(self) -> Faxes:
        self.desk = FaxDesk(
            self.rig.registry, self, self, "test", "Header", horizon_s=60, at_once=self.at_once, max_bytes=50_000
        )
        return Faxes(self.rig.store, lambda: self.rig.tariff, self.rig.clock, self.desk)

    @property
    def proven_mono_us(self) -> int | None:
        return self.rig.switch.proven_mono_us

    async def send_fax(self, order: FaxOrder) -> None:
        self.orders.append(order)
        if not isinstance(self.trouble, ActionRefused):
            uid = f"f-{order.session}"
            self.rig.switch.calls[order.session] = FakeCall(order.session, order.send_s, uid, f"{uid}-2")
        if self.trouble is not None:
            raise self.trouble

    async def is_sending(self, session: str) -> bool:
        return session in self.rig.switch.calls

    async def prepare(self, account: str, session: str, data: bytes, *, patient: bool = True) -> Paper | Refused:
        self.prepared.append(session)
        self.patient.append(patient)
        await self.ready.wait()
        return Paper(self.pages, f"/fax/{session}.tif", session)

    async def pages_of(self, account: str, data: bytes) -> int | None:
        return self.known.get(data)

    def remove(self, name: str) -> None:
        self.removed.append(name)

    async def sweep_for_ever(self) -> NoReturn:
        raise AssertionError("nothing to sweep")

    async def send(
        self, key: str = "k", data: bytes = b"doc", target: str = TARGET, *, by_mail: bool = False
    ) -> FaxSent | Refused:
        answer = await self.faxes.send("anna", FaxWish(target, data, "offer.pdf", by_mail=by_mail), key)
        await self.rig.clock.advance(0)
        return answer

    async def sent(self, key: str = "k") -> FaxView:
        answer = await self.send(key)
        assert isinstance(answer, FaxSent), answer
        return answer.view

    async def ends(self, session: str, status: str, pages: int) -> None:
        """The machine is through: every channel goes, after the record was written."""
        stamp = self.rig.clock.now().wall_us
        self.rig.switch.records[session] = BlackBoxRead(True, ended_us=stamp, fax_status=status, fax_pages=pages)
        self.rig.switch.calls.pop(session)
        self.rig.switch.deliver(ChannelEnded(session, f"f-{session}-2", "PJSIP/x", "callee", 16, stamp))
        await self.rig.clock.advance(1)

    async def view(self, session: str) -> FaxView:
        found = await self.listed.get("anna", session)
        assert isinstance(found, FaxView), found
        return found


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    tables = {"table": RateTable("table", {"nl_mobile": Price((Step(0, 60_000, 60, 1),), fax_page=PAGE)})}
    store = FaultyStore(random.Random(1))
    async with make_rig(tariff=replace(make_tariff(), tables=tables), store=store) as rig:
        await rig.subscriber(credit=EURO)
        yield Office(rig)


async def test_r14_fax_reserves_every_page_before_it_is_dialled(office: Office) -> None:
    view = await office.sent()
    assert (view.state, view.pages, view.cost, view.number) == ("sending", 3, "0.24", NUMBER)
    assert (await office.rig.reserved())["credit"] == 3 * PAGE
    order = office.orders[0]
    assert (order.session, order.target, order.header) == (view.session, TARGET, "Header")


async def test_r3_fax_is_charged_per_page_sent(office: Office) -> None:
    opened_us = office.rig.clock.now().wall_us
    view = await office.sent()
    await office.ends(view.session, "SUCCESS", 3)
    assert (await office.rig.balance()).posted == EURO - 3 * PAGE
    assert await office.rig.reserved() == {}
    over = await office.view(view.session)
    assert (over.state, over.cost, over.status) == ("sent", "0.24", "SUCCESS")
    cdr = json.loads((await office.rig.store.cdrs())[0].document)
    assert (cdr["service"], cdr["pages"], cdr["document_pages"]) == ("fax", 3, 3)
    assert past_of(cdr) == PastFax("anna", "light", TARGET, opened_us, 3, 3 * PAGE)


@pytest.mark.parametrize(("confirmed", "state"), [(0, "failed"), (1, "partly_sent")])
async def test_r3_failed_fax_is_charged_for_its_confirmed_pages_alone(
    office: Office, confirmed: int, state: str
) -> None:
    view = await office.sent()
    await office.ends(view.session, "FAILED", confirmed)
    assert (await office.rig.balance()).posted == EURO - confirmed * PAGE
    assert await office.rig.reserved() == {}
    assert (await office.view(view.session)).state == state


async def test_r3_switch_that_tells_of_more_pages_than_there_are_charges_those_there_are(office: Office) -> None:
    view = await office.sent()
    await office.ends(view.session, "SUCCESS", 9)
    assert (await office.rig.balance()).posted == EURO - 3 * PAGE


async def test_r9_r14_fax_needs_credit_also_where_free_minutes_are_left(office: Office) -> None:
    await office.rig.store.directory.put_account(Account("anna", "pro", version=1))
    office.pages = 13
    short = refused(await office.send(), Code.INSUFFICIENT)
    assert isinstance(short, TooLittle)
    assert (short.pages, short.page_price, short.needed, short.available) == (13, PAGE, 13 * PAGE, EURO)
    assert short.missing == 40_000
    assert (office.orders, len(office.removed)) == ([], 1)
    assert await office.rig.reserved() == {}


async def test_r14_fax_that_takes_the_last_cent_is_sent(office: Office) -> None:
    await office.rig.credit(13 * PAGE - EURO, "rest")
    office.pages = 13
    await office.sent()
    assert (await office.rig.balance()).available == 0


async def test_same_key_sends_once_and_another_document_under_it_is_refused(office: Office) -> None:
    first = await office.sent()
    again = await office.send()
    assert isinstance(again, FaxSent)
    assert (again.created, again.view.session, len(office.orders)) == (False, first.session, 1)
    refused(await office.send(data=b"other"), Code.KEY_REUSED)
    await office.ends(first.session, "SUCCESS", 3)
    late = await office.send()
    assert isinstance(late, FaxSent)
    assert (late.created, late.view.state, len(office.orders)) == (False, "sent", 1)


async def test_same_key_for_another_machine_is_refused(office: Office) -> None:
    first = await office.sent()
    for _ in range(2):
        refused(await office.send(target="+31612345670"), Code.KEY_REUSED)
        if office.rig.switch.calls:
            await office.ends(first.session, "SUCCESS", 3)
    assert len(office.orders) == 1


async def test_order_that_the_switch_refuses_gives_the_money_back(office: Office) -> None:
    office.trouble = ActionRefused("permission denied")
    assert refused(await office.send(), Code.CONFLICT).obstacle is Obstacle.TROUBLE
    await office.rig.clock.advance(DIAL_WITHIN_S + office.rig.policy.black_box_wait_s + 5)
    assert await office.rig.reserved() == {}
    assert (await office.rig.balance()).posted == EURO


async def test_order_whose_answer_was_lost_is_charged_when_the_switch_did_send(office: Office) -> None:
    office.trouble = ActionTimeout("no answer")
    assert "not known yet" in refused(await office.send(), Code.UNAVAILABLE).message
    await office.rig.clock.advance(DIAL_WITHIN_S + 30)
    view = await office.sent()
    assert (view.state, len(office.orders)) == ("sending", 1)
    await office.ends(view.session, "SUCCESS", 3)
    assert (await office.rig.balance()).posted == EURO - 3 * PAGE


async def test_key_asked_again_while_nobody_knows_whether_it_was_dialled_is_told_to_ask_again(office: Office) -> None:
    """It was answered "sending", and a mail that brought it was gone."""
    store = office.rig.store
    assert isinstance(store, FaultyStore)
    store.lose_reservation = True
    with pytest.raises(LedgerUnavailable):
        await office.send()
    assert (await office.rig.reserved())["credit"] == 3 * PAGE, "it is open, and nobody has ordered it"
    doubt = refused(await office.send(), Code.UNAVAILABLE)
    assert "not known yet" in doubt.message
    assert "same key" in doubt.advice
    assert office.orders == []


async def test_key_whose_fax_was_never_dialled_sends_it_once(office: Office) -> None:
    store = office.rig.store
    assert isinstance(store, FaultyStore)
    store.lose_reservation = True
    with pytest.raises(LedgerUnavailable):
        await office.send()
    await office.rig.clock.advance(120)
    assert await office.rig.reserved() == {}, "it was found, and given back"
    answer = await office.send()
    assert isinstance(answer, FaxSent)
    assert (answer.created, answer.view.state, len(office.orders)) == (True, "sending", 1)
    again = await office.send()
    assert isinstance(again, FaxSent)
    assert (again.created, again.view.session, len(office.orders)) == (False, answer.view.session, 1)
    await office.ends(answer.view.session, "FAILED", 1)
    late = await office.send()
    assert isinstance(late, FaxSent)
    assert (late.created, late.view.state, len(office.orders)) == (False, "partly_sent", 1)
    assert (await office.rig.balance()).posted == EURO - PAGE


async def test_order_that_never_reached_the_switch_is_made_again_by_the_same_key_as_often_as_needed(
    office: Office,
) -> None:
    sessions = set()
    for _ in range(3):
        office.trouble = ActionRefused("permission denied")
        refused(await office.send(), Code.CONFLICT)
        sessions.add(office.orders[-1].session)
        refused(await office.send(), Code.UNAVAILABLE)
        await office.rig.clock.advance(120)
    office.trouble = None
    sessions.add((await office.sent()).session)
    assert (len(sessions), len(office.orders)) == (4, 4)
    assert (await office.rig.reserved())["credit"] == 3 * PAGE


async def test_order_that_the_dialplan_found_too_late_may_be_made_again(office: Office) -> None:
    view = await office.sent()
    office.rig.switch.records[view.session] = BlackBoxRead(True, undialled=True)
    office.rig.switch.calls.pop(view.session)
    office.rig.switch.deliver(ChannelEnded(view.session, f"f-{view.session}-2", "Local/x", "", 16, 0))
    await office.rig.clock.advance(1)
    again = await office.send()
    assert isinstance(again, FaxSent)
    assert (again.created, len(office.orders)) == (True, 2)


async def test_fax_from_before_a_restart_is_in_doubt_until_the_switch_has_told_of_it(office: Office) -> None:
    view = await office.sent()
    await office.rig.kill_daemon()
    await office.rig.start_daemon()
    office.faxes = office.opened()
    await office.rig.clock.advance(1)
    again = await office.send()
    assert isinstance(again, FaxSent)
    assert (again.created, again.view.session, len(office.orders)) == (False, view.session, 1)


async def test_r14_account_that_cannot_pay_a_page_is_refused_before_its_document_is_looked_at(office: Office) -> None:
    await office.rig.credit(PAGE - 1 - EURO, "leave less")
    short = refused(await office.send(), Code.INSUFFICIENT)
    assert isinstance(short, TooLittle)
    assert (short.pages, short.needed, short.available) == (1, PAGE, PAGE - 1)
    assert office.prepared == []
    await office.rig.credit(1, "a page")
    assert refused(await office.send(), Code.INSUFFICIENT).message.startswith("not enough credit: 3 pages")
    assert len(office.prepared) == 1


@pytest.mark.parametrize("times", [TRIES_MAX - 1, TRIES_MAX])
async def test_fax_refused_for_what_is_back_by_now_is_tried_again_and_never_told_to_be_short(
    office: Office, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another call holds all credit whenever the fax is reserved, and gives it back at once."""
    store, before = office.rig.store, office.rig.store.apply
    moved = 0

    async def apply(transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
        nonlocal moved
        if transfer.kind is not Kind.RESERVE or moved == times:
            return await before(transfer, grants)
        moved += 1
        await office.rig.credit(-EURO, f"taken/{moved}")
        answer = await before(transfer, grants)
        await office.rig.credit(EURO, f"back/{moved}")
        return answer

    monkeypatch.setattr(store, "apply", apply)
    answer = await office.send()
    assert moved == times
    if times < TRIES_MAX:
        assert isinstance(answer, FaxSent)
        return
    assert "send it again" in refused(answer, Code.UNAVAILABLE).advice
    assert (office.orders, len(office.removed)) == ([], 1)
    monkeypatch.undo()
    assert isinstance(await office.send(), FaxSent)


async def test_key_of_a_fax_that_took_all_credit_is_still_answered_with_that_fax(office: Office) -> None:
    await office.rig.credit(3 * PAGE - EURO, "rest")
    view = await office.sent()
    await office.ends(view.session, "SUCCESS", 3)
    late = await office.send()
    assert isinstance(late, FaxSent)
    assert (late.created, late.view.state) == (False, "sent")
    assert len(office.prepared) == 1


async def test_a_fax_that_was_archived_is_not_sent_again_under_its_key(office: Office) -> None:
    now_us = office.rig.clock.now().wall_us
    line = JournalLine(1, "x", "anna", Kind.SETTLE, now_us, (), session_of("anna", "k"), "fax", "")
    await remember(office.rig.store, [line], now_us)
    refused(await office.send(), Code.KEY_REUSED)
    assert office.orders == []


async def test_fax_stored_by_version_0_1_goes_on(office: Office) -> None:
    """Its document's digest and name were short."""
    view = await office.sent()
    (stored,) = await office.rig.store.sessions(account="anna")
    record = json.loads(stored.state)
    del record["paper"]
    record["digest"] = record["digest"][:32]
    fax = revive(json.dumps(record), office.rig.clock.now(), stored.epoch)
    assert isinstance(fax, Fax)
    assert (fax.id, fax.paper_name) == (view.session, f"{view.session}-{view.digest[:8]}")
    old = replace(view, digest=view.digest[:32])
    assert isinstance(office.faxes._repeated(office.desk, old, replace(fax, digest=view.digest)), FaxSent)
    refused(office.faxes._repeated(office.desk, old, replace(fax, digest="0" * 64)), Code.KEY_REUSED)


async def test_look_at_the_switch_before_the_order_came_there_ends_nothing(office: Office) -> None:
    office.trouble = ActionRefused("pretend that it is on its way")
    await office.send()
    await office.rig.recovery.reconcile()
    await office.rig.clock.advance(DIAL_WITHIN_S - 1)
    assert (await office.rig.reserved())["credit"] == 3 * PAGE


async def test_daemon_killed_while_a_fax_is_sent_charges_it_once(office: Office) -> None:
    view = await office.sent()
    await office.rig.kill_daemon()
    await office.rig.start_daemon()
    office.faxes = office.opened()
    await office.ends(view.session, "SUCCESS", 3)
    assert (await office.rig.balance()).posted == EURO - 3 * PAGE
    assert len(await office.rig.store.cdrs()) == 1


async def test_fax_that_ended_while_the_daemon_was_dead_is_charged_once(office: Office) -> None:
    view = await office.sent()
    await office.rig.kill_daemon()
    await office.ends(view.session, "FAILED", 2)
    await office.rig.start_daemon()
    await office.rig.clock.advance(DIAL_WITHIN_S + 2)
    assert (await office.rig.balance()).posted == EURO - 2 * PAGE
    assert await office.rig.reserved() == {}


async def test_fax_that_ends_while_the_ledger_is_out_of_reach_is_charged_when_it_is_back(office: Office) -> None:
    store = office.rig.store
    assert isinstance(store, FaultyStore)
    view = await office.sent()
    store.failing = 1
    await office.ends(view.session, "SUCCESS", 3)
    await office.rig.clock.advance(60)
    assert (await office.rig.reserved())["credit"] == 3 * PAGE
    store.failing = 0
    await office.rig.clock.advance(31)
    assert await office.rig.reserved() == {}
    assert (await office.rig.balance()).posted == EURO - 3 * PAGE


async def test_r3_cancelled_fax_is_hung_up_and_costs_nothing(office: Office) -> None:
    view = await office.sent()
    assert await office.faxes.cancel("anna", view.session) == view
    await office.rig.clock.advance(2)
    assert (await office.view(view.session)).state == "failed"
    assert (await office.rig.balance()).available == EURO
    assert "is over (failed)" in refused(await office.faxes.cancel("anna", view.session), Code.CONFLICT).message
    refused(await office.faxes.cancel("anna", "none"), Code.NOT_FOUND)


async def test_fax_that_is_cancelled_before_the_switch_has_dialled_is_hung_up_when_it_does(office: Office) -> None:
    view = await office.sent()
    call = office.rig.switch.calls.pop(view.session)
    await office.faxes.cancel("anna", view.session)
    await office.rig.clock.advance(1)
    assert office.rig.switch.hung_up == []
    office.rig.switch.calls[view.session] = call
    await office.rig.clock.advance(DIAL_WITHIN_S + 2)
    assert office.rig.switch.hung_up == [call.caller_uid]
    assert await office.rig.reserved() == {}


async def test_no_answer_about_a_fax_reads_all_that_its_account_has_had(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer who has had many calls could else keep those of others waiting: these are asked of the daemon."""
    view = await office.sent()
    office.trouble = ActionRefused("no")
    refused(await office.send("refused"), Code.CONFLICT)
    await office.ends(view.session, "SUCCESS", 3)
    await office.rig.clock.advance(60)

    def reads(**_asked: object) -> NoReturn:
        raise AssertionError("all CDRs of the account are read")

    monkeypatch.setattr(office.rig.store, "cdrs", reads)
    office.trouble = None
    assert (await office.view(view.session)).state == "sent"
    refused(await office.faxes.cancel("anna", view.session), Code.CONFLICT)
    again = await office.send()
    assert isinstance(again, FaxSent)
    assert not again.created
    assert (await office.sent("refused")).session.endswith("-2"), "a new attempt of what dialled nobody"
    office.pages = 100
    assert isinstance(await office.send("more"), TooLittle)


async def test_fax_that_this_process_does_not_look_after_is_not_cancelled_here(office: Office) -> None:
    view = await office.sent()
    beside = Faxes(office.rig.store, lambda: office.rig.tariff, office.rig.clock, None)
    refused(await beside.cancel("anna", view.session), Code.CONFLICT)


async def test_fax_of_which_the_switch_knows_nothing_any_more_is_not_charged(office: Office) -> None:
    view = await office.sent()
    office.rig.switch.calls.pop(view.session)
    await office.rig.clock.advance(120)
    assert (await office.rig.balance()).available == EURO


@pytest.mark.parametrize(
    ("target", "code", "obstacle"),
    [
        ("+31900123456", Code.NOT_ALLOWED, Obstacle.PREMIUM_NUMBER),
        ("+31201112222", Code.NOT_ALLOWED, Obstacle.BLOCKED_NUMBER),
        ("+31850000001", Code.NOT_ALLOWED, Obstacle.OPERATORS_NUMBER),
        ("+4930123456", Code.NOT_ALLOWED, Obstacle.NOT_COVERED),
        ("x", Code.INVALID, Obstacle.INVALID_NUMBER),
        ("+31 00 252 7123456", Code.INVALID, Obstacle.INVALID_NUMBER),
    ],
)
async def test_target_that_cannot_be_priced_is_refused(
    office: Office, target: str, code: Code, obstacle: Obstacle
) -> None:
    refuse = {"blocked": ("+3120", Refusal.BLOCKED), "own": ("+3185", Refusal.LOOP)}
    more = {name: Destination(name, (prefix,), refuse=why) for name, (prefix, why) in refuse.items()}
    office.rig.tariff = replace(office.rig.tariff, destinations={**office.rig.tariff.destinations, **more})
    assert refused(await office.send(target=target), code).obstacle is obstacle
    assert office.orders == []


async def test_account_that_sends_nothing_is_refused(office: Office) -> None:
    store = office.rig.store
    await store.directory.put_account(Account("anna", "gone", version=1))
    assert refused(await office.send(), Code.NOT_ALLOWED).obstacle is Obstacle.TROUBLE
    await store.directory.put_account(Account("anna", "light", status=Status.SUSPENDED, version=2))
    assert refused(await office.send(), Code.NOT_ALLOWED).obstacle is Obstacle.SUSPENDED
    await store.directory.put_account(Account("ben", "light"))
    answer = await office.faxes.send("ben", FaxWish(TARGET, b"doc"), "k")
    assert refused(answer, Code.NOT_ALLOWED).obstacle is Obstacle.NO_OWN_NUMBER


async def test_document_being_made_ready_holds_no_line(office: Office) -> None:
    """A document that takes long to read keeps nobody else from sending."""
    ready, office.ready = office.ready, asyncio.Event()
    slow = [asyncio.create_task(office.send(key)) for key in ("one", "two")]
    await eventually(lambda: len(office.prepared) == 2, "both documents are being made ready")
    held, office.ready = office.ready, ready
    await office.sent("three")
    held.set()
    answers = await asyncio.gather(*slow)
    assert [isinstance(one, FaxSent) for one in answers].count(True) == 1, "it has two lines"
    assert (office.desk.opening.total(), len(office.orders), len(office.removed)) == (0, 2, 1)


async def test_line_of_a_document_that_is_none_is_free_again(office: Office) -> None:
    office.pages = 13
    for key in ("one", "two", "three"):
        refused(await office.send(key), Code.INSUFFICIENT)
    office.pages = 3
    await office.sent("four")


async def test_faxes_from_before_a_restart_have_their_lines(office: Office) -> None:
    await office.sent("one")
    await office.sent("two")
    await office.rig.kill_daemon()
    await office.rig.start_daemon()
    office.faxes = office.opened()
    refused(await office.send("three"), Code.UNAVAILABLE)


async def test_switch_out_of_reach_or_led_by_another_sends_nothing(office: Office) -> None:
    office.rig.registry.leads = lambda: False
    refused(await office.send(), Code.UNAVAILABLE)
    office.rig.registry.leads = lambda: True
    office.rig.switch.up = False
    await office.rig.clock.advance(61)
    refused(await office.send(), Code.UNAVAILABLE)
    assert await office.rig.reserved() == {}


async def test_list_shows_faxes_that_are_over_then_those_under_way(office: Office) -> None:
    first, second = await office.sent("one"), await office.sent("two")
    await office.ends(second.session, "SUCCESS", 3)
    page = await office.listed.page("anna", None, 100)
    assert isinstance(page, FaxPage)
    assert ([view.session for view in page.faxes], page.next) == ([second.session, first.session], None)


async def test_list_comes_in_pages_and_those_under_way_with_the_last(office: Office) -> None:
    over = []
    for key in ("one", "two", "three"):
        over.append((await office.sent(key)).session)
        await office.ends(over[-1], "SUCCESS", 3)
    opened = (await office.sent("four")).session
    seen, place = [], None
    for _ in range(2):
        page = await office.listed.page("anna", place, 2)
        assert isinstance(page, FaxPage)
        seen.append([view.session for view in page.faxes])
        place = page.next
    assert seen == [over[:2], [over[2], opened]]
    assert place is None
    refused(await office.listed.page("nobody", None, 2), Code.NOT_FOUND)


async def test_a_mail_is_no_look_at_every_account(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers send mails that are proven, and the calls are decided in the same loop."""
    monkeypatch.setattr(office.rig.store.directory, "accounts", None)
    monkeypatch.setattr(office.rig.store.directory, "accounts_page", None)
    assert await office.listed.senders("stranger@example.nl") == []


async def test_mail_address_finds_its_accounts_in_whatever_case(office: Office) -> None:
    await office.rig.store.directory.put_account(Account("anna", "light", email="Anna@Example.nl", version=1))
    assert [one.id for one in await office.listed.senders("anna@example.NL")] == ["anna"]
    assert await office.listed.senders("") == []


@pytest.mark.parametrize(
    ("status", "found"),
    [(Status.CLOSED, ["ben"]), (Status.SUSPENDED, ["anna", "ben"]), (Status.ACTIVE, ["anna", "ben"])],
)
async def test_mail_address_finds_no_closed_account(office: Office, status: Status, found: list[str]) -> None:
    """Of two that are open, one suspended, it would be a guess who sends."""
    await office.rig.store.directory.put_account(
        Account("anna", "light", email="a@example.nl", status=status, version=1)
    )
    await office.rig.store.directory.put_account(Account("ben", "light", email="a@example.nl"))
    assert sorted(one.id for one in await office.listed.senders("a@example.nl")) == found
