"""From the dialled number to the number, its account and its plan; every interface uses the same rules."""

from __future__ import annotations

from collections.abc import Sequence

from charging.call.decide import Subscriber, Turned, subscriber_of
from charging.ledger.accounts import Number
from charging.ledger.port import Directory
from charging.tariff.tariff import Tariff


def spellings(tariff: Tariff, written: str) -> tuple[str, ...]:
    """The normalised numbers that a number from the network may stand for, the likeliest first."""
    read = (tariff.normalise(written), tariff.normalise("+" + written.lstrip("+")))
    return tuple(dict.fromkeys(one for one in read if one))


ALIKE_MAX = 8
"""Readings of one number that differ. There are five at most: +31…, 0031…, 31…, 0…, and a carrier's own prefix."""
_TAIL = 4
"""Digits at the end of a number, which are the same however the rest is written."""


def is_among(tariff: Tariff, number: str, written: Sequence[str]) -> bool:
    """Whether ``number``, normalised, is one of those that the network wrote.

    A stranger may have written a hundred, and reading one takes 0.3 ms in the loop that decides calls. So only those
    that end as the number does are read. Of more than ``ALIKE_MAX`` such none is: whoever writes a number in so many
    ways names it.
    """
    alike = {one for one in written if one.endswith(number[-_TAIL:])}
    return len(alike) > ALIKE_MAX or any(number in spellings(tariff, one) for one in alike)


async def find_number(directory: Directory, tariff: Tariff, dialled: str) -> Number | None:
    """Find the number that was dialled. Networks send E.164 with or without its plus, or the national form. If the
    digits can be read in both ways, a national number that is an account's goes before an international one. Raises
    LedgerError."""
    for spelling in spellings(tariff, dialled):
        if (number := await directory.number(spelling)) is not None:
            return number
    return None


async def find_subscriber(
    directory: Directory, tariff: Tariff, number: Number | None, now_us: int
) -> Subscriber | Turned:
    """Find whose number it is, with the plan and the price of a message now (wall clock). Raises LedgerError."""
    account = None if number is None else await directory.account(number.account)
    return subscriber_of(tariff, number, account, now_us)
