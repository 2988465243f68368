"""``agi://…/unanswered``: the forward was not answered; arguments: session, how the dialling ended."""

from __future__ import annotations

from agi import arguments
from agi.deliver import deliver
from agi.port import CallDesk
from agi.protocol import Request
from agi.session import AgiSession


async def unanswered(desk: CallDesk, request: Request, session: AgiSession) -> None:
    """Ask the desk what to do instead, and tell the dialplan."""
    charged, status = arguments.exactly(request, 2)
    answer = await desk.unanswered(arguments.session_id(charged), arguments.dial_status(status))
    await deliver(session, desk, answer)
