"""Callers of a simulated city."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.switch import FakeCall


@dataclass(slots=True)
class Caller:
    """One call from outside, and what became of it: the truth that the books are held to."""

    uid: str
    account: str
    """Whose number it is; empty: whoever had it then."""
    number: str
    dialled: str
    """The number, as the network writes it."""
    switch: int
    shown: str
    """His own number."""
    session: str | None = None
    talked: FakeCall | None = None
    was_cut: bool = False
    calm: bool = False
    """Whether nothing had been wrong for so long that a cut can only be for want of money or the longest call."""
    cut_wall_us: int = 0
    available: int = 0
    """Credit of the account that nothing held, when it was cut."""
    lost: bool = False
    """Its switch died with it."""
    stepped_s: float = 0
    """By how much the clocks were stepped before it was surely booked, either way."""
    hidden_s: float = 0
    """Of these, what was taken back by another step before every daemon of his switch had seen it."""
    began_us: int = 0
    """Monotonic: when he called."""
    settled_us: int | None = None
    """Monotonic: when a daemon said that his call was booked."""
    forgotten: bool = False
    """The ledger may have lost something of it."""
    over_us: int | None = None
    """Monotonic: when the caller had left."""
    turned: tuple[str, ...] = ()
    """Why he was not answered, as the daemons said whose answers reached the switch."""
    turned_us: int = 0
    """Monotonic: when the last of them did."""
    owners: set[str | None] = field(default_factory=set)
    """Accounts of which one had the number as it was decided; ``None``: nobody."""
    later: set[str | None] = field(default_factory=set)
    """Accounts that had it afterwards, until he left: what the fallback takes is the last one's."""
    unheard: int = 0
    """Answers that came too late, or never: whether they were that he is not answered, nobody knows."""
    messages: list[str] = field(default_factory=list)
    """Voicemail messages that were stored, each by why: ``sold``, ``free`` or ``fallback``."""
