"""The worker empties the outbox: in bounded turns, patiently, and whatever fails."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest

from charging.clock import MICROSECONDS
from charging.errors import LedgerUnavailable
from charging.ledger.documents import Document
from charging.ledger.memory import MemoryDocuments
from charging.notify.model import NoticeKind
from charging.notify.outbox import CLAIM_S, KEPT_S, Entry, Outbox, State
from charging.notify.render import Operator, Templates
from charging.notify.smtp import Fate, MailServerTrouble, Smtp, Verdict
from charging.notify.worker import BATCH_MAX, BATCH_S, POLL_S, TROUBLES_MAX, Worker
from tests.fakes.clock import FakeClock, running, settle
from tests.unit.notify.factories import make_mail, make_notice

SENT = Verdict(Fate.SENT)
LATER = Verdict(Fate.LATER, "451 later")
NEVER = Verdict(Fate.NEVER, "550 no such user")
TROUBLE = "connection refused"


class FakeSmtp(Smtp):
    """Plays a server: answers by address; counts what it was asked."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.answers: dict[str, Verdict | str] = {}
        """By recipient; a text is trouble."""
        self.down = False
        self.slow_s = 0
        self.opened = self.closed = self.reopened = 0
        self.got: list[str] = []
        self.ids: list[str] = []

    async def open(self) -> None:
        self.opened += 1
        if self.down:
            raise MailServerTrouble(TROUBLE)

    async def reopen(self) -> None:
        self.reopened += 1
        if self.down:
            raise MailServerTrouble(TROUBLE)

    async def send(self, message: EmailMessage) -> Verdict:
        to = str(message["To"])
        self.got.append(to)
        self.ids.append(str(message["Message-ID"]))
        self.clock._move_to(self.clock.now().mono_us + self.slow_s * MICROSECONDS)
        answer = self.answers.get(to, SENT)
        if isinstance(answer, str):
            raise MailServerTrouble(answer)
        return answer

    async def close(self) -> None:
        self.closed += 1


class Post:
    """A worker, its outbox and its server."""

    def __init__(self, clock: FakeClock, templates: Path | None = None, **mail: object) -> None:
        self.clock = clock
        self.documents = MemoryDocuments()
        self.outbox = Outbox(self.documents)
        self.server = FakeSmtp(clock)
        self.told: list[tuple[str, str]] = []
        words = Templates(Operator("Example", "https://www.voice.example/"), templates)
        self.worker = Worker(self.outbox, words, make_mail(**mail), lambda: self.server, clock, self)

    def notice(self, kind: str, result: str) -> None:
        self.told.append((kind, result))

    def mail_server(self, up: bool) -> None:
        self.told.append(("server", "up" if up else "down"))

    async def put(self, *addresses: str) -> None:
        for address in addresses:
            account = address.partition("@")[0]
            notice = make_notice(f"missed-call/{address}", NoticeKind.LOW_CREDIT, address=address)
            await self.outbox.put(replace(notice, account=account))

    async def entry(self, address: str) -> Entry:
        return next(one for one in await self.outbox.entries() if one.notice.address == address)

    async def wait_of(self, address: str) -> float:
        due_us = (await self.entry(address)).document.due_us
        assert due_us is not None
        return (due_us - self.clock.now().wall_us) / MICROSECONDS

    def running(self) -> AbstractAsyncContextManager[None]:
        return running(self.worker.run(), "worker")


@pytest.fixture
def post(clock: FakeClock) -> Post:
    return Post(clock)


A, B, C = "a@example.nl", "b@example.org", "c@example.com"


async def test_a_batch_goes_over_one_connection_oldest_first(post: Post) -> None:
    await post.put(B, A, C)
    assert not await post.worker.turn()
    assert post.server.got == [A, B, C]
    assert (post.server.opened, post.server.closed) == (1, 1)
    assert {(await post.entry(one)).state for one in (A, B, C)} == {State.SENT}
    assert post.told == [("low-credit", "sent")] * 3 + [("server", "up")]


async def test_without_mail_nobody_bothers_the_server(post: Post) -> None:
    assert not await post.worker.turn()
    assert post.server.opened == 0


async def test_one_that_is_refused_holds_up_no_other(post: Post) -> None:
    await post.put(A, B, C)
    post.server.answers = {A: LATER, B: NEVER}
    await post.worker.turn()
    assert post.server.got == [A, B, C]
    assert [(await post.entry(one)).state for one in (A, B, C)] == [State.WAITING, State.GIVEN_UP, State.SENT]
    assert (await post.entry(B)).why == "550 no such user"
    assert post.told[:3] == [("low-credit", "later"), ("low-credit", "never"), ("low-credit", "sent")]


