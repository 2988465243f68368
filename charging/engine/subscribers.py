"""Who is called: from what was dialled to the number, its account and its plan, the same at every door."""

from __future__ import annotations

from charging.call.decide import Reason, Subscriber, Turned, turned
from charging.ledger.accounts import Number
from charging.ledger.port import Directory
from charging.tariff.tariff import Tariff


def spellings(tariff: Tariff, written: str) -> tuple[str, ...]:
    """What a number that the network wrote may be, normalised; the likeliest first."""
    read = (tariff.normalise(written), tariff.normalise("+" + written.lstrip("+")))
    return tuple(dict.fromkeys(one for one in read if one))


async def find_number(directory: Directory, tariff: Tariff, dialled: str) -> Number | None:
    """Networks send E.164 with or without its plus, or the national form. Where digits can be read in both ways, a
    national number that is somebody's goes before an international one. Raises LedgerError."""
    for spelling in spellings(tariff, dialled):
        if (number := await directory.number(spelling)) is not None:
            return number
    return None


async def find_subscriber(
    directory: Directory, tariff: Tariff, number: Number | None, now_us: int
) -> Subscriber | Turned:
    """Whose number it is, with the plan and the price of a message now (wall clock). Raises LedgerError."""
    account = None if number is None else await directory.account(number.account)
    if number is None or account is None:
        return turned(Reason.UNKNOWN_NUMBER, None)
    plan = tariff.plan(account.plan)
    if plan is None:
        return turned(Reason.UNKNOWN_PLAN, None)
    return Subscriber(number, account, plan, tariff.message_price(plan, now_us))
