"""A call inside the switch, to see what it tells and does: two ends of ours, joined, that ring nobody and cost nothing.

What can not be read with the daemon's rights is provoked: which events come and what they carry, whether the feature
works, whether each prompt is there and plays. The channels carry no session, so no daemon takes them for its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from charging.asterisk import variables
from charging.asterisk.message import VARIABLE_SUFFIX, AmiMessage
from charging.asterisk.prompts import Prompter, PromptSettings
from charging.asterisk.reply import Orders
from charging.clock import Clock
from charging.errors import ActionRefused, SwitchError

UP_S = 5.0
WHISPER_S = 4.0
PLAYS_S = 1.5
"""Half a second of silence comes before a prompt, and ours last for seconds."""
FEATURE_S = 4.0
ENDED_S = 3.0
LOOK_S = 0.1
TIMEOUT_MS = 5000
NOTHING_TO_PLAY = "charging-check-nothing-to-play"
"""No file: the feature runs, plays nothing and forgets the order, which is seen."""
EVENTS = (
    *("DialBegin", "DialEnd", "BridgeEnter", "BridgeLeave", "Hangup", "OriginateResponse"),
    *("ChanSpyStart", "ChanSpyStop"),
)
"""What the daemon needs of the events that such a call makes."""
CHANNEL_VARIABLES = (variables.SESSION, variables.LEG)


@dataclass
class Found:
    """What was seen."""

    joined: bool = False
    events: list[AmiMessage] = field(default_factory=list)
    feature: bool = False
    deadline: bool = False
    """The dialplan could set a deadline."""
    uptime: bool = True
    """The dialplan could read how long the switch's machine has been up, or is told not to; older ones do not say."""
    modules: dict[str, bool] = field(default_factory=dict)
    """Whether they are there, of those that the dialplan has looked for; an older dialplan looks for none."""
    prompts_played: dict[str, bool] = field(default_factory=dict)
    """By path; of those whose whisper attached."""

    @property
    def missing_events(self) -> list[str]:
        seen = {event.event for event in self.events}
        return [name for name in EVENTS if name not in seen]

    @property
    def unstamped(self) -> list[str]:
        """The events that came without Asterisk's own time."""
        return _names(event for event in self.events if "Timestamp" not in event)

    @property
    def without_variables(self) -> list[str]:
        """The events that do not say to which session their channel belongs."""
        return _names(event for event in self.events if not _tells_variables(event))


def _names(events: Iterator[AmiMessage]) -> list[str]:
    return sorted({event.event for event in events})


def _tells_variables(event: AmiMessage) -> bool:
    names = {value.partition("=")[0] for name, value in event if VARIABLE_SUFFIX.lower() in name.lower()}
    return names.issuperset(CHANNEL_VARIABLES)


class Inside:
    """Calls of ours inside the switch: begun, asked, waited for, ended."""

    def __init__(self, link: Orders, clock: Clock) -> None:
        self.link = link
        self.clock = clock

    async def originate(
        self, uid: str, channel: str, then: dict[str, str], *assignments: str, timeout_ms: int = TIMEOUT_MS
    ) -> None:
        """Begin one: its near half has the unique id ``uid``, its far half ``uid-2``. Raises SwitchError."""
        how = {"ActionID": uid, "Async": "true", "Timeout": str(timeout_ms)}
        ids = {"ChannelId": uid, "OtherChannelId": f"{uid}-2"}
        await self.link.action("Originate", {"Channel": channel, **then, **how, **ids, "Variable": list(assignments)})

    async def status(self, channel: str) -> Sequence[AmiMessage]:
        """What the switch says of a channel; nothing where there is none."""
        try:
            return (await self.link.action("Status", {"Channel": channel}, list_end="StatusComplete")).events
        except ActionRefused:
            return ()

    async def variable(self, channel: str, name: str) -> str:
        """Of a channel; empty where there is none."""
        try:
            return (await self.link.action("Getvar", {"Channel": channel, "Variable": name})).headers.get("Value")
        except ActionRefused:
            return ""

    async def hang_up(self, uid: str) -> None:
        """End it; one that cannot be ended has a deadline of its own."""
        with contextlib.suppress(SwitchError):
            await self.link.action("Hangup", {"Channel": uid})

    async def until(self, seconds: float, condition: Callable[[], Awaitable[bool]]) -> bool:
        """Whether it came true in time."""
        end = self.clock.now().plus(seconds)
        while not await condition():
            now = self.clock.now()
            if now.mono_us >= end.mono_us:
                return False
            await self.clock.sleep_until(now.plus(LOOK_S).mono_us)
        return True


