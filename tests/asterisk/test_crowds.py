"""Floods: so many callers wait for a decision, for one number, with one number, and all together. The switch itself
turns away who is one too many, before anyone is asked; the others have their turn."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from charging.asterisk.variables import TURNED_AWAY
from charging.lab import Lab, mobile
from tests.asterisk.engine import engine
from tests.asterisk.parties import NUMBER, black_box_record, forward, operator_sets, records_gone
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
    """Calls are counted by their last nine digits. Of who is turned away a count is noted, and once a second why."""
    before = await turned_away(lab)
    async with (
        operator_sets(lab, f"CHARGING_ASKING_A_{limit}", value),
        operator_sets(lab, f"CHARGING_NOTED_{limit.lower()}", ""),
        waiting(lab, wait) as stub,
    ):
        caller, number = refused
        async with raw_call(lab, number, caller=written(caller)) as call:
            assert await call.is_answered("INVITE", 180, BUSY, ELSEWHERE) == BUSY
        assert len(stub.requests) == len(wait)
        assert await turned_away(lab) == before + Counter({limit.lower(): 1})
        (key,) = await lab.switch.black_box()
        record = await black_box_record(lab, key)
        assert key.startswith("nosession-turned-")
        assert (record["phase"], record["why"]) == ("turned", limit.lower())
        assert (record["number"], record["caller"]) == (number, caller)
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


@pytest.mark.parametrize(
    ("dialled", "wait", "status", "told"),
    [
        ("+3185-000-0001", [], 404, ("no_number", None, "+3185000xxxx")),
        (NUMBER, [(ANOTHER, NUMBER)], BUSY, ("crowd", "anna", NUMBER)),
    ],
)
async def test_why_the_switch_turned_a_call_away_by_itself_is_told_to_who_asks_later(
    lab: Lab, tmp_path: Path, dialled: str, wait: list[Ring], status: int, told: tuple[str, str | None, str]
) -> None:
    """One a second of each kind, however many come; the daemon reads it with the black box, and has it deleted."""
    async with operator_sets(lab, "CHARGING_ASKING_A_NUMBER", "1"):
        async with waiting(lab, wait):
            for _ in range(3):
                async with raw_call(lab, dialled, caller=written(CALLER)) as call:
                    assert await call.is_answered("INVITE", 180, 404, BUSY, ELSEWHERE) == status
        noted = [key for key in await lab.switch.black_box() if key.startswith("nosession-turned-")]
        assert 1 <= len(noted) <= 2
        async with engine(lab, tmp_path) as live:

            async def kept() -> list[dict[str, str]]:
                found = (await live.daemon.get("/decisions"))["items"]
                return [one for one in found if one["outcome"] == "reject"]

            (one, *_) = await eventually(kept, "the decision", DEADLINE_S)
            assert (one["reason"], one["account"], one["number"]) == told
            assert one["caller"] == "+3120123xxxx"
            await records_gone(lab)
