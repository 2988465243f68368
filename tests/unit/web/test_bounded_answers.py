"""What a receiver answers costs no more than its first bytes, in whatever pieces it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from charging.web import signed_post
from charging.web.signed_post import ANSWER_BYTES, Kind, Receiver
from tests.fakes.ami import eventually
from tests.unit.service.conftest import Shop
from tests.unit.web.webhook_desk import hook

TAKEN = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class Site:
    """A receiver, and who is connected to it."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.url = ""
        self.came, self.left = 0, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) and self.answers:
                if b"content-length: 2" in head.lower():
                    await reader.readexactly(2)
                writer.write(self.answers.pop(0))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.left += 1
            writer.close()


@asynccontextmanager
async def site(*answers: bytes) -> AsyncIterator[Site]:
    made = Site(*answers)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield made


async def posted(shop: Shop, url: str, times: int) -> Sequence[signed_post.Failure | None]:
    receiver = Receiver(hook(url=url), shop.clock)
    try:
        return [await receiver.post("evt_1", b"{}") for _ in range(times)]
    finally:
        await receiver.close()


async def test_an_answer_that_ends_leaves_its_connection_for_the_next(shop: Shop) -> None:
    body = b"x" * (ANSWER_BYTES // 2)
    answer = TAKEN + b"Content-Length: %d\r\n\r\n" % len(body) + body
    async with site(answer, answer) as made:
        assert await posted(shop, made.url, 2) == [None, None]
    assert made.came == 1


async def test_answers_that_announce_another_are_not_read_without_end(shop: Shop) -> None:
    announced = b"HTTP/1.1 102 Processing\r\n\r\n"
    few, many = announced * 10, announced * (ANSWER_BYTES // len(announced) + 1)
    done = TAKEN + b"Content-Length: 0\r\n\r\n"
    async with site(few + done) as made:
        assert await posted(shop, made.url, 1) == [None]
    async with site(many + done) as made:
        (failure,) = await posted(shop, made.url, 1)
    assert failure is not None
    assert failure.kind is Kind.AWAY
    assert f"more than {ANSWER_BYTES} bytes" in failure.why


async def test_a_body_of_small_chunks_is_not_read_to_its_end(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken all the same: its status says so."""
    monkeypatch.setattr(signed_post, "BODY_S", 600)
    body = b"1\r\nx\r\n" * (ANSWER_BYTES // 6) + b"0\r\n\r\n"
    async with site(TAKEN + CHUNKED + body, TAKEN + CHUNKED + b"0\r\n\r\n") as made:
        assert await posted(shop, made.url, 2) == [None, None]
        assert made.came == 2, "the first connection was ended"
        await eventually(lambda: made.left == 2, "both have ended")
