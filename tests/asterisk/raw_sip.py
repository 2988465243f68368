"""Raw SIP from a stranger: SIPp sends one INVITE, every character of which is chosen, and goes on like a phone.

What a telephone, or another Asterisk, would put right before it is sent arrives here as it is written.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from charging.lab import Lab
from tests.asterisk.sipp import sipp
from tests.asterisk.waiting import eventually

NUMBER = "+31850000001"
CALLER = "<sip:+31201234567@carrier.example>"

_SCENARIO = """<?xml version="1.0" encoding="UTF-8" ?>
<!DOCTYPE scenario SYSTEM "sipp.dtd">
<scenario name="stranger">
<send><![CDATA[
INVITE sip:{user}@[remote_ip]:[remote_port]{options} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: {caller};tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:stranger@[local_ip]:[local_port]>
Max-Forwards: 70
{headers}Content-Type: application/sdp
Content-Length: [len]

v=0
o=stranger 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000

]]></send>
<recv response="100" optional="true"></recv>
<recv response="180" optional="true"></recv>
<recv response="183" optional="true"></recv>
<recv response="200" optional="true" next="answered"></recv>
<recv response="404" optional="true" next="refused"></recv>
<recv response="408" optional="true" next="refused"></recv>
<recv response="480" optional="true" next="refused"></recv>
<recv response="484" optional="true" next="refused"></recv>
<recv response="486" optional="true" next="refused"></recv>
<recv response="503"></recv>
<label id="refused"/>
<send next="end"><![CDATA[
ACK sip:{user}@[remote_ip]:[remote_port] SIP/2.0
[last_Via:]
[last_From:]
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<label id="answered"/>
<send><![CDATA[
ACK sip:{user}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[last_From:]
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv request="BYE"></recv>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
<label id="end"/>
</scenario>
"""


@dataclass(frozen=True, slots=True)
class Stranger:
    """One call by SIPp."""

    trace: Path

    def statuses(self) -> list[int]:
        """What the switch has answered so far."""
        said = self.trace.read_text(errors="replace") if self.trace.exists() else ""
        return [int(code) for code in re.findall(r"^SIP/2\.0 (\d{3}) ", said, re.MULTILINE)]

    async def is_told(self, status: int) -> None:
        """Wait until the switch has answered this."""

        async def told() -> bool:
            return status in self.statuses()

        await eventually(told, f"the SIP answer {status}")


class Asked(TypedDict, total=False):
    """What a stranger writes of himself."""

    caller: str
    headers: tuple[str, ...]


@contextlib.asynccontextmanager
async def stranger(
    lab: Lab,
    folder: Path,
    user: str = NUMBER,
    *,
    caller: str = CALLER,
    headers: tuple[str, ...] = (),
    options: str = "",
) -> AsyncIterator[Stranger]:
    """An INVITE for ``user``, From ``caller``, with further ``headers``; it rings until the block is left.

    ``options`` is appended to the request URI.
    """
    invite = {"user": user, "caller": caller, "options": options, "headers": "".join(f"{line}\n" for line in headers)}
    async with sipp(lab, folder, _SCENARIO.format(**invite), "-m", "1", "-trace_msg", "-message_file", "trace"):
        yield Stranger(folder / "trace")
