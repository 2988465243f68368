"""The product's own commands, run as a person would: the same code, in a thread of this process, to save the second
that starting another Python takes."""

from __future__ import annotations

import asyncio
import contextlib
import io
from pathlib import Path

from charging.cli import main
from charging.lab.errors import LabError


async def charging(settings: Path, *arguments: str) -> str:
    """What ``charging ARGUMENTS`` prints. Raises LabError where it does not end with 0."""
    code, printed = await asyncio.to_thread(_run, ["--config", str(settings), *arguments])
    if code != 0:
        raise LabError(f"`charging {' '.join(arguments)}` ended with {code}: {printed.strip()[-300:]}")
    return printed


def _run(arguments: list[str]) -> tuple[int, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(arguments)
    return code, printed.getvalue()
