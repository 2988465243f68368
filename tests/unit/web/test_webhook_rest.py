"""Accounts whose events a receiver refuses: they hold up no others, however many accounts and events they are; few
letters are kept of each, and nothing is left out or out of order once they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.service.webhooks import TURN_S, Letter
from charging.web import webhook_lanes
from charging.web.webhook_lanes import LANE_EVENTS_MAX, PASSED_MAX
from charging.web.webhooks import Book
from tests.unit.service.conftest import Shop
from tests.unit.web.webhook_desk import TOP_UPS, Desk, Program, Slow, desk, pay, program, sending, several

__all__ = ["desk", "program"]

EACH_MAX = 3


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_lanes, "LETTERS_EACH_MAX", EACH_MAX)


def refusing(program: Program, *accounts: str) -> None:
    program.answer = lambda account: 404 if account in accounts else 200


def told(program: Program, account: str) -> list[str]:
    return list(dict.fromkeys(program.of(account)))


async def resent(desk: Desk, program: Program, seconds: int = 120) -> None:
    """The program is mended, and someone says so."""
    refusing(program)
    await desk.book.resend("site", "", 1_000)
    await desk.shop.clock.advance(seconds)


@pytest.mark.parametrize("each", [EACH_MAX - 1, EACH_MAX, EACH_MAX + 1, 3 + 3 * LANE_EVENTS_MAX])
async def test_an_account_whose_events_are_refused_has_few_letters_and_is_told_the_rest_once_they_are_taken(
    shop: Shop, desk: Desk, program: Program, each: int
) -> None:
    """The website has deleted that customer, or chokes on him."""
    (refused,) = await several(shop, desk, 1, each=each)
    await shop.service.accounts.add("bert", "light")
    refusing(program, refused)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(60)
        kept = await desk.letters()
        assert len(kept) == min(each, EACH_MAX)
        assert [one.rest for one in kept] == [False, False, True][: len(kept)]
        await pay(shop, "bert", "b-1")
        await shop.clock.advance(10)
        assert len(program.of("bert")) == 1
        assert desk.behind_s < 20, "what letters stand for is told, or has become one"
        await pay(shop, refused, "one-more")
        await shop.clock.advance(10)
        await resent(desk, program)
        assert await desk.letters() == []
        await pay(shop, refused, "at-last")
        await shop.clock.advance(10)
    assert (told(program, refused), len(told(program, refused))) == (sorted(told(program, refused)), each + 2)
    assert len(program.of("bert")) == 1


async def test_however_many_accounts_are_refused_the_others_are_told(shop: Shop, desk: Desk, program: Program) -> None:
    """Sixteen of them stopped everything."""
    refused = await several(shop, desk, PASSED_MAX + 2, each=EACH_MAX + LANE_EVENTS_MAX + 2)
    await shop.service.accounts.add("bert", "light")
    refusing(program, *refused)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(120)
        await pay(shop, "bert", "b-1")
        await shop.clock.advance(10)
        assert len(program.of("bert")) == 1
        assert len(await desk.letters()) == len(refused) * EACH_MAX
        await resent(desk, program, 300)
    for account in refused:
        ids = told(program, account)
        assert (ids, len(ids)) == (sorted(ids), EACH_MAX + LANE_EVENTS_MAX + 2)


async def test_from_half_of_all_letters_on_an_account_has_one(
    shop: Shop, desk: Desk, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_lanes, "LETTERS_MAX", 8)
    first, second = await several(shop, desk, 2)
    refusing(program, first, second)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(5)
        for number in range(5):
            await pay(shop, first, f"more-{number}")
        await shop.clock.advance(10)
        for number in range(5):
            await pay(shop, second, f"more-{number}")
        await shop.clock.advance(10)
        assert [(one.account, one.rest) for one in await desk.letters()] == [
            (first, False), (second, False), (first, False), (first, True), (second, True)
        ]  # fmt: skip
        await resent(desk, program)
    assert [len(told(program, one)) for one in (first, second)] == [6, 6]


async def test_once_as_many_letters_are_kept_as_there_may_be_the_stream_waits_and_keeps_its_turn(
    shop: Shop, desk: Desk, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver refuses everything."""
    monkeypatch.setattr(webhook_lanes, "LETTERS_MAX", 3)
    names = await several(shop, desk, 1)
    program.answer = lambda _account: 400
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(5)
        for number in range(4):
            name = f"b{number}"
            await shop.service.accounts.add(name, "light")
            await pay(shop, name, name)
            await shop.clock.advance(5)
            names.append(name)
        assert len(await desk.letters()) == 3
        await shop.clock.advance(1_000)
        tried, written = len(program.got), len(desk.seen)
        await shop.clock.advance(TURN_S)
        assert len(program.got) == tried, "the next try of a letter is later"
        assert len(desk.seen) > written
        assert desk.behind_s >= 60
        await resent(desk, program)
    assert [len(told(program, one)) for one in names] == [1] * len(names)


