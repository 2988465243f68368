"""Telling the dialplan what was decided, and giving it back if the dialplan cannot be told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from agi.port import Answer, CallDesk
from agi.session import AgiSession, CallerLeft
from charging.asterisk import variables


async def deliver(session: AgiSession, desk: CallDesk, answer: Answer) -> None:
    """Set every variable of the answer; if that fails in any way, tell the desk that it was for nothing.

    One command sets them, which the switch carries out as a whole or not at all. The decision is the last of them all
    the same: a dialplan that got only a part would see none, and fall back.
    """
    try:
        await session.set_variables(assignments(answer))
        if session.hung_up:
            raise CallerLeft("the caller hung up")
    except BaseException:  # also when the deadline passes or the daemon stops: the money must be given back
        if answer.session is not None:
            await asyncio.shield(desk.abandoned(answer.session))
        raise


def assignments(answer: Answer) -> Iterator[tuple[str, str]]:
    """Channel variables in the order in which they are set. The session is inherited by the forward leg.

    The dialplan has cleared all of them before it asked, so that nothing of an earlier answer is left.
    """
    if answer.switch:
        yield variables.SWITCH, answer.switch
    if answer.session is not None:
        yield variables.inherited(variables.SESSION), answer.session
    yield variables.REASON, answer.reason
    if answer.quota_s is not None:
        yield variables.QUOTA, str(answer.quota_s)
    if answer.target is not None:
        yield variables.TARGET, answer.target
    if answer.ring_s:
        yield variables.RING_S, str(answer.ring_s)
    if answer.language:
        yield variables.LANGUAGE, answer.language
    if answer.mailbox:
        yield variables.MAILBOX, answer.mailbox
    yield variables.DECISION, answer.decision
