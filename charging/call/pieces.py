"""What may pay for a fax page or a message before credit: those that the plan includes each month, and packs. Pure.

A piece is paid by them or by credit, never by both. They go in the order of packs of minutes
(`charging.pricing.packs`): a lower ``order``, those for some destinations before those for all, the soonest end. What
is set up through the last day of a month or pack may use it, to its own end. What they pay is no use of credit (R19),
and does not count towards the plan's credit a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from charging.ledger.balances import bundle, due_grant, left, ruled_by
from charging.ledger.model import Balance, Transfer
from charging.pricing.packs import PACKS_MAX, PackTerms, PieceRules, edition_of, is_pack, last_day_of, name_of, sort_of
from charging.tariff.tariff import Tariff

Balances = Mapping[str, Balance]


class Allowance(NamedTuple):
    """What may pay for the pieces of a sort that an account uses on one day, for one destination."""

    sort: str
    plan: str
    """Its name, or the edition of its bundle (`Tariff.granted_as`)."""
    a_month: int
    """Pieces that the plan gives."""
    month: str
    """``YYYY-MM`` in the operator's zone."""
    day: str
    """``YYYY-MM-DD``."""
    rules: PieceRules

    def pools(self, balances: Balances) -> dict[str, int]:
        """How many pieces are left of each balance that may pay, with the grant that is due, in the order in which they
        do; none has 0."""
        found = {name: one.available for name, one in balances.items() if one.available > 0 and self._is_open(name)}
        packs = sorted(found, key=self.rules.paying_order)[:PACKS_MAX]
        month, monthly = self._month_name, left(balances, self.month, self.a_month, self.sort).available
        if monthly > 0 and self._month_pays(balances):
            packs, found[month] = [*packs, month], monthly
        return {name: found[name] for name in sorted(packs, key=self.rules.paying_order)}

    def grants(self, account: str, used: Mapping[str, int], balances: Balances, at_us: int) -> tuple[Transfer, ...]:
        """The grant that is due where ``used`` takes of the month's; the ledger skips it if it was made meanwhile."""
        if not used.get(self._month_name):
            return ()
        due = due_grant(account, self.month, balances, self.a_month, at_us, self.plan, self.sort)
        return () if due is None else (due,)

    @property
    def _month_name(self) -> str:
        return bundle(self.month, self.sort)

    def _is_open(self, name: str) -> bool:
        """Whether it is a pack that pays, and has not ended."""
        is_ours = sort_of(name) == self.sort and is_pack(name)
        return is_ours and edition_of(name) in self.rules.packs and last_day_of(name) >= self.day

    def _month_pays(self, balances: Balances) -> bool:
        plans, ruled = self.rules.plans, ruled_by(balances, self.month, self.plan, self.a_month, self.sort)
        return plans.get(ruled, plans.get(name_of(ruled), plans.get(self.plan, False)))


def allowance(
    tariff: Tariff, plan: str, sort: str, at_us: int, number: str = "", *, held: Mapping[str, PackTerms] = {}
) -> Allowance:
    """Of an account of ``plan`` for what is set up at ``at_us`` (wall clock); pages go to ``number``, normalised.
    ``held``: the rules of the packs that it has, by edition (`charging.ledger.given_packs`)."""
    bought = tariff.plan(plan)
    return Allowance(
        sort,
        tariff.granted_as(plan, sort),
        0 if bought is None else bought.includes(sort),
        tariff.month_of(at_us),
        tariff.day_of(at_us).isoformat(),
        tariff.piece_rules(sort, number, held),
    )
