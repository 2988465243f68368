"""What the console changes: a form, the same once more as a question, and then done, with its actor, once."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from charging.service.operators import Role
from charging.service.refusal import Refused
from charging.web.asks import AskFailed, Asks, Document, path
from charging.web.browser import Form, local_place
from charging.web.console.gate import Page, Visit
from charging.web.console.shown import Shown
from charging.web.console.tariff_file import Proposed, TariffFile

_KEY = re.compile("console-[0-9a-f]{24}")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """A request that carries an act out."""

    method: str
    path: str
    body: Document | None
    params: dict[str, str]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person can do to an account, a number or a call."""

    name: str
    title: str
    role: Role
    fields: tuple[str, ...]
    question: str
    """What is asked once more; braces name the subject and the fields."""
    done: str
    order: Callable[[str, Form], Order]
    is_grave: bool = False
    optional: tuple[str, ...] = ()
    """The fields that may be empty."""


def _order(method: str, where: tuple[str, ...], body: Document | None = None, **params: str) -> Order:
    return Order(method, path(*where), body, params)


ACCOUNT_ACTS = (
    Act(
        "top-up",
        "Top up",
        Role.SUPPORT,
        ("amount",),
        "Add € {amount} of bought credit to {subject}? It can be spent at once and is never paid back.",
        "€ {amount} was added to {subject}.",
        lambda who, form: _order("POST", ("accounts", who, "top-ups"), {"amount": form["amount"]}),
    ),
    Act(
        "correct",
        "Correct credit",
        Role.ADMIN,
        ("amount", "reason"),
        "Change the credit of {subject} by € {amount}, because: {reason}?",
        "The credit of {subject} was changed by € {amount}.",
        lambda who, form: _order(
            "POST", ("accounts", who, "corrections"), {"amount": form["amount"], "reason": form["reason"]}
        ),
        is_grave=True,
    ),
    Act(
        "grant-credit",
        "Give promotional credit",
        Role.ADMIN,
        ("amount", "last_day", "reason"),
        "Give {subject} € {amount} of promotional credit through {last_day}, because: {reason}? A minus takes it back.",
        "The promotional credit of {subject} was changed by € {amount}.",
        lambda who, form: _order(
            "POST",
            ("accounts", who, "credit-grants"),
            {name: form[name] for name in ("amount", "last_day", "reason")},
        ),
        is_grave=True,
    ),
    Act(
        "grant-pack",
        "Give a pack",
        Role.ADMIN,
        ("pack", "until", "reason"),
        "Give {subject} the pack “{pack}” through “{until}” (empty: as the tariff says), because: {reason}?",
        "{subject} has the pack “{pack}”.",
        lambda who, form: _order(
            "POST",
            ("accounts", who, "pack-grants"),
            {"pack": form["pack"], "last_day": form["until"].strip() or None, "reason": form["reason"]},
        ),
        is_grave=True,
        optional=("until",),
    ),
    Act(
        "suspend",
        "Suspend",
        Role.SUPPORT,
        ("reason",),
        "Suspend {subject}, because: {reason}? No new call of it is forwarded; running calls go on.",
        "{subject} is suspended.",
        lambda who, form: _order("PUT", ("accounts", who, "status"), {"status": "suspended", "reason": form["reason"]}),
        is_grave=True,
    ),
    Act(
        "activate",
        "Activate",
        Role.SUPPORT,
        ("reason",),
        "Activate {subject} again, because: {reason}?",
        "{subject} is active.",
        lambda who, form: _order("PUT", ("accounts", who, "status"), {"status": "active", "reason": form["reason"]}),
    ),
)
NUMBER_ACTS = (
    Act(
        "forward",
        "Set the forward target",
        Role.SUPPORT,
        ("forward_to",),
        "Forward calls to {subject} to “{forward_to}” from now on? (Empty: to nobody.)",
        "{subject} is forwarded to “{forward_to}”.",
        lambda number, form: _order("PATCH", ("numbers", number), {"forward_to": form["forward_to"]}),
        optional=("forward_to",),
    ),
)
CALL_ACTS = (
    Act(
        "hang-up",
        "Hang up",
        Role.SUPPORT,
        ("reason",),
        "End the call {subject} now, because: {reason}? Both parties are cut off.",
        "The call is being ended.",
        lambda session, form: _order("DELETE", ("calls", session), None, reason=form["reason"]),
        is_grave=True,
    ),
)


