"""From the dialled number to the number, its account and its plan; every interface uses the same rules."""

from __future__ import annotations

from charging.call.decide import NotForwarded, Subscriber, spellings, subscriber_of
from charging.ledger.accounts import Number
from charging.ledger.port import Directory
from charging.tariff.tariff import Tariff


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
) -> Subscriber | NotForwarded:
    """Find whose number it is, with the plan and the price of a message now (wall clock). Raises LedgerError."""
    account = None if number is None else await directory.account(number.account)
    return subscriber_of(tariff, number, account, now_us)
