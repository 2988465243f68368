"""Nothing is lost, nothing is sent by two at once, nothing is kept for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.clock import MICROSECONDS
from charging.ledger.memory import MemoryDocuments
from charging.notify.model import Facts, LowCredit, LowFreeMinutes, MissedCall, Notice, NoticeKind
from charging.notify.outbox import CLAIM_S, COLLECTION, KEPT_S, UNREADABLE_AGAIN_S, Outbox, State
from charging.notify.samples import samples
from tests.fakes.clock import START_WALL_US as NOW
from tests.unit.notify.factories import make_notice

CLAIM_US = CLAIM_S * MICROSECONDS
KEPT_US = KEPT_S * MICROSECONDS


@pytest.mark.parametrize("kind", NoticeKind)
def test_a_notice_comes_back_from_json_equal(kind: NoticeKind) -> None:
    for facts in samples(kind):
        notice = make_notice(kind=kind, facts=facts)
        assert Notice.from_json(notice.to_json()) == notice


@pytest.mark.parametrize(
    ("kind", "plain", "facts"),
    [
        (
            "low-credit",
            '{"credit":200000,"free_seconds_left":0,"can_forward":false,"paid_voicemail":true}',
            LowCredit(200_000, 0, can_forward=False, paid_voicemail=True),
        ),
        (
            "low-free-minutes",
            '{"month":"2026-11","free_seconds_left":0,"credit":200000,"paid_voicemail":true}',
            LowFreeMinutes("2026-11", 0, 200_000, paid_voicemail=True),
        ),
        (
            "missed-call",
            '{"number":"+31851234567","caller":"","at":"2026-11-21T14:05","credit":0,"topped_up":false}',
            MissedCall("+31851234567", "", "2026-11-21T14:05", 0),
        ),
    ],
)
def test_a_notice_that_an_older_version_stored_is_read(kind: str, plain: str, facts: Facts) -> None:
    notice = make_notice(kind=NoticeKind(kind), facts=facts)
    head = '{"id":"low-credit/top-up/1","kind":"%s","account":"anna","language":"nl","address":"anna@example.nl",'
    assert Notice.from_json(head % kind + f'"at_us":{NOW},"facts":{plain}}}') == notice


async def test_a_notice_is_taken_in_once(outbox: Outbox) -> None:
    assert await outbox.put(make_notice())
    assert not await outbox.put(make_notice(at_us=NOW + 1))
    assert await outbox.put(make_notice(account="bob")), "another account's crossing of the same name"
    assert len(await outbox.claim(NOW, 10)) == 2


async def test_a_claimed_notice_is_nobody_elses_until_the_claim_ends(outbox: Outbox) -> None:
    await outbox.put(make_notice())
    (entry,) = await outbox.claim(NOW, 10)
    assert entry.notice == make_notice()
    assert await outbox.claim(NOW + CLAIM_US - 1, 10) == []
    (again,) = await outbox.claim(NOW + CLAIM_US, 10)
    assert again.notice == entry.notice
    assert not await outbox.sent(entry, NOW), "the first claim is over"
    assert await outbox.sent(again, NOW)


async def test_a_sent_notice_is_not_due_is_remembered_and_then_forgotten(outbox: Outbox) -> None:
    await outbox.put(make_notice())
    (entry,) = await outbox.claim(NOW, 10)
    await outbox.sent(entry, NOW)
    assert await outbox.purge(NOW + KEPT_US - 1, 10) == 0
    assert not await outbox.put(make_notice())
    assert await outbox.claim(NOW + KEPT_US, 10) == [], "out is out"
    assert await outbox.purge(NOW + KEPT_US, 10) == 2, "the notice, and that it was sent"
    assert await outbox.entries() == []


async def test_a_failed_attempt_is_counted_and_waits(outbox: Outbox) -> None:
    await outbox.put(make_notice())
    (entry,) = await outbox.claim(NOW, 10)
    assert await outbox.failed(entry, NOW + 60, "451 later")
    assert await outbox.claim(NOW + 59, 10) == []
    (again,) = await outbox.claim(NOW + 60, 10)
    assert (again.attempts, again.why) == (1, "451 later")


async def test_what_was_let_go_keeps_its_count(outbox: Outbox) -> None:
    await outbox.put(make_notice())
    (entry,) = await outbox.claim(NOW, 10)
    await outbox.let_go(entry, NOW)
    (again,) = await outbox.claim(NOW, 10)
    assert again.attempts == 0


async def test_what_was_given_up_is_kept_with_its_reason(outbox: Outbox) -> None:
    await outbox.put(make_notice())
    (entry,) = await outbox.claim(NOW, 10)
    await outbox.give_up(entry, NOW, "550 no such user" * 100)
    (kept,) = await outbox.entries()
    assert (kept.state, kept.attempts, len(kept.why)) == (State.GIVEN_UP, 1, 500)
    assert await outbox.claim(NOW + KEPT_US, 10) == []


async def test_purge_leaves_what_still_waits(outbox: Outbox) -> None:
    await outbox.put(make_notice())
    assert await outbox.purge(NOW + 10 * KEPT_US, 10) == 0
    assert len(await outbox.claim(NOW, 10)) == 1


async def test_the_most_overdue_go_first_and_no_more_than_asked(outbox: Outbox) -> None:
    for second in (3, 1, 2):
        await outbox.put(make_notice(f"missed-call/{second}", NoticeKind.MISSED_CALL, at_us=NOW + second))
    entries = await outbox.claim(NOW + 3, 2)
    assert [entry.notice.id for entry in entries] == ["missed-call/1", "missed-call/2"]


@pytest.mark.parametrize("body", ["{", "[]", '{"state": "waiting"}', '{"notice": "{}"}', "7"])
async def test_what_cannot_be_read_is_in_nobodys_way(documents: MemoryDocuments, outbox: Outbox, body: str) -> None:
    await documents.put_document(COLLECTION, "a/later-version", body, NOW - 1)
    await outbox.put(make_notice())
    assert await outbox.purge(NOW, 10) == 0
    assert [entry.notice for entry in await outbox.claim(NOW, 10)] == [make_notice()]
    kept = await documents.get_document(COLLECTION, "a/later-version")
    assert kept is not None
    assert (kept.body, kept.due_us) == (body, NOW + UNREADABLE_AGAIN_S * MICROSECONDS)


async def test_two_daemons_share_what_is_due(documents: MemoryDocuments) -> None:
    outboxes = Outbox(documents), Outbox(documents)
    for number in range(10):
        await outboxes[0].put(make_notice(f"missed-call/{number}", NoticeKind.MISSED_CALL))
    first = await outboxes[0].claim(NOW, 6)
    second = await outboxes[1].claim(NOW, 6)
    assert len(first) + len(second) == 10
    assert {one.notice.id for one in first} & {one.notice.id for one in second} == set()
    stale = replace(second[0], document=replace(second[0].document, version=1))
    assert not await outboxes[1].sent(stale, NOW)
