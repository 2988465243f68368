"""One file a route, named as the dialplan names it: ``agi://host/incoming`` is ``incoming.py``."""

from __future__ import annotations

from functools import partial

from agi.port import CallDesk
from agi.routes.incoming import incoming
from agi.routes.unanswered import unanswered
from agi.server import Route
from charging.asterisk import variables


def routes_for(desk: CallDesk) -> dict[str, Route]:
    """Every route, answered by this desk."""
    return {
        variables.ROUTE_INCOMING: partial(incoming, desk),
        variables.ROUTE_UNANSWERED: partial(unanswered, desk),
    }
