"""What `charging check --live` reads of the switch's machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from charging.cli import check_machine
from charging.cli.check_look import Look
from charging.cli.check_machine import open_files
from charging.cli.check_results import Grade


def running(proc: Path, pid: int, name: str, limit: str) -> None:
    """A process as Linux tells of it."""
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "comm").write_text(f"{name}\n")
    (proc / str(pid) / "limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        f"Max open files            {limit:<20} 524288               files     \n"
    )


async def said(host: str) -> tuple[Grade, str]:
    switch = SimpleNamespace(ami=SimpleNamespace(host=host))
    look = SimpleNamespace(config=SimpleNamespace(settings=SimpleNamespace(switch=switch)))
    (found,) = [one async for one in open_files(cast(Look, look))]
    return found.grade, found.text


@pytest.mark.parametrize(
    ("limit", "grade", "words"),
    [
        ("1024", Grade.WARNING, "it carries 93 calls, and turns every caller away"),
        ("9999", Grade.WARNING, "LimitNOFILE=65536"),
        ("10000", Grade.OK, "may open 10000 files"),
    ],
)
async def test_an_asterisk_with_files_for_few_calls_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, grade: Grade, words: str
) -> None:
    """Debian's has 1,024, and turns all callers away once they are taken."""
    monkeypatch.setattr(check_machine, "PROC", tmp_path)
    running(tmp_path, 1, "systemd", "64")
    running(tmp_path, 2, "asterisk", limit)
    (tmp_path / "3").mkdir()  # it has ended
    found, text = await said("127.0.0.1")
    assert (found, words in text) == (grade, True), text


async def test_of_an_asterisk_elsewhere_the_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that runs here is another one."""
    monkeypatch.setattr(check_machine, "PROC", tmp_path)
    running(tmp_path, 2, "asterisk", "1024")
    assert (await said("10.0.0.10"))[0] is Grade.UNKNOWN
