"""Playing a prompt to the subscriber only, in a running call (ASTERISK.md §1).

First by whisper: a Local channel whose one half spies on the subscriber's leg while the other plays the file;
both voices go on. If the whisper has not attached in time, by a feature code that is played on the subscriber's
leg and makes the switch play the file there; that one interrupts the conversation for the prompt's length.

Nothing is played into a bridge of native RTP. To whisper, Asterisk would take the bridge from it and give it back, and
measured, the subscriber then often hears nothing for the rest of the call. The feature keeps the bridge of a charged
call from native RTP; so a call that is in one lacks the feature, too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum

import structlog

from charging.asterisk import variables
from charging.asterisk.reply import Orders
from charging.asterisk.variables import inherited
from charging.call.switch_events import OriginateEnded, PromptEnded, PromptStarted, SwitchEvent
from charging.clock import Clock
from charging.errors import ActionRefused, SwitchError

WHISPER_DEADLINE_S = 2.0
"""Measured: a whisper is attached 0.4 s after the order."""
PLAYS_S = 1.5
"""A file that cannot be played is told some 0.2 s after the whisper is attached. A call's end is told, too."""
UNPLAYABLE = 47
"""The cause with which the dialplan ends a prompt whose file could not be played."""
ORIGINATE_TIMEOUT_MS = 5000
DIGIT_MS = 60
FEATURE_DEADLINE_S = 20
"""From the digits to the prompt's end; the shipped ones last up to seven seconds."""
FEATURE_POLL_S = 0.5
NATIVE = "native"
UNPLAYABLE_ADVICE = (
    "put the prompts where switch.prompts_dir_on_switch says, readable for Asterisk: `charging check --live`"
)
NATIVE_ADVICE = "include features_charging.conf in [applicationmap] of features.conf, then `module reload features`"

log = structlog.get_logger(__name__)


