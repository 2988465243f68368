"""A fax as people see it: under way, or over. Pure."""

from __future__ import annotations

import json
from typing import Any

from charging.call.fax import SERVICE, Fax
from charging.clock import iso
from charging.ledger.model import CdrRow
from charging.pricing.money import format_euro
from charging.records import dataclass


@dataclass(frozen=True, slots=True)
class FaxView:
    """A fax under way or over. Amounts are texts in euro."""

    session: str
    state: str
    """``sending``, ``sent``, ``partly_sent`` or ``failed``."""
    account: str
    number: str
    target: str
    document: str
    pages: int
    """Of the document."""
    pages_sent: int
    page_price: str
    cost: str
    """What is charged; while it is being sent, what is reserved."""
    set_up: str
    ended: str | None
    status: str
    """How the switch says it ended: its word for the fax, else for the dialling (``BUSY``…)."""
    digest: str
    dialled: bool = True
    """``False``: it is over, and certainly nobody was dialled."""


def view_of(fax: Fax) -> FaxView:
    """A fax on its way."""
    return FaxView(
        session=fax.id,
        state="sending",
        account=fax.account,
        number=fax.number,
        target=fax.target,
        document=fax.document,
        pages=fax.pages,
        pages_sent=0,
        page_price=format_euro(fax.price),
        cost=format_euro(fax.cost),
        set_up=iso(fax.opened.wall_us),
        ended=None,
        status="",
        digest=fax.digest,
    )


def view_of_cdr(row: CdrRow) -> FaxView | None:
    """A fax that is over; ``None`` where the CDR is of something else."""
    try:
        cdr: dict[str, Any] = json.loads(row.document)
        if cdr.get("service") != SERVICE:
            return None
        sent, pages, status = int(cdr["pages"]), int(cdr["document_pages"]), cdr["status"]
        return FaxView(
            session=row.session,
            state="sent" if sent == pages else "partly_sent" if sent else "failed",
            account=row.account,
            number=cdr["number"],
            target=cdr["target"],
            document=cdr["document"],
            pages=pages,
            pages_sent=sent,
            page_price=cdr["page_price"],
            cost=cdr["cost"],
            set_up=cdr["set_up"],
            ended=cdr["ended"],
            status=status or cdr["dial_status"],
            digest=cdr["document_digest"],
            dialled=cdr.get("dialled", True),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
