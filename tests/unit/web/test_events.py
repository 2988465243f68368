"""GET /accounts/{account}/events: what was booked, in order, by pages and as a stream."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from charging.call.decided import Decided, Turn
from charging.ledger.accounts import Language
from charging.ledger.balances import bundle
from charging.ledger.model import CREDIT, Closed, JournalLine, Kind, Leg, Opened, Outcome, SessionChange, Transfer
from charging.ledger.port import Store
from charging.service import events as service_events
from charging.service.decisions import DecisionKeeper
from charging.service.events import Event, Events, Line, Place, Reader
from charging.service.refusal import Code
from charging.service.tokens import Bounds, NewToken, Scope
from charging.web.public import REQUEST_ID
from charging.web.routes import events as routes
from tests.fakes.ami import eventually
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop, refused
from tests.unit.web.door import Door
from tests.unit.web.event_stream import Stream


@pytest.fixture
async def door(shop: Shop) -> Door:
    made = Door(shop.service, shop.store)
    await made.open()
    return made


async def call(store: Store, session: str, service: str = "call", cdr: str = '{"cost":"0.30"}') -> None:
    """A session that opens, ticks and ends."""
    legs = (Leg(CREDIT, 0, EURO),)
    steps: list[tuple[Kind, tuple[Leg, ...], SessionChange]] = [
        (Kind.RESERVE, legs, Opened("main", "{}")),
        (Kind.SETTLE, (Leg(CREDIT, -300_000, -EURO),), Closed(cdr, 9, follows=1)),
    ]
    for number, (kind, moved, change) in enumerate(steps):
        transfer = Transfer(f"{session}/{number}", "anna", kind, 7, moved, session, change, service)
        assert (await store.apply(transfer)).outcome is Outcome.CREATED


START = Line()


async def events(shop: Shop, after: Line = START, limit: int = 100) -> tuple[list[Event], Line]:
    answer = await Events(shop.store).page("anna", after, limit)
    assert isinstance(answer, tuple)
    return answer


async def test_money_minutes_and_calls_are_told_in_the_order_in_which_they_were_booked(shop: Shop) -> None:
    await shop.anna("pro")
    await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    await call(shop.store, "s-1")
    await call(shop.store, "f-1", "fax")
    await shop.service.money.correct("anna", -EURO, "a slip", "c-1")
    await shop.service.money.grant_minutes("anna", 5, "sorry", "m-1")
    lapsed = Transfer("e-1", "anna", Kind.EXPIRE, 8, (Leg(CREDIT, -1),), reason="credit")
    counted = Transfer("e-2", "anna", Kind.EXPIRE, 8, (Leg("day:2026-01-01", 0),), reason="long_over")
    for one in (lapsed, counted):
        assert (await shop.store.apply(one)).outcome is Outcome.CREATED
    found, cursor = await events(shop)
    told = [(one.number, one.what.value) for one in found]
    assert [what for _, what in told if what != "minutes.granted"] == [
        *("credit.topped_up", "call.begun", "call.ended", "fax.begun", "fax.ended"),
        *("credit.corrected", "credit.expired"),
    ]
    assert "minutes.granted" in {what for _, what in told}
    assert [number for number, _ in told] == sorted(number for number, _ in told)
    bought, _, ended = found[:3]
    assert bought.data == {"amount": "10.00", "reason": "", "transfer": "top-up/order-1", "actor": "daemon"}
    assert ended.data == {"session": "s-1", "cost": "0.30", "cdr": {"cost": "0.30"}}
    assert cursor.number == max(line.number for line in await shop.store.journal_page("anna", None, 1))
    assert await events(shop, cursor) == ([], cursor)


async def test_a_tick_tells_nothing_and_is_passed_over(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    tick = Transfer("x", "anna", Kind.EXTEND, 7, (Leg(CREDIT, -1),), reason="call")
    assert (await shop.store.apply(tick)).outcome is Outcome.CREATED
    found, cursor = await events(shop)
    assert (len(found), cursor.number) == (1, 2)


@pytest.mark.parametrize("cdr", ["", "no JSON", "[]", '{"cost":3}'])
async def test_an_end_without_a_cdr_that_can_be_read_is_told_by_its_money(shop: Shop, cdr: str) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    await call(shop.store, "s-1", cdr=cdr)
    assert (await events(shop))[0][-1].data["cost"] == "0.30"


async def test_pages_follow_each_other_without_gap_or_repetition(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    for number in range(5):
        await call(shop.store, f"s-{number}")
    monkeypatch.setattr(service_events, "LINES_MAX", 4)
    for limit in (1, 3, 100):
        seen, cursor, before = [], Line(), Line(-1)
        while cursor != before:
            before = cursor
            found, cursor = await events(shop, cursor, limit)
            assert len(found) <= limit
            seen += [one.number for one in found]
        assert seen == list(range(1, 12))


async def test_a_cursor_behind_which_lines_were_archived_is_refused_and_the_rest_goes_on(shop: Shop) -> None:
    await shop.anna()
    for number in range(3):
        await shop.service.money.top_up("anna", 10 * EURO, f"order-{number}")
    lines = [line async for line in shop.store.journal("anna")]
    legs = (Leg(CREDIT, 20 * EURO),)
    opening = JournalLine(2, "opening/2", "anna", Kind.OPENING, 1, legs, None, "", "d")
    assert await shop.store.replace_head(opening, lines[:2])
    refused(await shop.service.events.page("anna", Line(1), 10), Code.ARCHIVED)
    assert [one.number for one in (await events(shop, Line(2)))[0]] == [3]
    assert [one.number for one in (await events(shop))[0]] == [3]


async def test_what_is_booked_is_told_and_nothing_else(shop: Shop) -> None:
    """A refusal leaves no line, and what is repeated leaves no second."""
    await shop.anna()
    for _ in range(2):
        await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    await shop.service.money.correct("anna", -99 * EURO, "too much", "c-1")
    assert [one.what.value for one in (await events(shop))[0]] == ["credit.topped_up"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/accounts/anna/events"])
@pytest.mark.parametrize(
    ("query", "headers", "at"),
    [("?after=", {}, "?after"), ("?after=12.345", {}, "?after"), ("", {"Last-Event-ID": "x"}, "Last-Event-Id")],
)
async def test_a_cursor_that_is_none_is_named_with_the_parameter_it_came_in(
    door: Door, shop: Shop, path: str, query: str, headers: dict[str, str], at: str
) -> None:
    await shop.anna()
    problem = (await door("read", "GET", path + query, 422, headers=headers)).json()
    assert problem["errors"][0]["pointer"] == at
    assert "`cursor` of a page" in problem["detail"]
    assert "are not the same" in problem["advice"]


async def test_over_http_with_a_cursor_for_the_next_time(door: Door, shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    page = (await door("read", "GET", "/v1/accounts/anna/events")).json()
    (event,) = page["items"]
    assert (event["type"], page["cursor"]) == ("credit.topped_up", event["id"])
    assert event["id"].startswith("1-"), "the number of the journal's line"
    assert bundle("2026-11") not in event["data"]
    again = (await door("read", "GET", f"/v1/accounts/anna/events?after={page['cursor']}")).json()
    assert again == {"items": [], "cursor": event["id"]}
    await door("read", "GET", "/v1/accounts/none/events", 404)
    for wrong in ("x", "-1", "01", "1-", "1-abcdefgh", "9" * 17):
        await door("read", "GET", f"/v1/accounts/anna/events?after={wrong}", 422)
        again_from = {"Last-Event-ID": "0"}
        await door("read", "GET", f"/v1/accounts/anna/events?after={wrong}", 422, headers=again_from)
    await door("credit", "GET", "/v1/accounts/anna/events", 403)


async def test_a_stream_tells_what_is_booked_as_it_is_and_ends_with_its_client(door: Door, shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    stream = Stream(door, {REQUEST_ID: "mine"})
    await stream.begun()
    headers = dict(stream.messages[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"x-request-id"] == b"mine"
    assert [what for _, what, _ in stream.events] == ["credit.topped_up"]
    await call(shop.store, "s-1")
    await shop.clock.advance(routes.LOOK_S)
    await eventually(lambda: len(stream.events) > 2, "the call is told")
    assert [what for _, what, _ in stream.events] == ["credit.topped_up", "call.begun", "call.ended"]
    assert stream.events[2][2]["data"]["cost"] == "0.30"
    assert len(shop.service.events.streams) == 1
    await stream.leave()
    assert not shop.service.events.streams


async def test_a_stream_goes_on_where_its_client_was_and_ends_after_a_while(door: Door, shop: Shop) -> None:
    await shop.anna()
    for number in range(3):
        await shop.service.money.top_up("anna", 10 * EURO, f"order-{number}")
    ids = [one.id for one in (await events(shop))[0]]
    stream = Stream(door, {"last-event-id": ids[1]})
    await stream.begun()
    assert [id for id, _, _ in stream.events] == ids[2:]
    for _ in range(routes.STREAM_S):
        await shop.clock.advance(routes.LOOK_S)
    await stream.ended()
    assert not stream.messages[-1].get("more_body", False)


async def test_only_so_many_streams_are_open_and_a_head_opens_none(door: Door, shop: Shop) -> None:
    await shop.anna()
    for token in ("read", "another"):
        shop.service.events.streams += [Reader(token) for _ in range(routes.STREAMS_MAX // 2)]
    await door("read", "GET", "/v1/accounts/anna/events", 503, headers={"Accept": routes.SSE})
    await door("read", "GET", "/v1/accounts/anna/events")
    shop.service.events.streams.clear()
    head = Stream(door, {}, "HEAD")
    await head.ended()
    assert [one.get("body", b"") for one in head.messages[1:]] == [b""]


async def test_customers_with_tokens_leave_streams_to_the_operator_and_to_each_other(door: Door, shop: Shop) -> None:
    """Nobody is kept out by one of them who has several tokens, by some of them, who come again at once, nor the
    operator by all of them."""
    await shop.anna()
    opened: dict[str, list[Stream]] = {}

    async def open_some(account: str, tokens: int = 2) -> int:
        """How many were let in."""
        opened.setdefault(account, [])
        for _ in range(tokens):
            his = await door.tokens.add("his", [Scope.READ], Bounds(account=account))
            assert isinstance(his, NewToken)
            bearer = {"authorization": f"Bearer {his.secret}"}
            for _ in range(routes.STREAMS_MAX_EACH):
                one = Stream(door, bearer, path=f"/v1/accounts/{account}/events")
                await one.begun()
                opened[account] += [one] if one.messages[0]["status"] == 200 else []
        return len(opened[account])

    accounts = [str(number) for number in range(7)]
    for account in accounts:
        await shop.service.accounts.add(account, "light", Language.NL)
    assert [await open_some(account) for account in accounts[:4]] == [4, 4, 4, 4]
    assert await open_some("4") == 3, "one of each of three others went"
    await shop.clock.advance(routes.LOOK_S)
    for stream in (opened[account].pop(0) for account in "012"):
        await stream.ended()
    assert [await open_some(account, 1) for account in "01234"] == [3, 3, 3, 4, 3]
    assert len(shop.service.events.streams) == routes.STREAMS_OF_CUSTOMERS_MAX
    website = Stream(door, {})
    await website.begun()
    assert website.messages[0]["status"] == 200
    for one in (*(one for some in opened.values() for one in some), website):
        await one.leave()
    assert not shop.service.events.streams


async def test_streams_that_are_asked_for_at_once_are_counted_before_they_are_answered(door: Door, shop: Shop) -> None:
    await shop.anna()
    asked = [Stream(door, {}) for _ in range(routes.STREAMS_MAX_EACH + 3)]
    for one in asked:
        await one.begun()
    statuses = [one.messages[0]["status"] for one in asked]
    assert (statuses.count(200), statuses.count(503)) == (routes.STREAMS_MAX_EACH, 3)
    again = await door("audit", "GET", "/v1/accounts/anna/events", 403, headers={"Accept": routes.SSE})
    assert again.json()["code"] == "forbidden"
    for one in asked:
        await one.leave()
    assert not shop.service.events.streams


async def test_a_stream_whose_client_cannot_be_told_anything_is_counted_no_more(door: Door, shop: Shop) -> None:
    await shop.anna()

    class Broken(Stream):
        async def _send(self, message: Any) -> None:
            raise OSError("the connection is gone")

    with contextlib.suppress(Exception):
        await Broken(door, {}).ended()
    assert not shop.service.events.streams


async def test_a_cdr_is_shown_by_its_session_to_whom_it_belongs(door: Door, shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    await call(shop.store, "s-1")
    assert (await door("read", "GET", "/v1/cdrs/s-1?account=anna")).json() == {"cost": "0.30"}
    await door("read", "GET", "/v1/cdrs/s-2?account=anna", 404)
    await door("read", "GET", "/v1/cdrs/s-1", 422)
    await shop.service.accounts.add("bert", "light")
    await door("read", "GET", "/v1/cdrs/s-1?account=bert", 404)


# --- what a token may no longer see


async def test_a_stream_ends_with_the_token_that_asked_for_it(door: Door, shop: Shop) -> None:
    await shop.anna()
    soon = await door.tokens.add("soon", [Scope.READ], Bounds(expires_us=shop.clock.now().plus(30).wall_us))
    gone = await door.tokens.add("gone", [Scope.READ])
    assert isinstance(soon, NewToken)
    assert isinstance(gone, NewToken)
    streams = [Stream(door, {"authorization": f"Bearer {one.secret}"}, path="/v1/events") for one in (soon, gone)]
    stays = Stream(door, {}, path="/v1/events")
    for one in (*streams, stays):
        await one.begun()
    await door.tokens.revoke(gone.token.id)
    await shop.clock.advance(routes.LOOK_S)
    await streams[1].ended()
    await shop.clock.advance(routes.LOOK_S)
    assert len(shop.service.events.streams) == 2
    await shop.clock.advance(28)
    await streams[0].ended()
    await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    await shop.clock.advance(routes.LOOK_S)
    await eventually(lambda: stays.events[-1][1] == "credit.topped_up", "the third goes on")
    await stays.leave()


# --- of all accounts


async def of_all(shop: Shop, limit: int = 100) -> list[Event]:
    """All that is told, page by page."""
    found: list[Event] = []
    place, before = Place(), Place(-1)
    while place != before:
        before = place
        answer = await shop.service.events.of_all(place, limit)
        assert isinstance(answer, tuple)
        page, place = answer
        assert len(page) <= limit
        found += page
    return found


async def a_day(shop: Shop) -> None:
    """Bookings of two accounts; calls that were not forwarded; a notice; an edit."""
    await shop.anna()
    await shop.service.accounts.add("bert", "light")
    for account in ("anna", "bert"):
        await shop.service.money.top_up(account, 10 * EURO, f"order-{account}")
    await call(shop.store, "s-1")
    keeper = DecisionKeeper(shop.store.documents, shop.clock)
    for account, outcome in (("anna", "reject"), ("bert", "voicemail"), ("anna", "forward"), ("", "reject")):
        at_us = shop.clock.now().wall_us
        keeper.keep(Decided(at_us, Turn.INCOMING, outcome, "no_credit", "main", 3, account=account, number="+31201"))
    await keeper.write()
    notice = {"id": "low-credit/1", "kind": "low-credit", "account": "bert", "at_us": 7}
    await shop.store.documents.put_document(
        "notices", "bert/low-credit/1", json.dumps({"notice": json.dumps(notice)}), 7
    )
    told = {"notice": "low-credit/1", "kind": "low-credit", "account": "bert", "at_us": 8}
    for id, sent in (("low-credit/1", True), ("low-credit/1/failed", False)):
        await shop.store.documents.put_document("notice-results", f"bert/{id}", json.dumps({**told, "sent": sent}), 9)
    await shop.service.accounts.suspend("anna", "asked")


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_all_accounts_are_told_in_one_order_with_what_is_no_booking(shop: Shop, limit: int) -> None:
    await a_day(shop)
    found = await of_all(shop, limit)
    told = [(one.account, one.what.value) for one in found]
    assert told == [
        ("anna", "setting.changed"),
        *([("anna", "setting.changed")] if told[1] == ("anna", "setting.changed") else []),
        ("bert", "setting.changed"),
        ("anna", "credit.topped_up"),
        ("bert", "credit.topped_up"),
        ("anna", "call.begun"),
        ("anna", "call.ended"),
        ("anna", "call.refused"),
        ("bert", "call.refused"),
        ("bert", "credit.low"),
        ("bert", "notice.sent"),
        ("bert", "notice.failed"),
        ("anna", "setting.changed"),
    ]
    ids = [one.id for one in found]
    assert len(ids) == len(set(ids))
    refused_call, low, sent, edit = found[-6], found[-4], found[-3], found[-1]
    assert {**refused_call.data, "decision": ""} == {
        **{"reason": "no_credit", "outcome": "reject"},
        **{"number": "+31201", "decision": ""},
    }
    assert low.data == sent.data == {"notice": "low-credit/1", "kind": "low-credit"}
    assert (edit.data["act"], edit.data["fields"]) == ("account.edited", ["status", "status_reason"])


async def test_all_events_over_http_go_on_behind_any_event(door: Door, shop: Shop) -> None:
    await a_day(shop)
    whole = (await door("read", "GET", "/v1/events")).json()
    ids = [one["id"] for one in whole["items"]]
    for number, id in enumerate(ids):
        rest = (await door("read", "GET", f"/v1/events?after={id}")).json()
        assert [one["id"] for one in rest["items"]] == ids[number + 1 :]
    assert "actor" not in whole["items"][0]["data"]
    for wrong in ("x", "-1", "01", "1.0", "1.", "9" * 18):
        await door("read", "GET", f"/v1/events?after={wrong}", 422)
    await door("credit", "GET", "/v1/events", 403)
    stream = Stream(door, {"last-event-id": ids[2]}, path="/v1/events")
    await stream.begun()
    assert [id for id, _, _ in stream.events] == ids[3:]
    await shop.service.money.top_up("bert", 10 * EURO, "order-2")
    await shop.clock.advance(routes.LOOK_S)
    await eventually(lambda: stream.events[-1][1] == "credit.topped_up", "it is told")
    await stream.leave()


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_one_accounts_are_those_of_all_without_the_others(door: Door, shop: Shop, limit: int) -> None:
    await a_day(shop)
    whole = [one.id for one in await of_all(shop) if one.account == "anna"]
    for account, ids in (("anna", whole), ("bert", [one.id for one in await of_all(shop) if one.account == "bert"])):
        found, cursor, before = [], "0", ""
        while cursor != before:
            page = (await door("read", "GET", f"/v1/events?account={account}&after={cursor}&limit={limit}")).json()
            found += [one["id"] for one in page["items"]]
            cursor, before = page["cursor"], cursor
        assert found == ids
    assert len(whole) > 5
    await door("read", "GET", "/v1/events?account=none", 404)
    mine = await door.tokens.add("anna", [Scope.READ], Bounds("anna"))
    assert isinstance(mine, NewToken)
    await door(mine.secret, "GET", "/v1/events?account=anna")
    await door(mine.secret, "GET", "/v1/events?account=bert", 403)
    await door(mine.secret, "GET", "/v1/events", 403)


async def test_the_end_leads_to_what_happens_from_then_on(door: Door, shop: Shop) -> None:
    await a_day(shop)
    page = (await door("read", "GET", "/v1/events?after=end")).json()
    assert page["items"] == []
    stream = Stream(door, {}, path="/v1/events", query="account=anna&after=end")
    await stream.begun()
    assert (stream.events, stream.last_event_id) == ([], page["cursor"])
    await shop.service.money.top_up("bert", 10 * EURO, "another's")
    await shop.clock.advance(routes.LOOK_S)
    await eventually(lambda: not stream.events and stream.last_event_id != page["cursor"], "it was looked into")
    await shop.service.money.top_up("anna", 10 * EURO, "hers")
    seen = stream.last_event_id
    again = Stream(door, {"last-event-id": seen}, path="/v1/events", query="account=anna&after=end")
    await again.begun()
    assert [what for _, what, _ in again.events] == ["credit.topped_up"], "who connects again misses nothing"
    for one in (stream, again):
        await one.leave()
    await door("read", "GET", "/v1/accounts/anna/events?after=end", 422)


async def test_what_was_archived_of_another_is_no_gap_in_ones_own(shop: Shop) -> None:
    await a_day(shop)
    found = await of_all(shop)
    gone = next(one for one in found if one.what.value == "credit.topped_up" and one.account == "anna")
    before = next(one for one in reversed(found) if one.number < gone.number)
    lines = [line async for line in shop.store.journal("anna")]
    opening = JournalLine(lines[0].number, "opening/1", "anna", Kind.OPENING, 1, lines[0].legs, None, "", "d")
    assert await shop.store.replace_head(opening, lines[:1])
    refused(await shop.service.events.of_all(Place(before.number), 10, account="anna"), Code.ARCHIVED)
    answer = await shop.service.events.of_all(Place(before.number), 100, account="bert")
    assert isinstance(answer, tuple)
    assert [one.id for one in answer[0]] == [
        one.id for one in found if one.account == "bert" and one.number > before.number
    ]


async def test_a_place_behind_which_lines_were_archived_is_refused_and_forgotten_documents_are_not(shop: Shop) -> None:
    await a_day(shop)
    found = await of_all(shop)
    lines = [line async for line in shop.store.journal("anna")]
    opening = JournalLine(lines[0].number, "opening/1", "anna", Kind.OPENING, 1, lines[0].legs, None, "", "d")
    assert await shop.store.replace_head(opening, lines[:1])
    gone = next(one for one in found if one.what.value == "credit.topped_up" and one.account == "anna")
    before = next(one for one in reversed(found) if one.number < gone.number)
    answer = refused(await shop.service.events.of_all(Place(before.number), 10), Code.ARCHIVED)
    assert answer.advice.startswith(f"go on with after={gone.number};")
    on = await shop.service.events.of_all(Place(gone.number), 100)
    assert isinstance(on, tuple)
    assert on[0] == found[found.index(gone) + 1 :]
    for document in await shop.store.documents.list_documents("decisions"):
        assert await shop.store.documents.delete_document(document)
    rest = await shop.service.events.of_all(Place(gone.number), 100)
    assert isinstance(rest, tuple)
    assert "call.refused" not in [one.what.value for one in rest[0]]
    assert rest[0][-1] == found[-1]


async def test_what_cannot_be_read_is_passed_over(shop: Shop) -> None:
    for collection in ("decisions", "notices", "notice-results", "changes"):
        for number, body in enumerate(("", "[", "[]", "{}", "[7]", '{"notice":"{}"}')):
            await shop.store.documents.put_document(collection, str(number), body)
    assert await of_all(shop) == []
