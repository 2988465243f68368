"""``charging check``, and what it says of an Asterisk that lacks something."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import httpx
import pytest

from charging import app_surroundings
from charging.app import build
from charging.asterisk.dialplan import Line, contexts, shipped_lines
from charging.asterisk.message import AmiMessage
from charging.cli import check_machine
from charging.cli.check_live import AT_WORK
from charging.cli.check_look import shipped, shipped_globals
from charging.cli.client import _reads_much
from charging.lab.ports import free_port
from charging.settings import load_config
from tests.fakes import openid
from tests.fakes.ami import COMMANDS, FakeAmi, listing, refusal, success
from tests.integration import command
from tests.integration.command import AGI_PORT, Command, Place, Ran
from tests.integration.dns_server import Zone, name_server

CheckLive = Callable[..., Awaitable[Ran]]


SHIPPED = shipped_lines(shipped("extensions_charging.conf"))
OWN = Line("from-trunk", "_X.", "", "Goto", "charging-incoming,${EXTEN},1")


@pytest.fixture
async def ami() -> AsyncIterator[FakeAmi]:
    """An Asterisk that has everything; a call inside it is for the real one (tests/asterisk/test_check_live.py)."""
    fake = FakeAmi(commands=(*COMMANDS, "CoreSettings", "ShowDialPlan", "ModuleCheck", "VoicemailUsersList"))
    fake.answers["CoreSettings"] = lambda message: [success(message, ("AsteriskVersion", "22.10.1"))]
    fake.answers["Getvar"] = values_of({"CHARGING_AGI": f"127.0.0.1:{AGI_PORT}"})
    fake.answers["ShowDialPlan"] = dialplan_of([*SHIPPED, OWN])
    fake.answers["VoicemailUsersList"] = lambda message: listing(message, "VoicemailUserEntryComplete", [])
    fake.answers["DBGetTree"] = lambda message: [refusal(message, "Database entry not found")]
    fake.answers["ModuleCheck"] = every_module
    fake.answers["Originate"] = lambda message: [refusal(message, "Permission denied")]
    async with fake:
        yield fake


def dialplan_of(lines: list[Line]) -> Callable[[AmiMessage], Iterable[bytes]]:
    """What ShowDialPlan says where these lines run."""

    def entry(line: Line) -> tuple[tuple[str, str], ...]:
        what = (("ExtensionLabel", line.label),) if line.label else ()
        where = (("Event", "ListDialplan"), ("Context", line.context), ("Extension", line.exten))
        return (*where, *what, ("Application", line.application), ("AppData", line.data))

    return lambda message: listing(message, "ShowDialPlanComplete", map(entry, lines))


def values_of(
    values: Mapping[str, str] | None = None, *, clock_s: float = 0
) -> Callable[[AmiMessage], Iterable[bytes]]:
    """The dialplan's globals, as shipped unless given, functions, and a clock that is so far ahead."""
    there = dict.fromkeys(AT_WORK.values(), "0")
    usual = {"PJSIP_ENDPOINT(trunk,allow_transfer)": "false", **there, **shipped_globals()}

    def answer(message: AmiMessage) -> Iterable[bytes]:
        name = message.get("Variable")
        now = {"STRFTIME(,UTC,%s.%6q)": f"{time.time() + clock_s:.6f}"}
        return [success(message, ("Value", {**usual, **now, **(values or {})}.get(name, "")))]

    return answer


def every_module(message: AmiMessage) -> Iterable[bytes]:
    return [success(message)]


