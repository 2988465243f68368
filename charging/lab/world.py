"""Turns the events of the world's Asterisk into calls: who rang, answered, hung up, and which mobile is whose."""

from __future__ import annotations

import itertools
from pathlib import Path

from charging.lab.ami import LabAmi, Message
from charging.lab.call import Call, CallState, MobileLeg, Party
from charging.lab.process import AsteriskProcess

RING_TIMEOUT_MS = 300_000
"""How long an outside caller waits for an answer before giving up."""


class World:
    """Outside callers and mobiles, all on one Asterisk."""

    def __init__(self, process: AsteriskProcess) -> None:
        self.process = process
        self.calls: list[Call] = []
        self.stray_mobiles: list[MobileLeg] = []
        """Mobiles that were rung for a caller that is not one of ours."""
        self._parties: dict[str, tuple[Call | None, Party]] = {}
        self._numbers = itertools.count(1)
        self._ami = LabAmi(process.ami, self._on_event)

    async def start(self) -> None:
        await self.process.start()
        await self._ami.connect()

    async def stop(self) -> None:
        await self._ami.close()
        await self.process.kill()

    async def place_call(self, number: str, caller: str | None, hang_up_after_s: float | None, *, voice: str) -> Call:
        """Let an outside caller dial; returns as soon as the call is on its way."""
        serial = next(self._numbers)
        call_id = f"call-{serial}"
        recordings = self.process.folder / "recordings"
        caller = caller or f"+3120{serial:07d}"
        call = Call(call_id, number, caller, Party(recordings, f"{call_id}-caller"), self._ami.action)
        self.calls.append(call)
        self._parties[call_id] = (call, call.outside)
        variables = [f"LAB_CALL={call_id}", f"LAB_VOICE={voice}"]
        if hang_up_after_s is not None:
            variables.append(f"LAB_TALK_S={hang_up_after_s}")
        await self._ami.action(
            "Originate",
            {
                "Channel": f"PJSIP/{number}@switch",
                "Context": "caller",
                "Exten": "s",
                "Priority": "1",
                "CallerID": f"<{caller}>",
                "ChannelId": call_id,
                "Timeout": str(RING_TIMEOUT_MS),
                "Async": "true",
                "Variable": "\n".join(variables),
            },
        )
        return call

    async def send_fax(self, number: str, file: Path, *, t38: bool) -> None:
        """Let an outside fax machine send a TIFF; returns as soon as the call is on its way."""
        await self._ami.action(
            "Originate",
            {
                "Channel": f"PJSIP/{number}@switch",
                "Application": "SendFAX",
                "Data": f"{file},{'f' if t38 else 'F'}",
                "CallerID": "<+31200000000>",
                "Timeout": str(RING_TIMEOUT_MS),
                "Async": "true",
            },
        )

    async def ask_for_t38_now(self) -> None:
        """Let the one fax machine that receives by sound ask for T.38 in the middle."""
        channels = await self._ami.listing("CoreShowChannels")
        (channel,) = (one["Channel"] for one in channels if one["Application"] == "ReceiveFAX")
        fields = {"Channel": channel, "Context": "fax-late", "Exten": "s", "Priority": "1"}
        await self._ami.action("Redirect", fields)

    async def receive_fax_instead(self, replaces: str) -> None:
        """Let another machine take the place of one that the switch sends a fax to, whose dialog is ``replaces``
        (RFC 3891)."""
        await self._ami.action(
            "Originate",
            {
                "Channel": "Local/s@fax-instead/n",
                "Context": "fax-instead",
                "Exten": "idle",
                "Priority": "1",
                "Variable": f"__LAB_REPLACES={replaces}",
                "Async": "true",
            },
        )

    async def hang_up_everything(self) -> None:
        for call in self.calls:
            await call.hang_up()

    def recording_folder(self) -> Path:
        return self.process.folder / "recordings"

    def _on_event(self, event: Message) -> None:
        if event.get("UserEvent") == "LabMobile":
            self._mobile_rings(event)
        call, party = self._parties.get(event.get("Uniqueid", ""), (None, None))
        if party is None:
            return
        party.channel = event.get("Channel", party.channel)
        match event["Event"], event:
            case "Newstate", {"ChannelStateDesc": "Ringing"}:
                self._advance(call, party, CallState.RINGING)
            case "Newstate", {"ChannelStateDesc": "Up"}:
                party.answered_us = _stamp_us(event)
                self._advance(call, party, CallState.ANSWERED)
            case "UserEvent", {"UserEvent": "LabRecording"}:
                party.recording_since_us = _stamp_us(event)
            case "Hangup", _:
                party.ended_us, party.cause = _stamp_us(event), int(event["Cause"])
                self._advance(call, party, CallState.ENDED)
        if call is not None:
            call.changed()

    @staticmethod
    def _advance(call: Call | None, party: Party, state: CallState) -> None:
        if call is not None and party is call.outside:
            call.state = max(call.state, state)

    def _mobile_rings(self, event: Message) -> None:
        """A mobile is rung: it belongs to the newest open call from the caller that its display shows."""
        leg = MobileLeg(
            self.recording_folder(),
            event["Recording"],
            target=event["Target"],
            written=event["Written"] or event["Target"],
            shown=event["Caller"],
            diverted_from=event["Diverted"],
        )
        open_calls = (call for call in reversed(self.calls) if call.state is not CallState.ENDED)
        call = next((call for call in open_calls if call.caller == event["Caller"]), None)
        (self.stray_mobiles if call is None else call.mobiles).append(leg)
        self._parties[event["Uniqueid"]] = (call, leg)


def _stamp_us(event: Message) -> int:
    seconds, _, micros = event["Timestamp"].partition(".")
    return int(seconds) * 1_000_000 + int(micros.ljust(6, "0")[:6])
