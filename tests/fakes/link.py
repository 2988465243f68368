"""A link for tests: its owner, who remembers what it was told, and a run of it for the length of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import LinkState
from charging.clock import SystemClock
from tests.fakes.ami import FakeAmi
from tests.fakes.clock import stopped


@dataclass
class Owner:
    """Whoever owns the link: remembers what it was told."""

    events: list[AmiMessage] = field(default_factory=list)
    states: list[tuple[LinkState, str]] = field(default_factory=list)
    ups: list[bool] = field(default_factory=list)
    reconcile: Callable[[], Awaitable[None]] | None = None
    fail_on: str = ""
    suspects: int = 0

    def on_event(self, event: AmiMessage) -> None:
        if self.fail_on and event.event == self.fail_on:
            raise ValueError("a handler that fails")
        self.events.append(event)

    def on_suspect(self) -> None:
        self.suspects += 1

    def on_state(self, state: LinkState, detail: str) -> None:
        self.states.append((state, detail))

    async def on_up(self, restarted: bool) -> None:
        self.ups.append(restarted)
        if self.reconcile is not None:
            await self.reconcile()

    def names(self) -> list[str]:
        return [event.event for event in self.events if event.event != "FullyBooted"]

    def reached(self, state: LinkState) -> bool:
        return any(state is seen for seen, _ in self.states)


@asynccontextmanager
async def running(ami: FakeAmi, owner: Owner, **settings: object) -> AsyncIterator[AmiLink]:
    """A link that runs for the length of the block."""
    link = AmiLink(
        ami.settings(**settings),
        SystemClock(),
        on_state=owner.on_state,
        on_suspect=owner.on_suspect,
    )
    task = asyncio.create_task(link.run(owner.on_event, owner.on_up))
    try:
        yield link
    finally:
        await stopped(task)
