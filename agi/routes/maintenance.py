"""``agi://…/maintenance``: no caller; the daemon has ordered this to delete black-box records that are booked."""

from __future__ import annotations

from agi.deliver import forget
from agi.port import CallDesk
from agi.protocol import Request
from agi.session import AgiSession

RECORDS_FORGOTTEN_PER_RUN = 500


async def maintenance(desk: CallDesk, request: Request, session: AgiSession) -> None:
    """Delete what the desk names."""
    await forget(session, desk, RECORDS_FORGOTTEN_PER_RUN)
