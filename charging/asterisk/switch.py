"""The switch as sessions see it (`session.ports.Switch`), by way of the AMI link and call control."""

from __future__ import annotations

from collections.abc import Sequence

from charging.asterisk import variables
from charging.asterisk.control import CallControl, ChannelStatus
from charging.asterisk.link import AmiLink
from charging.asterisk.prompts import PromptOutcome
from charging.clock import Clock, Instant
from charging.errors import LinkDown
from charging.session.events import BlackBoxRead, Leg
from charging.session.ports import Legs, Look, PromptResult

_RESULTS = {
    PromptOutcome.WHISPERED: PromptResult.PLAYED,
    PromptOutcome.FEATURE: PromptResult.FALLBACK,
    PromptOutcome.FAILED: PromptResult.FAILED,
}


class AsteriskSwitch:
    """One Asterisk."""

    def __init__(self, link: AmiLink, control: CallControl, clock: Clock, prompts_dir: str) -> None:
        """``prompts_dir`` is where the switch itself finds the folders ``nl`` and ``en``."""
        self._link = link
        self._control = control
        self._clock = clock
        self._prompts_dir = prompts_dir.rstrip("/")

    @property
    def proven_mono_us(self) -> int | None:
        return self._link.proven_mono_us

    async def look(self) -> Look:
        asked = self._clock.now().mono_us
        legs: dict[str, Legs] = {}
        for status in await self._control.statuses():
            if status.session:
                legs[status.session] = _with(legs.get(status.session, Legs()), status)
        return Look(asked, legs)

    async def set_deadline(self, uid: str, at: Instant) -> None:
        await self._control.set_deadline(uid, at)

    async def hang_up(self, uid: str) -> None:
        await self._control.hang_up(uid)

    async def play_prompt(
        self, session: str, sequence: int, callee_uid: str, language: str, prompt: str
    ) -> PromptResult:
        path = f"{self._prompts_dir}/{language}/{prompt}"
        return _RESULTS[await self._control.play_prompt(session, sequence, callee_uid, path)]

    async def black_box(self, session: str) -> BlackBoxRead:
        record = await self._control.black_box_of(session)
        if record is None:
            return BlackBoxRead(found=False)
        # An answered call without a readable length is decided by other evidence: as if nothing was answered here.
        known = record.conversation_ms is not None
        return BlackBoxRead(known, record.dial_status, record.conversation_ms or 0)

    async def black_box_keys(self) -> Sequence[str]:
        return list(await self._control.black_box())

    async def run_maintenance(self) -> None:
        if not await self._control.run_maintenance():
            raise LinkDown("the switch did not run the maintenance extension: is the right `originate` granted?")


def _with(legs: Legs, status: ChannelStatus) -> Legs:
    leg = Leg(status.uid, bool(status.bridge_id), status.state == "Up", status.time_left_ms)
    if status.leg == variables.LEG_CALLEE:
        return Legs(legs.caller, leg)
    return Legs(leg, legs.callee)
