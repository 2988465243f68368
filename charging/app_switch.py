"""The switch that a daemon follows: an Asterisk over AMI, or the simulated one of a sandbox."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from functools import partial

from charging.app_surroundings import memory_of, on_one_disk, spool_free_of
from charging.asterisk import variables
from charging.asterisk.control import CAUSE_NORMAL, CallControl
from charging.asterisk.fax_line import AsteriskFaxLine
from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import LinkSettings, LinkState, Order, Orders
from charging.asterisk.switch import AsteriskSwitch
from charging.clock import MICROSECONDS, Clock
from charging.engine.leadership import LeaseKeeper
from charging.engine.one_switch import OneSwitch
from charging.engine.ports import FaxLine, Observer, Switch
from charging.engine.spool import MemoryWatch, SpoolWatch, nobody
from charging.errors import SwitchError
from charging.ledger.port import Store
from charging.metrics import Metrics, Room
from charging.sandbox.switch import PlayedSwitch
from charging.settings import Config

_LINK_STATES = {
    LinkState.CONNECTING: "connecting",
    LinkState.WRONG_SECRET: "refused",
    LinkState.PLAYED: "refused",
    LinkState.FORBIDDEN: "refused",
    LinkState.SYNCING: "reconciling",
    LinkState.UP: "up",
    LinkState.SHUTTING_DOWN: "shutting_down",
}


def link_settings(config: Config) -> LinkSettings:
    """Make the link's settings from those of the file."""
    ami = config.settings.switch.ami
    return LinkSettings(
        host=ami.host,
        port=ami.port,
        username=ami.user,
        secret=config.ami_secret.get_secret_value(),
        ping_interval_s=ami.ping_interval_s,
        pong_deadline_s=ami.action_timeout_s,
    )


def _link(config: Config, clock: Clock, metrics: Metrics) -> AmiLink:
    was_up = False

    def changed(state: LinkState, _detail: str) -> None:
        nonlocal was_up
        metrics.set_ami_state(_LINK_STATES.get(state, "down"))
        if state is LinkState.UP and was_up:
            metrics.ami_reconnects.inc()
        was_up = was_up or state is LinkState.UP

    return AmiLink(link_settings(config), clock, on_state=changed, on_suspect=metrics.ami_suspects.inc)


def switch_of(
    config: Config, clock: Clock, metrics: Metrics
) -> tuple[AmiLink | PlayedSwitch, CallControl | None, AsteriskSwitch | PlayedSwitch]:
    """Return the switch, and the link to it."""
    settings = config.settings.switch
    if config.settings.sandbox:
        played = PlayedSwitch(clock, settings.id)
        metrics.set_ami_state(_LINK_STATES[LinkState.UP])
        return played, None, played
    link = _link(config, clock, metrics)
    control = CallControl(link, clock)
    return link, control, AsteriskSwitch(link, control, clock, settings.prompts_dir_on_switch, settings.id)


def fax_line_of(link: AmiLink | PlayedSwitch) -> FaxLine:
    """Return by what faxes are sent."""
    return link.faxes if isinstance(link, PlayedSwitch) else AsteriskFaxLine(link)


def watches_of(
    config: Config, clock: Clock, observe: Observer, metrics: Metrics, link: Orders | PlayedSwitch
) -> tuple[SpoolWatch, MemoryWatch]:
    """Of what strangers who call can use up on the switch's machine."""
    settings = config.settings
    ender = recordings_ender(link, settings.switch.voicemail_dir_on_switch)
    spool = SpoolWatch(clock, observe, spool_free_of(settings), partial(metrics.set_free, Room.DISK), ender)
    show = partial(metrics.set_free, Room.MEMORY)
    return spool, MemoryWatch(clock, observe, memory_of(settings), show, faxes_ender(link))


def recordings_ender(link: Orders | PlayedSwitch, folder: str) -> Callable[[], Awaitable[int]]:
    """Return a function that hangs up who leaves a message in the switch's ``folder``, and who sends a fax to the same
    disk, and returns how many did. It raises SwitchError."""
    if isinstance(link, PlayedSwitch):
        return nobody

    async def fills_it(other: str) -> bool:
        return await asyncio.to_thread(on_one_disk, folder, other)

    return partial(_end_recordings, link, fills_it)


async def _end_recordings(link: Orders, fills_it: Callable[[str], Awaitable[bool]]) -> int:
    """Hang up everyone who leaves a message, no matter whose call it is, and everyone who sends a fax if ``fills_it``
    says so of the folder for these. Returns how many. Raises SwitchError if the switch does not tell who is there."""
    reply = await link.action("Getvar", {"Variable": variables.FAX_IN})
    contexts = {variables.VOICEMAIL_CONTEXT}
    if await fills_it(reply.headers.get("Value")):
        contexts.add(variables.FAX_IN_CONTEXT)
    return await _hang_up(link, contexts)


def faxes_ender(link: Orders | PlayedSwitch) -> Callable[[], Awaitable[int]]:
    """Return a function that hangs up who sends a fax to the switch, and returns how many did. It raises
    SwitchError."""
    return nobody if isinstance(link, PlayedSwitch) else partial(_hang_up, link, {variables.FAX_IN_CONTEXT})


async def _hang_up(link: Orders, contexts: AbstractSet[str]) -> int:
    """Everyone who is in one of these contexts of the dialplan. Returns how many. Raises SwitchError if the switch does
    not tell who is there."""
    found: list[str] = []

    def heard(entry: AmiMessage) -> None:
        if not contexts.isdisjoint(entry.all("Context")):
            found.append(entry.get("Uniqueid"))

    fields = {"Variables": variables.LEG, "AllVariables": "false"}
    await link.action("Status", fields, timeout_s=10.0, list_end="StatusComplete", each=heard)
    orders: list[Order] = [("Hangup", {"Channel": uid, "Cause": str(CAUSE_NORMAL)}) for uid in found]
    return sum(not isinstance(one, SwitchError) for one in await link.actions(orders))


def start_of(link: AmiLink | PlayedSwitch, switch: Switch) -> Callable[[], str]:
    """Return when the switch was started, in its own words; nothing while its link is down."""
    return lambda: switch.started if link.is_up else ""


def fit_of(
    config: Config, clock: Clock, link: AmiLink | PlayedSwitch, proof_max_age_s: int, one_switch: OneSwitch
) -> Callable[[], bool]:
    """Return whether this daemon may have the switch's lease, if daemons share the ledger: it has heard the switch
    within ``proof_max_age_s``, or as long as a lease lasts, and the switch is that of the lease."""
    if config.settings.ledger.sqlite_file:
        return lambda: True
    deaf_after_us = max(config.settings.switch.lease_s, proof_max_age_s) * MICROSECONDS

    def is_fit() -> bool:
        proven = link.proven_mono_us
        hears = proven is not None and clock.now().mono_us - proven <= deaf_after_us
        return hears and not one_switch.is_another

    return is_fit


def lease_of(config: Config, clock: Clock, store: Store, observe: Observer, fit: Callable[[], bool]) -> LeaseKeeper:
    """Keep the switch's lease, if daemons share the ledger. A SQLite file has one daemon at a time, as its lock proves,
    so a restarted daemon resumes its own lease. Of several daemons, one that is not ``fit`` leaves it to another."""
    settings = config.settings
    owner = "local" if settings.ledger.sqlite_file else f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return LeaseKeeper(
        store.leases,
        clock,
        switch_id=settings.switch.id,
        owner=owner,
        ttl_s=settings.switch.lease_s,
        observe=observe,
        fit=fit,
    )
