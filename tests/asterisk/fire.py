"""What a fire is made of: callers by SIPp with a record of their own, and acts that strike everything around a call.

Both are planned from a seed, so that a fire that found something burns again. The acts touch only what fails in
earnest: processes by signals, sockets by a relay in between, a disk by a limit on the size of files.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import resource
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from charging.lab import Lab
from tests.asterisk.sipp import sipp

FIRST_ACT_S = 10
LAST_ACT_S = 30
"""Before the end: what it struck has come back, and calls have gone on, when the last callers hang up."""
APART_S = (2.0, 14.0)
"""Between the beginnings of two acts. One may last longer, so that two strike together."""
LASTS_S = (0.5, 7.0)
TALK_S = (1, 40)
CALLS_A_SECOND = 1.2
RARE = ("switch killed",)
"""It ends all calls: one act in so many rounds of all others."""
ROUNDS_OF_RARE = 3


@dataclass(frozen=True)
class Ring:
    """A caller who is going to dial."""

    number: str
    caller: str
    talk_ms: int


@dataclass(frozen=True)
class Act:
    """Something that strikes ``at_s`` after the fire began, and is put right ``lasts_s`` later."""

    at_s: float
    what: str
    lasts_s: float


def planned_calls(seed: int, burns_s: float, numbers: list[str]) -> list[Ring]:
    rng = random.Random(f"calls/{seed}")
    count = round((burns_s - TALK_S[1]) * CALLS_A_SECOND)
    return [
        Ring(rng.choice(numbers), f"+31201{index:06d}", round(rng.uniform(*TALK_S) * 1000)) for index in range(count)
    ]


def planned_acts(seed: int, burns_s: float, kinds: list[str]) -> list[Act]:
    """Each kind comes as often as any other, give or take one, but for those of ``RARE``."""
    rng = random.Random(f"acts/{seed}")
    acts: list[Act] = []
    at_s, rounds, bag = float(FIRST_ACT_S), 0, list[str]()
    while at_s < burns_s - LAST_ACT_S:
        if not bag:
            rounds += 1
            bag = [kind for kind in kinds if kind not in RARE or rounds % ROUNDS_OF_RARE == 1]
            rng.shuffle(bag)
        acts.append(Act(at_s, bag.pop(), rng.uniform(*LASTS_S)))
        at_s += rng.uniform(*APART_S)
    return acts


@contextlib.contextmanager
def files_cannot_grow(pid: int) -> Iterator[None]:
    """The disk is full for this process: no file of its takes another byte."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # killed meanwhile
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@dataclass(frozen=True)
class Said:
    """What SIPp says of a call that was answered. Wall clock, in seconds since 1970."""

    caller: str
    answered_s: float
    hung_up_s: float
    """The end as far as is known: its BYE was sent, or the other side's came."""
    ended_s: float | None
    """The switch has said that the call is over; ``None``: it never did."""


_LINE = re.compile(r"(answered|hung_up|ended);(\+\d+);([\d.]+);([\d.]+)")


def said_by(log: Path) -> dict[str, Said]:
    """The callers' own record, by caller: of every call that was answered, by whomever."""
    stamps: dict[str, dict[str, float]] = {}
    for what, caller, seconds, micros in _LINE.findall(log.read_text() if log.exists() else ""):
        stamps.setdefault(caller, {}).setdefault(what, float(seconds) + float(micros) / 1e6)
    return {
        caller: Said(caller, one["answered"], one.get("hung_up", one.get("ended", one["answered"])), one.get("ended"))
        for caller, one in stamps.items()
        if "answered" in one
    }


_SAYS = '<action><gettimeofday assign_to="s,us"/><log message="{what};[field1];[$s];[$us]"/></action>'
_HEAD = """Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:[field1]@carrier.example>;tag=[pid]caller[call_number]
To: <sip:[field0]@[remote_ip]:[remote_port]>{tag}
Call-ID: [call_id]
CSeq: {cseq}
Contact: <sip:caller@[local_ip]:[local_port]>
Max-Forwards: 70
"""
_TARGET = "sip:[field0]@[remote_ip]:[remote_port]"
_SDP = """v=0
o=phone 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
"""
_REFUSALS = (404, 408, 480, 481, 486, 487, 488, 500, 503, 603)


def _send(method: str, *, cseq: str, tag: str = "", sdp: str = "", options: str = "") -> str:
    kind = "Content-Type: application/sdp\n" if sdp else ""
    head = _HEAD.format(tag=tag, cseq=cseq)
    return (
        f"<send {options}><![CDATA[\n{method} {_TARGET} SIP/2.0\n{head}{kind}Content-Length: [len]\n\n{sdp}\n]]></send>"
    )


def scenario() -> str:
    """A caller who dials, talks as long as his row says or until he is hung up on, and writes down when."""
    peer = "[peer_tag_param]"
    early = "".join(f'<recv response="{code}" optional="true"></recv>' for code in (100, 180, 181, 183))
    refused = "".join(f'<recv response="{code}" optional="true" next="refused"></recv>' for code in _REFUSALS)
    ok = (
        "<send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n"
        "Content-Length: 0\n\n]]></send>"
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n<scenario name="caller">'
        '<nop><action><assignstr assign_to="row" value="[field2]"/><todouble assign_to="talk" variable="row"/>'
        "</action></nop>"
        + _send("INVITE", cseq="1 INVITE", sdp=_SDP, options='retrans="500"')
        + early
        + refused
        + f'<recv request="BYE" optional="global" next="over">{_SAYS.format(what="ended")}</recv>'
        + f'<recv response="200">{_SAYS.format(what="answered")}</recv>'
        + _send("ACK", cseq="1 ACK", tag=peer)
        + '<pause variable="talk"/>'
        + f"<nop>{_SAYS.format(what='hung_up')}</nop>"
        + _send("BYE", cseq="2 BYE", tag=peer, options='retrans="500"')
        + f'<recv response="200" next="end">{_SAYS.format(what="ended")}</recv>'
        + f'<label id="over"/>{ok}<nop next="end"></nop>'
        + '<label id="refused"/>'
        + _send("ACK", cseq="1 ACK", tag=peer)
        + '<label id="end"/><pause milliseconds="10"/>'
        + "</scenario>"
    )
    for number, label in enumerate(("over", "refused", "end"), 1):
        text = text.replace(f'"{label}"', f'"{number}"')
    return text.replace("><", ">\n<")


@contextlib.asynccontextmanager
async def callers(lab: Lab, folder: Path, rings: list[Ring]) -> AsyncIterator[asyncio.subprocess.Process]:
    """SIPp begins to dial them, one after the other; ``folder`` / ``said.log`` is its record."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    rows = "".join(f"{one.number};{one.caller};{one.talk_ms};\n" for one in rings)
    (folder / "calls.csv").write_text("SEQUENTIAL\n" + rows)
    count, apart_ms = str(len(rings)), str(round(1000 / CALLS_A_SECOND))
    options = (
        *("-inf", "calls.csv", "-m", count, "-l", count, "-r", "1", "-rp", apart_ms, "-aa"),
        *("-trace_logs", "-log_file", "said.log", "-trace_err", "-error_file", "errors.log"),
    )
    async with sipp(lab, folder, scenario(), *options) as process:
        yield process
