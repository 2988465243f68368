"""``charging check --live`` on a real Asterisk: silent about what is right, and exact about everything that is broken.

Each case breaks a few things at once that do not hide one another, reloads, looks, and puts them back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from charging.cli import check_machine
from charging.cli.check_dialplan import FAXES_HERE
from charging.cli.check_files import findings
from charging.cli.check_live import AT_WORK, MODULES
from charging.cli.check_results import CheckResult, Grade
from charging.cli.check_trunk import ends_legs
from charging.lab import Lab
from charging.lab.daemon import DaemonProcess
from charging.lab.install import ensure_asterisk
from charging.lab.ports import free_port
from charging.ledger.accounts import Account, Language, Number
from charging.ledger.sqlite.store import SqliteStore
from tests.asterisk.engine import engine, tariff
from tests.asterisk.parties import NUMBER, NUMBER_WITHOUT_MAILBOX, operator_sets

pytestmark = pytest.mark.asterisk

RELOADS = {
    "charging/extensions_charging.conf": "dialplan reload",
    "charging/charging-globals.conf": "dialplan reload",
    "extensions.conf": "dialplan reload",
    "charging/manager_charging.conf": "manager reload",
    "features.conf": "module reload features",
    "pjsip.conf": "module reload res_pjsip.so",
    "voicemail.conf": "voicemail reload",
}
TAKES_PLACES = "res_pjsip_refer.so"
EXTENSIONS, GLOBALS, MANAGER = list(RELOADS)[0:2] + list(RELOADS)[3:4]


@dataclass(frozen=True)
class Edit:
    """What someone does to a file of the switch."""

    file: str
    old: str
    new: str


@dataclass
class Checked:
    """What the check says."""

    findings: list[CheckResult]

    def of(self, grade: Grade) -> list[str]:
        return [one.text for one in self.findings if one.part == "switch" and one.grade is grade]

    def says(self, grade: Grade, *words: str) -> bool:
        return any(all(word in text for word in words) for text in self.of(grade))


@contextlib.asynccontextmanager
async def edited(lab: Lab, *edits: Edit) -> AsyncIterator[None]:
    """The switch runs with these edits, and without them afterwards."""
    etc = lab.switch.folder / "etc"
    before = {edit.file: (etc / edit.file).read_text() for edit in edits}
    try:
        for edit in edits:
            text = (etc / edit.file).read_text()
            assert edit.old in text, f"{edit.file} has no {edit.old!r}"
            (etc / edit.file).write_text(text.replace(edit.old, edit.new))
        await reload(lab, before)
        yield
    finally:
        for file, text in before.items():
            (etc / file).write_text(text)
        await reload(lab, before)


async def reload(lab: Lab, files: dict[str, str]) -> None:
    for command in dict.fromkeys(RELOADS[file] for file in files):
        await lab.switch.cli(command)


@pytest_asyncio.fixture(loop_scope="session")
async def daemon(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaemonProcess:
    """The settings of a daemon that does not run; the switch has the modules that it begins with."""
    if "1 modules loaded" in await lab.switch.cli(f"module show like {TAKES_PLACES}"):
        await lab.switch.kill()  # Asterisk never unloads it
        await lab.switch.start()
    made = DaemonProcess(lab, tmp_path / "daemon", tariff(), {})
    monkeypatch.setenv("CHARGING_AMI_SECRET", lab.switch.charging_ami.secret)
    return made


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its limits are not the lab's to set, and other Asterisks may run on it."""
    process = tmp_path / "proc" / "1"
    process.mkdir(parents=True)
    (process / "comm").write_text("asterisk\n")
    (process / "limits").write_text("Max open files            65536                65536                files\n")
    monkeypatch.setattr(check_machine, "PROC", process.parent)


async def check(daemon: DaemonProcess) -> Checked:
    return Checked(await asyncio.to_thread(lambda: list(findings(daemon.settings, live=True))))


async def subscriber(daemon: DaemonProcess, *numbers: str) -> None:
    store = SqliteStore(daemon.ledger)
    await store.open()
    await store.directory.put_account(Account("anna", "voice_light", Language.NL, ""))
    for number in numbers:
        await store.directory.put_number(Number(number, "anna", "+31612345678"))
    await store.close()