async def test_waits_double_up_to_the_ceiling(clock: FakeClock) -> None:
    post = Post(clock, retry_first_s=60, retry_most_s=200)
    await post.put(A)
    post.server.answers = {A: LATER}
    waits = []
    for _ in range(4):
        await post.worker.turn()
        waits.append(await post.wait_of(A))
        await clock.advance(waits[-1])
    assert waits == [60, 120, 200, 200]


async def test_one_that_keeps_being_refused_is_given_up_when_it_is_old(clock: FakeClock) -> None:
    post = Post(clock, retry_first_s=60, retry_most_s=60, give_up_after_h=1)
    await post.put(A)
    post.server.answers = {A: LATER}
    for _ in range(60):
        await post.worker.turn()
        assert (await post.entry(A)).state is State.WAITING
        await clock.advance(60)
    await post.worker.turn()
    assert (await post.entry(A)).state is State.GIVEN_UP


async def test_one_that_only_waited_for_the_server_is_tried_however_old(clock: FakeClock) -> None:
    post = Post(clock, give_up_after_h=1)
    await post.put(A)
    post.server.down = True
    await post.worker.turn()
    await clock.advance(100 * 3600)
    post.server.down = False
    post.server.answers = {A: LATER}
    await post.worker.turn()
    assert ((await post.entry(A)).state, (await post.entry(A)).attempts) == (State.WAITING, 1)


async def test_a_server_that_is_down_is_left_alone_and_nobody_is_blamed(clock: FakeClock, post: Post) -> None:
    await post.put(A, B)
    post.server.down = True
    await post.worker.turn()
    assert [(await post.entry(one)).attempts for one in (A, B)] == [0, 0]
    assert await post.wait_of(A) == 0, "another daemon may reach the server"
    await post.put(C)
    await clock.advance(59)
    await post.worker.turn()
    assert post.server.opened == 1
    await clock.advance(1)
    post.server.down = False
    await post.worker.turn()
    assert post.server.got == [A, B, C]
    assert [one for one in post.told if one[0] == "server"] == [("server", "down"), ("server", "up")]


async def test_a_server_that_stays_down_is_asked_ever_more_seldom(clock: FakeClock) -> None:
    post = Post(clock, retry_first_s=10, retry_most_s=40)
    await post.put(A)
    post.server.down = True
    asked: list[int] = []
    for second in range(200):
        await post.worker.turn()
        asked += [second] * (post.server.opened - len(asked))
        await clock.advance(1)
    assert asked == [0, 10, 30, 70, 110, 150, 190]


async def test_a_connection_lost_in_mid_mail_costs_that_mail_an_attempt_and_the_others_nothing(post: Post) -> None:
    await post.put(A, B, C)
    post.server.answers = {B: "lost in mid-mail"}
    await post.worker.turn()
    assert post.server.got == [A, B, C]
    assert [(await post.entry(one)).attempts for one in (A, B, C)] == [1, 1, 1]
    assert [(await post.entry(one)).state for one in (A, B, C)] == [State.SENT, State.WAITING, State.SENT]
    assert (await post.entry(B)).why == "lost in mid-mail"
    assert (post.server.opened, post.server.reopened, post.server.closed) == (1, 1, 1)
    assert post.told[-1] == ("server", "up"), "it took the others"


async def test_where_the_server_is_gone_after_a_lost_mail_the_others_wait_for_it(clock: FakeClock, post: Post) -> None:
    await post.put(A, B, C)
    post.server.answers = {B: "lost in mid-mail"}

    async def gone() -> None:
        raise MailServerTrouble(TROUBLE)

    post.server.reopen = gone  # type: ignore[method-assign]
    assert not await post.worker.turn()
    assert post.server.got == [A, B]
    assert [(await post.entry(one)).attempts for one in (A, B, C)] == [1, 1, 0]
    assert await post.wait_of(C) == 0, "another daemon may reach the server"
    assert post.told[-1] == ("server", "down")
    await clock.advance(59)
    await post.worker.turn()
    assert post.server.opened == 1


