"""``charging check --live``: what a running Asterisk lacks, as far as the daemon's own login can see or provoke it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import PurePosixPath

from charging.app_surroundings import spool_free
from charging.asterisk.message import AmiMessage
from charging.asterisk.numbers import scaled, whole
from charging.asterisk.probe import Found
from charging.asterisk.reply import LinkState
from charging.call.running import PROMPT_CREDIT_LOW, PROMPT_MINUTES_LOW
from charging.cli import check_dialplan
from charging.cli.check_look import MANAGER_RELOAD, PART, Look, is_denied
from charging.cli.check_machine import open_files
from charging.cli.check_results import CheckResult, ok, problem, unknown, warning
from charging.cli.check_trunk import unwanted_modules
from charging.errors import ActionRefused, ActionTimeout, SwitchError
from charging.ledger.accounts import Language
from charging.logs import silence_logs
from charging.settings import Config
from charging.tasks import end

LOOK_TIMEOUT_S = 40
SPOOL_BYTES_A_S = 20_000
"""A message in the three formats of Debian's voicemail.conf: wav49, gsm, and wav with 16,000."""
MESSAGES, CALL_S = 100, 300
"""Asterisk's own ``maxmsg``; and the seconds after which our dialplan ends a call to a mailbox."""
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
    LinkState.SHUTTING_DOWN: (
        "Asterisk is shutting down: it refuses everything until its last call has ended, and running calls are cut at "
        "their reserved end",
        "wait for it, or take it back with `asterisk -rx 'core abort shutdown'`",
    ),
    LinkState.LOST: ("the AMI connection broke off", "look into Asterisk's log, then check again"),
}
"""What is wrong in a state that is not UP, and what to do."""
SUPPORTED = ("20.", "22.", "23.")
MODULES = {
    "app_chanspy": "the whispered prompt",
    "app_dial": "forwarding",
    "app_senddtmf": "the prompt's second way",
    "app_softhangup": "ending a call whose caller hangs up in a prompt's second way, or whose mobile is taken over",
    "app_stack": "the dialplan",
    "app_voicemail": "voicemail",
    "func_callerid": "who calls, and whether he withholds his number",
    "func_channel": "the black box, which is a hang-up handler",
    "func_db": "the black box",
    "func_env": "how long a message is",
    "func_global": "notes of calls that no daemon was there for, and room for faxes",
    "func_groupcount": "how many faxes may come in, which are being sent, and whether a mobile was taken over",
    "func_logic": "the dialplan",
    "func_shell": "whether the disks of messages and faxes have room",
    "func_strings": "what is a number, and what is none",
    "func_timeout": "deadlines",
    "res_agi": "asking the daemon",
    "res_pjsip_header_funcs": "withheld numbers, loops and Max-Forwards",
}
"""What the dialplan cannot do without, and for what."""
FIRST = {"res_agi": ("res_speech",)}
"""What Asterisk refuses a module without."""
AT_WORK = {
    "func_callerid": "CALLERID(num-pres)",
    "func_channel": "CHANNEL(state)",
    "func_db": "DB_EXISTS(charging/check)",
    "func_groupcount": "GROUP_COUNT(all@charging-check)",
    "func_logic": "IF(1?1)",
    "func_strings": "FILTER(0-9,1)",
}
"""Functions that anyone may ask for, and which always answer: of these modules it is known whether they are there."""
NO_VOICEMAIL = (
    "no voicemail module is at work: who is due for voicemail is turned away; "
    "`asterisk -rx 'module load app_voicemail'`. Where it was loaded, another one has taken away what it had set up "
    "(Debian's Asterisk has two): put "
    "`noload => app_voicemail_odbc.so` into [modules] of modules.conf and restart Asterisk"
)
NO_UPTIME = (
    "the dialplan cannot read how long the switch's machine has been up (CHARGING_UPTIME in charging-globals.conf, "
    "usually /proc/uptime): a step of its clock while a call lasts may be billed; let Asterisk's user read that file "
    "(in a chroot, mount /proc), or say CHARGING_UPTIME = no if you want none"
)
TOO_MUCH = ("Command", "ModuleLoad", "GetConfig", "UpdateConfig")
"""Orders that only a login with more rights than the shipped one may give."""
MANAGER = "config/asterisk/manager_charging.conf"
CLOCK_WARNING_US, CLOCK_PROBLEM_US = 1_000_000, 5_000_000
NUMBERS_SHOWN = 3


