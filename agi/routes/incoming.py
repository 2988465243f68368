"""``agi://…/incoming``: a caller is at the door.

Arguments: number, caller's number, unique id, channel, presentation, what the call was diverted from.
"""

from __future__ import annotations

from agi import arguments
from agi.deliver import deliver
from agi.port import CallDesk, IncomingCall
from agi.protocol import Request
from agi.session import AgiSession


async def incoming(desk: CallDesk, request: Request, session: AgiSession) -> None:
    """Ask the desk and tell the dialplan."""
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
        proof=session.secret,
    )
    await deliver(session, desk, await desk.incoming(call))
