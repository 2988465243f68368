"""``check --live``: the dialplan that runs, its settings, and the trunk that it dials."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from charging.asterisk import variables
from charging.asterisk.dialplan import (
    Line,
    answered_before_dialled,
    contexts,
    dial_options,
    differences,
    is_trunk_dial,
    leading_to,
    lines_behind,
    running_lines,
    shipped_lines,
    ways_in,
)
from charging.cli.check_look import PART, Look, is_denied, shipped, shipped_globals
from charging.cli.check_results import CheckResult, ok, problem, unknown, warning
from charging.cli.check_trunk import PREFIX, SUFFIX, endpoint
from charging.errors import ActionRefused

EXTENSIONS = "extensions_charging.conf"
FAX_IN = "charging-fax-in"
"""The context that receives faxes."""
RELOAD = "`asterisk -rx 'dialplan reload'`"
DIFFERENCES_SHOWN = 5
ONWARD = "b(charging-onward^s^1)"
"""Dial's option by which a forward says over how many more switches it may go."""
HOPS = "CHARGING_HOPS"
"""What it says, in a variable."""
AGI = ("CHARGING_AGI", "CHARGING_AGI_2")
TRUNKS = tuple(zip(variables.DIAL_PREFIXES, variables.DIAL_SUFFIXES, strict=True))
NUMBER = r"[0-9]{1,9}"
UP_TO_9999 = r"[1-9][0-9]{0,3}"
MEANT = {
    "CHARGING_GUARD_S": (r"[1-9][0-9]?", "a whole number from 1 to 99"),
    "CHARGING_ASKING_A_NUMBER": (UP_TO_9999, "a whole number from 1 to 9999"),
    "CHARGING_ASKING_A_CALLER": (UP_TO_9999, "a whole number from 1 to 9999"),
    "CHARGING_ASKING_AT_ONCE": (UP_TO_9999, "a whole number from 1 to 9999"),
    "CHARGING_DIAL_FORMAT": (r"plus|digits|international|national", "plus, digits, international or national"),
    "CHARGING_INTERNATIONAL_PREFIX": (NUMBER, "digits"),
    "CHARGING_COUNTRY_CODE": (r"[1-9][0-9]{0,2}", "one to three digits, without + or 00"),
    "CHARGING_NATIONAL_PREFIX": (NUMBER, "digits"),
    "CHARGING_SHOWN": (r"caller|subscriber", "caller or subscriber"),
    "CHARGING_DIVERSION": (r"yes|no", "yes or no"),
    "CHARGING_EARLY_MEDIA": (r"yes|no", "yes or no"),
    "CHARGING_NO_ANSWER_S": (NUMBER, "a whole number"),
    "CHARGING_VAIN_AT_ONCE": (UP_TO_9999, "a whole number from 1 to 9999"),
    "CHARGING_VAIN_A_NUMBER": (UP_TO_9999, "a whole number from 1 to 9999"),
    "CHARGING_VAIN_A_CALLER": (UP_TO_9999, "a whole number from 1 to 9999"),
    "CHARGING_FALLBACK": (r"voicemail|reject", "voicemail or reject"),
    "CHARGING_UPTIME": (r"no|/[A-Za-z0-9/._-]+", "no, or the path of a file in letters, digits and / . _ -"),
    "CHARGING_MESSAGE_MIN_S": (r"[0-9][0-9]?", "a whole number from 0 to 99"),
    "CHARGING_VOICEMAIL_A_MAILBOX": (UP_TO_9999, "a whole number from 1 to 9999"),
    "CHARGING_VOICEMAIL_A_CALLER": (UP_TO_9999, "a whole number from 1 to 9999"),
    "CHARGING_VOICEMAIL_MESSAGES": (UP_TO_9999, "a whole number from 1 to 9999"),
    "CHARGING_VOICEMAIL_S": (UP_TO_9999, "a whole number from 1 to 9999"),
    "CHARGING_ROOM_MB": (NUMBER, "a whole number"),
    "CHARGING_FAX_IN_HERE": (r"yes|no", "yes or no"),
    "CHARGING_FAX_T38": (r"yes|no", "yes or no"),
    "CHARGING_FAX_IN_AT_ONCE": (r"[0-9]{1,4}", "a whole number up to 9999"),
    "CHARGING_FAX_IN_A_NUMBER": (r"[0-9]{1,4}", "a whole number up to 9999"),
    "CHARGING_FAX_IN_A_CALLER": (r"[0-9]{1,4}", "a whole number up to 9999"),
    "CHARGING_FAX_IN_S": (UP_TO_9999, "a whole number from 1 to 9999"),
}
"""What the dialplan understands; of what it does not it makes something else, and says nothing."""
FAXES_HERE = (
    "this Asterisk has calls and receives faxes (CHARGING_FAX_IN_HERE = yes): a stranger's fax can end it, with all "
    "calls; receive faxes on an Asterisk of their own (docs/security.md)"
)
FAXES_BY_T38 = (
    "faxes are sent by T.38 where the trunk takes it (CHARGING_FAX_T38 = yes): the machine that takes one can end this "
    "Asterisk, with all calls; send by sound, or from an Asterisk that has no calls (docs/security.md)"
)
FAXES_LOST = (
    "but this Asterisk receives none (CHARGING_FAX_IN_HERE is not yes): each fax finds it busy; have your trunk send "
    "those numbers to an Asterisk without calls, with yes there (docs/security.md)"
)
_TRUNK = re.compile(r"PJSIP/(?:[^@/]*@([^/@]+)|([^/@]+)/.*)")
_LOCAL = re.compile(r"Local/[^@]*@([^/]+)(/.*)?")


