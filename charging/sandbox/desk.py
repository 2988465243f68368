"""What people do at their telephones in the test mode, by request: ring, answer, hang up, send a fax."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from enum import StrEnum

from agi.port import Answer, CallDesk, Declined, IncomingCall, Unproven
from charging.call.decide import Decision
from charging.call.decided import FALLBACK
from charging.clock import Clock
from charging.errors import ChargingError
from charging.fax.desk import FaxSent, FaxWish
from charging.fax.sending import Faxes
from charging.records import dataclass
from charging.sandbox.papers import said
from charging.sandbox.switch import Phase, PlayedCall, PlayedSwitch
from charging.service.refusal import Code, Refused
from charging.unguessable import token

LIVE_MAX = 100
KEPT_MAX = 500
"""Calls that can be asked about, the newest."""
DECIDE_S = 2.5
"""As the dialplan waits."""
VOICEMAIL_S = 300
RING_S = 30
"""If the answer does not say it."""


class NotTaken(StrEnum):
    """Why the subscriber does not take a call, in the switch's words."""

    BUSY = "BUSY"
    NO_ANSWER = "NOANSWER"
    OFF_LINE = "CHANUNAVAIL"


@dataclass(frozen=True, slots=True)
class CallWish:
    """What a caller does, and what becomes of it. Seconds; ``None``: until someone asks for it."""

    number: str
    caller: str
    withheld: bool = False
    answers_after_s: int | None = None
    talks_s: int | None = None
    message_s: int | None = None
    """If he comes to voicemail he leaves a message after so long."""


