"""What SIP lets a party do in a call that a telephone of the lab does not: SIPp plays a list of steps.

A story begins with :func:`calls` or :func:`answers`; the steps after it are requests of the same dialog, in both
directions, and pauses. What was sent and heard, and when, is read from SIPp's trace.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from charging.lab import Lab
from charging.lab.ports import free_port
from tests.asterisk.parties import operator_sets
from tests.asterisk.sipp import sipp
from tests.asterisk.waiting import Value, eventually

CALLER = "<sip:+31201234567@carrier.example>"
TALKING, ON_HOLD = "sendrecv", "sendonly"

_VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]"
_CONTACT = "Contact: <sip:phone@[local_ip]:[local_port]>"
_ALLOW = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE"
"""So that the switch refreshes the session by UPDATE, which SIPp answers by itself."""
_SDP = """v=0
o=phone 1 {version} IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
a={direction}
"""
_OURS = "[last_Via:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n[last_CSeq:]\n"
_TAKEN = '<ereg regexp="{regexp}" search_in="hdr" header="{header}:" assign_to="{name}"/>'


def _send(lines: str, sdp: str = "") -> str:
    kind = "Content-Type: application/sdp\n" if sdp else ""
    return f"<send><![CDATA[\n{lines}{kind}Content-Length: [len]\n\n{sdp}\n]]></send>"


def _sdp(direction: str, version: int = 1) -> str:
    return _SDP.format(direction=direction, version=version)


def calls(number: str, *headers: str, max_forwards: int = 70) -> str:
    """The outside caller dials, is answered, and says so."""
    more = "".join(f"{line}\n" for line in headers)
    dialled = f"sip:{number}@[remote_ip]:[remote_port]"
    invite = (
        f"INVITE {dialled} SIP/2.0\n{_VIA}\nFrom: {CALLER};tag=caller\nTo: <{dialled}>\nCall-ID: [call_id]\n"
        f"CSeq: 1 INVITE\n{_CONTACT}\n{_ALLOW}\nMax-Forwards: {max_forwards}\n{more}"
    )
    early = "".join(f'<recv response="{code}" optional="true"></recv>' for code in (100, 180, 183))
    taken = _TAKEN.format(regexp=".*", header="To", name="peer") + _TAKEN.format(
        regexp="sip:[^>]*", header="Contact", name="target"
    )
    us = f'<assignstr assign_to="us" value="{CALLER};tag=caller"/>'.replace(CALLER, "&lt;" + CALLER[1:-1] + "&gt;")
    return (
        f"<nop><action>{us}</action></nop>{_send(invite, _sdp(TALKING))}{early}"
        f'<recv response="200"><action>{taken}</action></recv>{requests("ACK", cseq=1)}'
    )


def answers() -> str:
    """The subscriber's phone is rung, and answers at once."""
    return taken_in() + says("180 Ringing") + takes_the_call()


def taken_in() -> str:
    """The subscriber's phone is rung, and has said nothing yet."""
    taken = "".join(
        _TAKEN.format(regexp=regexp, header=header, name=name)
        for regexp, header, name in (
            (".*", "From", "peer"),
            (".*", "To", "me"),
            ("sip:[^>]*", "Contact", "target"),
            (".*", "Via", "via"),
            (".*", "Call-ID", "call"),
            (".*", "CSeq", "invite"),
        )
    )
    return f'<recv request="INVITE"><action>{taken}<assignstr assign_to="us" value="[$me];tag=callee"/></action></recv>'


def says(status: str, *headers: str, early: bool = False) -> str:
    """It answers the INVITE by which it is rung, whatever it was asked in between; ``early``: it talks already."""
    more = "".join(f"{line}\n" for line in headers)
    theirs = "Via:[$via]\nFrom:[$peer]\nTo:[$me];tag=callee\nCall-ID:[$call]\nCSeq:[$invite]\n"
    contact = "" if "Contact:" in more else f"{_CONTACT}\n{_ALLOW}\n"
    return _send(f"SIP/2.0 {status}\n{theirs}{contact}{more}", _sdp(TALKING) if early else "")


def takes_the_call() -> str:
    """It answers, and talks."""
    return says("200 OK", early=True) + '<recv request="ACK"></recv>'


def requests(method: str, *headers: str, cseq: int, sdp: str = "") -> str:
    """A request within the dialog; ``cseq`` counts from 2, an ACK has its INVITE's."""
    more = "".join(f"{line}\n" for line in headers)
    return _send(
        f"{method} [$target] SIP/2.0\n{_VIA}\nFrom: [$us]\nTo: [$peer]\nCall-ID: [call_id]\nCSeq: {cseq} {method}\n"
        f"{_CONTACT}\nMax-Forwards: 70\n{more}",
        sdp,
    )


def renegotiates(direction: str, *, cseq: int) -> str:
    """A re-INVITE: the other side is put on hold, or taken back."""
    return (
        f"{requests('INVITE', cseq=cseq, sdp=_sdp(direction, cseq))}"
        f'<recv response="100" optional="true"></recv><recv response="200"></recv>{requests("ACK", cseq=cseq)}'
    )


