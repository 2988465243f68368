"""Output that nobody can be shown is no fault of the program, and takes nothing back of what was done."""

from __future__ import annotations

import asyncio
import sys

import pytest

from charging.cli.failure import OUTPUT_LOST
from tests.integration.command import REPOSITORY, Command, Place, Ran


@pytest.fixture
def charging(place: Place, capsys: pytest.CaptureFixture[str]) -> Command:
    charging = Command(place, capsys)
    charging("account", "add", "anna", "--plan", "pro")
    return charging


async def in_shell(place: Place, command: str) -> Ran:
    """The command as a shell runs it, which can close its output."""
    line = f"TMPDIR={place.folder} exec {sys.executable} -m charging --config {place.config} {command}"
    process = await asyncio.create_subprocess_shell(
        line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize(("form", "where"), [("", ">/dev/full"), ("--json", ">&-")])
async def test_a_top_up_that_cannot_be_shown_is_said_to_be_done(
    place: Place, charging: Command, where: str, form: str
) -> None:
    ran = await in_shell(place, f"top-up anna 25 --id k {form} {where}")
    assert ran.code == OUTPUT_LOST
    (line,) = ran.err.splitlines()
    assert line.startswith("charging: the output could not be written: ")
    assert line.endswith("; what the command was to change is changed")
    assert not list(place.folder.glob("charging-fault-*"))
    shown = await charging.beside("account", "show", "anna", "--json")
    assert shown.json["balance"]["credit"]["now"] == "25.00"


@pytest.mark.parametrize(
    "command",
    [
        "account list >/dev/full",
        "account list >&-",
        "account list --json >/dev/full",
        "ledger verify >&-",
        "--help >&-",
        "check >/dev/full",
    ],
)
async def test_a_listing_that_cannot_be_shown_is_one_line(place: Place, charging: Command, command: str) -> None:
    """A table, JSON, plain lines, the help, findings: each way of printing, the first of them in both cases."""
    ran = await in_shell(place, command)
    assert (ran.code, len(ran.err.splitlines())) == (OUTPUT_LOST, 1), ran


async def test_a_listing_of_none_is_said_on_the_other_output(place: Place, charging: Command) -> None:
    ran = await in_shell(place, "cdr list >&-")
    assert (ran.code, ran.err) == (0, "no call is over yet\n")


async def test_a_refusal_is_told_as_ever_where_only_the_output_is_closed(place: Place, charging: Command) -> None:
    assert "expected at least" in (await in_shell(place, "top-up anna 1 >&-")).problem
    assert (await in_shell(place, "top-up anna 1 >/dev/full 2>&-")).code == 1
    assert (await in_shell(place, "top-up anna 25 --id k >&- 2>&-")).code == OUTPUT_LOST
