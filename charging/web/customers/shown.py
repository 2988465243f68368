"""How the customers' page writes times, money and durations, in the customer's language; and how it makes a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from charging.clock import MICROSECONDS
from charging.ledger.accounts import Language
from charging.service.statement_words import MONTHS, SHORT_MONTHS
from charging.web.customers.gate import Visit
from charging.web.customers.words import WORDS

HERE = Path(__file__).parent
STATIC = HERE / "static"
CENTS = 2


class Shown:
    """Makes pages."""

    def __init__(
        self,
        zone: Callable[[], str],
        sign_in_url: str | None,
        *,
        sells: bool = False,
        faxes: bool = False,
        sandbox: bool = False,
    ) -> None:
        """``zone`` is the operator's; ``sells``: credit can be bought; ``faxes``: they are sent. A ``sandbox`` says so
        on every page."""
        self._zone = zone
        self._sign_in_url = sign_in_url
        self._sells = sells
        self._faxes = faxes
        self._sandbox = sandbox
        self._templates = {language: self._in(language) for language in Language}

    def _in(self, language: Language) -> Jinja2Templates:
        templates = Jinja2Templates(directory=HERE / "templates")
        templates.env.filters.update(
            when=partial(self.when, language=language),
            euro=partial(euro, language=language),
            cents=partial(euro, language=language, decimals=CENTS),
            day=partial(day_name, language=language),
            month=partial(month_name, language=language),
            duration=duration,
            extent=partial(extent, language=language),
        )
        return templates

    def page(
        self, visit: Visit, template: str, facts: Mapping[str, Any] | None = None, *, status: int = 200
    ) -> Response:
        """A page of someone who is logged in."""
        said, visit.session.said = visit.session.said, []
        given = self._given(visit, visit.language) | {"said": said}
        templates = self._templates[visit.language]
        return templates.TemplateResponse(visit.request, template, given | dict(facts or {}), status)

    def part(self, visit: Visit, template: str, facts: Mapping[str, Any]) -> str:
        """The HTML of a part of a page."""
        given = self._given(visit, visit.language) | dict(facts)
        return self._templates[visit.language].get_template(template).render(given)

    def outside(
        self,
        request: Request,
        template: str,
        facts: Mapping[str, Any],
        *,
        status: int = 200,
        language: Language | None = None,
    ) -> Response:
        """A page of someone who is not, in this ``language``, or in the one that his browser prefers of ours."""
        language = language or preferred(request.headers.get("accept-language", ""))
        given = self._given(None, language) | dict(facts)
        return self._templates[language].TemplateResponse(request, template, given, status)

    def left(self, visit: Visit) -> Response:
        """What someone sees who has logged out."""
        given = self._given(None, visit.language) | {"word": "left"}
        return self._templates[visit.language].TemplateResponse(visit.request, "outside.html", given)

    def _given(self, visit: Visit | None, language: Language) -> dict[str, Any]:
        csrf, account = (visit.session.csrf, visit.own.account) if visit is not None else ("", "")
        return {
            "visit": visit,
            "csrf": csrf,
            "account": account,
            "language": language.value,
            "t": WORDS[language],
            "said": [],
            "sells": self._sells,
            "faxes_go": self._faxes,
            "sandbox": self._sandbox,
            "sign_in_url": self._sign_in_url,
        }

    def now_month(self, iso: str) -> str:
        """The month of a time, ``YYYY-MM``, in the operator's zone."""
        return self._moment(iso).strftime("%Y-%m")

    def when(self, iso: str | None, language: Language) -> str:
        """Day and time, to the minute."""
        if not iso:
            return "–"
        at = self._moment(iso)
        return f"{at.day} {SHORT_MONTHS[language][at.month - 1]} {at:%H:%M}"

    def moment_us(self, wall_us: int) -> datetime:
        """A time of the wall clock, in the operator's zone."""
        return datetime.fromtimestamp(wall_us / MICROSECONDS, ZoneInfo(self._zone()))

    def _moment(self, iso: str) -> datetime:
        return datetime.fromisoformat(iso).astimezone(ZoneInfo(self._zone()))


def preferred(accepted: str) -> Language:
    """Of a browser's languages the first that is ours (RFC 9110, 12.5.4, without its weights); else Dutch."""
    for one in accepted.split(","):
        tag = one.partition(";")[0].strip().lower()[:2]
        if tag in set(Language):
            return Language(tag)
    return Language.NL


def euro(amount: str | None, language: Language, decimals: int | None = None) -> str:
    """An amount of the interface as people of the language write it: exactly, or cut to so many decimals, so that none
    is told more than he has."""
    if not amount:
        return "–"
    sign, digits = ("−", amount[1:]) if amount.startswith("-") else ("", amount)
    whole, _, part = digits.partition(".")
    part = part if decimals is None else part[:decimals]
    part += "0" * (len(part) % 2)  # three decimals look like thousands to some
    thousands, point = (".", ",") if language is Language.NL else (",", ".")
    return f"{sign}€\u00a0{int(whole):,}".replace(",", thousands) + point + part


def cut_to_cents(amount: str) -> str:
    """An amount of the interface with two decimals, cut off: none is told more than he has."""
    whole, _, part = amount.partition(".")
    return f"{whole}.{part[:CENTS].ljust(CENTS, '0')}"


def duration(seconds: int | None) -> str:
    """``1:05``, ``1:02:03``."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def extent(cdr: Mapping[str, Any], language: Language) -> str:
    """For how long a call was charged, or which pages of a fax arrived; a dash where its CDR has neither."""
    if cdr.get("service") == "fax":
        sent, pages = cdr.get("pages", "–"), cdr.get("document_pages", "–")
        return WORDS[language]["fax_pages_sent"].format(sent=sent, pages=pages)
    return duration(cdr.get("charged_s"))


def day_name(day: str, language: Language) -> str:
    """Of ``YYYY-MM-DD``."""
    return f"{int(day[8:])} {month_name(day[:7], language)}"


def month_name(month: str, language: Language) -> str:
    """Of ``YYYY-MM``."""
    return f"{MONTHS[language][int(month[5:7]) - 1]} {month[:4]}"