async def live_findings(config: Config, mailboxes: Mapping[str, str]) -> list[CheckResult]:
    """Log in and look. ``mailboxes`` are those of the subscribers' numbers."""
    return await while_logged_in(Look(config, dict(mailboxes)), LOOK_TIMEOUT_S, _findings)


async def while_logged_in(
    look: Look, limit_s: int, findings: Callable[[Look], AsyncIterator[CheckResult]]
) -> list[CheckResult]:
    """Log in and run the looks; a login that fails is a finding too."""
    silence_logs()
    link = asyncio.create_task(look.keep(), name="ami-link")
    found: list[CheckResult] = []
    try:
        async with asyncio.timeout(limit_s):
            state, detail = await look.state
            if state is not LinkState.UP:
                return [_no_link(look.config, state, detail)]
            async for finding in findings(look):
                found.append(finding)
    except TimeoutError:
        found.append(problem(PART, f"AMI: no answer within {limit_s} s; is Asterisk busy or stopped?"))
    except SwitchError as error:
        found.append(problem(PART, f"AMI: {error}"))
    finally:
        await end([link])
    return found


def _no_link(config: Config, state: LinkState, detail: str) -> CheckResult:
    ami = config.settings.switch.ami
    secret = f"the secret in {ami.secret_file}" if ami.secret_file else f"the secret in ${ami.secret_env}"
    what, advice = NO_LINK[state]
    return problem(PART, f"{what}: {detail}; {advice.format(secret=secret)}")


async def _findings(look: Look) -> AsyncIterator[CheckResult]:
    ami = look.config.settings.switch.ami
    yield ok(PART, f"AMI login as {ami.user!r} at {ami.host}:{ami.port}")
    parts = (_rights, _version, check_dialplan.dialplan, check_dialplan.settings, check_dialplan.switch_name)
    for part in (*parts, unwanted_modules, open_files, _call_inside, _voicemail, _modules, _clocks, _black_box):
        async for finding in part(look):
            yield finding


async def _rights(look: Look) -> AsyncIterator[CheckResult]:
    commands = (await look.link.action("ListCommands")).headers
    missing = await look.control.permissions()
    for right in missing.needed:
        yield problem(PART, f"manager.conf does not allow {right}: calls can not be charged without it")
    for right in missing.optional:
        yield warning(PART, f"manager.conf does not allow {right}: prompts or clean-up suffer")
    if not missing.needed and not missing.optional:
        yield ok(PART, "every order that the daemon gives is allowed")
    if too_much := [name for name in TOO_MUCH if name in commands]:
        what = f"manager.conf allows this login {', '.join(too_much)}, which the daemon never asks for"
        yield warning(PART, f"{what}: give it `write = call,reporting,originate` alone, {MANAGER_RELOAD}")
    if "PlayDTMF" in commands:
        look.proven.add("app_senddtmf")
    if "VoicemailUsersList" in commands:
        look.proven.add("app_voicemail")
    elif "Getvar" in commands:  # which needs the same right
        look.absent.add("app_voicemail")


async def _version(look: Look) -> AsyncIterator[CheckResult]:
    try:
        reply = await look.link.action("CoreSettings")
    except ActionRefused as error:
        yield unknown(PART, f"Asterisk's version: {error}; see it with `asterisk -V`: 20, 22 and 23 are supported")
        return
    look.version = version = reply.headers.get("AsteriskVersion")
    bare = version.removeprefix("certified/")
    if not bare.removeprefix("GIT-").replace("-", ".").startswith(SUPPORTED):
        yield problem(
            PART, f"Asterisk {version} is not supported: calls were tested on 20, 22 and 23; install one of these"
        )
    else:
        yield ok(PART, f"Asterisk {version}")


