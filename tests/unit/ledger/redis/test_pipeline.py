"""Whoever asks is answered, whatever becomes of those that travel along."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from charging.errors import LedgerCorrupt, LedgerUnavailable
from charging.ledger.redis import pipeline
from charging.ledger.redis.pipeline import Command, Pipelines
from tests.fakes.clock import settle


async def answers_of(pipelines: Pipelines, *asked: list[Command]) -> list[Any]:
    """What each was answered or refused with; one that is never answered fails the test at once."""
    tasks = [asyncio.create_task(pipelines.ask(commands)) for commands in asked]
    await settle()
    assert [task.done() for task in tasks] == [True] * len(tasks)
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def packed(commands: list[Command]) -> list[Any]:
    """A server that echoes; what cannot be packed is a fault, as in hiredis."""
    return [b" ".join(str(word).encode() for word in command) for command in commands]


async def test_fault_over_one_request_is_told_to_all_that_travel_with_it() -> None:
    pipelines = Pipelines(packed)
    with capture_logs() as logs:
        found = await answers_of(pipelines, [("SET", "x", "\ud800")], [("GET", "y")])
    assert [type(one) for one in found] == [LedgerUnavailable] * 2
    assert all("UnicodeEncodeError" in str(one) and isinstance(one.__cause__, UnicodeEncodeError) for one in found)
    assert [(one["event"], one["log_level"], one["requests"]) for one in logs] == [("redis_batch_failed", "error", 2)]
    assert isinstance(logs[0]["exc_info"], UnicodeEncodeError)


async def test_requests_after_a_fault_are_carried_out() -> None:
    pipelines = Pipelines(packed)
    await answers_of(pipelines, [("SET", "x", "\ud800")])
    assert await answers_of(pipelines, [("GET", "y"), ("GET", "z")]) == [[b"GET y", b"GET z"]]
    await pipelines.close()


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_as_many_answers_as_commands_or_none_is_believed(count: int) -> None:
    async def miscounting(commands: list[Command]) -> list[Any]:
        return [b"OK"] * count

    found = await answers_of(Pipelines(miscounting), [("GET", "x")], [("GET", "y")])
    assert [type(one) for one in found] == [LedgerUnavailable] * 2


async def test_error_of_the_ledger_keeps_its_kind() -> None:
    async def corrupt(commands: list[Command]) -> list[Any]:
        raise LedgerCorrupt("x")

    with capture_logs() as logs:
        found = await answers_of(Pipelines(corrupt), [("GET", "x")], [("GET", "y")])
    assert [(type(one), str(one)) for one in found] == [(LedgerCorrupt, "x")] * 2
    assert logs == [], "it is told where it is met"


async def test_a_connection_that_somebody_else_closed_leaves_no_request_unanswered() -> None:
    """Streams raise CancelledError for that, though nobody has cancelled: the task ended, and its requests waited for
    ever, the lease's too."""
    asked = []

    async def closed_once(commands: list[Command]) -> list[Any]:
        asked.append(commands)
        if len(asked) == 1:
            raise asyncio.CancelledError
        return await packed(commands)

    pipelines = Pipelines(closed_once)
    (found,) = await answers_of(pipelines, [("GET", "x")])
    assert isinstance(found, LedgerUnavailable)
    assert await answers_of(pipelines, [("GET", "y")]) == [[b"GET y"]]


async def test_who_is_asked_and_never_answers_is_waited_for_so_long_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "ANSWER_S", 0.01)

    async def silent(_commands: list[Command]) -> list[Any]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(LedgerUnavailable, match="has not answered"):
        await Pipelines(silent).ask([("GET", "x")])