class Telephones:
    """See the module. The daemon's own desk decides."""

    def __init__(self, desk: CallDesk, switch: PlayedSwitch, clock: Clock) -> None:
        self._desk = desk
        self._switch = switch
        self._clock = clock
        self._calls: OrderedDict[str, PlayedCall] = OrderedDict()

    async def ring(self, wish: CallWish) -> PlayedCall | Refused:
        """A caller rings a number: what the daemon has decided, and what the caller does by that."""
        if len(self._switch.calls.under_way) >= LIVE_MAX:
            return Refused(Code.UNAVAILABLE, f"{LIVE_MAX} calls run already", "hang some of them up")
        call = PlayedCall(f"sandbox-{token(6)}", wish.number, wish.caller, self._clock.now(), wish.message_s)
        self._remember(call)
        self._switch.calls.arrive(call)
        incoming = IncomingCall(call.number, call.caller, call.uid, f"PJSIP/{call.uid}", wish.withheld)
        try:
            async with asyncio.timeout(DECIDE_S):
                answer = await self._desk.incoming(incoming)
        except (ChargingError, TimeoutError, Unproven) as error:
            self._fall_back(call, error)
            return call
        self._obey(call, answer)
        if call.phase is Phase.RINGING:
            self._switch.calls.begin(call, self._live(call, wish, answer.ring_s or RING_S))
        return call

    def get(self, id: str) -> PlayedCall | Refused:
        """A call of before."""
        return self._calls.get(id) or Refused(Code.NOT_FOUND, f"there is no test call {id[:80]!r}")

    def all(self) -> list[PlayedCall]:
        """The newest calls, oldest first."""
        return list(self._calls.values())

    def answer(self, id: str) -> PlayedCall | Refused:
        """The subscriber takes the call."""
        call = self._ringing(id)
        if isinstance(call, PlayedCall):
            self._switch.calls.answer(call)
        return call

    async def refuse(self, id: str, why: NotTaken) -> PlayedCall | Refused:
        """He does not."""
        call = self._ringing(id)
        if isinstance(call, PlayedCall):
            await self._not_taken(call, why)
        return call

    def hang_up(self, id: str, *, message: bool) -> PlayedCall | Refused:
        """Either of them hangs up; ``message``: the caller, who has left one."""
        call = self.get(id)
        if isinstance(call, Refused):
            return call
        if call.phase is Phase.OVER:
            return Refused(Code.CONFLICT, f"the test call {id} is over")
        if message and call.phase is not Phase.AT_VOICEMAIL:
            return Refused(Code.CONFLICT, f"the caller of {id} is not at voicemail: he {call.phase}")
        self._switch.calls.end(call, message=message)
        return call

    # --- within -----------------------------------------------------------------------------------------------

    def _remember(self, call: PlayedCall) -> None:
        self._calls[call.uid] = call
        while len(self._calls) > KEPT_MAX:
            oldest = next(one for one in self._calls.values() if one.phase is Phase.OVER)
            del self._calls[oldest.uid]

    def _ringing(self, id: str) -> PlayedCall | Refused:
        call = self.get(id)
        if isinstance(call, PlayedCall) and not (call.phase is Phase.RINGING and call.target):
            return Refused(Code.CONFLICT, f"nothing rings in the test call {id}: it is {call.phase}")
        return call

    def _obey(self, call: PlayedCall, answer: Answer) -> None:
        """What the dialplan does with an answer."""
        call.decision, call.reason = answer.decision, answer.reason
        if call.phase is Phase.OVER:  # the caller has hung up while it was decided
            self._switch.calls.give_up(call, answer.session)
            return
        match answer.decision:
            case Decision.FORWARD:
                assert answer.session is not None, "as the port promises"
                assert answer.target is not None
                assert answer.quota_s is not None
                self._switch.calls.dial(call, answer.session, answer.target, answer.quota_s)
            case Decision.VOICEMAIL:
                call.session, call.phase = answer.session or call.session, Phase.AT_VOICEMAIL
                self._switch.calls.begin(call, self._leave(call))
            case _:
                self._switch.calls.end(call)

    def _fall_back(self, call: PlayedCall, error: Exception) -> None:
        call.decision, call.reason = FALLBACK, str(error)
        self._switch.calls.end(call)

    async def _live(self, call: PlayedCall, wish: CallWish, ring_s: int) -> None:
        """What the subscriber does with his telephone."""
        rings_s = ring_s if wish.answers_after_s is None else min(wish.answers_after_s, ring_s)
        await self._sleep(rings_s)
        if call.phase is Phase.RINGING and call.target:
            if wish.answers_after_s is None or wish.answers_after_s > ring_s:
                await self._not_taken(call, NotTaken.NO_ANSWER)
                return
            self._switch.calls.answer(call)
        if wish.talks_s is not None and call.phase is Phase.TALKING:
            await self._sleep(wish.talks_s)
            if call.phase is Phase.TALKING:
                self._switch.calls.end(call)

    async def _leave(self, call: PlayedCall) -> None:
        """What the caller does at voicemail, which does not listen to him for ever."""
        await self._sleep(VOICEMAIL_S if call.message_s is None else call.message_s)
        if call.phase is Phase.AT_VOICEMAIL:
            self._switch.calls.end(call, message=call.message_s is not None)

    async def _not_taken(self, call: PlayedCall, why: NotTaken) -> None:
        self._switch.calls.fail(call, why)
        try:
            async with asyncio.timeout(DECIDE_S):
                answer = await self._desk.unanswered(call.session, why)
        except (ChargingError, TimeoutError, Declined) as error:
            self._fall_back(call, error)
            return
        self._obey(call, answer)

    async def _sleep(self, seconds: int) -> None:
        await self._clock.sleep_until(self._clock.now().plus(seconds).mono_us)


@dataclass(frozen=True, slots=True)
class FaxPlay:
    """A fax without a document."""

    account: str
    target: str
    pages: int
    confirmed: int
    page_s: int
    number: str = ""


async def play_fax(faxes: Faxes, play: FaxPlay) -> FaxSent | Refused:
    """Send it, as an upload is sent. Raises LedgerError."""
    data = said(play.pages, play.confirmed, play.page_s)
    wish = FaxWish(play.target, data, f"{play.pages} pages", play.number)
    return await faxes.send(play.account, wish, f"sandbox-{token(12)}")