async def _modules(look: Look) -> AsyncIterator[CheckResult]:
    """Seeing modules needs the right ``system``, which the daemon does well without: some were seen at work."""
    unseen = []
    for name, purpose in ((name, purpose) for name, purpose in MODULES.items() if name not in look.absent):
        loaded = name not in look.missing and (name in look.proven or await _works(look, name))
        if loaded is None:
            unseen.append(name)
        elif not loaded:
            load = " and ".join(f"`asterisk -rx 'module load {one}'`" for one in (*FIRST.get(name, ()), name))
            keep = "with autoload = no include the shipped modules_charging.conf in modules.conf"
            yield problem(PART, f"module {name} is not loaded: it is needed for {purpose}; {load}; {keep}")
    if unseen:
        each = "; ".join(f"`asterisk -rx 'module show like {name}'` must show it" for name in unseen)
        yield unknown(PART, f"modules that this login may not see (it does well without the right): {each}")


async def _works(look: Look, module: str) -> bool | None:
    """Whether it works; ``None`` if we may not know."""
    if module not in AT_WORK:
        return await _is_loaded(look, module)
    try:
        return bool(await look.value(AT_WORK[module]))
    except ActionRefused:
        return None  # the right is missing, as is told above


async def _is_loaded(look: Look, module: str) -> bool | None:
    """Whether a module is loaded; ``None`` if we may not know."""
    try:
        await look.link.action("ModuleCheck", {"Module": module})
    except ActionRefused as error:
        return None if is_denied(error) else False
    return True


async def _call_inside(look: Look) -> AsyncIterator[CheckResult]:
    """A call that rings nobody: what can not be read is provoked."""
    folder = PurePosixPath(look.config.settings.switch.prompts_dir_on_switch)
    names = (PROMPT_CREDIT_LOW, PROMPT_MINUTES_LOW)
    prompts = [str(folder / language / name) for language in Language for name in names]
    try:
        found = await look.probe.run(prompts)
    except ActionRefused as error:
        see = "`asterisk -rx 'manager show settings'`, `'manager show user charging'` and `'features show'`"
        yield unknown(
            PART, f"events, the feature chgkeep and prompts: no call could be made inside ({error}); see {see}"
        )
        return
    if not found.joined:
        where = "a call from Local/s@charging-check to itself did not come up"
        yield problem(PART, f"{where}: mend the dialplan and modules first, then check again")
        return
    look.proven |= {"app_dial"} | ({"func_timeout"} if found.deadline else set())
    look.proven |= {name for name, is_there in found.modules.items() if is_there}
    look.missing |= {name for name, is_there in found.modules.items() if not is_there}
    for finding in (*_events(found), *_ears(found, prompts)):
        yield finding
    if not found.uptime:
        yield warning(PART, NO_UPTIME)
    if found.feature:
        look.proven.add("app_stack")
    if found.prompts_played:
        look.proven.add("app_chanspy")


def _events(found: Found) -> list[CheckResult]:
    """Check what the switch reported about the call."""
    findings = []
    if not found.deadline:
        what = "the dialplan can not set TIMEOUT(absolute): CALLS HAVE NO DEADLINE OF THEIR OWN"
        findings.append(problem(PART, f"{what}; `asterisk -rx 'module load func_timeout'`"))
    if missing := found.missing_events:
        cure = f"set `read = call,system` and the eventfilters of {MANAGER}, and no disabledevents, {MANAGER_RELOAD}"
        findings.append(problem(PART, f"events that calls are charged by do not come: {', '.join(missing)}; {cure}"))
    if unstamped := found.unstamped:
        cure = f"set timestampevents = yes in manager.conf's [general] ({MANAGER} does), {MANAGER_RELOAD}"
        findings.append(problem(PART, f"events without Asterisk's own time ({', '.join(unstamped)}): {cure}"))
    if unnamed := found.without_variables:
        names = "channelvars = CHARGING_SESSION,CHARGING_LEG (beside your own)"
        cure = f"set {names} in [general] of manager.conf, {MANAGER_RELOAD}"
        findings.append(problem(PART, f"events do not say whose call it is ({', '.join(unnamed)}): {cure}"))
    if not findings:
        rest = "those of transfers, pickups, optimised Local channels and messages were not provoked"
        findings.append(ok(PART, f"a call inside the switch told all its events, with time and session; {rest}"))
    return findings