async def test_a_sender_that_is_killed_while_the_rest_is_told_leaves_nothing_out(
    shop: Shop, desk: Desk, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of its writes: the letter for the next event is there before the last one goes."""
    each = EACH_MAX + 4
    (refused,) = await several(shop, desk, 1, each=each)
    refusing(program, refused)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(60)
    refusing(program)
    await desk.book.resend("site", "", 100)
    for kept in ("bury", "taken") * 20:
        write = getattr(type(desk.book), kept)
        done: list[str] = []

        async def once(self: object, name: str, what: Letter | str, *, write=write, done=done) -> None:  # type: ignore[no-untyped-def]
            if done:
                raise LedgerUnavailable("killed")
            done.append(name)
            await write(self, name, what)

        with monkeypatch.context() as patched:
            patched.setattr(type(desk.book), kept, once)
            async with sending(desk, program, TOP_UPS):
                await shop.clock.advance(30)
        await shop.clock.advance(TURN_S + 1)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(3 * TURN_S)
    assert (told(program, refused), len(told(program, refused))) == (sorted(told(program, refused)), each)
    assert await desk.letters() == []


async def test_a_letter_for_the_rest_is_shown_dropped_with_it_and_what_comes_later_is_told(
    shop: Shop, desk: Desk, program: Program
) -> None:
    (refused,) = await several(shop, desk, 1, each=EACH_MAX + LANE_EVENTS_MAX + 9)
    refusing(program, refused)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(60)
        for one in await desk.letters():
            await desk.book.drop("site", one.event, rest=True)
        refusing(program)
        await shop.clock.advance(60)
        before = len(told(program, refused))
        await pay(shop, refused, "later")
        await shop.clock.advance(10)
    assert (before, len(told(program, refused))) == (1, 2)
    assert await desk.letters() == []


async def test_letters_of_before_their_bound_was_less_are_told_and_the_rest_behind_them(
    shop: Shop, desk: Desk, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_lanes, "LETTERS_EACH_MAX", 10)
    (refused,) = await several(shop, desk, 1, each=9)
    refusing(program, refused)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(60)
    assert len(await desk.letters()) == 9
    monkeypatch.setattr(webhook_lanes, "LETTERS_EACH_MAX", EACH_MAX)
    await shop.clock.advance(TURN_S + 1)
    async with sending(desk, program, TOP_UPS):
        for number in range(30):
            await pay(shop, refused, f"more-{number}")
        await shop.clock.advance(2 * TURN_S)
        assert [one.rest for one in await desk.letters()] == [False] * 9 + [True]
        await resent(desk, program)
    assert (told(program, refused), len(told(program, refused))) == (sorted(told(program, refused)), 39)


class _LongLook:
    """The book; while it is ``slow``, reading all letters takes until ``go``: there are thousands of them."""

    def __init__(self, book: Book) -> None:
        self._book, self.slow, self.inside, self.go = book, False, False, asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._book, name)

    async def letters(self, name: str) -> AsyncIterator[Letter]:
        async for one in self._book.letters(name):
            yield one
        if self.slow:
            self.inside = True
            await self.go.wait()


async def test_what_comes_while_the_last_letter_for_the_rest_goes_is_told(shop: Shop, desk: Desk) -> None:
    """It was looked for what follows it, and then waited for who looks at all letters: the stream goes on meanwhile."""
    account = "a00"
    await shop.service.accounts.add(account, "light")
    await desk.book.take("site")
    for number in range(EACH_MAX):
        await book_quietly(shop, account, f"a-{number}")
    book = _LongLook(desk.writes)
    desk.writes, slow = cast("Book", book), Slow()

    async def answer(status: int) -> None:
        for _ in range(100):
            if slow.waiting:
                break
            await shop.clock.advance(1)
        slow.answer(account, status)
        await shop.clock.rest()

    async with sending(desk, slow, TOP_UPS):
        await answer(404)
        await shop.clock.advance(10)
        assert [one.rest for one in await desk.letters()] == [False, False, True]
        await desk.book.resend("site", "", 100)
        await book_quietly(shop, account, "the last of the stream")
        for _ in range(EACH_MAX):
            await answer(200)
        while not slow.waiting:
            await shop.clock.advance(1)
        book.slow = True
        while not book.inside:
            await shop.clock.advance(1)
        await answer(200)
        await book_quietly(shop, account, "meanwhile")
        await shop.clock.advance(3)
        book.slow = False
        book.go.set()
        await shop.clock.rest()
        await answer(200)
        await shop.clock.advance(60)
    assert len(set(slow.ids(account))) == EACH_MAX + 2
    assert await desk.letters() == []


async def book_quietly(shop: Shop, account: str, key: str) -> None:
    """One line of the journal alone, as a call's end leaves."""
    now_us = shop.clock.now().wall_us
    await shop.store.apply(Transfer(f"top-up/{key}", account, Kind.TOP_UP, now_us, (Leg(CREDIT, 10_000_000),)))


async def test_one_poison_event_that_stands_for_the_rest_is_given_up_alone(
    shop: Shop, desk: Desk, program: Program
) -> None:
    each = EACH_MAX + LANE_EVENTS_MAX + 9
    (refused,) = await several(shop, desk, 1, each=each)
    refusing(program, refused)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(60)
        kept = await desk.letters()
        assert kept[-1].rest
        await desk.book.drop("site", kept[-1].event)
        await resent(desk, program)
        assert await desk.letters() == []
    ids = told(program, refused)
    assert (ids, len(ids)) == (sorted(ids), each - 1)


async def test_a_try_under_way_does_not_take_back_that_its_event_was_given_up(
    shop: Shop, desk: Desk, program: Program
) -> None:
    each = EACH_MAX + 3
    (refused,) = await several(shop, desk, 1, each=each)
    refusing(program, refused)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(60)
    (tried,) = [one for one in await desk.letters() if one.rest]
    await desk.book.drop("site", tried.event)
    await desk.book.failed("site", tried)
    refusing(program)
    await shop.clock.advance(TURN_S + 1)
    async with sending(desk, program, TOP_UPS):
        await resent(desk, program)
    assert (len(set(program.of(refused))), await desk.letters()) == (each - 1, [])


async def test_an_event_is_given_up_though_its_sender_writes_in_that_moment(
    shop: Shop, desk: Desk, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    (refused,) = await several(shop, desk, 1, each=EACH_MAX + 3)
    refusing(program, refused)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(60)
    (tried,) = [one for one in await desk.letters() if one.rest]
    noted = desk.book._changes.noted

    async def and_the_sender_writes(*of: Any, **more: Any) -> None:
        await noted(*of, **more)
        await desk.book.failed("site", tried)

    monkeypatch.setattr(desk.book._changes, "noted", and_the_sender_writes)
    await desk.book.drop("site", tried.event)
    assert [one.skipped for one in await desk.letters() if one.rest] == [True]
