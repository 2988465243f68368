"""One Asterisk process of the lab: started, stopped, killed, frozen, and asked things over its control socket.

Nothing outlives its owner: the process asks the kernel to be killed when the thread that started it dies
(``PR_SET_PDEATHSIG``), so that neither Ctrl-C nor ``kill -9`` of Python leaves an Asterisk behind. No mounts are made.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from charging.lab.ami import AmiAccess, LabAmi
from charging.lab.errors import LabError
from charging.lab.install import AsteriskProgram

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.02
CLI_TIMEOUT_S = 20.0
TAIL_LINES = 15
"""Of each log, in what is said of a process that failed."""
REALTIME_PRIORITY = 10
"""What Asterisk's own option for it uses."""

# The check of the parent closes the gap between fork and prctl: an owner that died in between would not be noticed.
DIE_WITH_OWNER = ("setpriv", "--pdeathsig", "KILL", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


class AsteriskProcess:
    """An Asterisk on a configuration folder of its own.

    ``folder`` has ``etc/asterisk.conf``; the path is the same inside and outside the installation's root.
    """

    def __init__(self, name: str, program: AsteriskProgram, folder: Path, ami: AmiAccess) -> None:
        self.name = name
        self.folder = folder
        self.ami = ami
        self._program = program
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id of Asterisk itself."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start and wait until every module is up and AMI answers.

        Raises:
            LabError: it ended or was not up within 20 s; carries the end of its log.
        """
        assert not self.is_running, f"{self.name} is running already"
        command = [*DIE_WITH_OWNER, str(os.getpid()), *self._program.command]
        command += ["-f", "-C", str(self.folder / "etc" / "asterisk.conf")]
        with (self.folder / "log" / "console").open("ab") as console:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                cwd="/",
            )
        await self._wait_until_up()
        self._put_before_other_work()

    async def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.is_running:
            ami = LabAmi(self.ami)
            try:
                await ami.connect()
                if (await self.cli("core waitfullybooted")).startswith("Asterisk has fully booted"):
                    return
            except (OSError, LabError):
                await asyncio.sleep(POLL_S)
            finally:
                await ami.close()
        what = "was not up in time" if self.is_running else "ended while starting"
        await self.kill()
        raise LabError(f"the lab's {self.name} {what}; the end of its log:\n{self.log_tail()}")

    def _put_before_other_work(self) -> None:
        """Give Asterisk real-time priority where that is allowed, as its packages do: a busy machine tears its audio.

        Not by Asterisk's own ``-p``: that starts a watchdog process which outlives a killed Asterisk by seconds.
        """
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # not allowed here, or the thread has just ended
                os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(REALTIME_PRIORITY))

    async def stop(self) -> None:
        """Hang up every call and stop in order; kill what does not obey."""
        if not self.is_running:
            return
        with contextlib.suppress(LabError, OSError):
            await self.cli("core stop now")
        try:
            await self._wait(STOP_TIMEOUT_S)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """``kill -9``."""
        if self.is_running:
            self._signal(signal.SIGKILL)
        if self._process is not None:
            await self._wait(STOP_TIMEOUT_S)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def freeze(self) -> None:
        """SIGSTOP: the process neither runs nor ends."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def cli(self, command: str) -> str:
        """What ``asterisk -rx COMMAND`` prints.

        Raises:
            LabError: no answer in 5 s. OSError: the control socket is not there.
        """
        try:
            return await asyncio.wait_for(self._ask_console(command), CLI_TIMEOUT_S)
        except TimeoutError as error:
            raise LabError(f"{self.name} did not answer {command!r} in {CLI_TIMEOUT_S} s") from error

    async def _greeted_by_console(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Asterisk closes a console that came in the same moment as others; no command has been given to it yet."""
        while True:
            reader, writer = await asyncio.open_unix_connection(self.folder / "run" / "asterisk.ctl")
            with contextlib.suppress(OSError):
                if await reader.readline():  # its name, process id and version
                    return reader, writer
            writer.close()

    async def _ask_console(self, command: str) -> str:
        reader, writer = await self._greeted_by_console()
        try:
            writer.write(b"cli quit after " + command.encode() + b"\0")
            answer = await reader.read(-1)
        finally:
            writer.close()
        # Asterisk prefixes lines of the console with 127 and a digit for their verbosity, and sends NULs between them.
        return answer.replace(b"\0", b"").decode("utf-8", "replace")

    def log_tail(self) -> str:
        """The last lines of its own log and console."""
        texts = []
        for file in ("messages", "console"):
            with contextlib.suppress(OSError):
                texts += (self.folder / "log" / file).read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
        return "\n".join(texts)

    async def _wait(self, timeout_s: float) -> None:
        assert self._process is not None
        await asyncio.wait_for(self._process.wait(), timeout_s)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} was not started"
        self._process.send_signal(number)