async def test_nothing_is_said_against_the_shipped_set_up(lab: Lab, daemon: DaemonProcess) -> None:
    await subscriber(daemon, NUMBER)
    checked = await check(daemon)
    assert (checked.of(Grade.PROBLEM), checked.of(Grade.WARNING)) == ([], [FAXES_HERE])
    assert checked.says(Grade.OK, "the dialplan is the shipped one")
    assert checked.says(Grade.OK, "told all its events")
    assert checked.says(Grade.OK, "4 prompts play on the switch", "chgkeep works")
    assert checked.says(Grade.OK, "forwards leave by the endpoint world")
    assert checked.says(Grade.OK, "clock agrees")
    unseen = checked.of(Grade.UNKNOWN)
    assert all("asterisk -rx" in text for text in unseen), "what can not be seen is told with how to see it"
    assert all(any(module in text for text in unseen) for module in ("res_pjsip_header_funcs", "app_softhangup"))
    at_work = [name for name in MODULES if name not in ("res_pjsip_header_funcs", "app_softhangup")]
    assert not any(name in text for name in at_work for text in unseen), "these were seen at work"


async def test_the_look_leaves_nothing_behind(lab: Lab, daemon: DaemonProcess) -> None:
    before = list(lab.world.calls), list(lab.world.stray_mobiles)
    await check(daemon)
    assert await lab.switch.black_box() == {}
    async with asyncio.timeout(30):
        while await lab.switch.channels():  # noqa: ASYNC110  another process has no event for us
            await asyncio.sleep(0.05)
    assert (lab.world.calls, lab.world.stray_mobiles) == before


