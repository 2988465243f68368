"""Open sessions of switches that no daemon leads, as after a change of ``switch.id``: nobody ends them, and what they
hold of credit and calls at once is locked away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NoReturn

from charging.engine import told
from charging.engine.sessions import Registry
from charging.errors import LedgerError
from charging.ledger.port import Leases

LOOK_S = 300
"""Between two looks. One that finds any is told if the next finds them, too: meanwhile their daemon may come back."""

PAGE = 1_000


class LeftOpen:
    """Looks for them, where this daemon leads a switch."""

    def __init__(self, registry: Registry, leases: Leases, show: Callable[[float], None] = lambda _left: None) -> None:
        """``show`` is given how many there are."""
        self._registry = registry
        self._leases = leases
        self._show = show
        self._before: Mapping[str, int] = {}
        self._told: Mapping[str, int] = {}

    async def run(self) -> NoReturn:
        """Look now and then, for ever."""
        while True:
            await self._registry.pause(LOOK_S)
            if not self._registry.leads():  # the one that leads looks
                self._saw({})
                continue
            try:
                found = await self._found()
            except LedgerError as error:
                self._registry.observe(told.LedgerFailed(str(error), type(error).__name__))
            else:
                self._saw(found)

    def _saw(self, found: Mapping[str, int]) -> None:
        left = {switch: count for switch, count in found.items() if switch in self._before}
        self._before = found
        self._show(sum(left.values()))
        if left and left != self._told:
            self._registry.observe(told.SessionsLeftOpen(left))
        self._told = left

    async def _found(self) -> Mapping[str, int]:
        """Count such sessions by switch. Raises LedgerError."""
        counts, after = Counter[str](), ""
        while page := await self._registry.ledger.sessions_page(after, PAGE):
            counts.update(one.switch for one in page)
            after = page[-1].id
            if len(page) < PAGE:
                break
        held = await self._leases.held_leases()
        own = self._registry.switch_id
        return {
            switch: count
            for switch, count in counts.items()
            if switch != own and not any(one.startswith(f"switch {switch} by ") for one in held)
        }
