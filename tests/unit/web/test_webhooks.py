"""Webhooks: signed by the rules, at least once, in order for each account, letters."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import standardwebhooks

from charging.ledger.documents import Document
from charging.ledger.memory import MemoryFeed
from charging.service.changes import Act
from charging.service.events import Event, What
from charging.service.refusal import Code
from charging.service.webhooks import LETTERS, Endpoint, Letter, Report
from charging.web import webhooks as sending_webhooks
from charging.web.settings import EventType, signing_keys
from charging.web.signed_post import AWAY, message_id, sample, signature
from charging.web.webhooks import (
    AWAY_TRIES,
    AWAY_WAIT_S,
    LETTER_WAIT_S,
    TRIES,
    wait_s,
)
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop, refused
from tests.unit.web.webhook_desk import (
    KEYS,
    SECRET,
    TOP_UPS,
    Desk,
    Program,
    desk,
    message_id_of,
    pay,
    program,
    sending,
    two,
)

__all__ = ["desk", "program", "two"]


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
    assert Act.WEBHOOK_RESENT in [one.change.act async for one in shop.service._trail.of_account("")]


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
    noted = [one.change async for one in shop.service._trail.of_account("anna")]
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


def test_a_sample_is_no_event_and_says_if_it_is_a_sandboxs() -> None:
    plain, played = json.loads(sample(1)), json.loads(sample(1, sandbox=True))
    assert (plain["type"], plain["data"]) == ("webhook.test", {})
    assert played == plain | {"sandbox": True}
    assert "webhook.test" not in set(What)
