"""The worker against a real server that refuses, stalls, hangs up in mid-mail and goes away: nothing is lost, and what
holds up the mail holds up nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from charging.lab.ports import free_port
from charging.ledger.memory import MemoryDocuments
from charging.notify.model import NoticeKind
from charging.notify.outbox import Outbox, State
from charging.notify.render import Operator, Templates
from charging.notify.smtp import Smtp
from charging.notify.worker import Worker
from tests.fakes.clock import FakeClock
from tests.integration.smtp_server import Mailbox, mail_server
from tests.unit.notify.factories import make_mail, make_notice

A, B, C = "a@example.nl", "b@example.nl", "c@example.nl"
TIMEOUT_S, TURNS = 60, 5


class Post:
    """A worker, its outbox, and a server that may or may not be there."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.mailbox = Mailbox()
        self.port = free_port()
        self.outbox = Outbox(MemoryDocuments())
        mail = make_mail(host="127.0.0.1", port=self.port, timeout_s=str(TIMEOUT_S))
        words = Templates(Operator("Example", "https://www.voice.example/"))
        self.worker = Worker(self.outbox, words, mail, lambda: Smtp(mail), clock)

    async def put(self, *addresses: str) -> None:
        for address in addresses:
            await self.outbox.put(make_notice(f"missed-call/{address}", NoticeKind.LOW_CREDIT, address=address))

    async def states(self) -> dict[str, State]:
        return {entry.notice.address: entry.state for entry in await self.outbox.entries()}

    async def turn_later(self) -> None:
        await self.clock.advance(3600)
        await self.worker.turn()

    @asynccontextmanager
    async def time_passes_where_it_stalls(self, patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        """Each time that the server has fallen silent, and whoever else lives on the loop has had his turn again and
        again, the deadline for it has passed: a busy machine takes the time of no other step."""
        loop = asyncio.get_running_loop()
        real, ahead_s, over = loop.time, 0.0, 0
        patch.setattr(loop, "time", lambda: real() + ahead_s)

        async def live() -> None:
            nonlocal ahead_s, over
            while True:
                await asyncio.sleep(0.01)
                if self.mailbox.stalls > over:
                    for _ in range(TURNS):
                        await asyncio.sleep(0.01)
                    ahead_s, over = ahead_s + TIMEOUT_S, over + 1

        task = asyncio.create_task(live())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert over == self.mailbox.stalls, "nobody else held the loop until the deadline"


@pytest.fixture
def post(clock: FakeClock) -> Post:
    return Post(clock)


async def test_a_server_that_was_down_gets_everything_when_it_is_back(post: Post) -> None:
    await post.put(A, B, C)
    await post.worker.turn()
    await post.turn_later()
    assert set((await post.states()).values()) == {State.WAITING}
    with mail_server(post.mailbox, port=post.port):
        await post.turn_later()
    assert post.mailbox.recipients == [A, B, C]
    assert set((await post.states()).values()) == {State.SENT}
    assert post.mailbox.greetings == 1


async def test_refusals_for_now_and_for_good(post: Post) -> None:
    await post.put(A, B, C)
    post.mailbox.at_rcpt = {A: "451 4.2.1 greylisted", B: "550 5.1.1 no such user"}
    with mail_server(post.mailbox, port=post.port):
        await post.worker.turn()
        assert await post.states() == {A: State.WAITING, B: State.GIVEN_UP, C: State.SENT}
        post.mailbox.at_rcpt = {}
        await post.turn_later()
    assert post.mailbox.recipients == [C, A]


@pytest.mark.parametrize("step", ["at_rcpt", "at_data"])
async def test_hung_up_in_mid_mail(post: Post, step: str) -> None:
    await post.put(A, B, C)
    getattr(post.mailbox, step)[B] = "drop"
    with mail_server(post.mailbox, port=post.port):
        await post.worker.turn()
        assert await post.states() == {A: State.SENT, B: State.WAITING, C: State.WAITING}
        await post.turn_later()
        setattr(post.mailbox, step, {})
        await post.turn_later()
    assert sorted(post.mailbox.recipients) == [A, B, C]
    assert set((await post.states()).values()) == {State.SENT}


@pytest.mark.parametrize("step", ["at_rcpt", "at_data"])
async def test_stalled_in_mid_mail(post: Post, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    await post.put(A, B)
    getattr(post.mailbox, step)[A] = "stall"
    with mail_server(post.mailbox, port=post.port):
        async with post.time_passes_where_it_stalls(monkeypatch):
            await post.worker.turn()
        assert await post.states() == {A: State.WAITING, B: State.WAITING}
        setattr(post.mailbox, step, {})
        await post.turn_later()
    assert sorted(post.mailbox.recipients) == [A, B]


@pytest.mark.parametrize("step", ["at_rcpt", "at_data"])
@pytest.mark.parametrize("answer", ["stall", "drop", "421 4.7.0 too many errors"])
async def test_one_that_the_server_falls_silent_over_holds_up_no_mail_of_others(
    post: Post, monkeypatch: pytest.MonkeyPatch, step: str, answer: str
) -> None:
    """As a server does that looks the recipient's domain up, whose name servers may be a customer's own."""
    slow = make_notice(f"missed-call/{A}", NoticeKind.LOW_CREDIT, account="a", address="x@slow.example")
    await post.outbox.put(slow)
    await post.put(B, C)
    setattr(post.mailbox, step, {"x@slow.example": answer})
    with mail_server(post.mailbox, port=post.port):
        async with post.time_passes_where_it_stalls(monkeypatch):
            await post.worker.turn()
    assert await post.states() == {"x@slow.example": State.WAITING, B: State.SENT, C: State.SENT}


async def test_a_server_that_says_goodbye_is_left_and_found_again(post: Post) -> None:
    await post.put(A, B)
    post.mailbox.at_rcpt = {A: "421 4.3.2 shutting down"}
    with mail_server(post.mailbox, port=post.port):
        await post.worker.turn()
        assert await post.states() == {A: State.WAITING, B: State.WAITING}
        attempts = {entry.notice.address: entry.attempts for entry in await post.outbox.entries()}
        assert attempts == {A: 1, B: 0}, "who was not tried is not counted"
        post.mailbox.at_rcpt = {}
        await post.turn_later()
    assert sorted(post.mailbox.recipients) == [A, B]


async def test_a_notice_whose_fate_is_unknown_comes_again_under_the_same_id(post: Post) -> None:
    """The server takes the mail and dies before it says so."""
    await post.put(A)
    post.mailbox.at_data = {A: "drop"}
    with mail_server(post.mailbox, port=post.port):
        await post.worker.turn()
        post.mailbox.at_data = {}
        await post.turn_later()
        await post.turn_later()
    (got,) = post.mailbox.got
    (entry,) = await post.outbox.entries()
    assert entry.attempts == 2
    assert str(got["Message-ID"]).endswith("@voice.example>")
