"""``charging check --live``: what a running Asterisk lacks, as far as the daemon's own login can see it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from charging.app import link_settings
from charging.asterisk import variables
from charging.asterisk.control import CallControl
from charging.asterisk.link import AmiLink
from charging.asterisk.reply import LinkState
from charging.cli.daemon import shipped_config
from charging.cli.findings import Finding, ok, problem, unknown, warning
from charging.clock import SystemClock
from charging.config import Config
from charging.errors import ActionRefused, SwitchError
from charging.logs import silence_logs
from charging.tasks import end

PART = "switch"
LOOK_TIMEOUT_S = 20
NO_LINK = {
    LinkState.UNREACHABLE: (
        "AMI can not be reached",
        "is Asterisk running, and are switch.ami's host and port those of manager.conf, with `enabled = yes`?",
    ),
    LinkState.WRONG_SECRET: (
        "Asterisk refused the AMI login",
        "give manager.conf's user this name and {secret}, let its permit/deny allow this machine, "
        "then `asterisk -rx 'manager reload'`",
    ),
    LinkState.FORBIDDEN: (
        "the AMI login may not do what is needed",
        "grant the rights that config/asterisk/manager_charging.conf shows, then `asterisk -rx 'manager reload'`",
    ),
    LinkState.LOST: ("the AMI connection broke off", "look into Asterisk's log, then check again"),
}
"""What is wrong in a state that is not UP, and what to do."""
SUPPORTED = ("20.", "22.", "23.")
MODULES = {
    "app_chanspy": "the whispered prompt",
    "app_dial": "forwarding",
    "app_senddtmf": "the prompt's second way",
    "app_stack": "the dialplan",
    "app_voicemail": "voicemail",
    "func_db": "the black box",
    "func_timeout": "deadlines",
    "res_agi": "asking the daemon",
}
"""What the dialplan cannot do without, and for what."""
RISKY_MODULES = {
    "bridge_native_rtp": "calls without the feature chgkeep lose audio at a prompt; the shipped predial sets it",
    "res_pjsip_refer": "a transfer by the subscriber leaves the paid deadline behind; the daemon hangs such calls up",
}
_CONTEXT = re.compile(r"^\[(charging-[a-z-]+)\]", re.MULTILINE)


class _Look:
    """One login, kept for as long as the look lasts."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state: asyncio.Future[tuple[LinkState, str]] = asyncio.get_running_loop().create_future()
        clock = SystemClock()
        self.link = AmiLink(
            link_settings(config), clock, on_event=lambda message: None, on_up=self._up, on_state=self._changed
        )
        self.control = CallControl(self.link, clock)

    async def _up(self, _restarted: bool) -> None:
        return

    def _changed(self, state: LinkState, detail: str) -> None:
        if (state is LinkState.UP or state in NO_LINK) and not self.state.done():
            self.state.set_result((state, detail))


async def live_findings(config: Config) -> list[Finding]:
    """Log in and look."""
    silence_logs()
    look = _Look(config)
    link = asyncio.create_task(look.link.run(), name="ami-link")
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            state, detail = await look.state
            if state is not LinkState.UP:
                return [_no_link(config, state, detail)]
            return [finding async for finding in _findings(look)]
    except TimeoutError:
        return [problem(PART, f"AMI: no answer within {LOOK_TIMEOUT_S} s; is Asterisk busy or stopped?")]
    except SwitchError as error:
        return [problem(PART, f"AMI: {error}")]
    finally:
        await end([link])


def _no_link(config: Config, state: LinkState, detail: str) -> Finding:
    ami = config.settings.switch.ami
    secret = f"the secret in {ami.secret_file}" if ami.secret_file else f"the secret in ${ami.secret_env}"
    what, advice = NO_LINK[state]
    return problem(PART, f"{what}: {detail}; {advice.format(secret=secret)}")


async def _findings(look: _Look) -> AsyncIterator[Finding]:
    ami = look.config.settings.switch.ami
    yield ok(PART, f"AMI login as {ami.user!r} at {ami.host}:{ami.port}")
    for part in (_rights, _version, _modules, _dialplan, _agi_address, _switch_name, _black_box):
        async for finding in part(look):
            yield finding


async def _rights(look: _Look) -> AsyncIterator[Finding]:
    missing = await look.control.permissions()
    for right in missing.needed:
        yield problem(PART, f"manager.conf does not allow {right}: calls can not be charged without it")
    for right in missing.optional:
        yield warning(PART, f"manager.conf does not allow {right}: prompts or clean-up suffer")
    if not missing.needed and not missing.optional:
        yield ok(PART, "every order that the daemon gives is allowed")


