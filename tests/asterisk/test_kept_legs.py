"""The far end of a forward keeps no leg at the operator's carrier after its call.

Asterisk sends no BYE while a re-INVITE of its own is unanswered, and a far end may leave one at 183 for as long as it
likes. So with the settings of docs/attach.md it is asked nothing by re-INVITE that a party can bring about; and what no
setting keeps a caller from is over with the session (until the releases of `check_trunk.ENDS_THEM`, by themselves).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest

from charging.cli.check_trunk import SESSION_S, ends_legs
from charging.lab import Lab
from charging.lab.install import ensure_asterisk
from tests.asterisk.parties import NUMBER, forward, operator_sets
from tests.asterisk.raw_call import RawCall, raw_call
from tests.asterisk.stub_agi import serving
from tests.asterisk.test_check_live import Edit, edited
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

AT_ONCE_S = 5
KEPT_S = 8
"""Long enough: a BYE that is sent comes at once."""
AUDIO = ("m=audio 9 RTP/AVP 8", "a=rtpmap:8 PCMA/8000")
HOLD = (*AUDIO, "a=sendonly")
VIDEO = ("m=video 11 RTP/AVP 96", "a=rtpmap:96 H264/90000")
T38 = ("m=image 15 udptl t38", "a=T38FaxVersion:0", "a=T38MaxBitRate:14400", "a=T38FaxMaxDatagram:200")
OTHER = "P-Asserted-Identity: <sip:+31209999999@carrier.example>"
BELIEVES = Edit("pjsip.conf", "trust_connected_line = no", "trust_connected_line = yes")


def sdp(*media: str, version: int = 1) -> str:
    head = ("v=0", f"o=- 1 {version} IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0")
    return "".join(f"{line}\r\n" for line in (*head, *media))


class Keeper(asyncio.DatagramProtocol):
    """A phone that answers its call, and a re-INVITE with 183 alone."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """The methods of what it was asked."""
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # which asyncio's own is not, by its type
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, peer: tuple[str | object, int]) -> None:
        head, *lines = data.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
        method = head.partition(" ")[0]
        self.asked.append(method)
        if method in ("ACK", "SIP/2.0"):
            return
        kept = "tag=" in next(line for line in lines if line.lower().startswith("to:"))
        status = "183 Session Progress" if method == "INVITE" and kept else "200 OK"
        body = sdp(*AUDIO) if method == "INVITE" and not kept else ""
        self._transport.sendto("\r\n".join(self._answer(status, lines, body)).encode(), peer)

    def _answer(self, status: str, request: list[str], body: str) -> Iterator[str]:
        yield f"SIP/2.0 {status}"
        for line in request:
            if line.lower().startswith(("via:", "from:", "to:", "call-id:", "cseq:")):
                yield f"{line};tag=keeper" if line.lower().startswith("to:") and "tag=" not in line else line
        yield f"Contact: <sip:keeper@127.0.0.1:{self.port}>"
        yield from ("Content-Type: application/sdp",) if body else ()
        yield from (f"Content-Length: {len(body)}", "", body)

    def close(self) -> None:
        self._transport.close()


@contextlib.asynccontextmanager
async def forwarded(lab: Lab, *media: str) -> AsyncIterator[tuple[RawCall, Keeper]]:
    """A call that the keeper has answered; its caller offers ``media``."""
    loop = asyncio.get_running_loop()
    _, phone = await loop.create_datagram_endpoint(Keeper, local_addr=("127.0.0.1", 0))
    with contextlib.closing(phone):
        async with (
            operator_sets(lab, "CHARGING_DIAL_PREFIX", "PJSIP/world/sip:"),
            operator_sets(lab, "CHARGING_DIAL_SUFFIX", f"@127.0.0.1:{phone.port}"),
            serving(forward("+31612345678", quota="300"), lab.agi_port),
            raw_call(lab, NUMBER, invites=False) as caller,
        ):
            caller.ask("INVITE", body=sdp(*(media or AUDIO)))
            await caller.is_answered("INVITE", 200)
            yield caller, phone


async def is_asked_again(phone: Keeper) -> None:
    async def asked() -> bool:
        return phone.asked.count("INVITE") > 1

    await eventually(asked, "the switch to ask the far end")


async def gets_bye(phone: Keeper, deadline_s: float) -> bool:
    async def told() -> bool:
        return "BYE" in phone.asked

    try:
        return await eventually(told, "BYE", deadline_s)
    except AssertionError:
        return False


async def asks(caller: RawCall, method: str, *headers: str, media: tuple[str, ...] = ()) -> None:
    """Within the call; what comes of it is done."""
    before = len(caller.answers)
    caller.ask(method, *headers, body=sdp(*media, version=2) if media else "")

    async def answered() -> bool:
        return any(status >= 200 for _, status in caller.answers[before:])

    await eventually(answered, f"an answer to {method}")


@pytest.mark.parametrize(
    ("opened", "method", "headers", "media"),
    [
        (Edit("pjsip.conf", "t38_udptl = no", "t38_udptl = yes"), "INVITE", (), T38),
        (Edit("pjsip.conf", "direct_media = no", "direct_media = no\nmoh_passthrough = yes"), "INVITE", (), HOLD),
        (Edit("pjsip.conf", "_method = update", "_method = invite"), "INVITE", (OTHER,), AUDIO),
        (Edit("pjsip.conf", "_method = update", "_method = invite"), "UPDATE", (OTHER,), ()),
    ],
    ids=["T.38", "hold", "another caller", "another caller by UPDATE"],
)
async def test_far_end_that_leaves_re_invites_unanswered_gets_its_bye_unless_a_setting_has_it_asked(
    lab: Lab, opened: Edit, method: str, headers: tuple[str, ...], media: tuple[str, ...]
) -> None:
    """`charging check --live` names each of these settings: test_check_live."""
    for edits in ((BELIEVES,), (BELIEVES, opened)):
        async with edited(lab, *edits), forwarded(lab) as (caller, phone):
            await asks(caller, method, *headers, media=media)
            if opened in edits:
                await is_asked_again(phone)
            caller.ask("BYE")
            await caller.is_answered("BYE", 200)
            assert await gets_bye(phone, KEPT_S) is (opened not in edits)
            assert opened in edits or phone.asked.count("INVITE") == 1


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("when", ["as he calls", "within the call"])
async def test_leg_whose_caller_reorders_what_he_offers_is_over_with_its_session(lab: Lab, when: str) -> None:
    """No setting keeps Asterisk from asking the far end then; its session's timer ends the leg all the same."""
    began = time.monotonic()
    async with forwarded(lab, *((*VIDEO, *AUDIO) if when == "as he calls" else AUDIO)) as (caller, phone):
        if when == "within the call":
            await asks(caller, "INVITE", media=(*VIDEO, *AUDIO))
        await is_asked_again(phone)
        caller.ask("BYE")
        await caller.is_answered("BYE", 200)
        assert await gets_bye(phone, SESSION_S + AT_ONCE_S)
        lasted_s = time.monotonic() - began
        assert lasted_s < SESSION_S + AT_ONCE_S
        if not ends_legs(ensure_asterisk().version):
            assert lasted_s > KEPT_S, "it was not the BYE of the call's end"