class Acts:
    """Each method is a page."""

    def __init__(self, asks: Asks, shown: Shown, tariff: TariffFile) -> None:
        self._asks = asks
        self._shown = shown
        self._tariff = tariff

    def form(self, act: Act, subject: str) -> Page:
        """The form of an act; ``subject`` names the part of the path that says on what."""

        async def page(visit: Visit) -> Response:
            return self._page(visit, act, visit.request.path_params[subject], {}, _new_key(), "")

        return page

    def carried_out(self, act: Act, subject: str) -> Page:
        """What follows its form: the question, and after it the deed."""

        async def page(visit: Visit) -> Response:
            form, on = visit.form, visit.request.path_params[subject]
            if not {*act.fields, "key"} <= form.keys():
                raise HTTPException(400, "the form is not complete")
            if _KEY.fullmatch(form["key"]) is None:
                raise HTTPException(400, "the form has no key of ours: go back, reload the page, and send it again")
            if form.get("sure") != "yes":
                return self._page(visit, act, on, form, form["key"], "", asks=True)
            return await self._do(visit, act, on)

        return page

    async def _do(self, visit: Visit, act: Act, on: str) -> Response:
        form, order = visit.form, act.order(on, visit.form)
        actor = visit.operator.name
        log.info("console_act_asked", operator=actor, act=act.name, on=on, key=form["key"])
        try:
            await self._asks.order(
                order.method, order.path, order.body, form["key"], by=f"console:{actor}", params=order.params
            )
        except AskFailed as problem:
            key = form["key"] if problem.is_unknown else _new_key()
            told = f"{problem.detail} {problem.advice}".strip()
            if problem.is_unknown:
                told += " Send it again from here: it is never carried out twice."
            return self._page(visit, act, on, form, key, told, status=problem.status)
        log.info("console_act_done", operator=actor, act=act.name, on=on)
        visit.session.said.append(("good", _filled(act.done, on, form)))
        return RedirectResponse(local_place(form.get("back", "")), 303)

    def _page(
        self,
        visit: Visit,
        act: Act,
        on: str,
        form: Form,
        key: str,
        wrong: str,
        *,
        asks: bool = False,
        status: int = 200,
    ) -> Response:
        back = form.get("back") or visit.request.query_params.get("back", "")
        facts = {
            "act": act,
            "on": on,
            "form": form,
            "key": key,
            "wrong": wrong,
            "asks": asks,
            "question": _filled(act.question, on, form) if asks else "",
            "back": local_place(back),
        }
        return self._shown.page(visit, "act.html", facts, status=status)

    # --- the tariff ---------------------------------------------------------------------------------------------

    async def propose_tariff(self, visit: Visit) -> Response:
        """What an edit changes; with ``sure`` it is saved."""
        text, digest = visit.form.get("text", "").replace("\r\n", "\n"), visit.form.get("digest", "")
        service = self._asks.service
        proposed = await self._tariff.propose(text, service.tariff(), service.clock.now().wall_us)
        wrong = ""
        if visit.form.get("sure") == "yes" and not proposed.problems:
            log.info("console_act_asked", operator=visit.operator.name, act="tariff", on=self._tariff.path.name)
            refused = await self._tariff.replace(text, digest)
            if not isinstance(refused, Refused):
                log.info("console_act_done", operator=visit.operator.name, act="tariff", on=self._tariff.path.name)
                visit.session.said.append(_saved(proposed))
                return RedirectResponse("/tariff", 303)
            wrong = f"{refused.message}. {refused.advice}".strip()
        facts = {"text": text, "digest": digest, "proposed": proposed, "wrong": wrong}
        return self._shown.page(visit, "tariff_edit.html", facts, status=409 if wrong else 200)


def _saved(edit: Proposed) -> tuple[str, str]:
    if edit.doubts:
        return "warn", "The tariff is saved. It waits until someone accepts it; the one before stays in force."
    return "good", "The tariff is saved. New calls are charged by it within seconds."


def _filled(text: str, on: str, form: Form) -> str:
    return text.format_map({"amount": "", "reason": "", "forward_to": "", **form, "subject": on})


def _new_key() -> str:
    return f"console-{secrets.token_hex(12)}"
