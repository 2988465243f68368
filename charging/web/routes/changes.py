"""/changes: who did what."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from charging.clock import iso
from charging.service.changes import Act
from charging.service.refusal import Code, Refused
from charging.service.trail import Noted, Sought
from charging.web.forms import ACTOR, CHANGE_CURSOR
from charging.web.models import Instant, Page
from charging.web.parts import AccountFilter, Limit, Moment, Order, TheService, bad_cursor, matches, span
from charging.web.problem import Refusal, granted

router = APIRouter(tags=["changes"])


class ChangeOut(BaseModel):
    """What someone changed."""

    id: str
    at: Instant
    act: Act
    actor: str = Field(
        description="token:ID, cli:USER, console:USER, customer:ACCOUNT, daemon; control: someone at its socket",
        examples=["token:4f2a9c0d1e2f"],
    )
    account: str = Field(description="empty: none")
    number: str = Field(description="empty: none")
    transfer: str = Field(description="the id of the journal's line, where it is one; else empty")
    before: dict[str, Any] = Field(description="of what changed, as it was")
    after: dict[str, Any] = Field(description="of what changed, as it is since; with it the amount and the reason")

    @classmethod
    def of(cls, noted: Noted) -> Self:
        one = noted.change
        return cls(
            id=noted.id,
            at=iso(one.at_us),
            act=Act(one.act),
            actor=one.actor,
            account=one.account,
            number=one.number,
            transfer=one.transfer,
            before=one.before,
            after=one.after,
        )


@router.get("/changes")
async def list_changes(
    service: TheService,
    account: AccountFilter = None,
    actor: Annotated[
        str | None,
        Query(
            max_length=100,
            description="one of them, such as cli:alice, or all of a kind, such as cli",
            json_schema_extra={"pattern": ACTOR},
        ),
    ] = None,
    since: Moment = None,
    until: Moment = None,
    order: Order = "asc",
    limit: Limit = 100,
    cursor: Annotated[
        str | None,
        Query(max_length=40, description="`next` of the page before", json_schema_extra={"pattern": CHANGE_CURSOR}),
    ] = None,
) -> Page[ChangeOut]:
    """Who changed what: each change of accounts, numbers, money and tokens, by its time; from ``since`` on, before
    ``until``. A page may have fewer than ``limit`` items, or none, though more follow: only ``next`` tells that."""
    if cursor is not None and not matches(CHANGE_CURSOR, cursor):
        raise bad_cursor(cursor)
    if actor is not None and not matches(ACTOR, actor):
        raise Refusal(
            Refused(
                Code.INVALID, f"found the actor {actor[:40]!r}, expected one such as cli:alice, or cli", at="?actor"
            )
        )
    since_us, until_us = span(service, since, until)
    sought = Sought(account, actor, since_us, until_us)
    found, following = granted(await service.changes(sought, cursor, limit, backwards=order == "desc"))
    return Page(items=[ChangeOut.of(one) for one in found], next=following)
