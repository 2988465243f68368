"""A service over a store in memory, a small tariff and a clock that stands still."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from charging.ledger.accounts import Account, Language
from charging.ledger.memory import MemoryStore
from charging.service.live import NoCalls
from charging.service.refusal import Code, Refused
from charging.service.service import Service
from charging.tariff.tariff import Tariff, TopUps
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO, make_tariff
from tests.unit.service.house import House

NUMBER = "+31201234567"


@dataclass
class Shop:
    """The service, and what lies behind it."""

    clock: FakeClock
    store: MemoryStore
    tariff: Tariff
    told: list[str] = field(default_factory=list)
    """The accounts whose calls were told of new funds."""
    became: list[str] = field(default_factory=list)
    """What payments have become."""
    touched: list[str] = field(default_factory=list)
    """The accounts that notices are looked for."""

    def __post_init__(self) -> None:
        self.service = Service(
            store=self.store,
            tariff=lambda: self.tariff,
            clock=self.clock,
            funds_changed=self.told.append,
            live=NoCalls(),
            touched=self.touched.append,
            payment_became=self.became.append,
        )

    async def anna(self, plan: str = "light") -> Account:
        made = await self.service.accounts.add("anna", plan, Language.NL)
        assert isinstance(made, Account)
        return made


@pytest.fixture
def shop(clock: FakeClock) -> Shop:
    tariff = make_tariff()
    object.__setattr__(tariff, "top_ups", TopUps(10 * EURO, (10 * EURO, 25 * EURO)))
    return Shop(clock, MemoryStore(clock), tariff)


@pytest.fixture
async def house(clock: FakeClock) -> House:
    made = House(clock)
    await made.open()
    return made


def refused(answer: object, code: Code) -> Refused:
    """The answer is a refusal of this kind; it says something."""
    assert isinstance(answer, Refused), answer
    assert answer.code is code, answer
    assert answer.message
    assert "\n" not in answer.message + answer.advice
    return answer
