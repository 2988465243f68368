"""R7: a forward that its phone diverts back to the subscriber's number is not forwarded again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from charging.call.decide import ALIKE_MAX, is_among
from charging.call.model import LoopEvidence, Policy
from charging.ledger.accounts import Number
from charging.tariff.tariff import Tariff
from tests.fakes.rig import EURO, NUMBER, TARGET, Rig, make_rig

CALLER = "+31107654321"
STRANGER = "+31107770000"
OTHER = "+31201234568"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as rig:
        yield rig


@pytest.mark.parametrize(
    ("shown", "returned"),
    [
        (CALLER, True),
        ("0031107654321", True),
        ("31107654321", True),
        ("0107654321", True),
        (NUMBER, True),
        (TARGET, True),
        ("+31107654322", False),
        ("", False),
    ],
)
async def test_r7_a_call_by_the_callers_own_number_while_it_rings_has_come_back(
    rig: Rig, shown: str, returned: bool
) -> None:
    await rig.subscriber(credit=EURO)
    await rig.ringing(caller=CALLER)
    answer = await rig.ring(caller=shown)
    assert (answer.decision, answer.reason) == (("reject", "came_back") if returned else ("forward", "credit"))


@pytest.mark.parametrize(
    ("by", "colleague", "withheld"),
    [(LoopEvidence.HEADERS, False, False), (LoopEvidence.CALLER, True, False), (LoopEvidence.ANY, True, True)],
)
async def test_r7_what_a_caller_proves_is_the_operators_choice(
    by: LoopEvidence, colleague: bool, withheld: bool
) -> None:
    """Two behind one switchboard number, two who withhold theirs, two of whom nothing is known."""
    for first, second, returned in (
        ({"caller": CALLER}, {"caller": CALLER}, colleague),
        ({"withheld": True}, {"withheld": True}, withheld),
        ({"caller": ""}, {"caller": ""}, withheld),
        ({"withheld": True}, {"caller": CALLER}, False),
        ({"caller": CALLER}, {"withheld": True}, False),
        ({"caller": ""}, {"withheld": True}, False),
    ):
        async with make_rig(Policy(loop_evidence=by)) as rig:
            await rig.subscriber(credit=EURO)
            await rig.ringing(**first)
            assert ((await rig.ring(**second)).reason == "came_back") is returned, (first, second)


@pytest.mark.parametrize("by", list(LoopEvidence))
@pytest.mark.parametrize("how", [{"diverted": (NUMBER,)}, {"caller": NUMBER}, {"caller": TARGET}])
async def test_r7_what_names_the_number_or_the_phone_proves_it_always(by: LoopEvidence, how: dict[str, Any]) -> None:
    async with make_rig(Policy(loop_evidence=by)) as rig:
        await rig.subscriber(credit=EURO)
        await rig.ringing(withheld=True)
        assert (await rig.ring(**{"withheld": "diverted" in how, **how})).reason == "came_back"


async def test_r7_a_withheld_number_that_is_kept_tells_callers_apart() -> None:
    async with make_rig(Policy(keep_withheld=True)) as rig:
        await rig.subscriber(credit=EURO)
        await rig.ringing(withheld=True, caller=CALLER)
        assert (await rig.ring(withheld=True, caller=STRANGER)).decision == "forward"
        assert (await rig.ring(withheld=True, caller=CALLER)).reason == "came_back"


async def test_the_same_caller_may_call_again_when_he_is_answered(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    call = await rig.ringing(caller=CALLER)
    assert (await rig.ring(caller=CALLER)).reason == "came_back"
    rig.switch.answer(call.session)
    await rig.clock.advance(1)
    assert (await rig.ring(caller=CALLER)).decision == "forward"


async def test_the_same_caller_may_call_another_number_of_the_account(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    await rig.ringing(caller=CALLER)
    await rig.store.directory.put_number(Number(OTHER, "anna", TARGET))
    assert (await rig.ring(OTHER, caller=CALLER)).decision == "forward"


@pytest.mark.parametrize("written", [NUMBER, NUMBER.removeprefix("+"), "0" + NUMBER[3:], "00" + NUMBER[1:]])
async def test_r7_a_call_diverted_from_the_number_has_come_back(rig: Rig, written: str) -> None:
    await rig.subscriber(credit=EURO)
    await rig.ringing()
    assert (await rig.ring(caller=STRANGER, diverted=(TARGET, written))).reason == "came_back"


@pytest.mark.parametrize("withheld", [False, True])
@pytest.mark.parametrize(
    ("diverted", "returned"), [(TARGET, True), ("0" + TARGET[3:], True), (f"{TARGET[:-1]}{9 - int(TARGET[-1])}", False)]
)
async def test_r7_a_call_whose_network_names_only_the_phone_that_diverts_has_come_back(
    rig: Rig, diverted: str, withheld: bool, returned: bool
) -> None:
    await rig.subscriber(credit=EURO)
    await rig.ringing(withheld=withheld)
    answer = await rig.ring(caller=STRANGER, withheld=withheld, diverted=(diverted,))
    assert (answer.reason == "came_back") is returned


@pytest.mark.parametrize(("named", "returned"), [(NUMBER, True), (TARGET, True), (OTHER, False)])
async def test_r7_a_phone_that_diverts_to_another_number_of_the_account_has_come_back(
    rig: Rig, named: str, returned: bool
) -> None:
    """Else that number's voicemail would answer, and be charged, and so would the forward that it answers."""
    await rig.subscriber(credit=EURO)
    await rig.ringing()
    await rig.store.directory.put_number(Number(OTHER, "anna", TARGET))
    assert ((await rig.ring(OTHER, caller=STRANGER, diverted=(named,))).reason == "came_back") is returned


