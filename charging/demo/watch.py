"""The call while it lasts: the daemon's events as lines of a story, and the balance, asked again and again.

An event's line shows what is left after it. These figures are added up here from the events; the checks at the end
compare them with the ledger's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from rich.text import Text

from charging.call.told import CallAnswered, CallSettled, TickPosted, WarningDue
from charging.clock import MICROSECONDS, SystemClock
from charging.demo import scene
from charging.demo.books import micro
from charging.demo.screen import Screen
from charging.engine.told import CallDecided, name_of
from charging.lab import Call, CallState
from charging.lab.daemon import DaemonProcess
from charging.lab.errors import LabError
from charging.ledger.balances import is_free_seconds
from charging.pricing.money import MICRO, format_euro

LOOK_EVERY_S = 0.1
LASTS_AT_MOST_S = scene.TOTAL_S + scene.RINGS_S + 30
BAR_CELLS = 20
HEAD = f"{'second':>7}  {'what happens':<45}{'free':>5}{'credit':>8}{'paid to':>9}"


class Watch:
    """Follows one call to its end and remembers what was seen."""

    def __init__(self, screen: Screen, daemon: DaemonProcess, call: Call, sentence: str) -> None:
        self.credits_seen: list[int] = []
        """Posted credit, micro-euro, each time it had changed."""
        self.free_s = scene.FREE_S
        self.credit = scene.TOP_UP_EURO * MICRO
        """As the events tell."""
        self._screen, self._daemon, self._call = screen, daemon, call
        self._sentence = sentence
        self._clock = SystemClock()
        self._covered_s = 0
        self._told = 0
        self._was_ringing = False
        self._warned_at: float | None = None
        self._topped_up = False
        self._tells: dict[str, Callable[[float, dict[str, Any]], None]] = {
            name_of(CallDecided): self._decided,
            name_of(CallAnswered): self._answered,
            name_of(TickPosted): self._tick,
            name_of(WarningDue): self._warning,
            name_of(CallSettled): self._settled,
        }

    async def follow(self, top_up: Callable[[], Awaitable[object]]) -> None:
        """Watch until the call is over and booked; ``top_up`` is done once, some seconds after the first warning.

        Raises:
            LabError: the call does not end, or ends without an answer.
        """
        try:
            async with asyncio.timeout(LASTS_AT_MOST_S):
                with self._screen.live_line() as show:
                    while not self._is_over():
                        self._tell_new_events()
                        show(await self._look())
                        await self._top_up_in_time(top_up)
                        await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError as error:
            raise LabError(f"the call was not over after {LASTS_AT_MOST_S} s: {self._call}") from error
        self._tell_new_events()
        await self._call.wait_end()

    def _is_over(self) -> bool:
        if self._call.state is CallState.ENDED and not self._call.was_answered:
            raise LabError(f"the call ended without an answer (cause {self._call.cause}): {self._daemon.last_words()}")
        return self._call.state is CallState.ENDED and bool(self._daemon.events(name_of(CallSettled)))

    async def _look(self) -> Text:
        balance = await self._daemon.get(f"/accounts/{scene.ACCOUNT}/balance")
        posted = micro(balance["credit"]["posted"])
        if self._call.was_answered and posted not in self.credits_seen[-1:]:
            self.credits_seen.append(posted)
        if self._call.state is CallState.RINGING and not self._was_ringing:
            self._was_ringing = True
            self._screen.say("Anna's mobile rings. Nothing is charged for that.")
        return self._line(balance)

    def _line(self, balance: dict[str, Any]) -> Text:
        """What the account has at this very second, the running call included."""
        now, free = balance["credit"]["now"], balance["free_seconds"]["now"]
        euro = min(BAR_CELLS, micro(now) // MICRO)
        line = Text.assemble(
            ("☎ ", "bold green"),
            (f"{self._elapsed_s(self._clock.now().wall_us):5.1f} s   ", "bold"),
            f"free {free} s ",
            ("━" * free, "green"),
            ("─" * (scene.FREE_S - free), "dim"),
            f"   credit € {now} ",
            ("━" * euro, "yellow"),
            ("─" * (BAR_CELLS - euro), "dim"),
        )
        line.no_wrap, line.overflow = True, "crop"
        return line

    def _elapsed_s(self, wall_us: int) -> float:
        answered = self._call.mobile.answered_us if self._call.mobiles else None
        return 0.0 if answered is None else max(0.0, (wall_us - answered) / MICROSECONDS)

    async def _top_up_in_time(self, top_up: Callable[[], Awaitable[object]]) -> None:
        due = self._warned_at is not None and self._elapsed_s(self._clock.now().wall_us) >= (
            self._warned_at + scene.TOP_UP_AFTER_WARNING_S
        )
        if not due or self._topped_up:
            return
        self._topped_up = True
        at = self._elapsed_s(self._clock.now().wall_us)
        await top_up()
        self.credit += scene.TOP_UP_EURO * MICRO
        self._row(at, f"Anna tops up: charging top-up {scene.ACCOUNT} {scene.TOP_UP_EURO}", "bold yellow")

    # --- events -----------------------------------------------------------------------------------------------

    def _tell_new_events(self) -> None:
        events = self._daemon.events()
        for event in events[self._told :]:
            if (tell := self._tells.get(event["event"])) is not None:
                tell(self._event_s(event), event)
        self._told = len(events)

    def _event_s(self, event: dict[str, Any]) -> float:
        moment = datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00"))
        return self._elapsed_s(round(moment.timestamp() * MICROSECONDS))

    def _decided(self, _at: float, event: dict[str, Any]) -> None:
        self._screen.say(f"Decision: {event['decision']}, because: {event['reason'].replace('_', ' ')}.", "bold")
        quota = event["quota_s"]
        free = min(quota, scene.FREE_S)
        paid = format_euro((quota - free) * scene.PRICE_A_SECOND)
        self._screen.say(f"Before the phone rings, {quota} s are reserved: {free} free, and € {paid} of the credit.")

    def _answered(self, at: float, event: dict[str, Any]) -> None:
        self._covered_s = event["quota_s"]
        self._screen.say(
            "Every 2 seconds, a tick: what was used is charged, and the next stretch reserved. Asterisk itself is "
            "told to cut at the second in the last column, should the daemon be dead by then."
        )
        self._screen.blank()
        self._screen.say(HEAD, "bold")
        self._row(at, "Anna answers", "bold green")

    def _tick(self, at: float, event: dict[str, Any]) -> None:
        self._covered_s = event["covered_s"]
        had_free = self.free_s > 0
        charged = self._settle(event["settled"])
        if not charged:
            self._row(at, "the call goes on: the new money is reserved")
        else:
            ends = had_free and self.free_s == 0
            self._row(at, f"tick: {charged}" + ("; from here on credit" if ends else ""), "bold" if ends else "")

    def _warning(self, at: float, event: dict[str, Any]) -> None:
        self._warned_at = at if self._warned_at is None else self._warned_at
        self._row(at, f"{event['left_s']} s left: warned, in Anna's ear only", "bold magenta")
        self._screen.say(f"{'':9}“{self._sentence}”", "magenta")

    def _settled(self, _at: float, event: dict[str, Any]) -> None:
        charged = self._settle(event["settled"])
        at = self._elapsed_s(self._call.mobile.ended_us or 0)
        self._row(at, f"cut: the money has ended. Last: {charged or 'nothing'}", "bold red")

    def _settle(self, settled: dict[str, int]) -> str:
        """Take off what an event charged; in words."""
        free = sum(amount for balance, amount in settled.items() if is_free_seconds(balance))
        credit = settled.get("credit", 0)
        self.free_s -= free
        self.credit -= credit
        parts = ([f"{free} free seconds"] if free else []) + ([f"€ {format_euro(credit)}"] if credit else [])
        return " and ".join(parts)

    def _row(self, at: float, what: str, style: str = "") -> None:
        left = f"{self.free_s:>5}{format_euro(self.credit):>8}{f'{self._covered_s} s':>9}"
        self._screen.say(f"{at:7.1f}  {what:<45}{left}", style)
