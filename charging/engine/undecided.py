"""Calls over which no daemon decided, as the switch itself noted them: none ran, answered in time, or was asked.

What a daemon decided it keeps itself (`engine.desk`). Of a call that found none, the black-box record is all there is,
so the answer to "why was I not forwarded" is made of that, once a daemon reads it.
"""

from __future__ import annotations

from collections.abc import Callable

from charging.call.decide import Decision
from charging.call.decided import FALLBACK, Decided, Fallback, Turn, TurnedAway
from charging.call.events import BlackBoxRead
from charging.clock import Clock
from charging.engine.subscribers import find_number
from charging.errors import LedgerError
from charging.ledger.accounts import Number
from charging.ledger.port import Directory
from charging.tariff.tariff import Tariff

CROWDS = {
    "number": "so many waited for a decision for this number",
    "caller": "so many waited for a decision with this caller's number",
    "all": "so many waited for a decision in all",
    "mailbox": "so many spoke to this mailbox",
    "mailbox_caller": "this caller's number spoke to this mailbox already",
    "fax": "so many faxes came in",
    "fax_number": "so many faxes came in for this number",
    "fax_caller": "so many faxes came in from this caller's number",
    "vain": "so many rang in vain in all",
    "vain_number": "so many rang in vain for this number",
    "vain_caller": "so many of this caller's number rang in vain",
}
"""In the dialplan's words, and in ours."""
TURNED = {one.value: one for one in TurnedAway}
"""What is no crowd, by the dialplan's word for it."""


class Undecided:
    """Keeps them beside the daemon's own decisions."""

    def __init__(
        self,
        directory: Directory,
        tariff: Callable[[], Tariff],
        clock: Clock,
        switch_id: str,
        keep: Callable[[Decided], None],
    ) -> None:
        self._directory = directory
        self._tariff = tariff
        self._clock = clock
        self._switch_id = switch_id
        self._keep = keep

    async def note(self, box: BlackBoxRead, *, look_up: bool) -> None:
        """Keep one call. With ``look_up``, the ledger is asked for its account; without, or if the ledger cannot answer
        or knows no such number, the number stays masked. The call is dated by its end: the record has no other time."""
        turned = TURNED.get(box.turned, TurnedAway.CROWD)
        number = await self._number(box.number) if look_up and turned is not TurnedAway.NO_NUMBER else None
        left = "a message was left" if box.message_stored else f"ended with cause {box.cause}"
        self._keep(
            Decided(
                at_us=self._clock.now().wall_us if box.ended_us is None else box.ended_us,
                turn=Turn.INCOMING,
                outcome=Decision.REJECT if box.turned else FALLBACK,
                reason=turned if box.turned else Fallback.UNDECIDED,
                switch=box.switch or self._switch_id,
                took_ms=0,
                number=box.number if number is None else number.number,
                account="" if number is None else number.account,
                caller="" if box.withheld else box.caller,
                withheld=box.withheld,
                detail=CROWDS.get(box.turned, "") if box.turned else left,
            )
        )

    async def _number(self, dialled: str) -> Number | None:
        try:
            return await find_number(self._directory, self._tariff(), dialled)
        except LedgerError:
            return None
