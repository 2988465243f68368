"""Floods: so many callers wait for a decision, for one number, with one number, and all together. The switch itself
turns away who is one too many, before anyone is asked; the others have their turn."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest

from charging.asterisk.variables import TURNED_AWAY
from charging.lab import Lab, mobile
from tests.asterisk.parties import NUMBER, forward, operator_sets
from tests.asterisk.raw_call import raw_call
from tests.asterisk.stub_agi import StubAgi, serving
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

OTHER = "+31850000002"
THIRD = "+31850000003"
CALLER = "+31201234567"
ANOTHER = "+31201234568"
NOBODY = "anonymous"
USUALLY = 16
BUSY, ELSEWHERE = 486, 503
DEADLINE_S = 30

Ring = tuple[str, str]
"""Who calls, and which number."""


def written(caller: str) -> str:
    return f"<sip:{caller}@carrier.example>"


@contextlib.asynccontextmanager
async def waiting(lab: Lab, rings: Sequence[Ring]) -> AsyncIterator[StubAgi]:
    """So many callers wait for a daemon that says nothing, for longer than this test lasts."""
    stub = StubAgi(is_silent=True)
    async with (
        operator_sets(lab, "CHARGING_GUARD_S", "99"),
        serving(stub, lab.agi_port),
        contextlib.AsyncExitStack() as strangers,
    ):
        for count, (caller, number) in enumerate(rings, 1):
            await strangers.enter_async_context(raw_call(lab, number, caller=written(caller)))
            await asked(stub, count)
        yield stub


async def asked(stub: StubAgi, times: int) -> None:
    async def there() -> bool:
        return len(stub.requests) >= times

    await eventually(there, f"{times} to be asked about", DEADLINE_S)


@pytest.mark.parametrize(
    ("limit", "value", "wait", "refused"),
    [
        ("NUMBER", "2", [(CALLER, NUMBER), (ANOTHER, "0850000001")], ("+31201234569", "0031850000001")),
        ("CALLER", "2", [(CALLER, NUMBER), ("0201234567", OTHER)], ("0031201234567", THIRD)),
        ("CALLER", "many", [(CALLER, f"+318500000{nth:02}") for nth in range(USUALLY)], (CALLER, "+31850000050")),
        ("NUMBER", "", [(NOBODY, NUMBER)] * USUALLY, (CALLER, NUMBER)),
    ],
)
async def test_who_is_one_too_many_is_turned_away_by_the_switch_and_others_have_their_turn(
    lab: Lab, limit: str, value: str, wait: list[Ring], refused: Ring
) -> None:
    """Calls are counted by their last nine digits. Of who is turned away nothing is noted but a count."""
    before = await turned_away(lab)
    async with operator_sets(lab, f"CHARGING_ASKING_A_{limit}", value), waiting(lab, wait) as stub:
        caller, number = refused
        async with raw_call(lab, number, caller=written(caller)) as call:
            assert await call.is_answered("INVITE", 180, BUSY, ELSEWHERE) == BUSY
        assert len(stub.requests) == len(wait)
        assert await turned_away(lab) == before + Counter({limit.lower(): 1})
        assert await lab.switch.black_box() == {}
        async with raw_call(lab, "+31850000060", caller=written("+31209999999")):
            await asked(stub, len(wait) + 1)


async def turned_away(lab: Lab) -> Counter[str]:
    """The switch's own counts, by why."""
    counts = {why: await lab.switch.action("Getvar", {"Variable": f"CHARGING_TURNED_{why}"}) for why in TURNED_AWAY}
    return Counter({why: int(reply["Value"] or 0) for why, reply in counts.items()})


async def test_callers_without_a_number_are_no_crowd_and_too_many_in_all_are_sent_elsewhere(lab: Lab) -> None:
    wait, before = [(NOBODY, NUMBER), (NOBODY, OTHER)], await turned_away(lab)
    async with (
        operator_sets(lab, "CHARGING_ASKING_A_CALLER", "1"),
        operator_sets(lab, "CHARGING_ASKING_AT_ONCE", "2"),
        waiting(lab, wait) as stub,
        raw_call(lab, THIRD) as call,
    ):
        assert await call.is_answered("INVITE", 180, BUSY, ELSEWHERE) == ELSEWHERE
        assert len(stub.requests) == len(wait)
        assert await turned_away(lab) == before + Counter({"all": 1})


async def test_whoever_gives_up_or_is_decided_about_waits_no_more(lab: Lab) -> None:
    async with operator_sets(lab, "CHARGING_ASKING_A_NUMBER", "1"):
        async with waiting(lab, []) as stub, raw_call(lab, NUMBER) as gives_up:
            await asked(stub, 1)
            gives_up.ask("CANCEL", number=1)
            await gives_up.is_answered("INVITE", 487)
        stub = forward(mobile.never_answers())
        async with serving(stub, lab.agi_port), raw_call(lab, NUMBER) as rings:
            await rings.is_answered("INVITE", 180)
            async with raw_call(lab, NUMBER) as another:
                await another.is_answered("INVITE", 180)
