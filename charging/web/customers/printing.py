"""Makes statements as PDF, each in a process of its own: thousands of lines take half a minute, and a thread that makes
them would keep the interpreter from serving the other customers.

An account has one made at a time. Two are made at once in all; an account whose PDFs take long leaves a place to the
others (`charging.service.turns`). What waits is no statement yet: each has some kilobytes for a call.
"""

from __future__ import annotations

import asyncio
import pickle
import resource
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import structlog

from charging.clock import Clock
from charging.log_limit import LogLimit
from charging.priority import give_way
from charging.service.refusal import Code, Refused
from charging.service.statements import Statement
from charging.service.turns import QueueBounds, Turns
from charging.tasks import deaf_to_hangup

BOUNDS = QueueBounds(at_once=2, waiting=40, of_account=2, what="PDFs", advice="ask again when those are there")
PRINT_MAX_S = 240
"""15,000 lines take some 40 s of a processor, and stand behind all else."""
MEMORY_BYTES = 1_000_000_000
"""Of address space. 15,000 lines take 270 MB, and more lines as much more."""
_MAIN = "from charging.web.customers.printing import main; main()"
PROGRAM = (sys.executable, "-P", "-c", _MAIN)
"""Not as ``__main__``, and ``-P``: as the reader of tariffs is started (`charging.tariff.reading`)."""

log = structlog.get_logger(__name__)


class Printing:
    """Where PDFs are made."""

    def __init__(self, clock: Clock, *, program: Sequence[str] = PROGRAM, deadline_s: float = PRINT_MAX_S) -> None:
        self._program = program
        self._deadline_s = deadline_s
        self._turns = Turns(clock, BOUNDS)
        self._log_limit = LogLimit(clock)

    async def printed(self, account: str, make: Callable[[], Awaitable[Statement | Refused]]) -> bytes | Refused:
        """The document of the statement that ``make`` makes once it is the account's turn; or why there is none:
        that of ``make``, or Code.UNAVAILABLE. Raises as ``make``."""
        return await self._turns.run(account, partial(self._tried, make))

    async def _tried(self, make: Callable[[], Awaitable[Statement | Refused]]) -> bytes | Refused:
        if isinstance(statement := await make(), Refused):
            return statement
        try:
            return await self._made(statement)
        except (OSError, TimeoutError, _Failed) as error:
            if (more := self._log_limit.more("statement_not_printed")) is not None:
                why, lines = f"{type(error).__name__}: {error}", len(statement.lines)
                log.warning("statement_not_printed", account=statement.account.id, lines=lines, why=why, more=more)
            return Refused(Code.UNAVAILABLE, "the PDF could not be made", "ask for the CSV file, or again later")

    async def _made(self, statement: Statement) -> bytes:
        """Raises OSError, TimeoutError, _Failed. The process has ended when this returns."""
        request = await asyncio.to_thread(pickle.dumps, statement)
        pipe = asyncio.subprocess.PIPE
        with deaf_to_hangup():
            process = await asyncio.create_subprocess_exec(*self._program, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            async with asyncio.timeout(self._deadline_s):
                pdf, said = await process.communicate(request)
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            last = said.decode(errors="replace").strip().rpartition("\n")[2][:200]
            raise _Failed(f"code {process.returncode} {last}".rstrip())
        return pdf


class _Failed(Exception):
    """The process ended without a document."""


def main() -> None:
    """In that process: a statement comes by its input, and the document leaves by its output."""
    from charging.service.statement_pdf import statement_pdf  # its library is read in here alone

    give_way()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.stdout.buffer.write(statement_pdf(pickle.load(sys.stdin.buffer)))  # noqa: S301  our own other process wrote it