@pytest.fixture
def check(place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CheckLive:
    async def run(ami: FakeAmi, secret: str = "right") -> Ran:
        monkeypatch.setenv("TEST_AMI_SECRET", secret)
        place.write(ami.port)
        return await Command(place, capsys).beside("check", "--live")

    return run


def graded(ran: Ran, grade: str) -> list[str]:
    """What was found of this grade."""
    return [line for line in ran.out.splitlines() if line.startswith(grade)]


def test_everything_in_order_is_exit_0(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    ran = Command(place, capsys)("check", "--json")
    assert ran.code == 0
    assert [(one["grade"], one["part"]) for one in ran.json] == [
        ("ok", "config"),
        ("ok", "tariff"),
        ("ok", "prompts"),
        ("ok", "ledger"),
    ]


@pytest.mark.parametrize(
    ("key", "url", "sandbox", "told"),
    [
        ("live_7Qx", "https://my.voice.example", False, []),
        ("test_7Qx", "https://my.voice.example", False, ["test mode"]),
        ("sk_test_7Qx", "https://8.8.8.8", False, ["test mode"]),
        ("test_7Qx", "https://my.voice.example", True, []),
        ("live_7Qx", "https://localhost:9481", False, ["customer_page.url"]),
        ("sk_live_7Qx", "https://192.168.1.5", False, ["customer_page.url"]),
        ("test_7Qx", "https://127.0.0.1:9481", False, ["test mode", "customer_page.url"]),
    ],
)
def test_payments_that_are_not_real_or_are_never_told_of_are_warned_of(
    key: str,
    url: str,
    sandbox: bool,
    told: list[str],
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    monkeypatch.setenv("TEST_PAYMENT_KEY", key)
    page = {"port": free_port(), "url": url, "payment_provider": "mollie", "payment_key_env": "TEST_PAYMENT_KEY"}
    mode = "sandbox: yes\n" if sandbox else ""
    place.config.write_text(f"{place.config.read_text()}customer_page: {json.dumps(page)}\n{mode}")
    ran = Command(place, capsys)("check", "--json")
    assert ran.code == 0, "calls do without"
    found = [one for one in ran.json if one["part"] == "payments"]
    assert [one["grade"] for one in found] == (["warning"] * len(told) or ["ok"])
    assert all(word in one["text"] for word, one in zip(told, found, strict=False))
    assert key not in ran.out


@pytest.mark.parametrize("fault", ["none", "ill", "another", "away", "ca"])
def test_whether_the_consoles_login_provider_answers_is_looked_at_and_what_it_must_know_is_told(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A warning, since names and passwords work without it."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    monkeypatch.setenv("TEST_OPENID", "a secret")
    with openid.running() as provider:
        console: dict[str, object] = {
            "port": free_port(),
            "openid_issuer": provider.issuer,
            "openid_client_id": "charging",
            "openid_client_secret_env": "TEST_OPENID",
            "openid_url": "https://console.example",
            "openid_view": ["staff"],
            "trusted_proxies": ["127.0.0.1"],
        }
        if fault == "away":
            console["openid_issuer"] = f"http://127.0.0.1:{free_port()}"
        if fault == "ca":
            console["openid_ca_file"] = str(place.config)
        if fault == "another":
            provider.document["issuer"] = "https://other.example"
        provider.is_ill = fault == "ill"
        place.config.write_text(f"{place.config.read_text()}console: {json.dumps(console)}\n")
        ran = Command(place, capsys)("check", "--json")
    (found,) = [one for one in ran.json if one["part"] == "console"]
    assert (ran.code, found["grade"]) == (0, "ok" if fault == "none" else "warning")
    told = {
        "none": "https://console.example/login/openid/back",
        "ill": "127.0.0.1 answers 503; names and passwords work",
        "another": "of another issuer: 'https://other.example'",
        "away": "127.0.0.1: ConnectError",
        "ca": f"{place.config}: ",
    }
    assert told[fault] in found["text"]


def test_every_problem_is_found_at_once_and_exit_1(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    (place.folder / "tariff.yaml").write_text("revision: x\nplnas: {}\n")
    (place.folder / "ledger.db").write_text("this is no ledger, and longer than a header of sqlite " * 40)
    (place.folder / "prompts" / "nl").mkdir(parents=True)
    place.config.write_text(place.config.read_text().replace(str(_prompts(place)), str(place.folder / "prompts")))
    ran = Command(place, capsys)("check")
    assert ran.code == 1
    parts = {line.split()[1] for line in graded(ran, "problem")}
    assert parts == {"tariff", "ledger"}
    assert {line.split()[1] for line in graded(ran, "warning")} == {"prompts"}, "calls do without"


def test_a_process_that_may_hold_too_few_open_files_is_told(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    monkeypatch.setattr("charging.app_surroundings.raise_limit", lambda _wanted: 64)
    ran = Command(place, capsys)("check")
    (told,) = graded(ran, "problem")
    assert told.split()[1] == "limits"
    assert "found a limit of 64 open files, expected at least" in told
    assert "LimitNOFILE" in told


async def test_a_missing_secret_is_one_problem_among_the_others(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_AMI_SECRET", raising=False)
    (place.folder / "tariff.yaml").write_text("revision: x\nplnas: {}\n")
    ran = await Command(place, capsys).beside("check", "--live")
    assert ran.code == 1
    (config,) = [line for line in graded(ran, "problem") if line.split()[1] == "config"]
    assert "secret_env: found nothing, expected a secret in the environment variable TEST_AMI_SECRET" in config
    assert {line.split()[1] for line in ran.out.splitlines()} == {"config", "tariff", "prompts", "ledger", "switch"}
    assert [line.split()[1] for line in graded(ran, "unknown")] == ["switch"]


async def test_what_else_is_wrong_with_the_settings_does_not_keep_the_switch_from_being_looked_at(
    check: CheckLive, ami: FakeAmi, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (await check(ami)).code == 0
    place.config.write_text(place.config.read_text() + "charging: {horizon_s: 60, warn_before_s: 61}\n")
    ran = await Command(place, capsys).beside("check", "--live")
    assert ran.code == 1
    assert "warn_before_s" in graded(ran, "problem")[0]
    assert any("AMI login as" in line for line in graded(ran, "ok"))


def test_a_redis_without_its_password_is_not_looked_at(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    redis = 'ledger: {url: "redis://127.0.0.1:1/0", password_env: NO_SUCH_PASSWORD}'
    place.config.write_text(place.config.read_text().replace('ledger: {url: "sqlite:///ledger.db"}', redis))
    ran = Command(place, capsys)("check")
    assert [line.split()[1] for line in graded(ran, "problem")] == ["config"]
    assert "not opened without its password" in graded(ran, "unknown")[0]


MAIL = (
    "mail: {{sender_address: a@voice.example, sender_name: V, top_up_url: 'https://voice.example/', templates: {}}}\n"
)


@pytest.fixture
def own_words(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's folder of templates, named in the settings and not there yet."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    place.config.write_text(place.config.read_text() + MAIL.format("words"))
    return place.folder / "words"


def test_own_words_of_mails_are_tried_each(place: Place, capsys: pytest.CaptureFixture[str], own_words: Path) -> None:
    """Warnings, since calls do without mails: the daemon, which systemd starts after a check, shall not."""
    (own_words / "nl").mkdir(parents=True)
    (own_words / "nl" / "low-credit.txt").write_text("Subject: x\n\n{{ facts.credits }}\n")
    (own_words / "nl" / "fax-refused.txt").write_text("Subject: x\n\n{% if %}\n")
    ran = Command(place, capsys)("check")
    assert ran.code == 0
    fax, low = sorted(line for line in graded(ran, "warning") if line.split()[1] == "templates")
    assert "nl/fax-refused.txt:3:" in fax
    assert "nl/low-credit.txt" in low
    assert "credits" in low
    (own_words / "nl" / "fax-refused.txt").unlink()
    (own_words / "nl" / "low-credit.txt").write_text("Subject: x\n\n{{ facts.credit|euro }}\n")
    ran = Command(place, capsys)("check")
    assert [line for line in graded(ran, "warning") if line.split()[1] == "templates"] == []
    assert any(line.split()[1] == "templates" for line in graded(ran, "ok"))


def test_folder_of_own_words_that_is_not_there_is_told(
    place: Place, capsys: pytest.CaptureFixture[str], own_words: Path
) -> None:
    ran = Command(place, capsys)("check")
    assert ran.code == 0
    (said,) = (line for line in graded(ran, "warning") if line.split()[1] == "templates")
    assert f"{own_words}: no such folder" in said


async def test_a_switch_whose_name_nobody_knows_is_told_in_words(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    place.config.write_text(
        place.config.read_text().replace("host: 127.0.0.1, port: 1,", "host: no-such.invalid, port: 1,")
    )
    (told,) = graded(await Command(place, capsys).beside("check", "--live"), "problem")
    assert "AMI can not be reached: no-such.invalid:1: " in told
    assert "Unknown error" not in told


def test_settings_that_are_wrong_are_told_key_by_key(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.config.write_text(place.config.read_text().replace("tariff:", "tarif:").replace(str(AGI_PORT), "x"))
    ran = Command(place, capsys)("check")
    assert ran.code == 1
    assert len(graded(ran, "problem")) >= 3
    assert "mend the settings first" in graded(ran, "unknown")[0]


async def test_an_asterisk_that_has_everything_is_exit_0(check: CheckLive, ami: FakeAmi) -> None:
    ran = await check(ami)
    assert (ran.code, ran.err) == (0, "")
    assert graded(ran, "problem") == graded(ran, "warning") == []


async def test_a_wrong_secret_is_one_line_that_says_what_to_mend(check: CheckLive, ami: FakeAmi) -> None:
    ran = await check(ami, secret="wrong")
    assert (ran.code, ran.err) == (1, "")
    (problem,) = graded(ran, "problem")
    assert problem.split(maxsplit=2)[2].startswith("Asterisk refused the AMI login: user 'charging': ")
    assert "the secret in $TEST_AMI_SECRET" in problem
    assert "manager reload" in problem
    assert "wrong" not in problem, "the secret itself is never said"


async def test_no_asterisk_is_one_line_that_says_so(check: CheckLive, ami: FakeAmi) -> None:
    await ami.stop()
    ran = await check(ami)
    assert ran.code == 1
    (problem,) = graded(ran, "problem")
    assert f"AMI can not be reached: 127.0.0.1:{ami.port}: Connection refused; " in problem
    assert "is Asterisk running" in problem


async def test_a_missing_permission_is_named(check: CheckLive, ami: FakeAmi) -> None:
    ami.commands = tuple(command for command in ami.commands if command != "AbsoluteTimeout")
    ran = await check(ami)
    assert ran.code == 1
    assert any("AbsoluteTimeout (call)" in line for line in graded(ran, "problem"))


async def test_a_missing_permission_that_calls_can_do_without_is_a_warning(check: CheckLive, ami: FakeAmi) -> None:
    ami.commands = tuple(command for command in ami.commands if command != "Originate")
    ran = await check(ami)
    assert ran.code == 0
    assert "Originate (originate)" in graded(ran, "warning")[0]


async def test_a_dialplan_that_is_not_included_is_named_context_by_context(check: CheckLive, ami: FakeAmi) -> None:
    ami.answers["ShowDialPlan"] = dialplan_of([OWN])
    ami.answers["Getvar"] = values_of(dict.fromkeys(shipped_globals(), ""))
    ran = await check(ami)
    problems = "\n".join(graded(ran, "problem"))
    assert all(f"no context {context}:" in problems for context in contexts(SHIPPED))
    assert "CHARGING_AGI is empty" in problems
    assert "CHARGING_DIAL_PREFIX is not set" in problems
    assert any("CHARGING_GUARD_S is empty (3 as shipped)" in line for line in graded(ran, "warning"))


@pytest.mark.parametrize(("longest", "deletes", "told"), [("180", "No", 0), ("0", "Yes", 1)])
async def test_mailboxes_without_a_longest_message_or_any_that_is_kept_are_told(
    check: CheckLive, ami: FakeAmi, longest: str, deletes: str, told: int
) -> None:
    where = (("Event", "VoicemailUserEntry"), ("VMContext", "charging"), ("VoiceMailbox", "31850000001"))
    entries = [(*where, ("MaxMessageLength", longest), ("DeleteMessage", deletes))]
    ami.answers["VoicemailUsersList"] = lambda message: listing(message, "VoicemailUserEntryComplete", entries)
    ran = await check(ami)
    assert ran.code == 0
    assert len([line for line in graded(ran, "warning") if "no longest message (31850000001)" in line]) == told
    assert len([line for line in graded(ran, "unknown") if "delete=yes: 31850000001" in line]) == told


@pytest.mark.parametrize(("free", "grade"), [(540_000_000, "ok"), (539_999_999, "warning")])
async def test_a_disk_that_callers_can_fill_with_messages_is_told(
    check: CheckLive, place: Place, ami: FakeAmi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, grade: str
) -> None:
    """Of the folder that the settings name, in the check as in the daemon."""
    named = command.SETTINGS.replace("agi: ", f"  voicemail_dir_on_switch: {tmp_path}\nagi: ")
    monkeypatch.setattr(command, "SETTINGS", named)
    monkeypatch.setattr(app_surroundings, "free_bytes", lambda path: free if path == str(tmp_path) else 0)
    where = (("Event", "VoicemailUserEntry"), ("VMContext", "charging"), ("MaxMessageLength", "180"))
    mailboxes = (("31850000001", "50"), ("31850000002", "100"))
    entries = [(*where, ("VoiceMailbox", box), ("MaxMessageCount", count)) for box, count in mailboxes]
    ami.answers["VoicemailUsersList"] = lambda message: listing(message, "VoicemailUserEntryComplete", entries)
    ran = await check(ami)
    assert ran.code == 0
    (told,) = (line for line in graded(ran, grade) if "callers can leave" in line)
    assert "0.5 GB of messages in 2 mailboxes" in told
    engine = build(load_config(place.config))
    engine.spool.saw(engine.spool._free())
    assert engine.metrics.registry.get_sample_value("charging_voicemail_free_bytes") == free


@pytest.mark.parametrize("asked", ["127.0.0.1:4573", "127.0.0.2:AGI", "198.51.100.9:AGI", "AGI", "[::1]:AGI"])
async def test_a_dialplan_that_asks_where_no_daemon_listens_is_a_problem(
    check: CheckLive, ami: FakeAmi, asked: str
) -> None:
    asked = asked.replace("AGI", str(AGI_PORT))
    ami.answers["Getvar"] = values_of({"CHARGING_AGI": asked})
    ran = await check(ami)
    assert ran.code == 1
    (problem,) = graded(ran, "problem")
    assert f"asks the daemon at {asked}, but it listens on 127.0.0.1:{AGI_PORT}" in problem
    assert "set CHARGING_AGI" in problem


@pytest.mark.parametrize("asked", ["127.0.0.1:AGI", "localhost:AGI"])
async def test_a_dialplan_that_asks_where_the_daemon_listens_is_fine(
    check: CheckLive, ami: FakeAmi, asked: str
) -> None:
    asked = asked.replace("AGI", str(AGI_PORT))
    ami.answers["Getvar"] = values_of({"CHARGING_AGI": asked})
    assert (await check(ami)).code == 0


@pytest.mark.parametrize(("asked", "is_fine"), [("198.51.100.9:AGI", True), ("198.51.100.9:4573", False)])
async def test_a_daemon_that_listens_everywhere_is_reached_by_any_name_of_its_machine(
    check: CheckLive, ami: FakeAmi, monkeypatch: pytest.MonkeyPatch, asked: str, is_fine: bool
) -> None:
    monkeypatch.setattr(command, "SETTINGS", command.SETTINGS.replace("agi: {{", "agi: {{host: 0.0.0.0, "))
    asked = asked.replace("AGI", str(AGI_PORT))
    ami.answers["Getvar"] = values_of({"CHARGING_AGI": asked})
    assert ((await check(ami)).code == 0) is is_fine


async def test_a_daemon_that_is_asked_second_is_asked(check: CheckLive, ami: FakeAmi) -> None:
    ami.answers["Getvar"] = values_of({"CHARGING_AGI": "10.0.0.9:4573", "CHARGING_AGI_2": f"127.0.0.1:{AGI_PORT}"})
    ran = await check(ami)
    assert (ran.code, graded(ran, "problem")) == (0, [])
    assert any(f"asks the daemon at 10.0.0.9:4573 and 127.0.0.1:{AGI_PORT}" in line for line in graded(ran, "ok"))


async def test_modules_that_are_missing_are_named(check: CheckLive, ami: FakeAmi) -> None:
    def modules(message: AmiMessage) -> Iterable[bytes]:
        missing = message.get("Module") == "app_chanspy"
        return [refusal(message, "Module not loaded") if missing else success(message)]

    ami.answers["ModuleCheck"] = modules
    ran = await check(ami)
    assert ran.code == 1
    assert "app_chanspy" in graded(ran, "problem")[0]


@pytest.mark.parametrize("version", ["21.9.0", "19.8.1", "certified/18.9-cert5", "2.2", "GIT-master-1a2b"])
async def test_another_branch_is_refused(check: CheckLive, ami: FakeAmi, version: str) -> None:
    ami.answers["CoreSettings"] = lambda message: [success(message, ("AsteriskVersion", version))]
    ran = await check(ami)
    assert ran.code == 1
    assert f"Asterisk {version} is not supported" in graded(ran, "problem")[0]


@pytest.mark.parametrize(("ahead_s", "grade"), [(0, "ok"), (3, "warning"), (-3, "warning"), (60, "problem")])
async def test_a_clock_that_is_another_than_ours_is_told(
    check: CheckLive, ami: FakeAmi, ahead_s: float, grade: str
) -> None:
    ami.answers["Getvar"] = values_of(clock_s=ahead_s)
    assert any("clock" in line for line in graded(await check(ami), grade))


@pytest.mark.parametrize("version", ["20.20.1", "22.11.0-rc1", "23.4.1", "certified/20.7-cert3", "GIT-22-abc123"])
async def test_the_branches_that_were_tested_are_fine(check: CheckLive, ami: FakeAmi, version: str) -> None:
    ami.answers["CoreSettings"] = lambda message: [success(message, ("AsteriskVersion", version))]
    assert any(version in line for line in graded(await check(ami), "ok"))


async def test_what_this_login_may_not_see_is_unknown_and_no_problem(
    check: CheckLive, ami: FakeAmi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_machine, "PROC", tmp_path)  # no Asterisk on this machine

    def denied(message: AmiMessage) -> Iterable[bytes]:
        return [refusal(message, "Permission denied")]

    for action in ("ModuleCheck", "ShowDialPlan", "CoreSettings", "Getvar", "VoicemailUsersList"):
        ami.answers[action] = denied
    ran = await check(ami)
    assert ran.code == 0
    unknown = graded(ran, "unknown")
    parts = (
        *("version", "the dialplan:", "settings", "SWITCH"),
        *("the place of a party", "UDP port 4569", "how many files", "chgkeep", "mailboxes", "modules", "clock"),
    )
    assert [part for part, line in zip(parts, unknown, strict=True) if part in line] == list(parts)
    assert not any("module" in line or "dialplan" in line for line in graded(ran, "ok"))


async def test_a_switch_on_which_no_voicemail_is_at_work_is_told(check: CheckLive, ami: FakeAmi) -> None:
    """A second voicemail module takes away what the first has set up, and both stay listed: its orders are missing."""
    ami.commands = tuple(one for one in ami.commands if one != "VoicemailUsersList")
    ami.answers["ModuleCheck"] = lambda message: [refusal(message, "Permission denied")]
    ran = await check(ami)
    (told,) = (line for line in graded(ran, "problem") if "voicemail" in line)
    assert "no voicemail module is at work" in told
    assert "noload => app_voicemail_odbc.so" in told
    assert not any("app_voicemail" in line for line in graded(ran, "unknown"))


async def test_which_modules_are_needed_is_told_where_they_cannot_be_seen(check: CheckLive, ami: FakeAmi) -> None:
    ami.answers["ModuleCheck"] = lambda message: [refusal(message, "Permission denied")]
    unknown = graded(await check(ami), "unknown")
    (needed,) = (line for line in unknown if "modules" in line)
    assert all(f"`asterisk -rx 'module show like {name}'` must show it" in needed for name in ("res_agi", "app_stack"))
    assert not any(name in needed for name in ("func_db", "func_groupcount", "app_voicemail", "app_senddtmf")), "seen"


@pytest.mark.parametrize("module", AT_WORK)
async def test_a_function_that_is_missing_is_told_to_a_login_that_may_not_see_modules(
    check: CheckLive, ami: FakeAmi, module: str
) -> None:
    """Without `func_channel` there is no black box; without `func_strings` no number is one."""
    ami.answers["ModuleCheck"] = lambda message: [refusal(message, "Permission denied")]
    ami.answers["Getvar"] = values_of({AT_WORK[module]: ""})
    ran = await check(ami)
    assert ran.code == 1
    assert any(f"module {module} is not loaded" in line for line in graded(ran, "problem"))


def test_programs_that_faxes_need_are_looked_for_where_faxes_are_sent(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> list[str]:
        return [line for line in Command(place, capsys)("check").out.splitlines() if line.split()[1] == "fax"]

    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    there = {"gs", "tiffcp", "tiff2pdf", "tiffinfo"}
    monkeypatch.setattr("shutil.which", lambda name: name if name in there else None)
    assert found() == []
    place.config.write_text(place.config.read_text() + "fax: {folder: fax}\n")
    programs, by_mail, sandbox = found()
    assert sandbox.split(maxsplit=2)[:2] == ["ok", "fax"]
    assert programs.split(maxsplit=2) == ["ok", "fax", "gs, tiffcp, tiff2pdf, tiffinfo are there"]
    assert "to take those that customers send from theirs: fax.mail_from_counts" in by_mail
    zone, text = Zone(), place.config.read_text()
    with name_server(zone) as port:
        counts = f"{{folder: fax, mail_from_counts: yes, mail_dns: '127.0.0.1:{port}'}}"
        place.config.write_text(text.replace("{folder: fax}", counts))
        assert found()[1].endswith("faxes by mail are taken if DKIM or SPF proves their From; the DNS answers")
        zone.broken.add("")
        line = found()[1]
        assert line.startswith("warning")
        assert "faxes by mail wait, for nothing proves who sent them: the DNS does not answer" in line
    place.config.write_text(text.replace("{folder: fax}", "{folder: fax, mail_verified_by: mx.a.nl}"))
    (line,) = (one for one in Command(place, capsys)("check").out.splitlines() if "mail_verified_by" in one)
    assert "is not believed any more: remove this key, set mail_from_counts: yes" in line
    place.config.write_text(text)
    there -= {"gs", "tiffcp", "tiff2pdf", "tiffinfo"}
    line = found()[0]
    assert line.startswith("warning")
    assert line.endswith(
        "no fax can be sent without gs, tiffcp, tiff2pdf, tiffinfo: apt-get install ghostscript libtiff-tools"
    )


async def test_records_of_another_switch_id_are_counted_and_a_warning(check: CheckLive, ami: FakeAmi) -> None:
    ours, others = "v1|dial=BUSY|switch=asterisk", "v1|dial=BUSY|switch=east"
    entries = [
        (("Event", "DBGetTreeResponse"), ("Key", f"/charging/s-{number}"), ("Val", value))
        for number, value in enumerate((ours, others, "v1|dial=BUSY", others))
    ]
    ami.answers["DBGetTree"] = lambda message: listing(message, "DBGetTreeComplete", entries)
    ran = await check(ami)
    assert ran.code == 0
    assert any("4 records wait" in line for line in graded(ran, "ok"))
    (warned,) = graded(ran, "warning")
    assert "2 records in the black box belong to switch.id 'east'" in warned


@pytest.mark.parametrize(("said", "warnings"), [("", 0), ("asterisk", 0), ("east", 1)])
async def test_a_dialplan_that_names_another_switch_id_is_a_warning(
    check: CheckLive, ami: FakeAmi, said: str, warnings: int
) -> None:
    ami.answers["Getvar"] = values_of({"CHARGING_AGI": f"127.0.0.1:{AGI_PORT}", "CHARGING_SWITCH": said})
    ran = await check(ami)
    assert ran.code == 0
    assert len(graded(ran, "warning")) == warnings


def _prompts(place: Place) -> str:
    (line,) = [one for one in place.config.read_text().splitlines() if "prompts_dir" in one]
    return line.split(": ", 1)[1]


def test_the_warnings_of_a_ledger_read_every_number_beside_the_process_that_decides_calls() -> None:
    assert _reads_much(httpx.Request("GET", "http://charging/ledger/warnings"))
    assert not _reads_much(httpx.Request("POST", "http://charging/ledger/time-confirmations"))