@pytest.mark.parametrize("alike", ["b2@example.org", "b2@EXAMPLE.org", "b@voice.example"])
async def test_mails_of_an_account_or_domain_over_which_the_server_fell_silent_wait_together(
    clock: FakeClock, post: Post, alike: str
) -> None:
    """Each would take its half minute."""
    await post.put(B, alike, C)
    post.server.answers = {B: "lost in mid-mail"}
    await post.worker.turn()
    assert post.server.got == [B, C]
    assert [(await post.entry(one)).attempts for one in (B, alike)] == [1, 0]
    assert await post.wait_of(alike) == await post.wait_of(B) == 60
    await clock.advance(60)
    await post.worker.turn()
    assert post.server.got == [B, C, alike, B], "who was tried least often comes first"


async def test_a_turn_ends_after_some_such_mails_and_the_next_begins_with_others(post: Post) -> None:
    """However many there are: those of others wait for a minute or two."""
    bad = [f"bad{number:02}@slow{number:02}.example" for number in range(20)]
    post.server.answers = dict.fromkeys(bad, "lost in mid-mail")
    await post.put(*bad)
    assert await post.worker.turn(), "there is more to do"
    assert len(post.server.got) == TROUBLES_MAX
    assert await post.wait_of(bad[-1]) == 0
    while await post.worker.turn():
        pass
    assert sorted(post.server.got) == bad
    await post.clock.advance(60)
    await post.put(A)
    await post.worker.turn()
    assert post.server.got[len(bad)] == A, "it was never tried"