class Probe:
    """One such call. ``observe`` must be given every event."""

    def __init__(self, link: Orders, clock: Clock) -> None:
        self._inside = Inside(link, clock)
        self._name = f"check-{secrets.token_hex(8)}"
        self._end = f"{self._name}-1"
        self.found = Found()

    def observe(self, message: AmiMessage) -> None:
        """Keep what is about this call."""
        ids = (message.get(f"{prefix}{each}") for prefix in ("", "Dest", "Spyee", "Spyer") for each in ("Uniqueid",))
        if any(self._name in uid for uid in (*ids, message.get("ActionID"), message.get("Linkedid"))):
            self.found.events.append(message)

    async def run(self, prompts: Sequence[str]) -> Found:
        """Make the call, look, end it. Raises SwitchError (ActionRefused where the right is missing)."""
        await self._inside.originate(
            self._end, variables.CHECK_CHANNEL, {"Application": "Dial", "Data": _FAR_END}, _FEATURE, variables.NO_CDR
        )
        try:
            self.found.joined = await self._inside.until(UP_S, self._is_joined)
            if self.found.joined:
                self.found.deadline = bool(await self._inside.variable(f"{self._end}-2", "TIMEOUT(absolute)"))
                self.found.uptime = await self._inside.variable(f"{self._end}-2", variables.UP_SEEN) != "0"
                self.found.modules = await self._modules(f"{self._end}-2")
                await asyncio.gather(self._try_feature(), *map(self._try_prompt, range(len(prompts)), prompts))
        finally:
            await self._inside.hang_up(self._end)
        await self._inside.until(ENDED_S, self._has_told_all)
        return self.found

    async def _modules(self, channel: str) -> dict[str, bool]:
        """What the dialplan has seen of modules that no order shows."""
        seen = [one for one in (await self._inside.variable(channel, variables.AT_WORK)).split(":") if one]
        modules = {one.removesuffix("1"): one.endswith("1") for one in seen}
        if tried := await self._inside.variable(channel, variables.TRY_STATUS):
            modules["res_agi"] = tried != "NOAPP"
        return modules

    async def _is_joined(self) -> bool:
        return any(entry.get("BridgeID") for entry in await self._inside.status(self._end))

    async def _try_feature(self) -> None:
        """The prompt's second way, as the daemon goes it."""
        settings = PromptSettings(feature_deadline_s=FEATURE_S)
        with contextlib.suppress(ActionRefused):
            self.found.feature = await Prompter(self._inside.link, self._inside.clock, settings).fire(
                self._end, NOTHING_TO_PLAY
            )

    async def _try_prompt(self, index: int, prompt: str) -> None:
        """Whisper it. It is there if it still plays after a while."""
        uid = f"{self._name}-w{index}"
        spy = {"Context": variables.PROMPT_CONTEXT, "Exten": "s", "Priority": "1"}
        spyee, played = variables.inherited(variables.SPYEE), variables.inherited(variables.PROMPT)
        try:
            await self._inside.originate(
                uid, variables.WHISPER_CHANNEL, spy, f"{spyee}={self._end}", f"{played}={prompt}"
            )
        except ActionRefused:  # the prompt's context is missing
            return

        async def attached() -> bool:
            return any(
                each.event == "ChanSpyStart" and each.get("SpyerUniqueid") == f"{uid}-2" for each in self.found.events
            )

        async def ended() -> bool:
            return not await self._inside.status(uid)

        if await self._inside.until(WHISPER_S, attached):
            self.found.prompts_played[prompt] = not await self._inside.until(PLAYS_S, ended)
        await self._inside.hang_up(uid)

    async def _has_told_all(self) -> bool:
        return not self.found.missing_events


_FAR_END = f"{variables.CHECK_CHANNEL},5"
_FEATURE = f"DYNAMIC_FEATURES={variables.PROMPT_FEATURE}"