async def dialplan(look: Look) -> AsyncIterator[CheckResult]:
    """Line by line against the shipped file."""
    try:
        reply = await look.link.action("ShowDialPlan", timeout_s=10.0, list_end="ShowDialPlanComplete")
    except ActionRefused as error:
        if is_denied(error):
            how = "grant it the right `reporting`, or compare `asterisk -rx 'dialplan show charging-obey'` yourself"
            yield unknown(PART, f"the dialplan: this login may not see it; {how}")
            return
        reply = None
    lines = list(running_lines(() if reply is None else reply.events))
    for finding in _compared(shipped_lines(shipped(EXTENSIONS)), lines):
        yield finding
    for finding in _arrivals(lines):
        yield finding
    async for finding in _trunks(look, lines):
        yield finding
    async for finding in _faxes(look, lines):
        yield finding


def _compared(wanted: list[Line], running: list[Line]) -> list[CheckResult]:
    there = set(contexts(running))
    missing = [context for context in contexts(wanted) if context not in there]
    findings = [
        problem(PART, f"the dialplan has no context {context}: include charging/{EXTENSIONS}, then {RELOAD}")
        for context in missing
    ]
    found = differences(wanted, running)
    shown = sorted(found, key=lambda one: not one.stake)[:DIFFERENCES_SHOWN]
    findings += [problem(PART, f"the dialplan, {one}") for one in shown]
    if found:
        where = len({one.context for one in found})
        which = f"{len(found)} lines of {where} contexts differ from this program's {EXTENSIONS}"
        cure = f"copy the one of this version to Asterisk's charging/ (keep charging-globals.conf), then {RELOAD}"
        findings.append(problem(PART, f"the dialplan is of another version, or was edited: {which}; {cure}"))
    if not findings:
        findings.append(ok(PART, f"the dialplan is the shipped one: {len(wanted)} lines, compared with {EXTENSIONS}"))
    return findings


def _arrivals(lines: list[Line]) -> list[CheckResult]:
    """Of the operator's own dialplan: whether, and how, calls come to us."""
    ways = ways_in(lines)
    early = [f"[{line.context}] {line.exten}" for line, answered in ways if answered]
    if early:
        places = ", ".join(dict.fromkeys(early))
        what = "answers callers before charging-incoming decides: they pay from then on, and are never `not answered`"
        return [
            warning(PART, f"{places} {what}; leave Answer out where the number's calls shall be free until answered")
        ]
    if not ways:
        where = "no context of yours leads to charging-incoming"
        return [unknown(PART, f"{where}: fine if it is the trunk's own `context`; else see docs/attach.md")]
    return [ok(PART, f"calls come to charging-incoming from {', '.join(contexts(line for line, _ in ways))}")]


async def _faxes(look: Look, lines: list[Line]) -> AsyncIterator[CheckResult]:
    """Whether numbers of the operator's lead to where faxes are received, and are not."""
    to = dict.fromkeys(f"[{line.context}] {line.exten}" for line in leading_to(FAX_IN, lines))
    with suppress(ActionRefused):  # then the settings are unknown, which is told there
        if to and await look.value("CHARGING_FAX_IN_HERE") != "yes":
            yield problem(PART, f"{', '.join(to)} leads to {FAX_IN}, {FAXES_LOST}")


async def settings(look: Look) -> AsyncIterator[CheckResult]:
    """Of the dialplan: each that has a value as shipped is told where it has none."""
    try:
        values = {name: await look.value(name) for name in shipped_globals()}
    except ActionRefused as error:
        yield unknown(PART, f"the dialplan's settings: {error}; look with `asterisk -rx 'dialplan show globals'`")
        return
    cure = f"include charging/charging-globals.conf of this version in [globals], then {RELOAD}"
    if not values.get(PREFIX):
        yield problem(PART, f"the dialplan's {PREFIX} is not set: no forward succeeds; {cure}")
    shipped_with = {name: usual for name, usual in shipped_globals().items() if name not in (*AGI, PREFIX, SUFFIX)}
    for name, usual in shipped_with.items():
        if usual and not values[name]:
            yield warning(PART, f"the dialplan's {name} is empty ({usual} as shipped): mean it so, or {cure}")
    for name, (understood, words) in MEANT.items():
        if (value := values.get(name)) and not re.fullmatch(understood, value):
            what = f"the dialplan's {name} is {value!r}, which it does not understand: it must be {words}, all small"
            yield warning(PART, f"{what}; mend it in charging-globals.conf, then {RELOAD}")
    if values.get("CHARGING_FAX_IN_HERE") == "yes":
        yield warning(PART, FAXES_HERE)
    if values.get("CHARGING_FAX_T38") == "yes":
        yield warning(PART, FAXES_BY_T38)
    yield await _agi_address(look, [values.get(name, "") for name in AGI], cure)


