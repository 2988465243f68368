"""/accounts/{account}/page-tokens: what the operator's website gives its customer's browser."""

from __future__ import annotations

from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from charging.clock import iso
from charging.service.page_tokens import NewPageToken, Use
from charging.service.refusal import Code, Refused
from charging.web.models import Body, Instant
from charging.web.parts import TheService
from charging.web.problem import granted

router = APIRouter(tags=["customer's page"])
private = APIRouter(tags=["customer's page"])
"""Between the customer's page and the daemon; no token asks there."""


class PageTokenNew(Body):
    """A token to be made."""

    use: Use = Field(description="page: signs the customer in on his page, once; widget: shows his balance")


class PageTokenMade(BaseModel):
    """A token just made."""

    account: str
    use: Use
    token: str = Field(description="for that customer's browser alone; it is not shown again")
    url: str = Field(description="of the page: the link that signs in; of the widget: its script")
    expires: Instant

    @classmethod
    def of(cls, made: NewPageToken) -> Self:
        expires = iso(made.expires_us)
        return cls(account=made.account, use=made.use, token=made.secret, url=made.url, expires=expires)


class Presented(Body):
    """A token that a browser has brought."""

    token: str = Field(max_length=100)


class SignedIn(BaseModel):
    """Whose page it is."""

    account: str


@router.post("/accounts/{account}/page-tokens", status_code=201)
async def make_page_token(account: str, body: PageTokenNew, service: TheService) -> PageTokenMade:
    """Make a token that is bound to the account, for minutes: send the customer to its `url`, or put it into the
    widget's script tag. Two requests make two."""
    return PageTokenMade.of(granted(await service.page_tokens.make(account, body.use)))


@private.post("/page-tokens/spent")
async def spend_page_token(body: Presented, service: TheService) -> SignedIn:
    """A browser signs in with a token, which is good for nothing afterwards."""
    account = await service.page_tokens.spend(body.token)
    if account is None:
        account = granted(Refused(Code.NOT_FOUND, "the token is not known (any more)", "ask for another link"))
    return SignedIn(account=account)
