"""The subscribers' mobiles of the lab's world: the number that is dialled chooses how the phone behaves.

A number is ``+3161000`` + one digit for the behaviour + three digits for a time in tenths of a second, so that every
one of them is a well-formed Dutch mobile number that a tariff can price. The other half is
``conf/world/extensions.conf``.
"""

from __future__ import annotations

PREFIX = "+3161000"
BACK_PREFIX = "+3161001"
MAX_S = 99.9


def answers(after_s: float = 0.0) -> str:
    """Rings for ``after_s`` (0 to 99.9, to a tenth), then answers and talks until someone hangs up."""
    return _number(0, after_s)


def busy() -> str:
    """Is engaged: SIP 486."""
    return _number(1)


def declines() -> str:
    """The subscriber presses the red button: SIP 603."""
    return _number(2)


def never_answers() -> str:
    """Rings for ever."""
    return _number(3)


def hangs_up(after_s: float) -> str:
    """Answers at once, talks and hangs up after ``after_s`` (0 to 99.9, to a tenth)."""
    return _number(4, after_s)


def early_media(for_s: float) -> str:
    """Sends a tone before any answer for ``for_s``, then is busy: nobody may be charged for it."""
    return _number(5, for_s)


def does_not_exist() -> str:
    """The network does not know the number: SIP 404."""
    return _number(6)


def answers_mute() -> str:
    """Answers at once and sends no audio at all."""
    return _number(7)


def unreachable() -> str:
    """The network is congested: SIP 503."""
    return _number(8)


def diverts() -> str:
    """Answers with SIP 302 and another target, which must not be followed."""
    return _number(9)


def diverts_back(after_s: float, *, says_so: bool) -> str:
    """Rings for ``after_s``, then diverts to the first subscriber's number. Its network shows the caller's number and
    nothing else, or (``says_so``) Diversion headers and another caller."""
    return f"{BACK_PREFIX}{2 if says_so else 1}{_tenths(after_s)}"


def _number(behaviour: int, seconds: float = 0.0) -> str:
    return f"{PREFIX}{behaviour}{_tenths(seconds)}"


def _tenths(seconds: float) -> str:
    assert 0 <= seconds <= MAX_S, f"0 to {MAX_S} s, not {seconds}"
    return f"{round(seconds * 10):03d}"
