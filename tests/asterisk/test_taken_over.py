"""Whoever takes over a forwarded leg (INVITE with Replaces, RFC 3891) in the moment of its answer, before it is in its
bridge, has no free call: Asterisk puts him into the leg's channel then, and the leg's own hang-up handler leaves with
the phone that had answered. Nor has he one if someone has taken the caller's place before, whom the leg knows by his
channel's name."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from charging.lab import Lab
from tests.asterisk.engine import NUMBER, engine
from tests.asterisk.parties import operator_adds
from tests.asterisk.raw_call import raw_call, sdp
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

TIMES = 3
"""The moment lasts some milliseconds: of as many tries on the dialplan before this, each was in it."""

KEPT_S = 2

LASTS_TICKS = 8
"""Of two seconds each: longer than between two looks at all channels (`charging.engine.recovery.AUDIT_S`)."""

GREETED = "+31850000095"
"""The operator's dialplan answers who calls it, and brings him to us."""


class Mobile(asyncio.DatagramProtocol):
    """Answers once it is ``lifted``, and gives ``taken_over`` the header that takes its call's place."""

    def __init__(self, taken_over: asyncio.Future[str], lifted: asyncio.Event) -> None:
        self._taken_over, self._lifted = taken_over, lifted
        self.asked: list[str] = []
        self._rang: tuple[bytes, tuple[str | object, int]] | None = None

    def lift(self) -> None:
        """Answer the call that rings, or the next one at once."""
        self._lifted.set()
        if self._rang is not None:
            self.datagram_received(*self._rang)

    async def rings(self) -> bool:
        """Whether a call waits for it to be lifted."""
        return self._rang is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port: int = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, peer: tuple[str | object, int]) -> None:
        head, *lines = data.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
        method = head.partition(" ")[0]
        self.asked.append(method)
        if method == "ACK":
            return
        if method == "INVITE" and not self._lifted.is_set():
            self._rang = data, peer
            return
        taken = [one for one in lines if one.lower().startswith(("via:", "from:", "to:", "call-id:", "cseq:"))]
        body = sdp(39_998) if method == "INVITE" else ""
        said = [re.sub(r"^(To: [^;]*)$", r"\1;tag=mobile", one) for one in taken]
        kind = ["Content-Type: application/sdp"] if body else []
        contact = f"Contact: <sip:mobile@127.0.0.1:{self.port}>"
        whole = ["SIP/2.0 200 OK", *said, contact, *kind, f"Content-Length: {len(body)}", "", body]
        self._transport.sendto("\r\n".join(whole).encode(), peer)
        if method == "INVITE" and not self._taken_over.done():
            told = dict(line.split(": ", 1) for line in lines if ": " in line)
            ours = told["From"].partition("tag=")[2]
            self._taken_over.set_result(f"Replaces: {told['Call-ID']};to-tag={ours};from-tag=mobile")

    def close(self) -> None:
        self._transport.close()


