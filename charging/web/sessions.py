"""Who is logged in, in memory: a restart of this process logs everyone out.

A session's holder is an operator at the console, or a customer on his page. It is known by a random id in a cookie. It
is over after ``idle_s`` without a click (what a page asks by itself does not count), after ``absolute_s`` in any case,
and as soon as its gate closes it. Its id is new at each login, and changes every ROTATE_S. The new one is told until it
is used, for an answer can be lost; the one before is good for RETIRE_S more from then on, for requests under way.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from charging.clock import MICROSECONDS, Clock

ROTATE_S = 900
RETIRE_S = 20

Holder = TypeVar("Holder")


@dataclass(slots=True)
class Session(Generic[Holder]):
    """One login."""

    holder: Holder
    opened_mono_us: int
    seen_mono_us: int
    rotated_mono_us: int
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """What each of its forms sends back."""
    told: str = field(default="", repr=False)
    """Its next id, which has been told and was not used yet."""
    said: list[tuple[str, str]] = field(default_factory=list)
    """What the next page shows: its tone (``good``, ``warn``, ``bad``) and a sentence."""


class Sessions(Generic[Holder]):
    """All of them."""

    def __init__(
        self,
        clock: Clock,
        idle_s: int,
        absolute_s: int,
        most: int,
        *,
        most_each: int,
        whose: Callable[[Holder], str],
    ) -> None:
        """``most``: beyond them the one that was idle for longest ends; beyond ``most_each`` of those that are the same
        person's, by ``whose``, that of these. So nobody drives out others by logging in again and again."""
        self._clock = clock
        self._idle_us = idle_s * MICROSECONDS
        self._absolute_us = absolute_s * MICROSECONDS
        self._most = most
        self._most_each = most_each
        self._whose = whose
        self._known: dict[str, tuple[Session[Holder], int | None]] = {}
        """By their id's digest; with the monotonic time at which the id retires."""

    def __len__(self) -> int:
        return len({id(session) for session, _ in self._known.values()})

    def open(self, holder: Holder) -> str:
        """Begin a session; its id, for the cookie."""
        now_us = self._clock.now().mono_us
        self._forget_old(now_us)
        everyone = {id(one): one for one, _ in self._known.values()}.values()
        mine = [one for one in everyone if self._whose(one.holder) == self._whose(holder)]
        if goes := mine if len(mine) >= self._most_each else everyone if len(everyone) >= self._most else ():
            self.close(min(goes, key=lambda one: one.seen_mono_us))
        return self._named(Session(holder, now_us, now_us, now_us))

    def find(self, id: str, *, by_click: bool) -> Session[Holder] | None:
        """The session of an id; ``None``: there is none, or it is over."""
        now_us, digest = self._clock.now().mono_us, _digest(id)
        session, retires_us = self._known.get(digest, (None, None))
        if session is None or (retires_us is not None and now_us >= retires_us):
            return None
        if self._is_over(session, now_us):
            self.close(session)
            return None
        if session.told and digest == _digest(session.told):
            session.told = ""
            self._retire_others(session, digest, now_us + RETIRE_S * MICROSECONDS)
        if by_click:
            session.seen_mono_us = now_us
        return session

    def rotate(self, session: Session[Holder]) -> str | None:
        """The session's new id, if it is time for one; none for a session that is over."""
        if not any(one is session for one, _ in self._known.values()):
            return None
        now_us = self._clock.now().mono_us
        if not session.told and now_us - session.rotated_mono_us >= ROTATE_S * MICROSECONDS:
            session.rotated_mono_us = now_us
            session.told = self._named(session)
        return session.told or None

    def close(self, session: Session[Holder]) -> None:
        """End it, under all its ids."""
        self._known = {name: entry for name, entry in self._known.items() if entry[0] is not session}

    def _retire_others(self, session: Session[Holder], digest: str, at_us: int) -> None:
        """All its ids but one are good until then at most."""
        self._known = {
            name: (one, at_us if one is session and name != digest and retires is None else retires)
            for name, (one, retires) in self._known.items()
        }

    def _named(self, session: Session[Holder]) -> str:
        id = secrets.token_urlsafe(32)
        self._known[_digest(id)] = (session, None)
        return id

    def _is_over(self, session: Session[Holder], now_us: int) -> bool:
        idle_us, age_us = now_us - session.seen_mono_us, now_us - session.opened_mono_us
        return idle_us >= self._idle_us or age_us >= self._absolute_us

    def _forget_old(self, now_us: int) -> None:
        self._known = {
            name: (session, retires)
            for name, (session, retires) in self._known.items()
            if not self._is_over(session, now_us) and (retires is None or now_us < retires)
        }


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()
