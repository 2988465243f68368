"""Playing a prompt to the subscriber only, in a running call (ASTERISK.md §1).

First by whisper: a Local channel whose one half spies on the subscriber's leg while the other plays the file;
both voices go on. If the whisper has not attached in time, by a feature code that is played on the subscriber's
leg and makes the switch play the file there; that one interrupts the conversation for the prompt's length.

Whispering mixes the file into what is sent to the subscriber: the other party's voice, or music while he is on hold or
parked. Where that is nothing (the other is muted, or a gateway suppresses silence) he would hear nothing of it: there
the feature is used, which sounds by itself. And nothing is played to a subscriber who has put the other party on hold,
for his phone plays nothing then: it waits until he is back. A key that he presses while the feature's digits are played
makes another code of them: they are played again.

Nothing is played into a bridge of native RTP. To whisper, Asterisk would take the bridge from it and give it back, and
measured, the subscriber then often hears nothing for the rest of the call. The feature keeps the bridge of a charged
call from native RTP; so a call that is in one lacks the feature, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from enum import Enum

import structlog

from charging.asterisk import variables
from charging.asterisk.numbers import whole
from charging.asterisk.reply import Orders
from charging.asterisk.variables import inherited
from charging.call.switch_events import OriginateEnded, PromptEnded, PromptStarted, SwitchEvent
from charging.clock import Clock
from charging.errors import ActionRefused, SwitchError
from charging.records import dataclass

WHISPER_DEADLINE_S = 2.0
"""Measured: a whisper is attached 0.4 s after the order."""
PLAYS_S = 1.5
"""What is over sooner was not heard: half a second of silence comes before a prompt, and ours last for seconds. A file
that cannot be played is told some 0.2 s after the whisper is attached. A call's end is told, too."""
COUNTED_S = 0.5
"""How long a count of packets may take, which is some ms: a channel whose thread looks up a name is not waited for."""
SPOKEN_PACKETS = 10
"""As many come of a voice in ``PLAYS_S``, and more, if there is any: a packet has 20 to 60 ms."""
HOLD_MAX_S = 60
"""How long a prompt waits for a subscriber who has put the other party on hold."""
HOLD_POLL_S = 1.0
UNPLAYABLE = 47
"""The cause with which the dialplan ends a prompt whose file could not be played."""
ORIGINATE_TIMEOUT_MS = 5000
DIGIT_MS = 60
FEATURE_DEADLINE_S = 20
"""From the digits to the prompt's end; the shipped ones last up to seven seconds."""
FEATURE_POLL_S = 0.5
FEATURE_AGAIN_S, FEATURE_TRIES_MAX = 2.5, 3
"""When its digits are played once more, if the dialplan has not begun: Asterisk waits a second for the next digit."""
NATIVE = "native"
NO_SOUND = "it was over at once: there is no sound in the file"
ON_HOLD = "CHANNEL(onhold)"
"""Of a channel: whether its party was put on hold by the other."""
SENT, RECEIVED = "CHANNEL(rtcp,txcount)", "CHANNEL(rtcp,rxcount)"
"""Of a channel: how many packets of sound were sent to its party, and how many came from it."""
VOICE_CHANNEL = "PJSIP/"
"""Channels that count them."""
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
    UNHEARD = "unheard"
    """Nothing is wrong, but the subscriber had the other party on hold to the end."""


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """What the switch allows for prompts."""

    whisper: bool = True
    """Needs the right ``originate``."""
    feature: bool = True
    """Needs ``features_charging.conf``."""
    feature_digits: str = variables.PROMPT_FEATURE_DIGITS
    whisper_deadline_s: float = WHISPER_DEADLINE_S
    plays_s: float = PLAYS_S
    feature_deadline_s: float = FEATURE_DEADLINE_S


