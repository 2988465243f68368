"""The dialplan's two requests, and how their answers are delivered.

``agi://…/incoming`` reports a new call; ``agi://…/unanswered`` reports a forward that was not answered. If the answer
cannot be delivered, the decision is taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from agi import arguments
from agi.port import Answer, CallDesk, IncomingCall
from agi.protocol import Request
from agi.server import CallerLeft, Conversation, Route
from charging.asterisk import variables

_SESSION = variables.inherited(variables.SESSION)


def routes_for(desk: CallDesk) -> dict[str, Route]:
    """Return every route, answered by this desk."""
    return {
        variables.ROUTE_INCOMING: partial(incoming, desk),
        variables.ROUTE_UNANSWERED: partial(unanswered, desk),
    }


async def incoming(desk: CallDesk, request: Request, conversation: Conversation) -> None:
    """Answer for a new call. Arguments: called number, caller's number, unique id, channel, presentation, what the call
    was diverted from."""
    dialled, caller, unique_id, channel, presentation, diverted = arguments.exactly(request, 6)
    call = IncomingCall(
        number=arguments.number(dialled),
        caller=arguments.printable(caller),
        unique_id=arguments.printable(
            arguments.same(unique_id, request.unique_id, "the unique id"), arguments.MAX_CHANNEL_CHARACTERS
        ),
        channel=arguments.printable(
            arguments.same(channel, request.channel, "the channel"), arguments.MAX_CHANNEL_CHARACTERS
        ),
        is_withheld=arguments.is_withheld(presentation),
        diverted=arguments.diverted(diverted),
        is_diverted_further=arguments.is_cut(diverted),
        proof=conversation.secret,
    )
    await deliver(conversation, desk, await desk.incoming(call))


async def unanswered(desk: CallDesk, request: Request, conversation: Conversation) -> None:
    """Answer for a forward that was not answered. Arguments: session, how the dialling ended."""
    charged, status = arguments.exactly(request, 2)
    answer = await desk.unanswered(arguments.session_id(charged), arguments.dial_status(status))
    await deliver(conversation, desk, answer)


async def deliver(conversation: Conversation, desk: CallDesk, answer: Answer) -> None:
    """Set every variable of the answer. If that fails in any way, the desk is told that its decision was abandoned.

    One command sets them, and the switch carries it out as a whole or not at all. The decision comes last all the same:
    a dialplan that got only a part would see none, and take its fallback.
    """
    try:
        await conversation.set_variables(assignments(answer))
        if conversation.hung_up:
            raise CallerLeft("the caller hung up")
    except BaseException:  # also when the deadline passes or the daemon stops: the money must be given back
        if answer.session is not None:
            await asyncio.shield(desk.abandoned(answer.session))
        raise


def assignments(answer: Answer) -> Iterator[tuple[str, str]]:
    """Yield channel variables in the order in which they are set. The forwarded leg inherits the session.

    The dialplan clears all of them before it asks, so nothing of an earlier answer is left.
    """
    if answer.switch:
        yield variables.SWITCH, answer.switch
    if answer.session is not None:
        yield _SESSION, answer.session
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