def _ears(found: Found, prompts: list[str]) -> list[CheckResult]:
    """What the subscriber hears."""
    findings = []
    if not found.feature:
        what = "the feature chgkeep does not work: warnings break the audio of calls or leave the subscriber in silence"
        cure = 'put #include "charging/features_charging.conf" inside [applicationmap] of features.conf, '
        findings.append(problem(PART, f"{what}; {cure}then `asterisk -rx 'module reload features'`"))
    for path in (path for path, played in found.prompts_played.items() if not played):
        cure = "copy the project's prompts/ there, readable for Asterisk, or mend switch.prompts_dir_on_switch"
        findings.append(
            problem(PART, f"prompt {path} does not play on the switch: no file that Asterisk can read; {cure}")
        )
    if unheard := [path for path in prompts if path not in found.prompts_played]:
        what = f"the whisper did not attach for {len(unheard)} of {len(prompts)} prompts, or ChanSpyStart is not told"
        findings.append(
            problem(PART, f"{what}: `asterisk -rx 'module load app_chanspy'`, and the eventfilters of {MANAGER}")
        )
    if not findings:
        findings.append(ok(PART, f"{len(prompts)} prompts play on the switch, by whisper; the feature chgkeep works"))
    return findings


async def _voicemail(look: Look) -> AsyncIterator[CheckResult]:
    """Mailboxes, by the numbers that would use them."""
    if "app_voicemail" in look.absent:
        yield problem(PART, NO_VOICEMAIL)
        return
    try:
        reply = await look.link.action("VoicemailUsersList", timeout_s=5.0, list_end="VoicemailUserEntryComplete")
        entries = [entry for entry in reply.events if entry.get("VMContext") == "charging"]
    except ActionRefused as error:
        if is_denied(error) or "invalid" in str(error).lower():
            yield unknown(PART, f"mailboxes: {error}; see them with `asterisk -rx 'voicemail show users for charging'`")
            return
        entries = []
    except ActionTimeout:  # an Asterisk without any mailbox says yes, and begins no list
        entries = []
    if endless := [entry.get("VoiceMailbox") for entry in entries if entry.get("MaxMessageLength") == "0"]:
        what = f"{len(endless)} mailboxes have no longest message ({_some(endless)})"
        cure = "give each maxsecs=180 in its options, then `asterisk -rx 'voicemail reload'`"
        yield warning(PART, f"{what}: theirs last as long as CHARGING_VOICEMAIL_S allows; {cure}")
    if deleted := [entry.get("VoiceMailbox") for entry in entries if entry.get("DeleteMessage") == "Yes"]:
        what = f"{len(deleted)} mailboxes keep no message (delete=yes: {_some(deleted)})"
        yield unknown(PART, f"{what}: how short one may be is their own minsecs alone; see that each has minsecs=2")
    if entries:
        if (size := await _sizes(look, entries)) is not None:
            yield size
        call_s = whole(await look.value("CHARGING_VOICEMAIL_S")) or CALL_S
        most_s = sum(_most_s(entry, call_s) for entry in entries)
        yield _room(look.config.settings.switch.voicemail_dir_on_switch, most_s, len(entries))
    there = {entry.get("VoiceMailbox") for entry in entries}
    without = sorted(number for number, mailbox in look.mailboxes.items() if mailbox not in there)
    if without:
        what = f"{len(without)} numbers have no mailbox in [charging] of voicemail.conf ({_some(without)})"
        yield warning(PART, f"{what}: their calls are not answered where voicemail is due; add them, or mean it so")
    else:
        yield ok(PART, f"{len(there)} mailboxes in [charging] of voicemail.conf; every number has one")


