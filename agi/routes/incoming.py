"""``agi://…/incoming``: a caller is at the door; arguments: number, caller's number, unique id, channel."""

from __future__ import annotations

from agi import arguments
from agi.deliver import deliver
from agi.port import CallDesk, IncomingCall
from agi.protocol import Request
from agi.session import AgiSession


async def incoming(desk: CallDesk, request: Request, session: AgiSession) -> None:
    """Ask the desk and tell the dialplan."""
    call = IncomingCall(
        number=arguments.number(request.argument(1)),
        caller=arguments.printable(request.argument(2)),
        unique_id=arguments.printable(request.argument(3), arguments.MAX_CHANNEL_CHARACTERS),
        channel=arguments.printable(request.argument(4), arguments.MAX_CHANNEL_CHARACTERS),
    )
    await deliver(session, desk, await desk.incoming(call))