async def test_one_customers_slow_domain_delays_no_mail_of_others_for_long(clock: FakeClock, post: Post) -> None:
    """A missed call each quarter of an hour: the server waits for that domain's name servers until we hang up."""
    sent_after = []

    async def slow(message: EmailMessage) -> Verdict:
        if "slow.example" in str(message["To"]):
            clock._move_to(clock.now().mono_us + 30 * MICROSECONDS)
            raise MailServerTrouble("lost in mid-mail: no answer in time")
        sent_after.append((clock.now().mono_us - put_us) // MICROSECONDS)
        return SENT

    post.server.send = slow  # type: ignore[method-assign]
    async with post.running():
        for nth in range(24):
            for more in range(4):
                await post.put(f"slow{nth}-{more}@slow.example")
            put_us = clock.now().mono_us
            await post.put(f"honest{nth}@example.nl")
            post.worker.wake()
            await clock.advance(900)
    assert len(sent_after) == 24
    assert max(sent_after) <= 30 * TROUBLES_MAX


async def test_a_notice_sent_twice_is_recognisable(clock: FakeClock, post: Post) -> None:
    await post.put(A)
    post.server.answers = {A: "lost in mid-mail"}
    await post.worker.turn()
    post.server.answers = {}
    await clock.advance(60)
    await post.worker.turn()
    assert post.server.got == [A, A]
    assert len(set(post.server.ids)) == 1


async def test_a_turn_is_bounded_in_mails(post: Post) -> None:
    await post.put(*(f"n{number:03}@example.nl" for number in range(BATCH_MAX + 1)))
    assert await post.worker.turn(), "there is more to do"
    assert len(post.server.got) == BATCH_MAX
    assert not await post.worker.turn()
    assert len(post.server.got) == BATCH_MAX + 1


async def test_a_turn_is_bounded_in_time_within_its_claims(post: Post) -> None:
    await post.put(A, B, C)
    post.server.slow_s = BATCH_S - 1
    await post.worker.turn()
    assert post.server.got == [A, B]
    assert await post.wait_of(C) == 0
    assert BATCH_S + 120 < CLAIM_S, "the slowest last mail still ends within the claim"


async def test_a_template_that_is_broken_delays_the_mail_until_it_is_mended(clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / "nl").mkdir()
    (tmp_path / "nl/low-credit.txt").write_text("Subject: x\n\n{{ facts.nothing }}")
    post = Post(clock, tmp_path)
    await post.put(A)
    await post.worker.turn()
    assert "nothing" in (await post.entry(A)).why
    (tmp_path / "nl/low-credit.txt").unlink()
    await clock.advance(60)
    await post.worker.turn()
    assert (await post.entry(A)).state is State.SENT


async def test_an_address_that_is_none_is_given_up(post: Post) -> None:
    await post.put("a@b.nl\r\nBcc: all@example.nl")
    await post.worker.turn()
    assert post.server.got == []
    (entry,) = await post.outbox.entries()
    assert entry.state is State.GIVEN_UP


async def test_what_was_sent_long_ago_is_forgotten(clock: FakeClock, post: Post) -> None:
    await post.put(A)
    await post.worker.turn()
    await clock.advance(KEPT_S)
    await post.worker.turn()
    assert await post.outbox.entries() == []


# --- as a task ------------------------------------------------------------------------------------------------


async def test_it_wakes_when_something_is_put_in(post: Post) -> None:
    async with post.running():
        await post.put(A)
        post.worker.wake()
        await settle()
        assert post.server.got == [A]


async def test_it_finds_what_another_daemon_put_in(clock: FakeClock, post: Post) -> None:
    async with post.running():
        await post.put(A)
        await clock.advance(POLL_S)
        assert post.server.got == [A]


async def test_it_outlives_a_store_that_fails_and_faults_of_its_own(
    clock: FakeClock, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [RuntimeError("a fault"), LedgerUnavailable()]
    due = post.documents.due_documents

    async def failing(collection: str, now_us: int, limit: int) -> object:
        if faults:
            raise faults.pop()
        return await due(collection, now_us, limit)

    monkeypatch.setattr(post.documents, "due_documents", failing)
    async with post.running():
        await post.put(A)
        await clock.advance(3 * POLL_S)
        assert faults == []
        assert post.server.got == [A]


async def test_a_stopped_daemon_lets_go_of_what_it_did_not_try(post: Post) -> None:
    await post.put(A, B)
    gate = asyncio.Event()

    async def stuck(message: EmailMessage) -> Verdict:
        await gate.wait()
        return SENT

    post.server.send = stuck  # type: ignore[method-assign]
    async with post.running():
        pass
    assert await post.wait_of(A) == CLAIM_S, "whether it went out is unknown: it keeps its claim"
    assert await post.wait_of(B) == 0
    assert post.server.closed == 1


async def test_a_stopped_daemon_marks_what_is_out(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    await post.put(A, B)
    gate = asyncio.Event()
    update = post.documents.update_document

    async def slow(document: Document) -> bool:
        if post.server.got == [A]:
            await gate.wait()
        return await update(document)

    monkeypatch.setattr(post.documents, "update_document", slow)
    task = asyncio.create_task(post.worker.run(), name="worker")
    await settle()
    task.cancel()
    await settle()
    assert not task.done(), "the store is about to answer"
    gate.set()
    await asyncio.gather(task, return_exceptions=True)
    assert (await post.entry(A)).state is State.SENT
    assert await post.wait_of(B) == 0
    assert post.server.got == [A]


@pytest.mark.parametrize("write", ["put_document", "update_document"])
@pytest.mark.parametrize("before", [True, False])
async def test_what_the_server_took_is_told_once_though_the_daemon_is_killed_at_a_write(
    post: Post, monkeypatch: pytest.MonkeyPatch, write: str, before: bool
) -> None:
    await post.put(A)
    done = getattr(post.documents, write)
    deaths = [write]

    async def dies(*given: object) -> object:
        dead = bool(post.server.got and deaths and deaths.pop())
        if dead and before:
            raise asyncio.CancelledError
        answer = await done(*given)
        if dead:
            raise asyncio.CancelledError
        return answer

    monkeypatch.setattr(post.documents, write, dies)
    with pytest.raises(asyncio.CancelledError):
        await post.worker.turn()
    await post.clock.advance(CLAIM_S + 1)
    await post.worker.turn()
    assert (await post.entry(A)).state is State.SENT
    told = [json.loads(one.body) for one in await post.documents.list_documents("notice-results")]
    assert [(one["account"], one["notice"], one["kind"], one["sent"]) for one in told] == [
        ("a", f"missed-call/{A}", "low-credit", True)
    ]


async def test_what_is_given_up_is_told_and_what_is_to_be_tried_again_is_not(post: Post) -> None:
    post.server.answers = {A: NEVER, B: LATER}
    await post.put(A, B)
    await post.worker.turn()
    told = [json.loads(one.body) for one in await post.documents.list_documents("notice-results")]
    assert [(one["notice"], one["sent"]) for one in told] == [(f"missed-call/{A}", False)]


async def test_a_claim_that_was_lost_marks_nothing(post: Post) -> None:
    """A daemon that was frozen in mid-batch: another has meanwhile taken the notice over."""
    await post.put(A)
    (mine,) = await post.outbox.claim(post.clock.now().wall_us, 10)
    stored = await post.documents.get_document("notices", mine.notice.key)
    assert isinstance(stored, Document)
    await post.documents.update_document(stored)
    assert not await post.outbox.give_up(mine, post.clock.now().wall_us, "x")
    assert (await post.entry(A)).state is State.WAITING
