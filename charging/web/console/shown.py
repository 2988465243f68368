"""How the console writes times, money and durations, and how it makes a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from charging import __version__
from charging.web.console.advice import advised
from charging.web.console.gate import Visit

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
STATIC = HERE / "static"

TONES = {
    "active": "good",
    "suspended": "warn",
    "closed": "bad",
    "forward": "good",
    "voicemail": "warn",
    "reject": "bad",
    "fallback": "bad",
    "running": "good",
    "sent": "good",
    "waiting": "warn",
    "given_up": "bad",
    "up": "good",
    "ok": "good",
}
"""How words are coloured; all others are plain."""


class Shown:
    """Makes pages."""

    def __init__(self, zone: Callable[[], str], *, sandbox: bool = False) -> None:
        """``zone`` is the operator's. A ``sandbox`` says so on every page."""
        self._zone = zone
        self._templates = Jinja2Templates(directory=TEMPLATES)
        self._templates.env.filters.update(
            advised=advised,
            when=self.when,
            clock=self.clock,
            euro=euro,
            duration=duration,
            extent=extent,
            tone=TONES.get,
            minutes=minutes,
        )
        self._templates.env.globals.update(version=__version__, sandbox=sandbox)

    def page(
        self, visit: Visit, template: str, facts: Mapping[str, Any] | None = None, *, status: int = 200
    ) -> Response:
        """A page, or a part of one, of someone who is logged in."""
        said = []
        if "hx-request" not in visit.request.headers:
            said, visit.session.said = visit.session.said, []
        given = {"visit": visit, "operator": visit.operator, "csrf": visit.session.csrf, "said": said}
        return self._templates.TemplateResponse(visit.request, template, {**given, **(facts or {})}, status)

    def outside(self, request: Request, template: str, facts: Mapping[str, Any], *, status: int = 200) -> Response:
        """A page of someone who is not (or may be)."""
        return self._templates.TemplateResponse(request, template, {"visit": None, "said": [], **facts}, status)

    def zone(self) -> ZoneInfo:
        """The operator's."""
        return ZoneInfo(self._zone())

    def moment(self, iso: str) -> datetime:
        """A time of the interface, in the operator's zone."""
        return datetime.fromisoformat(iso).astimezone(self.zone())

    def when(self, iso: str | None) -> str:
        """Day and time, to the second."""
        return self.moment(iso).strftime("%d %b %Y, %H:%M:%S") if iso else "–"

    def clock(self, iso: str | None) -> str:
        """The time alone."""
        return self.moment(iso).strftime("%H:%M:%S") if iso else "–"


def euro(amount: str | None) -> str:
    """An amount of the interface; a record that cannot be read has none."""
    if not amount:
        return "–"
    return f"−€ {amount[1:]}" if amount.startswith("-") else f"€ {amount}"


def duration(seconds: int | None) -> str:
    """``1:05``, ``1:02:03``."""
    if seconds is None:
        return "–"
    minutes_, rest = divmod(int(seconds), 60)
    hours, minutes_ = divmod(minutes_, 60)
    return f"{hours}:{minutes_:02d}:{rest:02d}" if hours else f"{minutes_}:{rest:02d}"


def extent(cdr: Mapping[str, Any]) -> str:
    """For how long a call was charged, which pages of a fax arrived, or whether a message was stored; a dash where its
    CDR has none of these."""
    if cdr.get("service") == "fax":
        return f"{cdr.get('pages', '–')} of {cdr.get('document_pages', '–')} pages"
    if cdr.get("service") == "voicemail" and "messages" in cdr:
        return "1 message" if cdr["messages"] else "no message"
    return duration(cdr.get("charged_s"))


def minutes(seconds: int) -> str:
    """Free seconds, as people count them."""
    return f"{seconds // 60} min" + (f" {seconds % 60} s" if seconds % 60 else "")
