"""The login of ``charging check --live``, and what each of its looks needs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import NoReturn

from charging.app_switch import link_settings
from charging.asterisk.control import CallControl
from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.probe import Probe
from charging.asterisk.reply import LinkState
from charging.clock import SystemClock
from charging.errors import ActionRefused
from charging.settings import Config
from charging.shipped import shipped_config

PART = "switch"
MANAGER_RELOAD = "then `asterisk -rx 'manager reload'`"
CONCLUSIVE = {
    LinkState.UP,
    LinkState.UNREACHABLE,
    LinkState.WRONG_SECRET,
    LinkState.FORBIDDEN,
    LinkState.LOST,
}
_GLOBAL = re.compile(r"^(CHARGING_\w+) = *(.*?) *$", re.MULTILINE)


class Look:
    """One login, kept for as long as the look lasts."""

    def __init__(self, config: Config, mailboxes: dict[str, str]) -> None:
        """``mailboxes``: that of each subscriber's number, as far as they are known."""
        self.config = config
        self.mailboxes = mailboxes
        self.state: asyncio.Future[tuple[LinkState, str]] = asyncio.get_running_loop().create_future()
        self.clock = SystemClock()
        self.link = AmiLink(link_settings(config), self.clock, on_state=self._changed)
        self.control = CallControl(self.link, self.clock)
        self.probe = Probe(self.link, self.clock)
        self.observers: list[Callable[[AmiMessage], None]] = [self.probe.observe]
        """Each is given every event; none must wait."""
        self.proven: set[str] = set()
        """Modules that were seen at work."""
        self.absent: set[str] = set()
        """Modules of which an order that we could see is not there."""
        self.missing: set[str] = set()
        """Modules that a call inside the switch did not find."""
        self.version = ""
        """Asterisk's, once it was asked; empty: it does not say."""

    async def keep(self) -> NoReturn:
        """Keep the login up."""
        await self.link.run(self._event, self._up)

    def _event(self, message: AmiMessage) -> None:
        for observe in self.observers:
            observe(message)

    async def _up(self, _restarted: bool) -> None:
        return

    def _changed(self, state: LinkState, detail: str) -> None:
        if state in CONCLUSIVE and not self.state.done():
            self.state.set_result((state, detail))

    async def value(self, expression: str) -> str:
        """A global or a function that needs no channel; empty where there is none. Raises ActionRefused."""
        value = (await self.link.action("Getvar", {"Variable": expression})).headers.get("Value")
        return value.replace("(null)", "")


def is_denied(error: ActionRefused) -> bool:
    """Whether the login lacks the right, rather than the switch the thing."""
    return "permission" in str(error).lower()


def shipped(name: str) -> str:
    """The text of a file of ``config/asterisk``."""
    return (shipped_config() / "asterisk" / name).read_text(encoding="utf-8")


def shipped_globals() -> dict[str, str]:
    """The settings of the dialplan, with their values as shipped."""
    return dict(_GLOBAL.findall(shipped("charging-globals.conf")))
