"""Which event, or letter, an endpoint is told next. Decides alone, and talks to nobody.

Each account has a *lane*, where its letters and then its events wait; one of them is told at a time. Lanes take turns,
so an account waits behind one event of each other account, however many those have. A lane keeps few events. What comes
for a full one is *passed over*, and is read again, for that account alone, once the lane is empty. So the stream is
read on for all others, and memory is bounded. The place to remember is the one before the oldest event of any lane.
What a letter for the rest stands for is in no lane: it holds up no place, and is read again as that letter is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from charging.service.events import Event, Place
from charging.service.webhooks import Letter

LANE_EVENTS_MAX = 20
"""Of one account. Those behind them are passed over."""
LETTERS_EACH_MAX = 100
"""Of one account; the last stands for the rest. Else the account whose events a receiver refuses would have all letters
that there may be, and nobody would be told anything."""
LETTERS_MAX = 10_000
"""Of all accounts. From half of it on an account gets one, for all its events. With so many the stream waits: by then
the receiver refuses thousands of accounts."""
PASSED_MAX = 16
"""Accounts that are passed over, each of which is read for by itself. With so many the stream waits."""
EVENTS_MAX = 500
"""Of all lanes, and at most one page more. With so many the stream waits: it is not for one account that the receiver
is slow."""


@dataclass(slots=True)
class Lane:
    """What waits of one account, the oldest first."""

    account: str
    letters: list[Letter] = field(default_factory=list)
    is_due: bool = False
    """The first letter is to be tried."""
    counted: int = 0
    """So many letters of it are among those of all lanes."""
    events: deque[tuple[Place, Event]] = field(default_factory=deque)
    """Each with the place before it."""
    passed: Place | None = None
    """Behind the last that was read for it, if more was passed over."""
    oldest_us: int = 0
    """Wall clock: all that happened to the account before was told."""
    is_taken: bool = False
    """One of them is told just now."""
    is_lined_up: bool = False

    @property
    def before(self) -> Place | None:
        """The place before its oldest untold event; ``None``: there is none."""
        return self.events[0][0] if self.events else self.passed

    @property
    def is_idle(self) -> bool:
        """It has nothing to do, now or later."""
        return not self.is_taken and not self.letters and self.before is None

    def has_rest(self) -> bool:
        """One of its letters stands for all its events that are still to be told."""
        return any(one.rest for one in self.letters)

    def told(self) -> None:
        """The first event was delivered, or has become a letter."""
        _, event = self.events.popleft()
        self.oldest_us = self.events[0][1].at_us if self.events else event.at_us

    def append(self, before: Place, event: Event) -> None:
        """It comes next, behind the place ``before``."""
        if not self.events:
            self.oldest_us = event.at_us
        self.events.append((before, event))

    def put(self, letter: Letter) -> None:
        """One more, in the order of the events. One that is there already stays as it is."""
        if all(one.event != letter.event for one in self.letters):
            self.letters = sorted((*self.letters, letter), key=_order)
        if self.has_rest():
            self.events.clear()
            self.passed = None

    def without_letters(self, events: Sequence[Event]) -> list[Event]:
        """Those of its events that have no letter of their own."""
        known = {one.event for one in self.letters}
        return [one for one in events if one.id not in known]

    def change(self, letter: Letter) -> None:
        """It was tried in vain; nothing, if someone has dropped it meanwhile."""
        self.letters = [letter if one.event == letter.event else one for one in self.letters]
        self.is_due = False

    def remove(self, letter: Letter, is_due: Callable[[Letter], bool]) -> None:
        """It was taken."""
        self.letters = [one for one in self.letters if one.event != letter.event]
        self.is_due = bool(self.letters) and is_due(self.letters[0])


class Lanes:
    """Those of one endpoint."""

    def __init__(self, place: Place, told_us: int) -> None:
        """All events up to ``place`` were told, and so all that happened before ``told_us`` (wall clock)."""
        self.read = place
        """The stream was read up to here."""
        self._told_us = told_us
        self.letters = 0
        """So many are held in all lanes."""
        self._lanes: dict[str, Lane] = {}
        self._turns: deque[Lane] = deque()
        """Those that have something to do, and are not taken; each once."""

    @property
    def place(self) -> Place:
        """Behind all that was told from the first on."""
        oldest = self._oldest()
        return self.read if oldest is None or oldest.before is None else oldest.before

    @property
    def is_empty(self) -> bool:
        """All that was read was told."""
        return self._oldest() is None

    @property
    def is_full(self) -> bool:
        """The stream waits for what was read already."""
        events = sum(len(one.events) for one in self._lanes.values())
        return events >= EVENTS_MAX or sum(one.passed is not None for one in self._lanes.values()) >= PASSED_MAX

    def told_us(self) -> int:
        """Wall clock: all that happened before was told."""
        if (oldest := self._oldest()) is not None:
            self._told_us = oldest.oldest_us
        return self._told_us

    def dead_letters(self) -> int:
        """How many of the letters are dead."""
        return sum(letter.next_us is None for lane in self._lanes.values() for letter in lane.letters)

    def ends(self, now_us: int) -> None:
        """The stream has nothing behind what was read, at ``now_us`` (wall clock)."""
        if self.is_empty:
            self._told_us = now_us

    def add(self, found: Sequence[Event], following: Place) -> None:
        """These come next in the stream, and then ``following``."""
        before = self.read
        for event in found:
            lane = self._lanes.setdefault(event.account, Lane(event.account))
            if lane.passed is None and len(lane.events) >= LANE_EVENTS_MAX:
                lane.passed = before
            if lane.passed is None and not lane.has_rest():
                lane.append(before, event)
                self._settle(lane)
            before = Place(event.number, event.part)
        self.read = following

    def refill(self, lane: Lane, found: Sequence[Event], following: Place) -> None:
        """These of its account come behind what was passed over, and then ``following``."""
        assert lane.passed is not None, "else there is nothing to read again"
        before, read = lane.passed, _reach(self.read)
        for event in found:
            if (event.number, event.part) > read:
                break  # the stream will come to it
            lane.append(before, event)
            before = Place(event.number, event.part)
        is_end = following == lane.passed  # also before what was read: a copy of the ledger was restored
        lane.passed = None if is_end or reaches(following, self.read) else following

    def hold(self, letters: Sequence[Letter], is_due: Callable[[Letter], bool]) -> None:
        """These are all letters, in the order of their events."""
        of_accounts: dict[str, list[Letter]] = {}
        for letter in letters:
            of_accounts.setdefault(letter.account, []).append(letter)
        for account in of_accounts:
            self._lanes.setdefault(account, Lane(account))
        for lane in list(self._lanes.values()):
            lane.letters = of_accounts.get(lane.account, [])
            lane.is_due = bool(lane.letters) and is_due(lane.letters[0])
            self._settle(lane)

    def put_off(self) -> None:
        """No letter is tried until `hold` is called again: the receiver is away."""
        for lane in self._lanes.values():
            lane.is_due = False

    def take(self, *, over: bool) -> Lane | None:
        """The lane whose turn it is, for whoever takes it alone; ``None``: there is nothing to do. ``over``: one that
        has nothing but what was passed over, too."""
        for _ in range(len(self._turns)):
            lane = self._turns.popleft()
            lane.is_lined_up = False
            if lane.is_due or lane.events or (over and lane.passed is not None):
                lane.is_taken = True
                return lane
            self._settle(lane)
        return None

    def give_back(self, lane: Lane) -> None:
        """One of it was told, or it was read again."""
        lane.is_taken = False
        self._settle(lane)

    def _oldest(self) -> Lane | None:
        """The lane of the oldest untold event."""
        untold = ((_reach(one.before), one) for one in self._lanes.values() if one.before is not None)
        return min(untold, key=lambda one: one[0], default=(None, None))[1]

    def _settle(self, lane: Lane) -> None:
        """It waits for its turn if it has something to do, and is forgotten if it never has."""
        self.letters += len(lane.letters) - lane.counted
        lane.counted = len(lane.letters)
        if lane.is_idle:
            if self._lanes.get(lane.account) is lane:
                del self._lanes[lane.account]
        elif not lane.is_taken and not lane.is_lined_up and (lane.is_due or lane.before is not None):
            lane.is_lined_up = True
            self._turns.append(lane)


def are_crowded(lanes: Lanes) -> bool:
    """Whether the stream waits for letters to be taken."""
    return lanes.letters >= LETTERS_MAX


def is_the_rest(lanes: Lanes, lane: Lane) -> bool:
    """Whether a lane's next letter is to stand for all that follows it."""
    return len(lane.letters) + 1 >= LETTERS_EACH_MAX or lanes.letters >= LETTERS_MAX // 2


def reaches(place: Place, other: Place) -> bool:
    """Whether all up to ``other`` is up to ``place``, too."""
    return _reach(place) >= _reach(other)


def place_of(letter: Letter) -> Place:
    """Behind its event."""
    return Place(*_order(letter))


def _reach(place: Place) -> tuple[int, float]:
    """What compares with an event's number and part: a place without a part is behind all of them."""
    return place.place, place.part or inf


def _order(letter: Letter) -> tuple[int, int]:
    place, _, part = letter.event.partition(".")
    return int(place), int(part or 0)
