"""How the pages for browsers use the public interface's resources, without its gate.

A page shows what the interface answers. An act is checked and carried out in the daemon, as a program's is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import APIRouter

from charging.clock import MICROSECONDS
from charging.service.actor import acting
from charging.service.service import Service
from charging.web.api import resources
from charging.web.forward import ANSWER_S, PING_S

TIMEOUT_S = 60
FRESH_US = MICROSECONDS
"""How long an answer is shown again as it is, to whoever asks the same: pages ask by themselves, and some of what they
ask costs the process that decides calls."""
Document = dict[str, Any]
_UNKNOWN = {"ledger_unavailable", "bug"}


class AskFailed(Exception):
    """It was refused, or could not be answered."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(document.get("detail", ""))
        self.status = status
        self.detail = str(document.get("detail", "there was no answer"))
        self.advice = str(document.get("advice", ""))
        self.code = str(document.get("code", ""))
        self.obstacle = str(document.get("obstacle", ""))
        """What stands against a fax."""
        self.is_unknown = document.get("code") in _UNKNOWN
        """Whether it may have been carried out: the same, with the same key, may be asked again."""


@dataclass(slots=True)
class _Recent:
    """The last answer to a question, which one at a time asks."""

    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    answered_us: int | None = None
    """Monotonic."""
    answer: Document | AskFailed = field(default_factory=dict)

    def is_fresh(self, now_us: int) -> bool:
        return self.answered_us is not None and now_us - self.answered_us < FRESH_US


class Asks:
    """Requests."""

    def __init__(
        self, service: Service, daemon: httpx.AsyncClient | None = None, private: Sequence[APIRouter] = ()
    ) -> None:
        """``daemon`` is asked for changes; ``None``: ``service`` makes them. ``private``: resources that the public
        interface has not."""
        self.service = service
        self._daemon = daemon
        self._recent: dict[object, _Recent] = {}
        transport = httpx.ASGITransport(resources(service, daemon, private), raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://pages", timeout=TIMEOUT_S)

    async def get(self, path: str, **params: str | int | None) -> Document:
        """The resource. Raises AskFailed."""
        given = {name: value for name, value in params.items() if value not in (None, "")}
        return _document(await self._http.get(path, params=given))

    async def recent(self, path: str, **params: str | int | None) -> Document:
        """The resource as it was a second ago at most, asked once for all who want it. Raises AskFailed."""
        return await self._shared((path, *sorted(params.items())), lambda: self.get(path, **params))

    async def _shared(self, question: object, ask: Callable[[], Awaitable[Document]]) -> Document:
        """What ``ask`` answers, or has answered (also with a AskFailed) within FRESH_US."""
        now_us = self.service.clock.now().mono_us
        self._recent = {key: one for key, one in self._recent.items() if one.asking.locked() or one.is_fresh(now_us)}
        one = self._recent.setdefault(question, _Recent())
        async with one.asking:
            if not one.is_fresh(self.service.clock.now().mono_us):
                try:
                    one.answer = await ask()
                except AskFailed as problem:
                    one.answer = problem
                one.answered_us = self.service.clock.now().mono_us
        if isinstance(one.answer, AskFailed):
            raise one.answer
        return one.answer

    async def order(
        self, method: str, path: str, body: Document | None, key: str, *, by: str, params: Mapping[str, str]
    ) -> Document:
        """A change that the actor ``by`` makes, at most once for each key. Raises AskFailed."""
        headers = {"Idempotency-Key": key}
        with acting(by):
            try:
                answer = await self._http.request(method, path, json=body, headers=headers, params=dict(params))
            finally:
                self._recent.clear()  # who changes something sees it
        return _document(answer)

    async def hand_in(self, path: str, document: bytes, key: str, *, by: str, params: Mapping[str, str]) -> Document:
        """A document, at most once for each key. Raises AskFailed."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/octet-stream"}
        with acting(by):
            answer = await self._http.post(
                path, content=document, headers=headers, params=dict(params), timeout=ANSWER_S
            )
        return _document(answer)

    async def facts(self) -> Mapping[str, str]:
        """What the daemon says of itself. Raises AskFailed."""
        if self._daemon is None:
            return {}
        facts: Mapping[str, str] = (await self._shared("facts", partial(_health, self._daemon)))["facts"]
        return facts


async def _health(daemon: httpx.AsyncClient) -> Document:
    try:
        return _document(await daemon.get("http://daemon/health", timeout=PING_S))
    except httpx.HTTPError as error:
        raise AskFailed(503, {"detail": f"the daemon does not answer ({type(error).__name__})"}) from error


def path(*parts: str) -> str:
    """A resource's path; each part may hold any character."""
    return "".join("/" + quote(part, safe="").replace(".", "%2E") for part in parts)


def _document(answer: httpx.Response) -> Document:
    document: Document = answer.json()
    if answer.is_error:
        raise AskFailed(answer.status_code, document)
    return document