async def test_r7_a_call_that_names_more_numbers_than_are_read_has_come_back(rig: Rig) -> None:
    """Any may be among the rest. Where nothing of the number is dialled, it changes nothing."""
    await rig.subscriber(credit=EURO)
    assert (await rig.ring(caller=STRANGER, is_diverted_further=True)).decision == "forward"
    await rig.ringing()
    assert (await rig.ring(caller=STRANGER, is_diverted_further=True)).reason == "came_back"


def prefixed(count: int) -> tuple[str, ...]:
    """So many spellings of the number that are none."""
    return tuple(f"{one:02}{NUMBER[1:]}" for one in range(10, 10 + count))


@pytest.mark.parametrize(("count", "returned"), [(ALIKE_MAX, False), (ALIKE_MAX + 1, True)])
async def test_r7_a_call_that_writes_the_number_in_more_ways_than_there_are_has_come_back(
    rig: Rig, count: int, returned: bool
) -> None:
    await rig.subscriber(credit=EURO)
    await rig.ringing()
    assert ((await rig.ring(caller=STRANGER, diverted=prefixed(count))).reason == "came_back") is returned


class CountingTariff:
    """Counts the numbers that are read, which is what takes the time."""

    def __init__(self) -> None:
        self.read = 0

    def normalise(self, text: str) -> str | None:
        self.read += 1
        return text


@pytest.mark.parametrize("written", [prefixed(90), tuple(f"+3120{one:07}" for one in range(200)), (NUMBER[1:],) * 200])
def test_hundreds_of_diverted_numbers_cost_a_few_readings(written: tuple[str, ...]) -> None:
    tariff = CountingTariff()
    is_among(cast(Tariff, tariff), NUMBER, written)
    assert tariff.read <= 2 * ALIKE_MAX


async def test_a_call_diverted_from_elsewhere_is_forwarded(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    await rig.ringing()
    assert (await rig.ring(caller=STRANGER, diverted=("+31209999999",))).decision == "forward"


async def test_a_carrier_that_names_the_number_in_every_call_stops_none(rig: Rig) -> None:
    """Only while a forward of this number is not answered can it be that call."""
    await rig.subscriber(credit=EURO)
    assert (await rig.ring(diverted=(NUMBER,))).decision == "forward"


async def test_while_the_subscriber_talks_such_a_carriers_next_call_is_forwarded_too(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    call = await rig.ringing(caller=CALLER)
    assert (await rig.ring(caller=STRANGER, diverted=(NUMBER,))).reason == "came_back"
    rig.switch.answer(call.session)
    await rig.clock.advance(1)
    assert (await rig.ring(caller=STRANGER, diverted=(NUMBER,))).decision == "forward"


async def test_a_caller_whose_decision_never_reached_the_dialplan_may_call_again(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    assert (await rig.ring(caller=CALLER)).decision == "forward"
    assert (await rig.ring(caller=CALLER)).decision == "forward"


async def test_r7_r13_a_call_that_came_back_reserves_nothing_sells_no_message_and_tells_nobody(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    await rig.ringing(caller=CALLER)
    before = await rig.reserved()
    answer = await rig.ring(caller=CALLER)
    assert (answer.decision, answer.session) == ("reject", None)
    assert await rig.reserved() == before
    assert rig.missed == []
