"""Webhooks: signed by the rules, at least once, in order for each account, letters."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import standardwebhooks

from charging.ledger.documents import Document
from charging.ledger.memory import MemoryFeed
from charging.service.changes import Act
from charging.service.events import Event, What
from charging.service.refusal import Code, Refused
from charging.service.webhooks import LETTERS, TURN_S, Endpoint, Letter, Report, Webhooks
from charging.web import webhooks as sending_webhooks
from charging.web.control import control_app
from charging.web.settings import EventType, Webhook, signing_keys
from charging.web.signed_post import AWAY, Hook, Receiver, message_id, sample, signature, wanted_s
from charging.web.webhooks import (
    AWAY_TRIES,
    AWAY_WAIT_S,
    LANES,
    LETTER_WAIT_S,
    TRIES,
    Book,
    DaemonsBook,
    Sender,
    wait_s,
)
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop, refused

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""Of the standard's published example (its spec, "Signature scheme", and every library's own tests)."""
KEYS = signing_keys(SECRET)
URL = "https://site.example/hooks"
TOP_UPS = "credit.topped_up"


def test_the_published_vector_is_signed_as_the_standard_says() -> None:
    body = b'{"test": 2432232314}'
    found = signature(KEYS, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_sample_in_the_docs_takes_what_is_signed_and_new_alone() -> None:
    text = (Path(__file__).parents[3] / "docs" / "integrate.md").read_text(encoding="utf-8")
    _, _, section = text.partition("\n## Webhooks\n")
    sample_code = section.partition("```python\n")[2].partition("```")[0]
    found: dict[str, Any] = {}
    exec(compile(sample_code, "integrate.md", "exec"), found)
    body, now_s = b'{"type":"x"}', int(time.time())

    def takes(signed: bytes, at_s: int, keys: str = SECRET) -> bool:
        headers = {
            "webhook-id": "evt_1",
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature(signing_keys(keys), "evt_1", at_s, signed),
        }
        verdict = bool(found["verified"](SECRET, headers, body))
        try:  # as the standard's own library says
            standardwebhooks.Webhook(SECRET).verify(body, headers)
        except standardwebhooks.WebhookVerificationError:
            assert not verdict
        else:
            assert verdict
        return verdict

    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    assert takes(body, now_s)
    assert takes(body, now_s, f"{new} {SECRET}")
    assert not takes(body, now_s, new)
    assert not takes(b"{}", now_s)
    assert not takes(body, now_s - 400)


def test_while_secrets_change_each_signs() -> None:
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    both = signature(signing_keys(f"{new} {SECRET}"), "evt_1", 1, b"{}").split(" ")
    assert both == [signature(signing_keys(one), "evt_1", 1, b"{}") for one in (new, SECRET)]


@pytest.mark.parametrize("size", [23, 65])
def test_a_key_is_as_long_as_the_standard_says(size: int) -> None:
    for wrong in ("whsec_" + base64.b64encode(b"k" * size).decode(), SECRET.removeprefix("whsec_"), "whsec_?"):
        with pytest.raises(ValueError, match="whsec_"):
            signing_keys(wrong)


@pytest.mark.parametrize("size", [24, 64])
def test_a_key_at_the_bounds_is_taken(size: int) -> None:
    assert signing_keys("whsec_" + base64.b64encode(b"k" * size).decode()) == (b"k" * size,)


def test_each_wait_is_twice_the_last_up_to_the_most_and_jitter_takes_off_half_at_most() -> None:
    assert [wait_s(one, AWAY_WAIT_S, 0) for one in (1, 2, 3, 6, 7, 12)] == [5, 10, 20, 160, 300, 300]
    assert [wait_s(one, LETTER_WAIT_S, 0) for one in (13, 14, 99)] == [20480, 21600, 21600]
    assert wait_s(1, AWAY_WAIT_S, 1) == 2.5


def hook(*events: str, **settings: object) -> Hook:
    chosen = {"name": "site", "url": URL, "secret_env": "SECRET", "events": events, **settings}
    return Hook.of(Webhook.model_validate(chosen), SECRET)


class Program:
    """The operator's program, which answers what a test says."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str]] = []
        """Id, account and type of each request."""
        self.answer: Callable[[str], int] = lambda _account: 200
        self.retry_after = ""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        told = json.loads(request.content)
        id, timestamp_s = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
        assert request.headers["webhook-signature"] == signature(KEYS, id, timestamp_s, request.content)
        assert set(told) == {"type", "timestamp", "data"}
        assert message_id_of(told["data"]["event"]) == id
        assert "actor" not in told["data"], "as for a token without the scope audit"
        account = told["data"]["account"]
        self.got.append((id, account, told["type"]))
        headers = {"location": "http://elsewhere.example/", "retry-after": self.retry_after}
        return httpx.Response(self.answer(account), headers=headers)

    def of(self, account: str) -> list[str]:
        return [id for id, of, _ in self.got if of == account]


def message_id_of(event: str) -> str:
    return "evt_" + event.replace(".", "_")


@pytest.fixture
def program() -> Program:
    return Program()


@dataclass
class Desk:
    """What a daemon knows of its webhook."""

    shop: Shop
    holder: str
    seen: list[tuple[Endpoint | None, Report | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        def observe(_name: str, endpoint: Endpoint | None, report: Report | None) -> None:
            self.seen.append((endpoint, report))

        self.book = Webhooks(self.shop.store, self.shop.clock, ["site"], self.holder, observe)

        self.writes: Book = self.book

    def by_the_daemon(self) -> None:
        """From now on the sender writes by the control interface, as in a process of its own."""
        app = control_app(self.shop.service, hooks=self.book, decides_calls=True)
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://daemon")
        self.writes = DaemonsBook(Webhooks(self.shop.store, self.shop.clock), http)

    @property
    def report(self) -> Report:
        return [report for _, report in self.seen if report is not None][-1]

    @property
    def behind_s(self) -> float:
        return (self.shop.clock.now().wall_us - self.report.told_us) / 1e6

    def total(self, what: str) -> int:
        return sum(getattr(report, what) for _, report in self.seen if report is not None)

    async def letters(self) -> list[Letter]:
        return [one async for one in self.book.letters("site")]


@pytest.fixture(params=["here", "by the daemon"])
def desk(shop: Shop, request: pytest.FixtureRequest) -> Desk:
    made = Desk(shop, "one")
    if request.param == "by the daemon":
        made.by_the_daemon()
    return made


@asynccontextmanager
async def sending(desk: Desk, program: Program | Slow, *events: str) -> AsyncIterator[None]:
    """A sender runs within; it is cut off as by kill -9."""
    clock = desk.shop.clock
    receiver = Receiver(hook(*events), clock, httpx.MockTransport(program))
    sender = Sender(receiver, desk.shop.service.events, desk.writes, clock, jitter=lambda: 0.0)
    running = asyncio.create_task(sender.keep_sending())
    try:
        await clock.rest()
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await receiver.close()


async def pay(shop: Shop, account: str, key: str) -> None:
    await shop.service.money.top_up(account, 10 * EURO, key)


@pytest.fixture
async def two(shop: Shop, desk: Desk) -> None:
    """Anna and Bert, whose accounts were there before the endpoint."""
    anna = await shop.anna()
    await shop.service.accounts.add("bert", "light", anna.language)
    await desk.book.take("site")


async def test_a_new_endpoint_is_told_what_happens_from_then_on_once_each(
    shop: Shop, desk: Desk, program: Program
) -> None:
    await shop.anna()
    await pay(shop, "anna", "before")
    async with sending(desk, program):
        assert program.got == []
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(5)
    assert [what for _, _, what in program.got] == [TOP_UPS]
    async with sending(desk, program):
        await shop.clock.advance(5)
    assert len(program.got) == 1


async def test_only_the_types_that_the_settings_name_are_sent(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    async with sending(desk, program, "credit.corrected"):
        await pay(shop, "anna", "a-1")
        await shop.service.money.correct("anna", 1 * EURO, "a gift", "k")
        await shop.clock.advance(5)
    assert [what for _, _, what in program.got] == ["credit.corrected"]


@pytest.mark.parametrize("status", AWAY)
async def test_while_the_receiver_is_away_all_waits_and_comes_in_order(
    shop: Shop, desk: Desk, program: Program, two: None, status: int
) -> None:
    program.answer = lambda _account: status
    async with sending(desk, program, TOP_UPS):
        await pay(shop, "anna", "a-1")
        await pay(shop, "bert", "b-1")
        await shop.clock.advance(60)
        assert len(set(program.got)) == 1
        assert len(program.got) == 4, "at once, and after 5, 10 and 20 seconds"
        assert desk.total("failed") == 4
        assert desk.behind_s >= 30
        program.answer = lambda _account: 204
        await shop.clock.advance(60)
        assert [account for _, account, _ in program.got[4:]] == ["anna", "bert"]
        assert desk.behind_s <= 21
        assert desk.total("taken") == 2
    assert await desk.letters() == []


async def test_a_receiver_that_cannot_be_reached_is_waited_for_however_long(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    """Also with what it has refused before."""

    def gone(_account: str) -> int:
        raise httpx.ConnectError("connection refused")

    program.answer = lambda account: 500 if account == "anna" else 200
    async with sending(desk, program, TOP_UPS):
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(3)
        program.answer = gone
        for account in ("bert", "anna"):
            await pay(shop, account, "later")
        await shop.clock.advance(2 * AWAY_TRIES * AWAY_WAIT_S)
        assert [(one.account, one.tries) for one in await desk.letters()] == [("anna", 1), ("anna", 0)]
        assert desk.behind_s >= AWAY_TRIES * AWAY_WAIT_S
        program.answer = lambda _account: 200
        await shop.clock.advance(AWAY_WAIT_S + 20)
        assert desk.total("taken") == 3
    assert await desk.letters() == []


async def test_what_a_receiver_fails_at_for_long_lets_the_others_pass(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    """A proxy says 502 if its program crashes over an event."""
    program.answer = lambda account: 502 if account == "anna" else 200
    async with sending(desk, program, TOP_UPS):
        await pay(shop, "anna", "a-1")
        await pay(shop, "bert", "b-1")
        await shop.clock.advance(AWAY_TRIES * AWAY_WAIT_S)
        assert len(program.of("bert")) == 1
        assert len(await desk.letters()) == 1


async def test_what_is_refused_is_tried_again_and_the_other_accounts_go_on_meanwhile(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    program.answer = lambda account: 500 if account == "anna" else 200
    async with sending(desk, program, TOP_UPS):
        for key in ("1", "2"):
            await pay(shop, "anna", f"a-{key}")
            await pay(shop, "bert", f"b-{key}")
        await shop.clock.advance(10)
        assert len(program.of("bert")) == 2
        assert len(set(program.of("anna"))) == 1, "the second waits for the first"
        program.answer = lambda _account: 200
        await shop.clock.advance(60)
        assert list(dict.fromkeys(program.of("anna"))) == sorted(set(program.of("anna")))
        assert len(set(program.of("anna"))) == 2
    assert await desk.letters() == []


async def test_a_redirect_is_a_refusal_and_is_not_followed(shop: Shop, desk: Desk, program: Program, two: None) -> None:
    program.answer = lambda _account: 302
    async with sending(desk, program, TOP_UPS):
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(2)
        assert len(program.got) == 1
        (letter,) = await desk.letters()
        assert letter.why == "it answered 302"


async def test_a_sender_that_is_killed_tells_again_with_the_same_ids_and_leaves_nothing_out(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    for number in range(4):
        await pay(shop, "anna", f"a-{number}")

    def dies_at_the_third(_account: str) -> int:
        if len(program.got) == 3:
            raise asyncio.CancelledError
        return 200

    program.answer = dies_at_the_third
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(1)
    program.answer = lambda _account: 200
    first = program.of("anna")
    assert len(first) == 3
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(5)
    again = program.of("anna")[3:]
    assert again[:3] == first
    assert len(again) == 4


@pytest.mark.parametrize("doomed", ["bury", "failed", "taken", "move"])
async def test_one_that_is_killed_before_or_after_any_write_leaves_nothing_out_and_keeps_the_order(
    shop: Shop, desk: Desk, program: Program, two: None, doomed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver refuses some times, then takes: each write of the book is come to, and the sender dies there, before
    it and after it, again and again."""
    refusals = dict.fromkeys(("anna", "bert"), 5)

    def answer(account: str) -> int:
        refusals[account] -= 1
        return 500 if refusals[account] >= 0 else 200

    program.answer = answer
    write = getattr(desk.book, doomed)
    deaths = iter([True, False, True, False])

    async def dies(*given: object, **named: object) -> object:
        before = next(deaths, None)
        if before is True:
            raise asyncio.CancelledError
        done = await write(*given, **named)
        if before is False:
            raise asyncio.CancelledError
        return done

    monkeypatch.setattr(desk.book, doomed, dies)
    for key in ("1", "2", "3"):
        await pay(shop, "anna", f"a-{key}")
        await pay(shop, "bert", f"b-{key}")
    for _ in range(12):
        async with sending(desk, program, TOP_UPS):
            await shop.clock.advance(60)
    for account in ("anna", "bert"):
        told = list(dict.fromkeys(program.of(account)))
        assert len(told) == 3, account
        assert told == sorted(told), "each is first told after those before it"
    assert next(deaths, None) is None, "it has died at each"
    assert await desk.letters() == []


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters wait for a minute at most."""
    monkeypatch.setattr(sending_webhooks, "LETTER_WAIT_S", 60)


async def dead_letters(shop: Shop, program: Program) -> None:
    """Two of Anna's, the second untried."""
    program.answer = lambda account: 400 if account == "anna" else 200
    for key in ("1", "2"):
        await pay(shop, "anna", f"a-{key}")
    await shop.clock.advance(20 * 60)


async def test_after_its_tries_a_letter_is_dead_until_someone_says_otherwise(
    shop: Shop, desk: Desk, program: Program, two: None, soon: None
) -> None:
    async with sending(desk, program, TOP_UPS):
        await dead_letters(shop, program)
        await pay(shop, "bert", "b-1")
        await shop.clock.advance(10)
        assert len(program.of("bert")) == 1
        assert len(program.of("anna")) == TRIES
        assert [(one.account, one.next_us, one.tries) for one in await desk.letters()] == [
            ("anna", None, TRIES),
            ("anna", 0, 0),
        ]
        assert (desk.report.dead, desk.report.waiting) == (1, 1)
        program.answer = lambda _account: 200
        await shop.clock.advance(5 * 60)
        assert len(program.of("anna")) == TRIES, "nothing is sent again without an order"
        assert await desk.book.resend("site", "", 100) == (2, None)
        await pay(shop, "anna", "a-3")
        await shop.clock.advance(60)
        places = [int(one.removeprefix("evt_")) for one in program.of("anna")[TRIES:]]
        assert len(places) == 3
        assert places == sorted(places)
        assert (desk.report.dead, desk.report.waiting) == (0, 0)
    assert await desk.letters() == []
    assert Act.WEBHOOK_RESENT in [one.change.act async for one in shop.service._changes.of_account("")]


async def test_a_dead_letter_that_is_dropped_lets_its_account_go_on(
    shop: Shop, desk: Desk, program: Program, two: None, soon: None
) -> None:
    async with sending(desk, program, TOP_UPS):
        await dead_letters(shop, program)
        program.answer = lambda _account: 200
        first, second = await desk.letters()
        dropped = await desk.book.drop("site", first.event)
        assert isinstance(dropped, Letter)
        refused(await desk.book.drop("site", first.event), Code.NOT_FOUND)
        await shop.clock.advance(60)
        assert program.of("anna")[TRIES:] == [message_id_of(second.event)]
    noted = [one.change async for one in shop.service._changes.of_account("anna")]
    (note,) = [one for one in noted if one.act == Act.WEBHOOK_DROPPED]
    assert note.after == {"webhook": "site", "event": first.event, "type": TOP_UPS}


async def test_gone_switches_it_off_until_someone_says_otherwise(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    program.answer = lambda _account: 410
    await pay(shop, "anna", "a-1")
    async with sending(desk, program):
        await shop.clock.advance(300)
        assert len(program.got) == 1
        endpoint = await desk.book.state("site")
        assert isinstance(endpoint, Endpoint)
        assert endpoint.off
        program.answer = lambda _account: 200
        await desk.book.resend("site", "", 100)
        await shop.clock.advance(60)
        assert program.got[1] == program.got[0]


async def test_of_two_daemons_one_sends_and_the_other_takes_over_when_it_has_died(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    other = Desk(shop, "two")
    async with sending(desk, program), sending(other, program):
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(3 * TURN_S)
        told = len(program.got)
        assert len(set(program.got)) == told == 1
        assert other.seen[-1] == (None, None)
    async with sending(other, program):
        await pay(shop, "anna", "a-2")
        await shop.clock.advance(2 * TURN_S)
    assert len(set(program.got)) == len(program.got) == 2


@pytest.mark.parametrize("apart_s", [-86_400, 0, 86_400])
async def test_whoever_waits_takes_the_turn_once_nothing_was_renewed_however_far_the_clocks_are_apart(
    shop: Shop, desk: Desk, two: None, apart_s: int
) -> None:
    other = Desk(shop, "two").book

    async def is_taken_by_the_other() -> bool:
        shop.clock.step_wall(apart_s)
        answer = await other.take("site")
        shop.clock.step_wall(-apart_s)
        return isinstance(answer, Endpoint)

    assert not await is_taken_by_the_other(), "it was not seen before"
    for number in range(5):
        await shop.clock.advance(TURN_S - 1)
        assert isinstance(await desk.book.move("site", f"{number + 1}", Report(1)), Endpoint)
        assert not await is_taken_by_the_other()
    await shop.clock.advance(TURN_S - 1)
    assert not await is_taken_by_the_other()
    await shop.clock.advance(1)
    assert await is_taken_by_the_other()
    assert isinstance(await desk.book.move("site", "9", Report(1)), Refused)


class Slow:
    """A program that answers when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, str, asyncio.Future[int]]] = []
        """Account, id, and the answer to come."""
        self.got: list[str] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        told, answer = json.loads(request.content), asyncio.get_running_loop().create_future()
        one = (told["data"]["account"], request.headers["webhook-id"], answer)
        self.waiting.append(one)
        self.got.append(one[0])
        try:
            return httpx.Response(await answer)
        finally:
            self.waiting.remove(one)

    def answer(self, account: str, status: int = 200) -> None:
        (answer,) = [answer for of, _, answer in self.waiting if of == account]
        answer.set_result(status)


async def several(shop: Shop, desk: Desk, accounts: int, each: int = 1) -> list[str]:
    """Accounts a00, a01, … with so many top-ups each, all after one another."""
    names = [f"a{number:02}" for number in range(accounts)]
    for name in names:
        await shop.service.accounts.add(name, "light")
    await desk.book.take("site")
    for number in range(each):
        for name in names:
            await pay(shop, name, f"{name}-{number}")
    return names


async def test_several_accounts_are_told_at_a_time_and_each_one_after_the_other(shop: Shop, desk: Desk) -> None:
    slow = Slow()
    names = await several(shop, desk, LANES + 2, each=2)
    async with sending(desk, slow, TOP_UPS):
        assert slow.got == names[:LANES]
        slow.answer("a03")
        await shop.clock.rest()
        assert slow.got[LANES:] == ["a03"], "its second"
        for _ in range(len(names)):
            for account, _, _ in list(slow.waiting):
                slow.answer(account)
            await shop.clock.advance(2)
    assert sorted(slow.got) == sorted([*names, *names])


async def test_one_that_hangs_is_told_again_and_nothing_is_left_out_if_its_sender_is_killed(
    shop: Shop, desk: Desk
) -> None:
    slow = Slow()
    await several(shop, desk, 3, each=2)
    async with sending(desk, slow, TOP_UPS):
        for name in ("a01", "a02", "a02"):
            slow.answer(name)
            await shop.clock.rest()
        await shop.clock.advance(2 * TURN_S)
    endpoint = await desk.book.state("site")
    assert isinstance(endpoint, Endpoint)
    program = Program()
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(5)
    for name in ("a00", "a01", "a02"):
        assert len(program.of(name)) == 2, "all again"
        assert program.of(name) == sorted(program.of(name))


async def test_while_the_receiver_is_away_one_is_tried_for_all_and_once_it_is_back_the_rest_is_told(
    shop: Shop, desk: Desk
) -> None:
    slow = Slow()
    names = await several(shop, desk, LANES)
    async with sending(desk, slow, TOP_UPS):
        for name in names:
            slow.answer(name, 503)
        for seconds in (5, 10, 20):
            await shop.clock.advance(seconds)
            assert [account for account, _, _ in slow.waiting] == names[:1]
            slow.answer(names[0], 503)
        await shop.clock.advance(40)
        before = shop.clock.now()
        for name in names:
            assert [account for account, _, _ in slow.waiting] == [name]
            slow.answer(name)
            await shop.clock.rest()
        assert shop.clock.now() == before, "nobody waits any more"
    assert slow.got == [*names, *names[:1] * 4, *names[1:]]
    assert await desk.letters() == []


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        *[("", 0), ("0", 0), ("7", 7), ("3600", 3600), ("3601", 3600), ("9" * 5000, 3600)],
        *[("-7", 0), ("1.5", 0), ("soon", 0), ("²", 0)],
        *[("Fri, 20 Nov 2026 12:00:30 GMT", 30), ("Fri, 20 Nov 2026 11:00:00 GMT", 0)],
        *[("Sat, 01 Jan 0001 00:00:00 +2359", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 3600)],
    ],
)
def test_how_long_a_receiver_asks_to_be_left_alone(retry_after: str, seconds: int) -> None:
    now_s = round(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp())
    assert wanted_s(retry_after, now_s) == seconds


async def test_a_receiver_that_asks_for_time_is_left_alone_for_it(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    program.retry_after = "600"
    for status in (503, 400):
        before = len(program.got)
        program.answer = lambda _account, status=status: status  # type: ignore[misc]
        async with sending(desk, program, TOP_UPS):
            await pay(shop, "anna", f"a-{status}")
            await shop.clock.advance(595)
            assert len(program.got) - before == 1
            program.answer = lambda _account: 200
            await shop.clock.advance(15)
            assert len(program.got) - before == 2


async def test_one_that_has_left_the_settings_is_shown_sent_nothing_and_can_be_dropped(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    program.answer = lambda _account: 400
    async with sending(desk, program, TOP_UPS):
        for number in range(3):
            await pay(shop, "anna", f"a-{number}")
        await shop.clock.advance(10)
    refused(await desk.book.forget("site", ""), Code.CONFLICT)
    assert await desk.book.former() == []
    later = Webhooks(shop.store, shop.clock, ["another"])
    assert await later.former() == ["site"]
    assert isinstance(await later.state("site"), Endpoint)
    assert "charging webhook forget site" in refused(await later.resend("site", "", 100), Code.CONFLICT).advice
    first, *_ = await desk.letters()
    assert isinstance(await later.drop("site", first.event), Letter)
    assert await later.forget("site", "") == (2, None)
    assert await desk.letters() == []
    assert await later.former() == []
    refused(await later.forget("site", ""), Code.NOT_FOUND)
    refused(await later.resend("site", "", 100), Code.NOT_FOUND)
    refused(await later.drop("site", first.event), Code.NOT_FOUND)


async def test_a_letter_that_a_clock_set_far_ahead_has_put_off_is_tried_all_the_same(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    program.answer = lambda _account: 400
    async with sending(desk, program):
        shop.clock.step_wall(30 * 86_400)
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(8)
        assert await desk.letters()
        shop.clock.step_wall(-30 * 86_400)
        program.answer = lambda _account: 200
        await shop.clock.advance(60)
        assert await desk.letters() == []


async def test_it_is_switched_on_though_its_sender_writes_meanwhile(
    shop: Shop, desk: Desk, program: Program, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.book.take("site")
    await desk.book.move("site", "1", Report(1), off=True)
    documents = shop.store.documents
    write = documents.update_document
    raced: list[Document] = []

    async def after_another(document: Document) -> bool:
        if not raced:
            raced.append(document)
            await desk.book.take("site")
        return await write(document)

    monkeypatch.setattr(documents, "update_document", after_another)
    await desk.book.resend("site", "", 100)
    assert raced
    endpoint = await desk.book.state("site")
    assert isinstance(endpoint, Endpoint)
    assert not endpoint.off


async def test_with_very_many_letters_the_stream_waits(
    shop: Shop, desk: Desk, program: Program, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_webhooks, "LETTERS_MAX", 3)
    program.answer = lambda _account: 400
    async with sending(desk, program, TOP_UPS):
        for number in range(5):
            await pay(shop, "anna", f"a-{number}")
            await shop.clock.advance(5)
        assert len(await desk.letters()) == 3
        await shop.clock.advance(60)
        assert desk.behind_s >= 60
        program.answer = lambda _account: 200
        await desk.book.resend("site", "", 100)
        await shop.clock.advance(60)
    assert len(set(program.of("anna"))) == 5
    assert list(dict.fromkeys(program.of("anna"))) == sorted(set(program.of("anna")))


async def test_what_was_archived_is_passed_over_and_the_log_says_so(
    shop: Shop, desk: Desk, program: Program, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pay(shop, "anna", "a-1")
    await pay(shop, "bert", "b-1")
    seen = MemoryFeed.read_feed

    async def gone(feed: MemoryFeed, after: int, limit: int) -> object:
        found = await seen(feed, after, limit)
        return [replace(one, found=None) if one.account == "anna" else one for one in found]

    monkeypatch.setattr(MemoryFeed, "read_feed", gone)
    endpoint = await desk.book.state("site")
    assert isinstance(endpoint, Endpoint)
    refused(await shop.service.events.of_all(endpoint.begins, 10), Code.ARCHIVED)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(5)
    assert [account for _, account, _ in program.got] == ["bert"]


async def test_a_letter_that_cannot_be_read_hides_none_of_the_others(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    program.answer = lambda _account: 400
    async with sending(desk, program, TOP_UPS):
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(3)
    await shop.store.documents.put_document(LETTERS, "site/0000000000000001.000000", "{}")
    assert len(await desk.letters()) == 1
    assert await desk.book.resend("site", "", 100) == (1, None)


def test_the_settings_know_each_type_of_events() -> None:
    assert list(get_args(EventType)) == [one.value for one in What]


def test_an_id_has_no_dot() -> None:
    assert message_id(Event(12, What.CALL_REFUSED, "anna", 1, {}, 3)) == "evt_12_3"


def test_a_sample_is_no_event() -> None:
    assert json.loads(sample(1))["type"] == "webhook.test"
    assert "webhook.test" not in set(What)
