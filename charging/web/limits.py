"""What one customer or one stranger of many may take of the web's doors: changes, places."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Message, Receive

from charging.clock import MICROSECONDS, Clock
from charging.limits import Limits
from charging.service.turns import Lately
from charging.web.listen import TAKEN_BYTES_S

EDITS_PER_MINUTE, EDITS_SAVED_MINUTES = 6, 60
"""By a customer, of his account, of each kind: each leaves a note that is kept for good. An hour's worth may come at
once: a company has hundreds of numbers, and forwards all of them when it closes in the evening."""

SLOW_S = 5
"""So much longer an account's bodies have lately taken than those of one who waits (`Place.taken_us`)."""
STEADY_PART = 4
"""Of the time of a body that keeps pace, one part in so many counts: nobody is to have a place for good by keeping it,
and who sends a document now and then is not to be cut off for one who is as quick."""


def edits() -> Limits:
    """By account, or by account and what is asked: how often its customer may change something."""
    return Limits(EDITS_PER_MINUTE, saved_minutes=EDITS_SAVED_MINUTES)


class Place:
    """One that is taken, for a body that arrives."""

    def __init__(self, key: str, receive: Receive, clock: Clock) -> None:
        self.key = key
        self._receive = receive
        self._clock = clock
        self._begun_us = clock.now().mono_us
        self._whole_us: int | None = None
        self._bytes = 0
        self._wait: asyncio.Timeout | None = None
        self._is_given = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing more of the body is to come."""
        return self._whole_us is not None

    @property
    def is_waiting(self) -> bool:
        """Whether more of the body is waited for."""
        return self._wait is not None and not self.is_whole

    def taken_us(self) -> float:
        """The microseconds that it counts for: those that the body takes beyond what the least pace allows; at least a
        part of all."""
        until_us = self._clock.now().mono_us if self._whole_us is None else self._whole_us
        all_us = until_us - self._begun_us
        return max(all_us / STEADY_PART, all_us - self._bytes * MICROSECONDS / TAKEN_BYTES_S)

    async def receive(self) -> Message:
        """What the body's reader is to receive by. Raises TimeoutError when the place is given to another."""
        async with asyncio.timeout(None) as self._wait:
            message = await self._receive()
        if self._is_given:  # in the same turn of the loop as that came
            raise TimeoutError
        self._wait = None
        self._bytes += len(message.get("body", b""))
        if not message.get("more_body", False):
            self.came()
        return message

    def came(self) -> None:
        """Nothing more of the body is to come: another's may, whatever is done with this one."""
        if self._whole_us is None:
            self._whole_us = self._clock.now().mono_us

    def give_way(self) -> None:
        """End the body that is waited for."""
        assert self._wait is not None
        self._is_given = True
        self._wait.reschedule(0)  # which is over long since: at once
        self._wait = None


class Places:
    """How many bodies may be on their way at a time, in all and of each key. Who finds none free takes that of the key
    whose bodies have lately taken most time, if that is `SLOW_S` more than his own have: so whoever is slow, or sends
    without end, keeps out none but his own, also with several accounts, and however often he begins again. What is done
    with a body that is whole may take minutes; meanwhile it keeps out none but its own key's."""

    def __init__(self, clock: Clock, most: int, each: int, reserve: int = 0) -> None:
        """``reserve``: so many are left to an empty key."""
        self._clock = clock
        self._most = most
        self._reserve = reserve
        self._each = each
        self._taken: list[Place] = []
        self._lately = Lately()

    def has_room(self, key: str) -> bool:
        """Whether one more of the key may be. An empty key is the operator's own, who may have all, and keeps his."""
        if key and sum(one.key == key for one in self._taken) >= self._each:
            return False
        return self._is_free(key) or self._who_goes(key) is not None

    @contextmanager
    def taken(self, key: str, receive: Receive) -> Iterator[Place]:
        """Be one of them, whose body comes by ``receive``. Ask `has_room` first."""
        if not self._is_free(key) and (goes := self._who_goes(key)) is not None:
            goes.give_way()
        mine = Place(key, receive, self._clock)
        self._taken.append(mine)
        try:
            yield mine
        finally:
            self._taken.remove(mine)
            self._lately.note(key, int(mine.taken_us()), self._clock.now().mono_us)

    def _is_free(self, key: str) -> bool:
        return sum(not one.is_whole for one in self._taken) < self._most - (self._reserve if key else 0)

    def _who_goes(self, key: str) -> Place | None:
        waiting = [one for one in self._taken if one.key and one.is_waiting]
        most = max(waiting, key=lambda one: (self._taken_us(one.key), one.taken_us()), default=None)
        if most is None or self._taken_us(most.key) < self._taken_us(key) + SLOW_S * MICROSECONDS:
            return None
        return most

    def _taken_us(self, key: str) -> float:
        now = sum(one.taken_us() for one in self._taken if one.key == key)
        return now + self._lately.used_us(key, self._clock.now().mono_us)
