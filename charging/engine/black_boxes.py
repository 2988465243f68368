"""The switch's own records of calls: what no session waits for is booked, and what is booked is deleted.

The forwarded leg writes a record as it ends, whoever is alive to see it. A session reads its own as it ends. Here is
the rest: messages and undecided calls of a dialplan that no daemon answered, and records that contradict a booking.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import islice
from typing import NoReturn

from charging.call.events import BlackBoxRead
from charging.clock import MICROSECONDS
from charging.engine import told
from charging.engine.findings import contradiction, noted
from charging.engine.recovery import Recovery
from charging.engine.sessions import DELETE_AT_ONCE_MAX, NO_SESSION
from charging.engine.undecided import Undecided
from charging.errors import LedgerError, SwitchError
from charging.ledger.port import IDS_REMEMBERED_S
from charging.tasks import in_turns

HOUSEKEEPING_S = 10
"""Between two looks at the black box, which is cleaned where there is something to clean."""

HOUSEKEEPING_MAX_S = 120
"""The same, while the switch does not obey."""

BOOKED_A_TURN_MAX = 200
"""Records that no session waits for, of one such look, which are some questions to the ledger each."""

LOOKED_UP_A_TURN_MAX = 50
"""Of calls over which nobody decided, so many are looked up whose number was called; of the others it stays masked."""

NOTED_A_TURN_MAX = 2_000
"""Of them all: what keeps decisions has room for 10,000, and those of the calls of now are among them."""

DELETE_ORDERS_MAX = 20
DELETE_PAUSE_S = 1
"""Orders to delete after one look, and between two of them: more records a second than calls can be decided, so that a
stranger who rings and rings leaves no more in the switch than is taken out."""


class BlackBoxes:
    """Looks at them, for the daemon that ticks the switch."""

    def __init__(
        self,
        recovery: Recovery,
        charge_message: Callable[[str, BlackBoxRead], Awaitable[bool]],
        undecided: Undecided,
    ) -> None:
        """``charge_message`` books a voicemail message left without a decision; ``False``: call it again later.
        ``undecided`` keeps the calls that no daemon decided over."""
        registry = recovery.registry
        self._recovery, self._registry, self._open = recovery, registry, registry.open
        self._switch, self._observe = registry.switch, registry.observe
        self._booked, self._findings = registry.booked, registry.findings
        self._charge_message, self._undecided = charge_message, undecided
        self._strangers: frozenset[str] = frozenset()
        """Other switches' names that were seen in this switch's black box."""

    async def run(self) -> NoReturn:
        """Look at the records, and have those that are booked deleted, for ever."""
        wait_s = HOUSEKEEPING_S
        while True:
            await self._registry.pause(wait_s)
            wait_s = min(2 * wait_s, HOUSEKEEPING_MAX_S)
            try:
                if not self._registry.leads() or await self._housekeep():
                    wait_s = HOUSEKEEPING_S
                await self._delete_booked()
            except SwitchError as error:
                self._observe(told.MaintenancePostponed(str(error)))

    async def _housekeep(self) -> bool:
        """Book records that no session waits for; whether the switch has deleted what it was told to. Raises
        SwitchError."""
        shown, boxes = await self._black_boxes()
        left = self._booked.seen(shown)
        if [key async for key in in_turns(boxes) if key not in self._recovery.looked_through and self._is_nobodys(key)]:
            await self._recovery.restore()
        await self._book_the_rest(boxes)
        if left:
            self._observe(told.RecordsNotDeleted(left))
        return not left

    async def _delete_booked(self) -> None:
        """Have the switch delete records that are booked, in batches. Raises SwitchError."""
        for _ in range(DELETE_ORDERS_MAX):
            if not self._registry.leads() or not (keys := self._booked.to_delete()):
                return
            await self._switch.delete_records(keys)
            if len(keys) == DELETE_AT_ONCE_MAX:
                await self._registry.pause(DELETE_PAUSE_S)

    async def _black_boxes(self) -> tuple[Collection[str], Mapping[str, BlackBoxRead]]:
        """The keys of this daemon's records, and those records that are still to be booked. Raises SwitchError."""
        found = await self._switch.black_boxes(self._booked)
        boxes = {key: box async for key, box in in_turns(found.items()) if box is not None}
        strangers = frozenset([box.switch async for box in in_turns(boxes.values())]) - {"", self._registry.switch_id}
        if strangers - self._strangers:
            self._observe(told.RecordsOfAnotherSwitch(sorted(strangers)))
        self._strangers |= strangers
        mine = {key: box async for key, box in in_turns(boxes.items()) if box.switch not in strangers}
        return found.keys() - (boxes.keys() - mine.keys()), mine

    def _is_nobodys(self, key: str) -> bool:
        return key not in self._open.runners and key not in self._booked

    async def _book_the_rest(self, boxes: Mapping[str, BlackBoxRead]) -> None:
        """Book what is left of records whose sessions are closed: messages that the dialplan's fallback took, and
        contradictions of a booking; some each turn, since calls need the ledger meanwhile. A call without session or
        message needs no question."""
        rest = [key async for key in in_turns(boxes) if self._is_nobodys(key) and self._is_over(key)]
        asked, noted = [], 0
        async for key in in_turns(rest):
            box = boxes[key]
            asks = box.message_stored or not key.startswith(NO_SESSION)
            if noted == NOTED_A_TURN_MAX and (box.undecided or box.turned) and not asks:
                continue
            if box.no_room:
                self._observe(told.SwitchHadNoRoom())
            if asks:
                asked.append(key)
            else:
                noted += await self._note_undecided(key, box, look_up=noted < LOOKED_UP_A_TURN_MAX)
                self._booked.add(key)
        for key in islice(asked, BOOKED_A_TURN_MAX):
            if not await self._book_left_over(key, boxes[key]):
                return

    async def _note_undecided(self, key: str, box: BlackBoxRead, *, look_up: bool) -> bool:
        """Keep why no daemon decided over the call, once. Returns whether it was kept now."""
        if not (box.undecided or box.turned) or self._booked.is_explained(key):
            return False
        await self._undecided.note(box, look_up=look_up)
        self._booked.explain(key)
        return True

    def _is_over(self, key: str) -> bool:
        """Whether it is certain that no open session waits for this record."""
        return key in self._recovery.left_over or self._booked.unread(key) is not None

    async def _book_left_over(self, key: str, box: BlackBoxRead) -> bool:
        """Book what a record holds besides its session. ``False`` if the ledger could not answer: the record stays."""
        if box.message_stored and box.fallback and not await self._charge_message(key, box):
            return False
        await self._note_undecided(key, box, look_up=True)
        if not await self._compare(key, box):
            return False
        if box.message_stored:
            self._registry.uncharged.message_left(box)
        self._booked.add(key)
        return True

    async def _compare(self, key: str, box: BlackBoxRead) -> bool:
        """Compare a record with what was booked, and keep a contradiction. ``False``: the ledger could not answer."""
        if key.startswith(NO_SESSION) or self._may_be_archived(box):
            return True
        try:
            booked = self._booked.unread(key) or await self._findings.booked(key, box.ended_us or 0)
        except LedgerError as error:
            self._observe(told.LedgerFailed(str(error), type(error).__name__))
            return False
        kind = contradiction(box, booked)
        if kind is None:
            return True
        was: dict[str, object] = {}
        if booked is not None:
            was = {"account": booked.account, "booked_ms": booked.used_ms, "booked_pieces": booked.pieces}
        return await self._findings.keep(key, kind, {**noted(box), **was})

    def _may_be_archived(self, box: BlackBoxRead) -> bool:
        """Whether the call ended so long ago that its CDR may be archived: then a missing CDR means nothing."""
        now_us = self._registry.clock.now().wall_us
        return box.ended_us is not None and now_us - box.ended_us > IDS_REMEMBERED_S * MICROSECONDS
