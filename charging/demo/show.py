"""The demo from its first sentence to its last."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import httpx

from charging.cli.failure import Refusal, say
from charging.demo import scene
from charging.demo.books import journal_table, running
from charging.demo.checks import Check, Evidence, all_checks
from charging.demo.commands import charging
from charging.demo.ears import Ear, Ears, listen
from charging.demo.screen import Screen, bare_table
from charging.demo.watch import Watch
from charging.lab import Call, Lab
from charging.lab.daemon import DaemonProcess
from charging.lab.errors import LabError
from charging.lab.folder import SHIPPED_PROMPTS
from charging.lab.install import AsteriskProgram, ensure_asterisk
from charging.ledger.accounts import Language
from charging.yaml_text import read_document

CDR_KEYS = ("caller", "number", "target", "answered", "ended", "used_ms", "billed_s", "cost", "proof")
BOOKED_WITHIN_S = 15.0
LOOK_EVERY_S = 0.1
WORDS_MAX = 250


def show_demo(language: Language, keep: Path | None, screen: Screen | None = None) -> bool:
    """Show everything; whether all of it was right. ``keep``: a new or empty folder for recordings, log and books.

    Raises:
        LabError, Refusal: it could not be shown; one line says why.
        KeyboardInterrupt: it was stopped, which has been said.
    """
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise Refusal(f"{keep} is there already: choose a new or an empty folder for --keep")
    if keep is not None:
        _make(keep)
    screen = screen or Screen()
    screen.chapter("A prepaid call, charged while it lasts")
    screen.say(
        "A real Asterisk runs on this machine, with the configuration that ships with this program. Someone calls "
        "Anna's number; the call is forwarded to her mobile, and Anna pays for that. Two phones speak real SIP and "
        "RTP; nothing leaves this machine. It takes about a minute and ends by itself."
    )
    program = ensure_asterisk()
    screen.say(f"Asterisk {program.version}")
    try:
        return asyncio.run(_until_stopped(_Show(screen, program, language, keep)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("the demo was stopped; nothing of it is left running")
        raise KeyboardInterrupt from None
    except httpx.HTTPError as error:
        raise Refusal(f"the daemon does not answer any more ({type(error).__name__})") from error
    except LabError as error:
        raise Refusal(_shortened(str(error))) from error


def _make(folder: Path) -> None:
    """Before the call: a person waits a minute for what is to be kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Refusal(f"{folder}: {error.strerror or error}; name a folder for --keep that can be written") from None


def _shortened(words: str) -> str:
    """One clear line: the beginning says what failed, the end is the end of a log, of which a person reads the words
    and not the JSON."""
    words = re.sub(r"\{\"[^\n]*\}(\n|$)", "", words).strip()
    return words if len(words) <= 2 * WORDS_MAX else f"{words[:WORDS_MAX]} … {words[-WORDS_MAX:]}"


async def _until_stopped(show: _Show) -> bool:
    """Ctrl-C is asyncio's own; a supervisor's SIGTERM must leave as little behind."""
    task = asyncio.current_task()
    assert task is not None, "runs as the main task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await show.run()


