"""/tokens: who may ask the HTTP API. Only on the control socket: no token makes another."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from charging.call.cdr import iso
from charging.service.tokens import NewToken, Scope, Token, Tokens
from charging.web.models import Body, Instant, Page, Text
from charging.web.problem import granted

router = APIRouter(prefix="/tokens", tags=["tokens"])


class TokenNew(Body):
    """A token to be made."""

    name: Text = Field(description="whose it is")
    scopes: list[Scope] = Field(max_length=len(Scope))


class TokenOut(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    created: Instant

    @classmethod
    def of(cls, token: Token) -> Self:
        return cls(id=token.id, name=token.name, scopes=sorted(token.scopes), created=iso(token.created_us))


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
    return Page(items=[TokenOut.of(token) for token in await tokens.all()])


@router.post("", status_code=201)
async def add_token(body: TokenNew, tokens: TheTokens) -> TokenMade:
    """Make a token."""
    return TokenMade.made(granted(await tokens.add(body.name, body.scopes)))


@router.delete("/{token}")
async def revoke_token(token: str, tokens: TheTokens) -> TokenOut:
    """Forget a token. Answers what it was."""
    return TokenOut.of(granted(await tokens.revoke(token)))
