"""The daemon and the command, begun by a process that has imported the program already.

To import it is nearly all that a start costs, a second of CPU, and each of some five hundred tests starts one. What
runs is the same: `charging` with arguments, environment, session and output of its own. The command itself, as an
operator starts it, is in test_cli_run, test_cli_store, test_demo, test_laid_down and test_ways_in.

Two things differ. The daemon turns no call away for its own lateness: on a busy machine the tests run beside one
another, and would be late by what the others compute. tests/unit/engine/test_overload.py and the benchmarks have that
refusal. And its log tells routine at once, not up to 0.05 s later: the tests hold the log against what else they see.
tests/unit/test_tasks.py and the daemons that are started as an operator starts them have that delay.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from charging.lab.daemon import Begun, DaemonProcess

COLD = (sys.executable, "-m", "charging")
PR_SET_PDEATHSIG = 1

_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(
    ["charging.app", "charging.app_api", "charging.cli.daemon", "charging.cli.in_process", "charging.web.server"]
)
COMMAND_S = 60


class WarmDaemon(DaemonProcess):
    """See the module. A daemon whose ``program`` a test has changed is started like any other."""

    @property
    def pid(self) -> int:
        assert self._process is not None, "started"
        return self._process.pid

    async def _begin(self) -> Begun:
        if self.program[: len(COLD)] != COLD:
            return await super()._begin()
        arguments = self.program[len(COLD) :]
        process = _WARM.Process(target=_charging, args=(arguments, dict(self.environment), self.log), daemon=True)
        process.start()
        return _Warm(process)


class _Warm:
    """It, as asyncio shows a process."""

    def __init__(self, process: multiprocessing.context.ForkServerProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        assert self._process.pid is not None, "started"
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, signal: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


async def charging(
    *arguments: str, environment: Mapping[str, str], stdin: bytes = b"", seconds: float = COMMAND_S
) -> str:
    """What the command prints; it must do what it was asked."""
    with tempfile.TemporaryDirectory() as folder:
        given, printed, said = (Path(folder, name) for name in ("given", "printed", "said"))
        given.write_bytes(stdin)
        files = (given, printed, said)
        process = _WARM.Process(target=_command, args=(arguments, dict(environment), files), daemon=True)
        process.start()
        code = await asyncio.wait_for(_Warm(process).wait(), seconds)
        assert code == 0, printed.read_text() + said.read_text()
        return printed.read_text()


def _charging(arguments: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
    """In the new process: what starting the daemon anew would have made of it."""
    from charging.engine import overload
    from charging.tasks import Afterwards

    Afterwards.TOGETHER_MAX = 0
    overload.REFUSES_US = 2 * overload.SAMPLE_MAX_US  # never reached
    _become(environment)
    with log.open("ab") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    _run(arguments)


def _command(arguments: tuple[str, ...], environment: Mapping[str, str], files: tuple[Path, Path, Path]) -> None:
    """The same of any command; the files are its standard input, output and error."""
    _become(environment)
    for number, (file, mode) in enumerate(zip(files, ("rb", "wb", "wb"), strict=True)):
        with file.open(mode) as stream:
            os.dup2(stream.fileno(), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  multiprocessing has put /dev/null there
    _run(arguments)


def _become(environment: Mapping[str, str]) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives whoever began it
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def _run(arguments: tuple[str, ...]) -> None:
    from charging.cli import main

    sys.argv = ["charging", *arguments]
    sys.exit(main())