@contextlib.asynccontextmanager
async def mobile_at_hand(lab: Lab) -> AsyncIterator[tuple[Mobile, asyncio.Future[str]]]:
    """The forward reaches this one in the place of the lab's."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[str] = loop.create_future()
    phone = Mobile(answered, asyncio.Event())
    _, mobile = await loop.create_datagram_endpoint(lambda: phone, local_addr=("127.0.0.1", 0))
    await lab.switch.cli("dialplan set global CHARGING_DIAL_PREFIX PJSIP/world/sip:")
    await lab.switch.cli(f"dialplan set global CHARGING_DIAL_SUFFIX @127.0.0.1:{mobile.port}")
    try:
        yield mobile, answered
    finally:
        mobile.close()


@pytest_asyncio.fixture(loop_scope="session")
async def replacing(lab: Lab) -> AsyncIterator[Lab]:
    """A switch that knows INVITE with Replaces, as an operator's does. What the tests set at its console ends with it
    (where forwards go, an older dialplan's lines): no forward of the tests after them would come to a mobile."""
    await lab.switch.cli("module load res_pjsip_refer.so")
    yield lab
    await lab.switch.kill()
    await lab.switch.start()


async def keep_from_its_bridge(lab: Lab) -> None:
    """Each leg, once it is answered, so that the newcomer is in time on a busy machine too: the moment is longer."""
    await lab.switch.cli(f"dialplan add extension s,8,Wait({KEPT_S}) into charging-answered replace")
    await lab.switch.cli("dialplan add extension s,9,Return() into charging-answered replace")


async def test_whoever_takes_over_the_forward_as_it_is_answered_talks_to_nobody(replacing: Lab, tmp_path: Path) -> None:
    async with engine(replacing, tmp_path) as live:
        for _ in range(TIMES):
            async with (
                mobile_at_hand(replacing) as (mobile, answered),
                raw_call(replacing, "+31850000077", invites=False) as stranger,
                raw_call(replacing, NUMBER) as caller,
            ):
                mobile.lift()
                stranger.ask("INVITE", await answered, "Require: replaces", body=sdp(39_990))
                await stranger.is_answered("INVITE", 200, 481, 487)

                async def all_are_gone() -> bool:
                    return not await replacing.switch.channels()

                await eventually(all_are_gone, "the call is over, at once")
                assert "BYE" in mobile.asked
                assert caller.answers[-1][1] >= 400 or "BYE" in caller.asked
        for cdr in await live.cdrs(TIMES):
            assert cdr["billed_s"] <= 1, cdr
        await live.nothing_reserved()
        assert not live.daemon.events("booking_contradicted")


async def test_whoever_takes_over_the_forward_of_a_caller_in_whose_place_another_is_pays_for_it(
    replacing: Lab, tmp_path: Path
) -> None:
    """The caller's channel has another name by then, so that the leg cannot hang him up. (Once the leg is in its bridge
    its record ends the call, and who came may talk on: docs/security.md.)"""
    await keep_from_its_bridge(replacing)
    greets = "Answer()", f"Goto(charging-incoming,{NUMBER},1)"
    async with operator_adds(replacing, GREETED, *greets), engine(replacing, tmp_path) as live:
        async with (
            mobile_at_hand(replacing) as (mobile, answered),
            raw_call(replacing, "+31850000077", invites=False) as stranger,
            raw_call(replacing, "+31850000078", invites=False) as another,
            raw_call(replacing, GREETED) as caller,
        ):
            await caller.is_answered("INVITE", 200)
            await eventually(mobile.rings, "the mobile rings")
            another.ask("INVITE", caller.replaces, "Require: replaces", body=sdp(39_980))
            await another.is_answered("INVITE", 200)

            async def is_replaced() -> bool:
                return "BYE" in caller.asked

            await eventually(is_replaced, "the caller is told that another is in his place")
            mobile.lift()
            stranger.ask("INVITE", await answered, "Require: replaces", body=sdp(39_990))
            await stranger.is_answered("INVITE", 200)

            await live.heard("tick_posted")
            another.ask("BYE")
            (cdr,) = await live.cdrs(1)
        assert cdr["billed_s"] > 1, cdr
        await live.nothing_reserved()
        assert not live.daemon.events("booking_contradicted")


async def test_whoever_takes_over_the_forward_under_an_older_dialplan_pays_for_what_the_switch_has_seen(
    replacing: Lab, tmp_path: Path
) -> None:
    """It writes the leg's record as the phone that had answered goes, and the call lasts on. The switch is asked about
    the leg every ten seconds, and has said that it talks."""
    await replacing.switch.cli("dialplan add extension s,1,Goto(ended) into charging-legbox replace")
    await keep_from_its_bridge(replacing)
    async with engine(replacing, tmp_path) as live:
        async with (
            mobile_at_hand(replacing) as (mobile, answered),
            raw_call(replacing, "+31850000077", invites=False) as stranger,
            raw_call(replacing, NUMBER) as caller,
        ):
            mobile.lift()
            stranger.ask("INVITE", await answered, "Require: replaces", body=sdp(39_990))
            await stranger.is_answered("INVITE", 200)

            async def has_lasted() -> bool:
                return len(live.daemon.events("tick_posted")) >= LASTS_TICKS

            await eventually(has_lasted, "the call was looked at")
            caller.ask("BYE")
            (cdr,) = await live.cdrs(1)
        assert cdr["billed_s"] >= 2 * (LASTS_TICKS - 1), cdr
        await live.nothing_reserved()
        (found,) = live.daemon.events("booking_contradicted")
        assert (found["kind"], found["record_ms"] < 1000) == ("leg_outlived_record", True)