async def _sizes(look: Look, entries: Sequence[AmiMessage]) -> CheckResult | None:
    """Check whether the dialplan knows when a mailbox is full."""
    most = whole(await look.value("CHARGING_VOICEMAIL_MESSAGES")) or MESSAGES
    others = [one.get("VoiceMailbox") for one in entries if (whole(one.get("MaxMessageCount")) or MESSAGES) != most]
    if not others:
        return None
    what = f"{len(others)} mailboxes take another number of messages ({_some(others)})"
    why = "a smaller one answers callers to tell them that it is full, a larger one has them find it busy before"
    cure = "let it be maxmsg of voicemail.conf"
    return warning(PART, f"{what} than CHARGING_VOICEMAIL_MESSAGES = {most}: {why}; {cure}")


def _most_s(entry: AmiMessage, call_s: int) -> int:
    """How many seconds of messages callers can leave in a mailbox, if each may speak to it for ``call_s``."""
    longest = whole(entry.get("MaxMessageLength")) or call_s
    return (whole(entry.get("MaxMessageCount")) or MESSAGES) * min(longest, call_s)


def _room(folder: str, seconds: int, mailboxes: int) -> CheckResult:
    """Check whether strangers can fill the disk. If the spool is another machine's, its operator must check."""
    needed, free = seconds * SPOOL_BYTES_A_S, spool_free(folder)
    what = f"callers can leave {needed / 1e9:.1f} GB of messages in {mailboxes} mailboxes"
    if free is None:
        return ok(PART, f"{what}: so much must be free for {folder}, on the switch's machine")
    if needed <= free:
        return ok(PART, f"{what}, and {free / 1e9:.1f} GB are free for {folder}")
    cure = "lower maxmsg or maxsecs, or give the spool a file system of its own, so that it fills no other"
    return warning(PART, f"{what}, but {free / 1e9:.1f} GB are free for {folder}: {cure}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:NUMBERS_SHOWN]) + (", ..." if len(names) > NUMBERS_SHOWN else "")


async def _clocks(look: Look) -> AsyncIterator[CheckResult]:
    """The switch's against ours: months, time bands and the end of a fax's order are told by both."""
    before = look.clock.now()
    try:
        theirs = scaled(await look.value("STRFTIME(,UTC,%s.%6q)"), 6)
    except ActionRefused:
        theirs = None
    if theirs is None:
        yield unknown(PART, "the switch's clock: compare `date -u` on both machines")
        return
    after = look.clock.now()
    apart = max(before.wall_us - theirs, theirs - after.wall_us, 0)
    if apart <= CLOCK_WARNING_US:
        yield ok(PART, "the switch's clock agrees with ours")
        return
    found = f"the switch's clock and ours are {apart // 1000} ms apart: run chrony on both machines, and let it slew"
    yield problem(PART, found) if apart > CLOCK_PROBLEM_US else warning(PART, found)


async def _black_box(look: Look) -> AsyncIterator[CheckResult]:
    try:
        records = await look.control.black_box()
    except ActionRefused as error:
        if "not found" not in str(error).lower():
            raise
        records = {}
    yield ok(PART, f"the black box can be read: {len(records)} records wait to be booked or deleted")
    others = Counter(record.switch for record in records.values() if record is not None)
    for name in sorted(others.keys() - {"", look.config.settings.switch.id}):
        found = f"{others[name]} records in the black box belong to switch.id {name!r} and are left alone"
        yield warning(PART, f"{found}: does another daemon share this Asterisk, or was switch.id changed?")