async def test_a_daemon_that_runs_does_not_take_the_look_for_a_call(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARGING_AMI_SECRET", lab.switch.charging_ami.secret)
    async with engine(lab, tmp_path) as running:
        checked = await check(running.daemon)
        told = [line for line in running.daemon.events() if line.get("level") in ("warning", "error", "critical")]
        calls = (await running.daemon.get("/calls"))["items"]
    assert (checked.of(Grade.PROBLEM), checked.of(Grade.WARNING)) == ([], [FAXES_HERE])
    assert [line for line in told if line["event"] != "tariff_warning"] == [], "of its tariff, without credit_a_day"
    assert calls == []


async def test_a_dialplan_that_was_edited_is_told_line_by_line_with_what_is_lost(
    lab: Lab, daemon: DaemonProcess
) -> None:
    edits = (
        Edit(EXTENSIONS, "iIS(${CHARGING_QUOTA})", "iI"),
        Edit(EXTENSIONS, " same => n,Set(CHANNEL(hangup_handler_push)=charging-blackbox,s,1)\n"
             " same => n,Set(DIALSTATUS=)", " same => n,Set(DIALSTATUS=)"),
        Edit(EXTENSIONS, " same => n(hops),", " same => n,NoOp(mine)\n same => n(hops),"),
    )  # fmt: skip
    async with edited(lab, *edits):
        checked = await check(daemon)
    assert checked.says(
        Grade.PROBLEM, "[charging-obey] s: found Dial(", "expected Dial(", "DOES NOT END A CALL WHEN ITS MONEY ENDS"
    )
    assert checked.says(
        Grade.PROBLEM, "[charging-decide] s: found no such line", "hangup_handler_push", "what ends without the daemon"
    )
    assert checked.says(Grade.PROBLEM, "[charging-presentation] s: found NoOp(mine), expected no such line")
    assert checked.says(Grade.PROBLEM, "of another version, or was edited", "dialplan reload")


async def test_a_dialplan_of_which_a_part_is_missing_and_settings_that_lead_elsewhere(
    lab: Lab, daemon: DaemonProcess
) -> None:
    edits = (
        Edit(EXTENSIONS, "[charging-prompt]", "[charging-was-prompt]"),
        Edit(GLOBALS, f"CHARGING_AGI = 127.0.0.1:{lab.agi_port}", f"CHARGING_AGI = 127.0.0.9:{lab.agi_port}"),
        Edit(GLOBALS, "CHARGING_DIAL_SUFFIX = @world", "CHARGING_DIAL_SUFFIX = @nowhere"),
        Edit(GLOBALS, "CHARGING_DIAL_PREFIX_2 =", "CHARGING_DIAL_PREFIX_2 = PJSIP/"),
        Edit(GLOBALS, "CHARGING_DIAL_SUFFIX_2 =", "CHARGING_DIAL_SUFFIX_2 = @second"),
    )
    async with edited(lab, *edits):
        checked = await check(daemon)
    assert checked.says(Grade.PROBLEM, "has no context charging-prompt", "dialplan reload")
    assert checked.says(Grade.PROBLEM, f"asks the daemon at 127.0.0.9:{lab.agi_port}", "set CHARGING_AGI")
    assert checked.says(Grade.PROBLEM, "no PJSIP endpoint nowhere", "CHARGING_DIAL_SUFFIX")
    assert checked.says(Grade.PROBLEM, "no PJSIP endpoint second")


async def test_settings_that_the_dialplan_does_not_understand_are_named(lab: Lab, daemon: DaemonProcess) -> None:
    """It says nothing then, and does something else: a fallback that is misspelt rejects every caller."""
    edits = (
        Edit(GLOBALS, "CHARGING_FALLBACK = voicemail", "CHARGING_FALLBACK = Voicemail"),
        Edit(GLOBALS, "CHARGING_COUNTRY_CODE = 31", "CHARGING_COUNTRY_CODE = +31"),
        Edit(GLOBALS, "CHARGING_GUARD_S = 3", "CHARGING_GUARD_S = 3 s"),
        Edit(GLOBALS, "CHARGING_DIVERSION = yes", "CHARGING_DIVERSION = no   ; understood"),
    )
    async with edited(lab, *edits):
        checked = await check(daemon)
    assert checked.says(Grade.WARNING, "CHARGING_FALLBACK is 'Voicemail'", "voicemail or reject", "dialplan reload")
    assert checked.says(Grade.WARNING, "CHARGING_COUNTRY_CODE is '+31'", "without +")
    assert checked.says(Grade.WARNING, "CHARGING_GUARD_S is '3 s'")
    assert not checked.says(Grade.WARNING, "CHARGING_DIVERSION")


INCLUDE = '#include "charging/extensions_charging.conf"'


AMID = f"""
[own]
exten => 100,1,NoOp()   ; before
{INCLUDE}
exten => 101,1,NoOp()   ; Asterisk goes on with [own]
"""


async def test_nothing_is_said_where_the_include_stands_amid_the_operators_lines(
    lab: Lab, daemon: DaemonProcess
) -> None:
    async with edited(lab, Edit("extensions.conf", INCLUDE, AMID)):
        checked = await check(daemon)
    assert (checked.of(Grade.PROBLEM), checked.of(Grade.WARNING)) == ([], [FAXES_HERE])
    assert checked.says(Grade.OK, "the dialplan is the shipped one")


SAME_NAMES = """
[charging-obey](+)
exten => h,1,NoOp(mine)
switch => Lua/
[charging-decide]
exten => s,1,Goto(charging-obey,s,1)
"""
AEL = """
context ael-welcome {
    s => {
        Playback(beep);
        goto charging-incoming,+31850000001,1;
    }
}
context charging-guard {
    t => {
        NoOp(mine);
    }
}
"""


async def test_contexts_of_the_same_name_and_ael_are_the_dialplan_too(lab: Lab, daemon: DaemonProcess) -> None:
    """What the operator adds to ours by whatever way, and a welcome message in AEL that answers."""
    (lab.switch.folder / "etc" / "extensions.ael").write_text(AEL)
    modules = ("res_ael_share", "pbx_ael")
    async with edited(lab, Edit("extensions.conf", INCLUDE, f"{INCLUDE}{SAME_NAMES}")):
        for module in modules:
            await lab.switch.cli(f"module load {module}.so")
        try:
            checked = await check(daemon)
        finally:
            for module in reversed(modules):
                await lab.switch.cli(f"module unload {module}.so")
    assert checked.says(Grade.PROBLEM, "[charging-obey] h: found NoOp(mine), expected no such line")
    assert checked.says(Grade.PROBLEM, "[charging-obey]: found switch => Lua/", "expected no such line")
    assert checked.says(Grade.PROBLEM, "[charging-guard] t: found NoOp(mine), expected no such line")
    assert checked.says(Grade.WARNING, "[ael-welcome] s answers callers before charging-incoming decides")
    assert (await check(daemon)).of(Grade.PROBLEM) == []


EARLY = "[welcome]\nexten => s,1,Answer()\n same => n,Goto(charging-incoming,+31850000001,1)\n[trunk]"


async def test_local_channels_in_the_way_and_callers_who_were_answered_before(lab: Lab, daemon: DaemonProcess) -> None:
    local = (
        Edit(GLOBALS, "CHARGING_DIAL_PREFIX = PJSIP/", "CHARGING_DIAL_PREFIX = Local/"),
        Edit(GLOBALS, "CHARGING_DIAL_SUFFIX = @world", "CHARGING_DIAL_SUFFIX = @outbound"),
        Edit("extensions.conf", "[trunk]", EARLY),
    )
    async with edited(lab, *local):
        without = await check(daemon)
    assert without.says(Grade.PROBLEM, "the dialplan has no context outbound")
    assert without.says(Grade.WARNING, "[welcome] s answers callers before")
    there = Edit("extensions.conf", "[trunk]", "[outbound]\nexten => _+X.,1,Dial(PJSIP/${EXTEN}@world)\n[trunk]")
    async with edited(lab, *local[:2], there):
        checked = await check(daemon)
    assert checked.of(Grade.PROBLEM) == []
    assert checked.says(Grade.UNKNOWN, "your own context outbound", "pjsip show endpoint")
    assert checked.says(Grade.WARNING, "[outbound] _+X.: Dial(PJSIP/${EXTEN}@world)", "add b(charging-onward^s^1)")
    answering = replace(there, new=there.new.replace("1,Dial", "1,Answer()\n same => n,Dial"))
    async with edited(lab, *local[:2], answering):
        checked = await check(daemon)
    assert checked.says(Grade.PROBLEM, "[outbound] _+X.: Answer answers forwards before the phone does")
    onward = replace(there, new=there.new.replace("@world)", "@world,,b(charging-onward^s^1))"))
    async with edited(lab, *local[:2], onward):
        checked = await check(daemon)
    assert not checked.says(Grade.WARNING, "[outbound]")


async def test_events_that_do_not_come_are_named(lab: Lab, daemon: DaemonProcess) -> None:
    async with edited(lab, Edit(MANAGER, "read = call,system", "read = system")):
        checked = await check(daemon)
    assert checked.says(Grade.PROBLEM, "do not come: DialBegin, DialEnd, BridgeEnter", "read = call,system")


async def test_events_that_are_filtered_or_say_too_little_are_named(lab: Lab, daemon: DaemonProcess) -> None:
    edits = (
        Edit(MANAGER, "timestampevents = yes", "timestampevents = no"),
        Edit(MANAGER, "channelvars = CHARGING_SESSION,CHARGING_LEG", "channelvars = CHARGING_SESSION"),
        Edit(MANAGER, "eventfilter(name(BridgeLeave)) =\n", ""),
    )
    async with edited(lab, *edits):
        checked = await check(daemon)
    assert checked.says(Grade.PROBLEM, "do not come: BridgeLeave;", "eventfilters")
    assert checked.says(Grade.PROBLEM, "without Asterisk's own time", "DialEnd", "timestampevents = yes")
    assert checked.says(Grade.PROBLEM, "do not say whose call it is", "channelvars = CHARGING_SESSION,CHARGING_LEG")


async def test_features_voicemail_trunk_and_prompts_that_are_wrong(lab: Lab, daemon: DaemonProcess) -> None:
    await subscriber(daemon, NUMBER, NUMBER_WITHOUT_MAILBOX)
    prompt = lab.prompts_dir / "nl" / "credit_low.wav"
    edits = (
        Edit("features.conf", '#include "charging/features_charging.conf"', ""),
        Edit(
            "voicemail.conf",
            '#include "lab_mailboxes.conf"',
            "31850000099 => 1234,Anna,a@example.org,,delete=yes|maxmsg=99",
        ),
        Edit("pjsip.conf", "allow_transfer = no", "allow_transfer = yes\nredirect_method = uri_pjsip"),
        Edit("pjsip.conf", "direct_media = no", "direct_media = yes"),
        Edit("pjsip.conf", "rtp_timeout = 40", "rtp_timeout = 0\nsend_diversion = no\nt38_udptl_nat = yes"),
        Edit("pjsip.conf", "trust_connected_line = no", "trust_connected_line = yes"),
    )
    prompt.rename(prompt.with_suffix(".gone"))
    try:
        async with edited(lab, *edits):
            checked = await check(daemon)
    finally:
        prompt.with_suffix(".gone").rename(prompt)
    assert checked.says(Grade.PROBLEM, "the feature chgkeep does not work", "features_charging.conf")
    assert checked.says(Grade.PROBLEM, str(prompt.with_suffix("")), "does not play on the switch", "copy")
    assert checked.says(Grade.PROBLEM, "the trunk allows transfers", "allow_transfer = no")
    assert checked.says(Grade.PROBLEM, "follows a phone's diversion", "redirect_method = user")
    assert checked.says(Grade.WARNING, "direct media", "direct_media = no")
    assert checked.says(Grade.WARNING, "no rtp_timeout", "rtp_timeout = 40")
    assert checked.says(Grade.WARNING, "whoever wrote to their port last", "t38_udptl_nat = no")
    assert checked.says(Grade.WARNING, "trusts what an answering phone says", "trust_connected_line = no")
    assert checked.says(Grade.WARNING, "sends no Diversion", "send_diversion = yes")
    assert checked.says(Grade.WARNING, "2 numbers have no mailbox", NUMBER, NUMBER_WITHOUT_MAILBOX)
    assert checked.says(Grade.UNKNOWN, "keep no message (delete=yes: 31850000099)", "minsecs=2")
    assert checked.says(
        Grade.WARNING, "another number of messages (31850000099) than", "CHARGING_VOICEMAIL_MESSAGES = 100"
    )


@pytest.mark.parametrize(("seconds", "is_told"), [(44, False), (45, True)])
async def test_a_time_without_sound_that_each_refresh_of_the_session_sets_back_is_told(
    lab: Lab, daemon: DaemonProcess, seconds: int, is_told: bool
) -> None:
    """Sessions of 90 s are refreshed after 45, by a re-INVITE where the carrier allows no UPDATE: it is never due."""
    async with edited(lab, Edit("pjsip.conf", "rtp_timeout = 40", f"rtp_timeout = {seconds}")):
        checked = await check(daemon)
    assert checked.says(Grade.WARNING, "sets rtp_timeout back", "set rtp_timeout = 40") is is_told


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("t38_udptl = no", "t38_udptl = yes", "a caller who asks for T.38"),
        ("direct_media = no", "direct_media = no\nmoh_passthrough = yes", "a caller who holds the call"),
        ("connected_line_method = update", "connected_line_method = invite", "telling a phone who it talks to now"),
        ("timers = always", "timers = yes", "no end for a re-INVITE that is not answered"),
        ("timers_sess_expires = 90", "timers_sess_expires = 91", "no end for a re-INVITE that is not answered"),
    ],
)
async def test_each_setting_by_which_the_far_end_of_a_forward_keeps_its_leg_is_named(
    lab: Lab, daemon: DaemonProcess, old: str, new: str, what: str
) -> None:
    """What each of them does to a call: test_kept_legs."""
    async with edited(lab, Edit("pjsip.conf", old, new)):
        checked = await check(daemon)
    named = [text for text in checked.of(Grade.WARNING) if text != FAXES_HERE]
    ends_by_itself = what.startswith("no end") and ends_legs(ensure_asterisk().version)
    assert [what in text and "endpoint world" in text for text in named] == ([] if ends_by_itself else [True])


