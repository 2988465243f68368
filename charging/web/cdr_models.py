"""The CDR as programs read it: a model of each of its members, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from charging.web.models import Euro, Instant, Page


class _CdrMembers(BaseModel):
    """What a call, a message or a fax has left when it was over. Which members there are depends on the service; a
    record that cannot be read has three."""

    model_config = ConfigDict(title="Cdr", extra="allow")

    session: str
    account: str
    service: Annotated[str, Field(description="forward, voicemail or fax")] = ""
    number: Annotated[str, Field(description="the subscriber's")] = ""
    caller: Annotated[str, Field(description="empty: withheld or unknown")] = ""
    withheld: bool = False
    target: Annotated[str, Field(description="where it was forwarded, or faxed, to")] = ""
    plan: str = ""
    switch: str = ""
    destination: Annotated[str, Field(description="the tariff's name for the target's; of a call")] = ""
    reason: Annotated[str, Field(description="what paid the first second; of a message: why it was no call")] = ""
    dial_status: str = ""
    set_up: Instant = ""
    answered: Instant | None = None
    ended: Instant = ""
    billed_s: Annotated[int, Field(description="seconds that count, before increments")] = 0
    charged_s: Annotated[int, Field(description="seconds that are charged: the same after increments")] = 0
    cut: Annotated[str | None, Field(description="why we ended it; null: one of the parties did")] = None
    free_seconds: Annotated[dict[str, int], Field(description="by month")] = {}
    messages: Annotated[int, Field(description="of a voicemail: stored ones")] = 0
    pages: Annotated[int, Field(description="of a fax: those that were confirmed")] = 0
    document_pages: Annotated[int, Field(description="of a fax: all")] = 0
    page_price: Euro = ""
    free_pages: Annotated[dict[str, int], Field(description="of a fax: pages that cost nothing, by month or pack")] = {}
    free_messages: Annotated[dict[str, int], Field(description="of a voicemail: likewise")] = {}
    cost: Euro = ""
    unreadable: Annotated[bool, Field(description="nothing else is known")] = False


def _cdr_schema() -> dict[str, Any]:
    schema = _CdrMembers.model_json_schema()
    for member in schema["properties"].values():
        member.pop("default", None)
    return schema


Cdr = Annotated[dict[str, Any], WithJsonSchema(_cdr_schema())]
"""A CDR, as `charging.call.finished` writes it."""


class CdrPage(Page[Cdr]):
    """Some CDRs."""
