"""/operators: who may log in to the console. Only on the control socket."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from charging.clock import iso
from charging.service.operators import Operator, Operators, Role
from charging.web.models import Body, Edit, Instant, Page, Text
from charging.web.problem import granted

router = APIRouter(prefix="/operators", tags=["operators"])

Hash = Annotated[str, Field(max_length=300, description="of the password, by argon2id")]


class OperatorNew(Body):
    """Someone to be let in."""

    name: Text
    role: Role
    password_hash: Hash


class OperatorEdit(Edit):
    """What changes."""

    role: Role | None = None
    password_hash: Hash | None = None


class OperatorOut(BaseModel):
    """Someone who may log in."""

    name: str
    role: Role
    created: Instant
    changed: Instant

    @classmethod
    def of(cls, one: Operator) -> Self:
        return cls(name=one.name, role=one.role, created=iso(one.created_us), changed=iso(one.changed_us))


def _operators(request: Request) -> Operators:
    operators: Operators = request.app.state.operators
    return operators


TheOperators = Annotated[Operators, Depends(_operators)]


@router.get("")
async def list_operators(operators: TheOperators) -> Page[OperatorOut]:
    """Everyone, by name."""
    return Page(items=[OperatorOut.of(one) for one in await operators.all()])


@router.post("", status_code=201)
async def add_operator(body: OperatorNew, operators: TheOperators) -> OperatorOut:
    """Let someone in."""
    return OperatorOut.of(granted(await operators.add(body.name, body.role, body.password_hash)))


@router.patch("/{name}")
async def edit_operator(name: str, body: OperatorEdit, operators: TheOperators) -> OperatorOut:
    """Give another role or password; all sessions of this person are over."""
    return OperatorOut.of(granted(await operators.change(name, body.role, body.password_hash)))


@router.delete("/{name}")
async def remove_operator(name: str, operators: TheOperators) -> OperatorOut:
    """Let someone in no more."""
    return OperatorOut.of(granted(await operators.remove(name)))
