"""A call that is paid ahead before the switch is asked about it, by what it has stored: the usual way through the steps
of `running`, in one. Of thousands that an outage has left with less than a horizon each waits for all before it.

Nothing is charged for it, and the call's end gives back what is too much. Whatever is not usual is left to those steps.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from charging.call.booking import extend, extend_transfer
from charging.call.commands import SetDeadline
from charging.call.events import Woke
from charging.call.model import Context, Pending, Policy, Session, Short
from charging.call.running import deadline_at, may_go_first, next_tick
from charging.ledger.model import Balance
from charging.records import replace


class Reserved(NamedTuple):
    """What a call reserves."""

    pending: Pending
    after: Session
    """As the transfer leaves it."""


def reserved_first(session: Session, balances: Mapping[str, Balance], woke: Woke, context: Context) -> Reserved | None:
    """Return the transfer by which a running call, as it comes to life, reserves its whole reach; ``None`` if it is to
    take the steps one by one: it may not be paid first, or its end comes near."""
    if session.warned or not may_go_first(session, woke, context):
        return None
    target_s = session.elapsed_ms(context.now.mono_us) // 1000 + context.policy.reach_s
    extension = extend(session, balances, 0, target_s)
    if extension.short is not Short.NO or extension.covered_s <= session.enforced_s:
        return None
    made = extend_transfer(session, extension, balances, context.now.wall_us, context.now.mono_us)
    return None if made is None else Reserved(*made)


def order_of(after: Session, policy: Policy) -> SetDeadline:
    """Return the order that moves the deadline as far as the transfer pays."""
    return deadline_at(after, after.covered_s, policy)


def waiting(session: Session, pending: Pending, context: Context) -> Session:
    """Return the session while what becomes of the transfer is not known, as the steps leave it."""
    check, tick = context.in_s(context.policy.retry_s), next_tick(session, context)
    return replace(session, pending=pending, check_mono_us=check, tick_mono_us=tick)


def paid_first(after: Session, order: SetDeadline, context: Context) -> Session:
    """Return the session once the transfer is booked and the order carried out. It asks about its leg a moment
    later."""
    return replace(
        after,
        enforced_s=order.covered_s,
        doubtful_s=(),
        vouched=False,
        check_mono_us=context.in_s(context.policy.retry_s),
        tick_mono_us=next_tick(after, context),
    )