@pytest.mark.parametrize(
    ("version", "does"),
    [
        *(("20.20.1", False), ("20.21.0", True), ("21.99.0", False), ("22.10.1+dfsg+~cs6.17.60671434-1", False)),
        *(("22.11.0-rc1", True), ("23.4.1", False), ("23.5.0", True), ("24.0.0", True), ("", False)),
        *(("certified/22.8-cert4", False), ("GIT-master-7d4d1c8", True)),
    ],
)
def test_which_versions_end_a_leg_whose_far_end_answers_nothing(version: str, does: bool) -> None:
    assert ends_legs(version) is does


async def test_what_lets_strangers_take_a_place_is_told(lab: Lab, daemon: DaemonProcess) -> None:
    checked = await check(daemon)
    assert checked.says(Grade.OK, "nobody can take the place of a party")
    await lab.switch.cli(f"module load {TAKES_PLACES}")
    checked = await check(daemon)
    assert checked.says(Grade.WARNING, "take the place of a party", f"noload => {TAKES_PLACES}")


async def test_a_door_for_calls_without_a_trunk_is_told(lab: Lab, daemon: DaemonProcess) -> None:
    """Debian's Asterisk has it open for everyone, with a guest who needs no password."""
    checked = await check(daemon)
    assert checked.says(Grade.OK, "nobody can call without a trunk", "chan_iax2 is not loaded")
    iax = lab.switch.folder / "etc" / "iax.conf"
    iax.write_text(f"[general]\nbindaddr = 127.0.0.1\nbindport = {free_port()}\n")
    await lab.switch.cli("module load chan_iax2.so")
    try:
        checked = await check(daemon)
    finally:
        await lab.switch.cli("module unload chan_iax2.so")
        iax.unlink()
    assert checked.says(Grade.WARNING, "chan_iax2 is loaded", "UDP port 4569", "noload => chan_iax2.so")