def is_renegotiated() -> str:
    """The switch asks again, to tell who is at the other end now."""
    taken = _send("SIP/2.0 200 OK\n" + _OURS.format(tag="") + f"{_CONTACT}\n", _sdp(TALKING, 2))
    return f'<recv request="INVITE"></recv>{taken}<recv request="ACK"></recv>'


def is_told(status: int) -> str:
    return f'<recv response="{status}"></recv>'


def hears(method: str, *, answered: bool = True) -> str:
    said = _send("SIP/2.0 200 OK\n" + _OURS.format(tag="")) if answered else ""
    return f'<recv request="{method}"></recv>{said}'


def pauses(seconds: float) -> str:
    return f'<pause milliseconds="{round(seconds * 1000)}"/>'


@dataclass(frozen=True, slots=True)
class Told:
    """One message of SIPp's trace."""

    at_us: int
    was_sent: bool
    first_line: str


@dataclass(frozen=True, slots=True)
class Party:
    """One side of a call, played by SIPp."""

    trace: Path

    @property
    def connected_s(self) -> float:
        """From its answer's ACK to the first BYE of whichever side, or the word of its transfer; for who answers."""
        told = self.messages()
        answer = next(one for one in told if not one.was_sent and one.first_line.startswith("ACK "))
        end = next(one for one in told if one.first_line.startswith(("BYE ", "NOTIFY ")))
        return (end.at_us - answer.at_us) / 1e6

    def messages(self) -> list[Told]:
        said = self.trace.read_text(errors="replace") if self.trace.exists() else ""
        stamped = r"^-+ (\d{4}-\d\d-\d\d)\s+(\d\d:\d\d:\d\d\.\d+).*\nUDP message (sent|received).*\n\n(.*)$"
        return [
            Told(_micros(f"{day} {time}"), way == "sent", line.strip())
            for day, time, way, line in re.findall(stamped, said, re.MULTILINE)
        ]

    async def heard(self, begins: str, times: int = 1, deadline_s: float = 30) -> Told:
        """Wait until the switch has said something that begins so."""

        async def there() -> list[Told]:
            found = [one for one in self.messages() if not one.was_sent and one.first_line.startswith(begins)]
            return found if len(found) >= times else []

        return (await self._waits_for(there, f"the switch to say {begins}", deadline_s))[-1]

    async def said(self, begins: str, deadline_s: float = 30) -> Told:
        """Wait until SIPp has said something that begins so."""

        async def there() -> Told | None:
            return next((one for one in self.messages() if one.was_sent and one.first_line.startswith(begins)), None)

        return await self._waits_for(there, f"SIPp to say {begins}", deadline_s)

    async def _waits_for(self, look: Callable[[], Awaitable[Value | None]], what: str, deadline_s: float) -> Value:
        """As :func:`eventually`. Raises AssertionError with what was said until then, and SIPp's own words."""
        try:
            return await eventually(look, what, deadline_s)
        except AssertionError as error:
            errors = self.trace.with_name("errors")
            told = [("said  " if one.was_sent else "heard ") + one.first_line for one in self.messages()]
            words = [errors.read_text(errors="replace")] if errors.exists() else []
            raise AssertionError("\n".join((str(error), *told, *words))) from None


def _micros(stamp: str) -> int:
    local = datetime.datetime.fromisoformat(stamp).astimezone()
    return round(local.timestamp() * 1e6)


@contextlib.asynccontextmanager
async def plays(lab: Lab, folder: Path, *steps: str, port: int = 0) -> AsyncIterator[Party]:
    """SIPp plays the steps towards the switch; what is left of them is not played when the block is left."""
    used = '<Reference variables="us,me,peer,target,via,call,invite"/>'
    head = '<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
    body = "\n".join((*steps, used)).replace("><", ">\n<")
    only_rung = ("me", "via", "call", "invite")
    unset = "".join(f'<nop><action><assignstr assign_to="{one}" value="x"/></action></nop>' for one in only_rung)
    unset = unset if "INVITE sip:" in steps[0] else ""
    scenario = f'{head}<scenario name="steps">\n{unset}{body}\n</scenario>\n'
    traces = ("-trace_msg", "-message_file", "trace", "-trace_err", "-error_file", "errors")
    async with sipp(lab, folder, scenario, "-m", "1", "-aa", *traces, *(("-p", str(port)) if port else ())):
        yield Party(folder / "trace")


@contextlib.asynccontextmanager
async def subscriber(lab: Lab, folder: Path, *steps: str) -> AsyncIterator[Party]:
    """All forwarded calls go to SIPp meanwhile, which answers the first and plays the steps."""
    port = free_port()
    async with (
        operator_sets(lab, "CHARGING_DIAL_PREFIX", "PJSIP/world/sip:"),
        operator_sets(lab, "CHARGING_DIAL_SUFFIX", f"@127.0.0.1:{port}"),
        plays(lab, folder, answers(), *steps, port=port) as party,
    ):
        yield party