class PromptOutcome(Enum):
    """How the prompt reached the subscriber."""

    WHISPERED = "whispered"
    FEATURE = "feature"
    """The feature played it: the dialplan took note."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """What the switch allows us."""

    whisper: bool = True
    """Needs the right ``originate``."""
    feature: bool = True
    """Needs ``features_charging.conf``."""
    feature_digits: str = variables.PROMPT_FEATURE_DIGITS
    whisper_deadline_s: float = WHISPER_DEADLINE_S
    plays_s: float = PLAYS_S
    feature_deadline_s: float = FEATURE_DEADLINE_S


class Prompter:
    """Originates; ``observe`` must be given every switch event, for it learns from them what became of that."""

    def __init__(self, link: Orders, clock: Clock, settings: PromptSettings | None = None) -> None:
        self._link = link
        self._clock = clock
        self._settings = settings or PromptSettings()
        self._waiting: dict[str, asyncio.Future[bool]] = {}

    def observe(self, event: SwitchEvent) -> None:
        """Take note of an event, at once."""
        if isinstance(event, PromptStarted):
            self._resolve(event.spyer_uid, True)
        elif isinstance(event, OriginateEnded) and not event.answered:
            self._resolve(event.action_id, False)
        elif isinstance(event, PromptEnded):
            if event.cause == UNPLAYABLE:
                log.error("prompt_not_played", channel_uid=event.uid, why="no such file", advice=UNPLAYABLE_ADVICE)
            self._resolve(_end_of(event.uid), event.cause != UNPLAYABLE)

    async def play(self, session: str, sequence: int, spyee_uid: str, prompt: str) -> PromptOutcome:
        """Play ``prompt`` (a path on the switch, without extension) to one leg. Never raises a SwitchError.

        ``session`` and ``sequence`` name the attempt: the same pair again does not start a second whisper.
        """
        if not await self._comes_back(session, spyee_uid):
            return PromptOutcome.FAILED
        if self._settings.whisper and await self._whisper(session, sequence, spyee_uid, prompt):
            return PromptOutcome.WHISPERED
        if self._settings.feature and await self._feature(session, spyee_uid, prompt):
            return PromptOutcome.FEATURE
        return PromptOutcome.FAILED

    async def _comes_back(self, session: str, spyee_uid: str) -> bool:
        """Whether both parties will hear each other after a prompt: they talk, and not by native RTP."""
        try:
            status = await self._link.action("Status", {"Channel": spyee_uid}, list_end="StatusComplete")
            bridge = next((entry.get("BridgeID") for entry in status.events), "")
            if not bridge:
                log.warning("prompt_not_played", session=session, why="the leg is in no bridge")
                return False
            info = await self._link.action("BridgeInfo", {"BridgeUniqueid": bridge}, list_end="BridgeInfoComplete")
        except SwitchError as error:
            log.warning("prompt_not_played", session=session, why=str(error))
            return False
        technology = "" if info.end is None else info.end.get("BridgeTechnology")
        if not technology or technology.startswith(NATIVE):
            log.error("prompt_not_played", session=session, why=f"the bridge is {technology}", advice=NATIVE_ADVICE)
            return False
        return True

    async def _whisper(self, session: str, sequence: int, spyee_uid: str, prompt: str) -> bool:
        uid = f"{variables.PROMPT_UID}{session}-{sequence}"
        spyer_uid = f"{uid}-2"
        started, ended = self._expect(uid, spyer_uid), self._expect(_end_of(uid))
        fields = {
            "ActionID": uid,
            "Channel": variables.WHISPER_CHANNEL,
            "Context": variables.PROMPT_CONTEXT,
            "Exten": "s",
            "Priority": "1",
            "Async": "true",
            "Timeout": str(ORIGINATE_TIMEOUT_MS),
            "ChannelId": uid,
            "OtherChannelId": spyer_uid,
            "Variable": [
                f"{inherited(variables.SPYEE)}={spyee_uid}",
                f"{inherited(variables.PROMPT)}={prompt}",
            ],
        }
        try:
            await self._link.action("Originate", fields)
            async with asyncio.timeout(self._settings.whisper_deadline_s):
                attached = await started or await self._is_playing(uid)
            return attached and await self._plays(ended)
        except TimeoutError:
            await self._give_up(uid)
        except SwitchError as error:
            log.warning("whisper_refused", session=session, error=str(error))
        finally:
            for key in (uid, spyer_uid, _end_of(uid)):
                self._waiting.pop(key, None)
        return False

    async def _plays(self, ended: asyncio.Future[bool]) -> bool:
        """Whether the file sounds: its channel has not said that it cannot be played."""
        await asyncio.wait((ended,), timeout=self._settings.plays_s)
        return not ended.done() or ended.result()

    async def _is_playing(self, uid: str) -> bool:
        """An order fails also because the same one was carried out before, by a daemon that was restarted."""
        try:
            await self._link.action("Status", {"Channel": uid}, list_end="StatusComplete")
        except ActionRefused:
            return False
        return True

    async def _give_up(self, uid: str) -> None:
        """A whisper that attaches after all must not follow the feature's prompt."""
        log.warning("whisper_not_attached", channel_uid=uid)
        try:
            await self._link.action("Hangup", {"Channel": uid})
        except SwitchError as error:
            log.info("whisper_not_hung_up", channel_uid=uid, error=str(error))

    async def _feature(self, session: str, spyee_uid: str, prompt: str) -> bool:
        try:
            if not await self.fire(spyee_uid, prompt):
                log.error("prompt_feature_missing", session=session, advice=NATIVE_ADVICE)
                return False
            played = {"Channel": spyee_uid, "Variable": variables.PROMPT_PLAYED}
            return (await self._link.action("Getvar", played)).headers.get("Value") != "FAILED"
        except SwitchError as error:
            log.warning("prompt_feature_refused", session=session, error=str(error))
            return False

    async def fire(self, spyee_uid: str, prompt: str) -> bool:
        """Have the feature play ``prompt``; whether it ran to its end, for then the dialplan forgets the order. Raises
        SwitchError, also where the call has ended meanwhile."""
        order = {"Channel": spyee_uid, "Variable": variables.PROMPT}
        await self._link.action("Setvar", {**order, "Value": prompt})
        for digit in self._settings.feature_digits:
            fields = {
                "Channel": spyee_uid,
                "Digit": digit,
                "Duration": str(DIGIT_MS),
                "Receive": "true",
            }
            await self._link.action("PlayDTMF", fields)
        until = self._clock.now().plus(self._settings.feature_deadline_s)
        while (await self._link.action("Getvar", order)).headers.get("Value"):
            if (now := self._clock.now()).mono_us >= until.mono_us:
                await self._link.action("Setvar", {**order, "Value": ""})  # the same digits later are silent
                return False
            await self._clock.sleep_until(now.plus(FEATURE_POLL_S).mono_us)
        return True

    def _expect(self, *keys: str) -> asyncio.Future[bool]:
        """One future that any of these ids resolves."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.update(dict.fromkeys(keys, future))
        return future

    def _resolve(self, key: str, value: bool) -> None:
        future = self._waiting.get(key)
        if future is not None and not future.done():
            future.set_result(value)


def _end_of(uid: str) -> str:
    """What is waited for by this name is told by the end of the channel, not by its beginning."""
    return f"{uid} ended"