async def _version(look: _Look) -> AsyncIterator[Finding]:
    try:
        reply = await look.link.action("CoreSettings")
    except ActionRefused as error:
        yield unknown(PART, f"Asterisk's version: {error}")
        return
    version = reply.headers.get("AsteriskVersion")
    bare = version.removeprefix("certified/")
    if not bare.removeprefix("GIT-").replace("-", ".").startswith(SUPPORTED):
        yield warning(PART, f"Asterisk {version}: this was tested with Asterisk 20, 22 and 23")
    else:
        yield ok(PART, f"Asterisk {version}")


async def _modules(look: _Look) -> AsyncIterator[Finding]:
    """Seeing modules needs the right ``system``, which the daemon does well without."""
    for name, purpose in MODULES.items():
        loaded = await _is_loaded(look, name)
        if loaded is None:
            shown = "asterisk -rx 'module show' | grep -E"
            needed, risky = "|".join(MODULES), "|".join(RISKY_MODULES)
            what = "modules: this login may not see them (it does well without the right). On the switch,"
            found = (
                f"all {len(MODULES)} must be shown by: {shown} '{needed}'; none should be shown by: {shown} '{risky}'"
            )
            yield unknown(PART, f"{what} {found} ({'; '.join(RISKY_MODULES.values())})")
            return
        if not loaded:
            yield problem(PART, f"module {name} is not loaded: it is needed for {purpose}")
    for name, risk in RISKY_MODULES.items():
        if await _is_loaded(look, name):
            yield warning(PART, f"module {name} is loaded: {risk}")


async def _is_loaded(look: _Look, module: str) -> bool | None:
    """``None`` where we may not know."""
    try:
        await look.link.action("ModuleCheck", {"Module": module})
    except ActionRefused as error:
        return None if "permission" in str(error).lower() else False
    return True


def wanted_contexts() -> list[str]:
    """The contexts of the dialplan that comes with the program."""
    text = (Path(shipped_config()) / "asterisk" / "extensions_charging.conf").read_text(encoding="utf-8")
    return _CONTEXT.findall(text)


async def _dialplan(look: _Look) -> AsyncIterator[Finding]:
    missing = []
    for context in wanted_contexts():
        try:
            await look.link.action("ShowDialPlan", {"Context": context}, list_end="ShowDialPlanComplete")
        except ActionRefused as error:
            if "permission" in str(error).lower():
                yield unknown(PART, "the dialplan: this login may not see it; grant it the right `reporting`")
                return
            missing.append(context)
    for context in missing:
        yield problem(PART, f"the dialplan has no context {context}: include charging/extensions_charging.conf")
    if not missing:
        yield ok(PART, "the dialplan has every context of extensions_charging.conf")


async def _agi_address(look: _Look) -> AsyncIterator[Finding]:
    """The dialplan must ask where the daemon listens, first or second."""
    agi = look.config.settings.agi
    asked = []
    for name in ("CHARGING_AGI", "CHARGING_AGI_2"):
        try:
            reply = await look.link.action("Getvar", {"Variable": name})
        except ActionRefused as error:
            yield unknown(PART, f"the dialplan's {name}: {error}")
            return
        asked.append((reply.headers.get("Value") or "").replace("(null)", ""))
    said = " and ".join(address for address in asked if address)
    if not asked[0]:
        yield problem(PART, "the dialplan's global CHARGING_AGI is empty: include charging/charging-globals.conf")
    elif str(agi.port) not in [address.rpartition(":")[2] for address in asked]:
        yield problem(PART, f"the dialplan asks the daemon at {said}, but it listens on {agi.host}:{agi.port}")
    else:
        yield ok(PART, f"the dialplan asks the daemon at {said}")


async def _switch_name(look: _Look) -> AsyncIterator[Finding]:
    """Unset, unless daemons with different names share the switch."""
    name = look.config.settings.switch.id
    try:
        reply = await look.link.action("Getvar", {"Variable": variables.SWITCH})
    except ActionRefused as error:
        yield unknown(PART, f"the dialplan's {variables.SWITCH}: {error}")
        return
    said = reply.headers.get("Value")
    if said and said != name:
        found = f"the dialplan's {variables.SWITCH} is {said!r}, but switch.id is {name!r}"
        yield warning(PART, f"{found}: what callers leave while no daemon answers is not ours to charge")


async def _black_box(look: _Look) -> AsyncIterator[Finding]:
    try:
        records = await look.control.black_box()
    except ActionRefused as error:
        if "not found" not in str(error).lower():
            raise
        records = {}
    yield ok(PART, f"the black box can be read: {len(records)} records wait to be booked or deleted")
    others = Counter(record.switch for record in records.values())
    for name in sorted(others.keys() - {"", look.config.settings.switch.id}):
        found = f"{others[name]} records in the black box belong to switch.id {name!r} and are left alone"
        yield warning(PART, f"{found}: does another daemon share this Asterisk, or was switch.id changed?")
