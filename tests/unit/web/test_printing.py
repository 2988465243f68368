"""A statement's PDF is made in a process of its own, one of an account at a time."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from charging.ledger.accounts import Account, Language
from charging.priority import EXPENDABLE
from charging.service.refusal import Code, Refused
from charging.service.statements import Statement, statement
from charging.tasks import end
from charging.web.customers.printing import MEMORY_BYTES, Printing
from tests.fakes.ami import eventually
from tests.fakes.clock import FakeClock
from tests.fakes.rig import make_tariff

MONTH = "2026-11"


def of(account: str, clock: FakeClock) -> Callable[[], Awaitable[Statement]]:
    async def make() -> Statement:
        return statement(Account(account, "light", Language.NL), MONTH, make_tariff(), clock.now().wall_us, (), {})

    return make


def noting(folder: Path, then: str) -> tuple[str, ...]:
    """A program that notes its process in the folder, and goes on with ``then``."""
    note = f"import os, pathlib, sys, time; (pathlib.Path({str(folder)!r}) / str(os.getpid())).touch(); {then}"
    return sys.executable, "-c", note


def noted(folder: Path) -> list[int]:
    return [int(one.name) for one in folder.iterdir()]


async def test_it_is_a_pdf() -> None:
    pdf = await Printing(FakeClock()).printed("anna", of("anna", FakeClock()))
    assert isinstance(pdf, bytes)
    assert pdf.startswith(b"%PDF-1.7")


async def test_of_an_account_one_is_made_at_a_time_and_another_account_waits_for_none(tmp_path: Path) -> None:
    clock = FakeClock()
    printing = Printing(clock, program=noting(tmp_path, "time.sleep(600)"))
    annas = [asyncio.create_task(printing.printed("anna", of("anna", clock))) for _ in range(2)]
    await eventually(lambda: len(noted(tmp_path)) == 1, "her first is being made")
    assert isinstance(await printing.printed("anna", of("anna", clock)), Refused), "a third does not even wait"
    berts = asyncio.create_task(printing.printed("bert", of("bert", clock)))
    await eventually(lambda: len(noted(tmp_path)) == 2, "his is being made beside it")
    assert not any(one.done() for one in (*annas, berts))
    await end([*annas, berts])


async def test_it_is_made_by_a_process_that_is_ended_first_where_memory_runs_out_and_has_a_bound() -> None:
    told = (
        "import resource, charging.service.statement_pdf as made; from charging.web.customers import printing; "
        "made.statement_pdf = lambda _: open('/proc/self/oom_score_adj', 'rb').read() "
        "+ str(resource.getrlimit(resource.RLIMIT_AS)).encode(); printing.main()"
    )
    said = await Printing(FakeClock(), program=(sys.executable, "-P", "-c", told)).printed(
        "anna", of("anna", FakeClock())
    )
    assert said == f"{EXPENDABLE}\n{(MEMORY_BYTES, MEMORY_BYTES)}".encode()


@pytest.mark.parametrize("then", ["sys.exit(3)", "os.kill(os.getpid(), 9)", "time.sleep(600)"])
async def test_a_process_that_ends_without_a_document_or_takes_too_long_is_told_and_gone(
    tmp_path: Path, then: str
) -> None:
    deadline_s = 2.0 if "sleep" in then else 60.0
    printing = Printing(FakeClock(), program=noting(tmp_path, then), deadline_s=deadline_s)
    made = await printing.printed("anna", of("anna", FakeClock()))
    assert isinstance(made, Refused)
    assert made.code is Code.UNAVAILABLE
    (process,) = noted(tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


async def test_what_waits_to_be_printed_is_no_statement_yet(tmp_path: Path) -> None:
    """On the first of the month a dozen customers with six thousand calls each put 700 MB into the process that serves
    all logins."""
    clock, made = FakeClock(), list[str]()
    printing = Printing(clock, program=noting(tmp_path, "time.sleep(600)"))

    def making(account: str) -> Callable[[], Awaitable[Statement]]:
        async def make() -> Statement:
            made.append(account)
            return await of(account, clock)()

        return make

    asked = [asyncio.create_task(printing.printed(f"a{one}", making(f"a{one}"))) for one in range(12)]
    await eventually(lambda: len(noted(tmp_path)) == 2, "two are being made")
    assert len(made) == 2
    await end(asked)


async def test_why_there_is_no_statement_is_said_as_it_is() -> None:
    async def none() -> Refused:
        return Refused(Code.ARCHIVED, "archived")

    assert await Printing(FakeClock()).printed("anna", none) == Refused(Code.ARCHIVED, "archived")