class _Show:
    def __init__(self, screen: Screen, program: AsteriskProgram, language: Language, keep: Path | None) -> None:
        self._screen = screen
        self._program = program
        self._language = language
        self._keep = keep
        self._prompt = SHIPPED_PROMPTS / language / "credit_low.wav"
        self._sentence = _sentence(language)

    async def run(self) -> bool:
        with tempfile.TemporaryDirectory(prefix="charging-demo-") as folder:
            async with contextlib.AsyncExitStack() as stack:
                version = self._program.version.partition("+")[0]
                with self._screen.waiting(f"Starting Asterisk {version} and the phones"):
                    lab = await stack.enter_async_context(Lab(program=self._program))
                daemon = DaemonProcess(lab, Path(folder) / "daemon", scene.TARIFF, scene.POLICY)
                stack.push_async_callback(daemon.kill)  # also where its start is interrupted
                await scene.seed(daemon, self._language)
                with self._screen.waiting("Starting the charging daemon"):
                    await stack.enter_async_context(daemon)
                found = await self._story(lab, daemon)
                stopped = await daemon.stop()
                if self._keep is not None:
                    await asyncio.to_thread(_keep, self._keep, daemon, found.ears)
        checks = [*all_checks(found), Check(stopped == 0, "the daemon stopped when it was asked to")]
        return self._sum_up(checks)

    async def _story(self, lab: Lab, daemon: DaemonProcess) -> Evidence:
        await self._subscriber(daemon)
        call, watch = await self._call(lab, daemon)
        ears = await asyncio.to_thread(listen, call, self._prompt)
        self._heard(ears)
        cdr = await _booked(daemon)
        self._cdr(cdr)
        journal = (await daemon.get(f"/accounts/{scene.ACCOUNT}/journal", limit="100"))["items"]
        lines = running(reversed(journal))
        self._screen.chapter("The books")
        self._screen.say("Every change of a balance is a line of the journal, and no line is ever edited.")
        self._screen.table(journal_table(lines))
        self._screen.blank()
        verified = await charging(daemon.settings, "ledger", "verify")
        self._screen.command("charging ledger verify", verified)
        balance = await daemon.get(f"/accounts/{scene.ACCOUNT}/balance")
        return Evidence(watch, call, cdr, lines, balance, ears, verified)

    async def _subscriber(self, daemon: DaemonProcess) -> None:
        self._screen.chapter("The subscriber")
        self._screen.say(
            f"Anna has Voice Pro, with 250 free minutes a month. The month is nearly over: {scene.FREE_S} free seconds "
            "are left. Prices are set to one euro a second, and the daemon ticks every 2 seconds, so that nobody "
            "waits for hours; nothing else is different from the real thing."
        )
        for line in (
            f"number add {scene.ACCOUNT} {scene.NUMBER} --forward-to {scene.MOBILE}",
            f"top-up {scene.ACCOUNT} {scene.TOP_UP_EURO}",
        ):
            await charging(daemon.settings, *line.split())
            self._screen.command(f"charging {line}", "")

    async def _call(self, lab: Lab, daemon: DaemonProcess) -> tuple[Call, Watch]:
        self._screen.chapter("The call")
        call = await lab.place_call(scene.NUMBER)
        self._screen.say(f"{call.caller} dials {scene.NUMBER}. Asterisk asks the daemon what to do.")
        watch = Watch(self._screen, daemon, call, self._sentence)

        async def top_up() -> str:
            return await charging(daemon.settings, "top-up", scene.ACCOUNT, str(scene.TOP_UP_EURO))

        await watch.follow(top_up)
        return call, watch

    def _heard(self, ears: Ears) -> None:
        self._screen.chapter("What the two ears heard")
        self._screen.say("Measured in what each phone received; both talk in a steady tone, so that speech stands out.")
        columns = (("", "left"), ("the other's voice", "right"), ("the warning", "right"), ("how loud", "right"))
        table = bare_table(*columns)
        for who, ear in (("Anna's mobile", ears.subscriber), ("the outside caller", ears.caller)):
            table.add_row(who, f"{ear.other_voice_s:.1f} s", f"{ear.speech_s:.1f} s", f"{ear.speech_db:.0f} dB")
        self._screen.table(table)
        if self._keep is None:
            self._screen.say("To listen yourself: charging demo --keep FOLDER", "dim")

    def _cdr(self, cdr: dict[str, Any]) -> None:
        self._screen.chapter("The call's record (CDR)")
        table = bare_table(("", "left"), ("", "left"))
        table.show_header = False
        for key in CDR_KEYS:
            table.add_row(key.replace("_", " "), f"€ {cdr[key]}" if key == "cost" else str(cdr[key]))
        free = sum(cdr["free_seconds"].values())
        table.add_row("paid by", f"{free} free seconds, then {cdr['billed_s'] - free} seconds of credit")
        self._screen.table(table)

    def _sum_up(self, checks: list[Check]) -> bool:
        self._screen.chapter("What this showed")
        for check in checks:
            self._screen.check(check.holds, check.text)
        good = all(check.holds for check in checks)
        self._screen.blank()
        if self._keep is not None:
            self._screen.say(
                f"In {self._keep}: what both ears heard (WAV), the daemon's log, its settings, tariff and books. "
                "Every command can look into them:"
            )
            self._screen.command(f"charging -c {self._keep / 'charging.yaml'} account show {scene.ACCOUNT}", "")
            self._screen.blank()
        self._screen.say("All of it was as promised." if good else "Something was not as promised.", "bold")
        return good


def _sentence(language: Language) -> str:
    """What the prompt says."""
    script: Any = read_document(SHIPPED_PROMPTS / "script.yaml").root
    return str(script["prompts"]["credit_low"][language])


async def _booked(daemon: DaemonProcess) -> dict[str, Any]:
    """The call's CDR, once it is there."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BOOKED_WITHIN_S):
            while True:
                if items := (await daemon.get("/cdrs"))["items"]:
                    found: dict[str, Any] = items[0]
                    return found
                await asyncio.sleep(LOOK_EVERY_S)
    raise LabError(f"no CDR {BOOKED_WITHIN_S:.0f} s after the call's end: {daemon.last_words()}")


def _keep(folder: Path, daemon: DaemonProcess, ears: Ears) -> None:
    for file in (daemon.settings, daemon.tariff, daemon.ledger, daemon.log):
        shutil.copy(file, folder / file.name)
    _copy(ears.subscriber, folder / "heard-by-anna.wav")
    _copy(ears.caller, folder / "heard-by-the-caller.wav")


def _copy(ear: Ear, target: Path) -> None:
    shutil.copy(ear.recording, target)