async def _agi_address(look: Look, asked: list[str], cure: str) -> CheckResult:
    """The dialplan must ask where the daemon listens, first or second."""
    agi = look.config.settings.agi
    said = " and ".join(address for address in asked if address)
    if not asked[0]:
        return problem(PART, f"the dialplan's global CHARGING_AGI is empty: {cure}")
    for address in filter(None, asked):
        host, _, port = address.rpartition(":")
        if port == str(agi.port) and await _reaches(host.strip("[]"), agi.host, look.config.settings.switch.ami.host):
            return ok(PART, f"the dialplan asks the daemon at {said}")
    what = f"the dialplan asks the daemon at {said}, but it listens on {agi.host}:{agi.port}"
    return problem(
        PART, f"{what}: set CHARGING_AGI in charging-globals.conf, then {RELOAD}; or set agi in charging.yaml"
    )


async def _reaches(asked: str, listening: str, switch: str) -> bool:
    """Whether who asks there finds a daemon that listens so. Where it listens on every address, the name of this
    machine is not ours to know; but the loopback is this machine only for a switch on it."""
    wanted, bound, where = await asyncio.gather(_address(asked), _address(listening), _address(switch))
    if ipaddress.ip_address(bound).is_unspecified:
        return not _is_loopback(wanted) or _is_loopback(where)
    return wanted == bound


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


async def _address(host: str) -> str:
    """The first address of a name; the name itself where nobody knows it."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return host
    return str(found[0][4][0])


async def _trunks(look: Look, lines: list[Line]) -> AsyncIterator[CheckResult]:
    """What the forwarded legs are dialled through: the first trunk, and the second where there is one."""
    try:
        ways = [(await look.value(prefix), await look.value(suffix)) for prefix, suffix in TRUNKS]
    except ActionRefused as error:
        yield unknown(PART, f"the trunk: {error}")
        return
    for prefix, suffix in (way for way in ways if any(way)):
        dialled = f"{prefix}NUMBER{suffix}"
        if local := _LOCAL.fullmatch(dialled):
            for finding in _through_your_dialplan(local[1], dialled, lines):
                yield finding
        elif (trunk := _TRUNK.fullmatch(dialled)) is None:
            hint = f"{PREFIX} and {SUFFIX} in charging-globals.conf name no PJSIP endpoint and no Local context"
            yield warning(PART, f"forwards are dialled as {dialled}: {hint}; is that your trunk?")
        else:
            async for finding in endpoint(look, trunk[1] or trunk[2]):
                yield finding


def _through_your_dialplan(context: str, dialled: str, lines: list[Line]) -> Iterator[CheckResult]:
    if context not in contexts(lines):
        where = f"forwards are dialled as {dialled}, but the dialplan has no context {context}"
        yield problem(PART, f"{where}: none succeeds")
        return
    see = "`asterisk -rx 'pjsip show endpoint TRUNK' | grep -E 'allow_transfer|direct_media|rtp_timeout'`"
    what = f"forwards go through your own context {context}; which trunk it dials is not seen from here"
    yield unknown(PART, f"{what}: {see} must say false, false and more than 0")
    behind = lines_behind(lines, context)
    for line in answered_before_dialled(behind):
        where = f"[{line.context}] {line.exten}: {line.application}"
        why = "answers forwards before the phone does: they are charged while it rings, and never `not answered`"
        yield problem(PART, f"{where} {why}; take it out there, or dial the trunk itself ({PREFIX} = PJSIP/)")
    hands_on = any(HOPS in line.data for line in behind)
    for line in filter(is_trunk_dial, behind):
        yield from _your_dial(line, hands_on)


def _your_dial(line: Line, hands_on: bool) -> Iterator[CheckResult]:
    """What a ``Dial`` of the operator's should have, and what not, if forwards leave by it. ``hands_on``: his dialplan
    hands Max-Forwards on in a way of its own."""
    where, options = f"[{line.context}] {line.exten}: Dial({line.data})", dial_options(line)
    if not hands_on and ONWARD not in options:
        why = "a call that loops over several switches goes round until its money is gone (Max-Forwards begins again)"
        yield warning(PART, f"{where}: {why}; add {ONWARD} to its options, or see docs/attach.md for FreePBX")


async def switch_name(look: Look) -> AsyncIterator[CheckResult]:
    """Unset, unless daemons with different names share the switch."""
    name = look.config.settings.switch.id
    try:
        said = await look.value(variables.SWITCH)
    except ActionRefused as error:
        yield unknown(PART, f"the dialplan's {variables.SWITCH}: {error}")
        return
    if said and said != name:
        found = f"the dialplan's {variables.SWITCH} is {said!r}, but switch.id is {name!r}"
        yield warning(PART, f"{found}: what callers leave while no daemon answers is not ours to charge")
