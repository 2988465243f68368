"""A lab for the tests that need a real Asterisk: one for each xdist worker, emptied between tests.

Without an Asterisk these tests are skipped with the one message that says what to install; with CI=true they fail.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from charging.lab import Lab, LabError, LabUnavailable
from charging.lab.audio import write_tone
from charging.lab.install import ensure_asterisk, find_asterisk
from tests.asterisk.counts import miscounted, stops_gracefully
from tests.asterisk.waiting import end_given_up

HERE = Path(__file__).parent
PROMPT_TONE_HZ = 1500
PROMPT_S = 2
GRACEFULLY_S = 60
"""Without a call; the machine may be busy."""
FIGURES = "figures"
"""A property that a test records to have it printed at the end, also when it passes."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _start_with_the_longest(items)
    here = [item for item in items if HERE in item.path.parents]
    for item in here:
        if pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    needing = [item for item in here if item.get_closest_marker("asterisk")]
    if not needing or config.option.collectonly:
        return
    try:
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            ensure_asterisk()
    except LabUnavailable as error:
        if os.environ.get("CI") != "true":
            for item in needing:
                item.add_marker(pytest.mark.skip(reason=str(error)))


def _start_with_the_longest(items: list[pytest.Item]) -> None:
    """What has a time-out of its own takes minutes. xdist's `worksteal` gives each worker a piece of the list: one to
    the head of each, in turn, so that none begins with the last quarter of an hour gone."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    longest = [item for item in items if item.get_closest_marker("timeout")]
    others = [item for item in items if item not in longest]
    pieces = [others[len(others) * n // workers : len(others) * (n + 1) // workers] for n in range(workers)]
    items[:] = [item for n, piece in enumerate(pieces) for item in [*longest[n::workers], *piece]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    program = find_asterisk()
    if program is not None:
        terminalreporter.write_line(f"tested with Asterisk {program.version}")
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, figures in report.user_properties:
            if name == FIGURES and report.when == "call":
                terminalreporter.write_line(str(figures))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_lab() -> AsyncIterator[Lab]:
    async with Lab() as lab:
        yield lab
        # A channel that a test has left, or that Asterisk counts wrongly, is not always one that it lists.
        if not await stops_gracefully(lab.switch, GRACEFULLY_S):
            raise LabError(f"Asterisk counts channels that are gone: {lab.switch.log_tail()}")


@pytest_asyncio.fixture(loop_scope="session")
async def lab(session_lab: Lab, request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """A lab with a running switch, no channel and an empty black box; nobody answers at ``lab.agi_port`` yet."""
    found = await _ways_in(session_lab)
    yield session_lab
    await end_given_up(request.function)
    if not session_lab.switch.is_running:
        await session_lab.switch.start()
    try:
        await session_lab.reset()
        if wrong := miscounted(session_lab.switch):
            raise LabError(f"this Asterisk would never restart gracefully: {wrong}")
        if (left := await _ways_in(session_lab)) != found:
            raise LabError(f"the calls of the tests after this one would go another way: {left}")
    except (LabError, OSError):  # told as this test's error; the tests after it get a switch that works
        await session_lab.switch.kill()
        await session_lab.switch.start()
        await session_lab.reset()
        raise


async def _ways_in(lab: Lab) -> str:
    """The context to which the trunk brings every call. (Of the whole dialplan a busy console leaves lines out.)"""
    return await lab.switch.cli("dialplan show trunk")


@pytest.fixture(scope="session")
def tone_prompt(session_lab: Lab) -> str:
    """A prompt of two seconds that can be told from both voices, as the switch names it (no extension)."""
    path = session_lab.prompts_dir / "tone"
    write_tone(path.with_suffix(".wav"), PROMPT_TONE_HZ, PROMPT_S, level_db=-13.0)
    return str(path)