@pytest.mark.parametrize(("file", "is_told"), [("/no/such/file", True), ("no", False)])
async def test_an_uptime_that_the_dialplan_cannot_read_is_told(
    lab: Lab, daemon: DaemonProcess, file: str, is_told: bool
) -> None:
    """Without it a step of the clock within a call may be billed. Who wants none has said so."""
    async with operator_sets(lab, "CHARGING_UPTIME", file):
        checked = await check(daemon)
    assert checked.says(Grade.WARNING, "how long the switch's machine has been up") is is_told
    assert checked.of(Grade.PROBLEM) == []


async def test_functions_that_are_not_loaded_are_named(lab: Lab, daemon: DaemonProcess) -> None:
    """The login may not see modules: each function is tried. What a whisper needs is seen in a call,
    voicemail by its orders: of two such modules each takes away what the other has set up, and both are listed on."""
    functions = (*AT_WORK, "func_env", "func_global", "func_shell")
    unloaded = (*functions, "app_chanspy", "app_voicemail")
    async with asyncio.timeout(60):  # Asterisk itself dies where a module goes that a channel is just using
        while await lab.switch.channels():  # noqa: ASYNC110  another process has no event for us
            await asyncio.sleep(0.05)
    for module in unloaded:
        await lab.switch.cli(f"module unload {module}.so")
    try:
        checked = await check(daemon)
    finally:
        for module in unloaded:
            await lab.switch.cli(f"module load {module}.so")
    for module in functions:
        assert checked.says(Grade.PROBLEM, f"module {module} is not loaded", f"module load {module}"), module
    assert checked.says(Grade.PROBLEM, "no voicemail module is at work", "noload => app_voicemail_odbc.so")
    assert not any("app_voicemail" in text for text in checked.of(Grade.UNKNOWN))
    assert (await check(daemon)).of(Grade.PROBLEM) == []


async def test_a_login_that_may_do_too_much_or_too_little(lab: Lab, daemon: DaemonProcess) -> None:
    write = "write = call,reporting,originate"
    async with edited(lab, Edit(MANAGER, write, "write = call,reporting,originate,command,system,config")):
        checked = await check(daemon)
    assert checked.says(Grade.WARNING, "allows this login Command, ModuleLoad, GetConfig", write)
    assert checked.of(Grade.PROBLEM) == []
    async with edited(lab, Edit(MANAGER, write, "write = call,reporting")):
        began = time.monotonic()
        checked = await check(daemon)
    assert time.monotonic() - began < 30
    assert checked.says(Grade.UNKNOWN, "no call could be made inside", "manager show settings")
    assert checked.says(Grade.WARNING, "Originate (originate)")
