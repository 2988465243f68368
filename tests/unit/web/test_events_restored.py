"""Who has read events is told that a restore has undone some of them, and neither misses nor doubles any."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, JournalLine, Kind, Leg
from charging.service.events import Line
from charging.web.routes import events as routes
from tests.fakes.ami import eventually
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop
from tests.unit.web.door import Door
from tests.unit.web.event_stream import Stream


@pytest.fixture
async def door(shop: Shop) -> Door:
    made = Door(shop.service, shop.store)
    await made.open()
    return made


@contextlib.asynccontextmanager
async def restored(shop: Shop) -> AsyncIterator[None]:
    """What happens within is undone: a copy from before it becomes the ledger."""
    assert isinstance(shop.store, MemoryStore)
    books, entries = copy.deepcopy(shop.store._books), list(shop.store.feed._entries)
    yield
    shop.store._books.clear()
    shop.store._books.update(books)
    shop.store.feed._entries[:] = entries
    await shop.clock.advance(60)


PATHS = pytest.mark.parametrize("path", ["/v1/events", "/v1/events?account=anna", "/v1/accounts/anna/events"])


def number_of(id: str) -> int:
    return int(re.split("[.-]", id)[0])


class Program:
    """Reads by the lines of docs/integrate.md, and has what it was told."""

    def __init__(self, door: Door, path: str) -> None:
        text = (Path(__file__).parents[3] / "docs" / "integrate.md").read_text(encoding="utf-8")
        (code,) = re.findall(r"```python\n(def new_events.*?)```", text, re.DOTALL)
        self._names: dict[str, Any] = {"undo_behind": self._undo_behind}
        exec(compile(code, "integrate.md", "exec"), self._names)
        self._door = door
        self._path, _, query = path.partition("?")
        self._mine = dict(parse_qsl(query))
        self.told: list[dict[str, Any]] = []
        self.undone: list[str] = []
        self.cursor = "0"

    def _undo_behind(self, after: str) -> None:
        self.undone.append(after)
        self.told = [one for one in self.told if number_of(one["id"]) <= number_of(after)]

    async def read(self) -> None:
        await asyncio.to_thread(self._read, asyncio.get_running_loop())

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        def get(path: str, params: dict[str, str]) -> httpx.Response:
            assert path == "/v1/events"
            asked = self._door.ask("read", "GET", self._path, params=params | self._mine)
            answer: httpx.Response = asyncio.run_coroutine_threadsafe(asked, loop).result(30)
            self.cursor = answer.json().get("cursor", self.cursor)
            return answer

        for event in self._names["new_events"](SimpleNamespace(get=get), self.cursor):
            self.told.append(event)

    def bought(self) -> list[str]:
        return [one["data"]["transfer"] for one in self.told if one["type"] == "credit.topped_up"]


@PATHS
@pytest.mark.parametrize("more", [0, 1, 2, 5])
async def test_a_reader_is_told_that_what_he_has_read_was_undone_and_neither_misses_nor_doubles(
    door: Door, shop: Shop, path: str, more: int
) -> None:
    await shop.anna()
    program = Program(door, path)
    await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    async with restored(shop):
        for number in range(2):
            await shop.service.money.top_up("anna", 10 * EURO, f"lost-{number}")
        await program.read()
    assert program.bought() == ["top-up/order-1", "top-up/lost-0", "top-up/lost-1"]
    for number in range(more):
        await shop.service.money.top_up("anna", 10 * EURO, f"new-{number}")
    await program.read()
    assert len(program.undone) == 1
    assert program.bought() == [f"top-up/{one}" for one in ("order-1", *(f"new-{number}" for number in range(more)))]
    await shop.service.money.top_up("anna", 10 * EURO, "last")
    await program.read()
    assert len(program.undone) == 1
    assert program.bought()[-1] == "top-up/last"
    assert len({one["id"] for one in program.told}) == len(program.told)


@PATHS
async def test_a_stream_that_goes_on_after_a_restore_says_so_and_goes_on_where_both_agree(
    door: Door, shop: Shop, path: str
) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    place, _, query = path.partition("?")
    async with restored(shop):
        open_all_along = Stream(door, {}, path=place, query=query)
        await open_all_along.begun()
        await shop.service.money.top_up("anna", 10 * EURO, "lost")
        await shop.clock.advance(routes.LOOK_S)
        await eventually(lambda: open_all_along.events[-1][2]["data"]["transfer"] == "top-up/lost", "it is told")
        seen = open_all_along.last_event_id
    await shop.service.money.top_up("anna", 10 * EURO, "new")
    again = Stream(door, {"last-event-id": seen}, path=place, query=query)
    await again.begun()
    await shop.clock.advance(routes.LOOK_S)
    for stream in (open_all_along, again):
        await eventually(lambda: '"top-up/new"' in str(stream.messages), "it goes on")  # noqa: B023  at once
        told = stream.events
        first = next(number for number, (_, what, _) in enumerate(told) if what == routes.RESET)
        id, _, reset = told[first]
        assert (reset["code"], reset["after"]) == ("rewound", id)
        bought = [told["data"]["transfer"] for _, what, told in told[first:] if what == "credit.topped_up"]
        assert bought[-1] == "top-up/new"
        assert "top-up/lost" not in bought
        await stream.leave()


async def test_a_stream_whose_cursor_was_archived_says_so_and_goes_on(door: Door, shop: Shop) -> None:
    """By the status 410 a browser's reader would stop for good."""
    await shop.anna()
    for number in range(3):
        await shop.service.money.top_up("anna", 10 * EURO, f"order-{number}")
    answer = await shop.service.events.page("anna", Line(), 9)
    assert isinstance(answer, tuple)
    ids = [one.id for one in answer[0]]
    lines = [line async for line in shop.store.journal("anna")]
    opening = JournalLine(2, "opening/2", "anna", Kind.OPENING, 1, (Leg(CREDIT, 20 * EURO),), None, "", "d")
    assert await shop.store.replace_head(opening, lines[:2])
    assert (await door("read", "GET", f"/v1/accounts/anna/events?after={ids[0]}", 410)).json()["after"] == "2"
    stream = Stream(door, {"last-event-id": ids[0]})
    await stream.begun()
    await eventually(lambda: len(stream.events) > 1, "it goes on")
    (after, what, reset), (id, _, _) = stream.events
    assert (after, what, reset["code"], id) == ("2", routes.RESET, "archived", ids[2])
    await stream.leave()