class Prompter:
    """Plays prompts. ``observe`` must be given every switch event: the events report what became of its orders."""

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
        try:
            parties = await self._parties(session, spyee_uid)
            if parties is None:
                return PromptOutcome.FAILED
            others = {uid: name for uid, name in parties.items() if uid != spyee_uid}
            if not await self._is_listened_to(others):
                return PromptOutcome.UNHEARD
        except SwitchError as error:
            log.warning("prompt_not_played", session=session, why=str(error))
            return PromptOutcome.FAILED
        counted = [(uid, RECEIVED) for uid, name in others.items() if name.startswith(VOICE_CHANNEL)]
        if parties.get(spyee_uid, "").startswith(VOICE_CHANNEL):
            counted = [(spyee_uid, SENT)]
        if self._settings.whisper:
            whispered = await self._whisper(session, sequence, spyee_uid, prompt, counted)
            if whispered is not None:
                return whispered
        if self._settings.feature and await self._feature(session, spyee_uid, prompt):
            return PromptOutcome.FEATURE
        return PromptOutcome.FAILED

    async def _is_listened_to(self, others: Iterable[str]) -> bool:
        """Wait until the subscriber has no party on hold. ``False`` if that takes too long. Raises SwitchError."""
        until = self._clock.now().plus(HOLD_MAX_S)
        while "1" in [await self._value(uid, ON_HOLD) for uid in others]:
            if (now := self._clock.now()).mono_us >= until.mono_us:
                return False
            await self._clock.sleep_until(now.plus(HOLD_POLL_S).mono_us)
        return True

    async def _value(self, uid: str, variable: str) -> str:
        """Read a channel's variable. Raises SwitchError."""
        return (await self._link.action("Getvar", {"Channel": uid, "Variable": variable})).headers.get("Value")

    async def _parties(self, session: str, spyee_uid: str) -> dict[str, str] | None:
        """The names of the subscriber's channel and of those that he talks to, by unique id. ``None``: they may not
        hear each other after a prompt, for they do not talk, or by native RTP. Raises SwitchError."""
        status = await self._link.action("Status", {"Channel": spyee_uid}, list_end="StatusComplete")
        bridge = next((entry.get("BridgeID") for entry in status.events), "")
        if not bridge:
            log.warning("prompt_not_played", session=session, why="the leg is in no bridge")
            return None
        info = await self._link.action("BridgeInfo", {"BridgeUniqueid": bridge}, list_end="BridgeInfoComplete")
        technology = "" if info.end is None else info.end.get("BridgeTechnology")
        if not technology or technology.startswith(NATIVE):
            log.error("prompt_not_played", session=session, why=f"the bridge is {technology}", advice=NATIVE_ADVICE)
            return None
        return {uid: entry.get("Channel") for entry in info.events if (uid := entry.get("Uniqueid"))}

    async def _whisper(
        self, session: str, sequence: int, spyee_uid: str, prompt: str, counted: Sequence[tuple[str, str]]
    ) -> PromptOutcome | None:
        """Whisper, and return what became of it; ``None`` if the feature may do better."""
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
            # An id that is in use is refused, too, but each refusal makes Asterisk count one channel fewer than it has:
            # `core restart gracefully` then waits for ever, `when convenient` may cut a call (channel.c, measured).
            if await self._is_playing(uid):
                return PromptOutcome.WHISPERED
            await self._link.action("Originate", fields)
            async with asyncio.timeout(self._settings.whisper_deadline_s):
                if not await started:
                    return PromptOutcome.WHISPERED if await self._is_playing(uid) else None
            before = await self._packets(counted)
            if (heard := await self._heard_to_end(session, spyee_uid, ended)) is not None:
                return heard
            after = None if before is None else await self._packets(counted)
            if before is None or after is None or after - before >= SPOKEN_PACKETS:
                return PromptOutcome.WHISPERED
            log.info("whisper_unheard", session=session, why="nothing sounds that it could be mixed into")
            await self._give_up(uid)
        except TimeoutError:
            log.warning("whisper_not_attached", channel_uid=uid)
            await self._give_up(uid)
        except SwitchError as error:
            log.warning("whisper_refused", session=session, error=str(error))
        finally:
            for key in (uid, spyer_uid, _end_of(uid)):
                self._waiting.pop(key, None)
        return None

    async def _heard_to_end(self, session: str, spyee_uid: str, ended: asyncio.Future[bool]) -> PromptOutcome | None:
        """What it was if it is over at once; ``None``: it goes on. Raises SwitchError."""
        await asyncio.wait((ended,), timeout=self._settings.plays_s)
        if not ended.done():
            return None
        if not ended.result():
            return PromptOutcome.FAILED
        try:
            await self._link.action("Status", {"Channel": spyee_uid}, list_end="StatusComplete")
        except ActionRefused:
            return PromptOutcome.WHISPERED  # until the call ended
        log.error("prompt_not_played", session=session, why=NO_SOUND, advice=UNPLAYABLE_ADVICE)
        return PromptOutcome.FAILED

    async def _packets(self, counted: Sequence[tuple[str, str]]) -> int | None:
        """How many packets of sound there were so far; ``None`` if they are not counted. The channel's own
        thread answers, which its party can keep busy: so no other order waits behind this one."""
        asked = [{"Channel": uid, "Variable": what} for uid, what in counted]
        try:
            said = [await self._link.action("Getvar", one, timeout_s=COUNTED_S, aside=True) for one in asked]
        except SwitchError:  # one has left, or is not waited for
            return None
        counts = [whole(one.headers.get("Value")) for one in said]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None

    async def _is_playing(self, uid: str) -> bool:
        """Whether an order plays already: a daemon that was restarted may have given it. When it began is not known."""
        try:
            await self._link.action("Status", {"Channel": uid}, list_end="StatusComplete")
        except ActionRefused:
            return False
        return True

    async def _give_up(self, uid: str) -> None:
        """End a whisper, so that it does not follow the feature's prompt if it attaches or is heard after all."""
        try:
            await self._link.action("Hangup", {"Channel": uid})
        except SwitchError as error:
            log.info("whisper_not_hung_up", channel_uid=uid, error=str(error))

    async def _feature(self, session: str, spyee_uid: str, prompt: str) -> bool:
        try:
            began = self._clock.now()
            if not await self.fire(spyee_uid, prompt):
                log.error("prompt_feature_missing", session=session, advice=NATIVE_ADVICE)
                return False
            if began.seconds_until(self._clock.now()) < self._settings.plays_s:
                log.error("prompt_not_played", session=session, why=NO_SOUND, advice=UNPLAYABLE_ADVICE)
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
        begun = {"Channel": spyee_uid, "Variable": variables.PROMPT_PLAYED}
        await self._link.action("Setvar", {**begun, "Value": ""})
        await self._link.action("Setvar", {**order, "Value": prompt})
        await _press(self._link, spyee_uid, self._settings.feature_digits)
        tries, pressed = 1, self._clock.now()
        until = pressed.plus(self._settings.feature_deadline_s)
        while (await self._link.action("Getvar", order)).headers.get("Value"):
            if (now := self._clock.now()).mono_us >= until.mono_us:
                await self._link.action("Setvar", {**order, "Value": ""})  # the same digits later are silent
                return False
            if tries < FEATURE_TRIES_MAX and pressed.seconds_until(now) >= FEATURE_AGAIN_S:
                if not (await self._link.action("Getvar", begun)).headers.get("Value"):
                    await _press(self._link, spyee_uid, self._settings.feature_digits)
                    tries += 1
                pressed = self._clock.now()
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


async def _press(link: Orders, uid: str, digits: str) -> None:
    """Send digits as if the party had dialled them. Raises SwitchError."""
    for digit in digits:
        fields = {"Channel": uid, "Digit": digit, "Duration": str(DIGIT_MS), "Receive": "true"}
        await link.action("PlayDTMF", fields)
