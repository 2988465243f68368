"""The switch as sessions see it (`engine.ports.Switch`), by way of the AMI link and call control."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from charging.asterisk import variables
from charging.asterisk.black_box import BlackBoxRecord
from charging.asterisk.control import CallControl, ChannelStatus
from charging.asterisk.fax_line import pages_confirmed
from charging.asterisk.link import AmiLink
from charging.asterisk.prompts import PromptOutcome
from charging.asterisk.translate import is_far_half
from charging.call.events import BlackBoxRead, Leg
from charging.clock import Clock, Instant
from charging.engine.ports import Legs, Look, PromptResult
from charging.errors import SwitchError
from charging.records import replace
from charging.tasks import in_turns

_RESULTS = {
    PromptOutcome.WHISPERED: PromptResult.PLAYED,
    PromptOutcome.FEATURE: PromptResult.FALLBACK,
    PromptOutcome.FAILED: PromptResult.FAILED,
    PromptOutcome.UNHEARD: PromptResult.UNHEARD,
}


NO_RECORD = BlackBoxRead(found=False)

ASK_S = 1.0
"""A caller waits for this answer, within the dialplan's guard."""


class AsteriskSwitch:
    """One Asterisk, as the port `Switch`."""

    def __init__(
        self, link: AmiLink, control: CallControl, clock: Clock, prompts_dir: str, switch_id: str = ""
    ) -> None:
        """``prompts_dir`` is where the switch itself has the folders ``nl`` and ``en``. Channels of another
        ``switch_id`` belong to another daemon."""
        self._link = link
        self._control = control
        self._clock = clock
        self._prompts_dir = prompts_dir.rstrip("/")
        self._switch_id = switch_id

    @property
    def proven_mono_us(self) -> int | None:
        return self._link.proven_mono_us

    @property
    def started(self) -> str:
        return self._link.switch_started

    async def look(self) -> Look:
        asked = self._clock.now().mono_us
        legs: dict[str, Legs] = {}
        doubtful: set[str] = set()

        def heard(status: ChannelStatus) -> None:
            if status.is_doubtful:
                doubtful.add(status.session)
            elif status.session and status.switch in ("", self._switch_id):
                legs[status.session] = _with(legs.get(status.session, Legs()), status)

        await self._control.statuses(heard)
        return Look(asked, legs, frozenset(doubtful))

    async def is_asking(self, caller_uid: str, proof: str) -> bool:
        return bool(proof) and await self._control.variable(caller_uid, variables.PROOF, ASK_S) == proof

    async def is_rehearsal(self, caller_uid: str) -> bool:
        linked = await self._control.variable(caller_uid, "CHANNEL(linkedid)", ASK_S)
        return linked is not None and linked.startswith(variables.REHEARSAL_UID)

    async def look_at(self, asked: Sequence[tuple[str, Sequence[str]]]) -> Sequence[Legs | SwitchError]:
        statuses = iter(await self._control.statuses_of([uid for _, uids in asked for uid in uids]))
        return [_legs_of(session, [next(statuses) for _ in uids]) for session, uids in asked]

    async def set_deadlines(self, deadlines: Sequence[tuple[str, Instant]]) -> Sequence[SwitchError | None]:
        outcomes = await self._control.set_deadlines(deadlines)
        return [outcome if isinstance(outcome, SwitchError) else None for outcome in outcomes]

    async def fax_pages(self, uids: Sequence[str]) -> int | None:
        channels = []
        for status in await self._control.statuses_of(uids):
            if isinstance(status, SwitchError):
                raise status
            channels += [status.channel] if status is not None else []
        return await pages_confirmed(self._link, channels)

    async def hang_up(self, uid: str) -> None:
        await self._control.hang_up(uid)

    async def play_prompt(
        self, session: str, sequence: int, callee_uid: str, language: str, prompt: str
    ) -> PromptResult:
        path = f"{self._prompts_dir}/{language}/{prompt}"
        return _RESULTS[await self._control.play_prompt(session, sequence, callee_uid, path)]

    async def black_boxes_of(self, sessions: Sequence[str]) -> Sequence[BlackBoxRead | SwitchError]:
        records = await self._control.records_of(sessions)
        return [one if isinstance(one, SwitchError) else _read(one) if one else NO_RECORD for one in records]

    async def black_boxes(self, booked: Container[str] = ()) -> Mapping[str, BlackBoxRead | None]:
        records = await self._control.black_box(booked)
        await self._control.delete_unnamed()
        return {key: None if record is None else _read(record) async for key, record in in_turns(records.items())}

    async def delete_records(self, keys: Sequence[str]) -> None:
        await self._control.delete_records(keys)


def _read(record: BlackBoxRecord) -> BlackBoxRead:
    """Read a record. An answered call without a readable length counts as one without a record: other evidence
    decides."""
    return BlackBoxRead(
        found=record.conversation_ms is not None,
        dial_status=record.dial_status,
        answered_ms=record.conversation_ms or 0,
        lasted_ms=record.lasted_ms,
        by_leg=record.by_leg,
        message_stored=record.voicemail_stored,
        no_room=record.no_room,
        fallback=record.phase == variables.PHASE_FALLBACK,
        undecided=record.undecided,
        number=record.number,
        caller=record.caller,
        withheld=record.withheld,
        cause=record.cause,
        ended_us=record.ended_at_us,
        fax_status=record.fax_status,
        fax_pages=record.fax_pages or 0,
        undialled=record.phase == variables.PHASE_UNDIALLED,
        switch=record.switch,
        turned=record.turned,
    )


def _legs_of(session: str, statuses: Sequence[ChannelStatus | SwitchError | None]) -> Legs | SwitchError:
    legs = Legs()
    for status in statuses:
        if isinstance(status, SwitchError):
            return status
        if status is not None:
            legs = _with(legs, status) if status.session == session else replace(legs, nameless=True)
    return legs


def _with(legs: Legs, status: ChannelStatus) -> Legs:
    """One channel more. Of two that both say to be the forwarded leg, the one that talks is."""
    if is_far_half(status.channel, status.leg):
        return legs
    up, bridged = status.state == "Up", bool(status.bridge_id)
    leg = Leg(status.uid, bridged, up, status.time_left_ms, status.since_answer_ms, status.answered)
    if status.leg == variables.LEG_CALLER and legs.caller is None:
        return replace(legs, caller=leg)
    if status.leg == variables.LEG_CALLEE and (legs.callee is None or (leg.bridged and not legs.callee.bridged)):
        displaced = () if legs.callee is None else (legs.callee,)
        return replace(legs, callee=leg, others=(*legs.others, *displaced))
    return replace(legs, others=(*legs.others, leg))
