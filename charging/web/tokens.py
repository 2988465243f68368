"""/tokens: who may ask the HTTP API. Only on the control socket: no token makes another."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from charging.clock import iso
from charging.pricing.money import format_euro
from charging.service.tokens import TOKENS_MAX, Bounds, NewToken, Scope, Token, Tokens
from charging.web.models import Body, Euro, Instant, Page, Text, iso_or_none
from charging.web.parts import TheService, exact_euro, wall_us
from charging.web.problem import granted

router = APIRouter(prefix="/tokens", tags=["tokens"])


class TokenNew(Body):
    """A token to be made."""

    name: Text = Field(description="whose it is")
    scopes: list[Scope] = Field(max_length=len(Scope))
    account: Annotated[str, Field(max_length=500, description="the only account that it may ask about")] = ""
    expires: Annotated[str | None, Field(max_length=40, description="a day or a time; null: never")] = None
    amount_max: Annotated[
        str | None, Field(max_length=40, description="euro; of a top-up or a correction; null: as the tariff allows")
    ] = None


class TokenOut(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    created: Instant
    account: str = Field("", description="the only account that it may ask about; empty: every one")
    expires: Instant | None = None
    amount_max: Euro | None = None
    last_used: Instant | None = Field(None, description="to within five minutes; null: not yet")

    @classmethod
    def of(cls, token: Token, used_us: int | None = None) -> Self:
        return cls(
            id=token.id,
            name=token.name,
            scopes=sorted(token.scopes),
            created=iso(token.created_us),
            account=token.account,
            expires=iso_or_none(token.expires_us),
            amount_max=None if token.amount_max is None else format_euro(token.amount_max),
            last_used=iso_or_none(used_us),
        )


class Uses(Body):
    """What the public interface's process has seen."""

    uses: dict[str, int] = Field(max_length=TOKENS_MAX, description="by id: when, in µs of the wall clock")


class TokenMade(TokenOut):
    """A token just made."""

    token: str = Field(description="for the header `Authorization: Bearer …`; it is not shown again")

    @classmethod
    def made(cls, new: NewToken) -> Self:
        return cls(**TokenOut.of(new.token).model_dump(), token=new.secret)


def _tokens(request: Request) -> Tokens:
    tokens: Tokens = request.app.state.tokens
    return tokens


TheTokens = Annotated[Tokens, Depends(_tokens)]


@router.get("")
async def list_tokens(tokens: TheTokens) -> Page[TokenOut]:
    """Every token, by age."""
    uses = await tokens.uses()
    return Page(items=[TokenOut.of(token, uses.get(token.id)) for token in await tokens.all()])


@router.post("", status_code=201)
async def add_token(body: TokenNew, tokens: TheTokens, service: TheService) -> TokenMade:
    """Make a token."""
    if body.account:
        granted(await service.accounts.get(body.account))
    bounds = Bounds(
        body.account,
        None if body.expires is None else wall_us(body.expires, service.tariff().zone, "#/expires"),
        None if body.amount_max is None else exact_euro(body.amount_max, "#/amount_max"),
    )
    return TokenMade.made(granted(await tokens.add(body.name, body.scopes, bounds)))


@router.post("/uses", status_code=204)
async def note_uses(body: Uses, tokens: TheTokens) -> None:
    """When tokens were last used: told by the public interface's process, now and then."""
    await tokens.note_uses(body.uses)


@router.delete("/{token}")
async def revoke_token(token: str, tokens: TheTokens) -> TokenOut:
    """Forget a token. Answers what it was."""
    return TokenOut.of(granted(await tokens.revoke(token)))
