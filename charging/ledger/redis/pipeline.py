"""Sends commands that wait at the same time to Redis together.

A round trip to Redis costs the client far more than the commands in it. So commands wait in one queue, first come,
first served. There are a few pipelines; a pipeline that becomes free takes all that waits. If a caller is cancelled
after its commands were taken, they are still carried out and their answers dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from charging.errors import LedgerError, LedgerUnavailable

PIPELINES_MAX = 4
BATCH_MAX = 100
"""Requests in one pipeline; bounds how long the server is busy for one client."""

QUEUE_MAX = 10_000
"""Requests waiting; one more is refused with LedgerUnavailable."""

ANSWER_S = 60
"""Nobody waits for longer, whatever has become of his request: who asks for a lease has lost it by then."""

Word = str | int | bytes
Command = tuple[Word, ...]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Request:
    commands: Sequence[Command]
    answers: asyncio.Future[list[Any]]


class Pipelines:
    """``send`` carries out commands in order, on one connection; an error of one command is its answer."""

    def __init__(self, send: Callable[[list[Command]], Awaitable[list[Any]]]) -> None:
        self._send = send
        self._queue: deque[_Request] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands that are carried out in this order. Raises LedgerUnavailable."""
        if len(self._queue) >= QUEUE_MAX:
            raise LedgerUnavailable(f"{QUEUE_MAX} requests are waiting for Redis; it is too slow")
        request = _Request(commands, asyncio.get_running_loop().create_future())
        self._queue.append(request)
        if len(self._running) < PIPELINES_MAX:
            task = asyncio.create_task(self._run(), name="ledger-pipeline")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await request.answers
        except TimeoutError:
            raise LedgerUnavailable(f"the Redis ledger has not answered for {ANSWER_S} s") from None

    async def close(self) -> None:
        """Carry out what waits."""
        await asyncio.gather(*self._running)

    async def _run(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]
            try:
                answers = iter(await self._answers(batch))
            except LedgerError as error:
                _refuse(batch, type(error), str(error), error)
            except BaseException as error:  # a fault of ours: without an answer its callers would wait for ever
                log.error("redis_batch_failed", requests=len(batch), exc_info=error)
                _refuse(batch, LedgerUnavailable, f"asking Redis failed: {type(error).__name__}: {error}", error)
                if is_cancelled() or not isinstance(error, (Exception, asyncio.CancelledError)):
                    raise
            else:
                for request in batch:
                    own = [next(answers) for _ in request.commands]
                    if not request.answers.done():  # else its caller was cancelled
                        request.answers.set_result(own)

    async def _answers(self, batch: Sequence[_Request]) -> list[Any]:
        commands = [command for request in batch for command in request.commands]
        answers = await self._send(commands)
        assert len(answers) == len(commands), "whose they are is told by their order alone"
        return answers


def is_cancelled() -> bool:
    """Whether someone has cancelled this task. asyncio's streams may raise CancelledError where nobody has."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _refuse(batch: Sequence[_Request], kind: type[LedgerError], why: str, cause: BaseException) -> None:
    """Each with an exception of its own: raising it writes where into it."""
    for request in batch:
        if not request.answers.done():
            refusal = kind(why)
            refusal.__cause__ = cause
            request.answers.set_exception(refusal)
