"""``charging check``, and what it says of an Asterisk that lacks something."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from charging.asterisk.message import AmiMessage
from charging.cli.check_live import wanted_contexts
from tests.fakes.ami import COMMANDS, FakeAmi, listing, refusal, success
from tests.integration.command import Command, Place, Ran

CheckLive = Callable[..., Awaitable[Ran]]


@pytest.fixture
async def ami() -> AsyncIterator[FakeAmi]:
    """An Asterisk that has everything."""
    fake = FakeAmi(commands=(*COMMANDS, "CoreSettings", "ShowDialPlan", "ModuleCheck"))
    fake.answers["CoreSettings"] = lambda message: [success(message, ("AsteriskVersion", "22.10.1"))]
    fake.answers["Getvar"] = globals_of(CHARGING_AGI="127.0.0.1:4999")
    fake.answers["ShowDialPlan"] = lambda message: listing(message, "ShowDialPlanComplete", [])
    fake.answers["DBGetTree"] = lambda message: [refusal(message, "Database entry not found")]
    fake.answers["ModuleCheck"] = no_risky_modules
    async with fake:
        yield fake


def globals_of(**values: str) -> Callable[[AmiMessage], Iterable[bytes]]:
    """What the dialplan's globals are; the others are unset."""
    return lambda message: [success(message, ("Value", values.get(message.get("Variable"), "")))]


def no_risky_modules(message: AmiMessage) -> Iterable[bytes]:
    risky = message.get("Module") in ("bridge_native_rtp", "res_pjsip_refer")
    return [refusal(message, "Module not loaded") if risky else success(message)]


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
    assert parts == {"tariff", "prompts", "ledger"}


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
    assert graded(ran, "warning") == []
    assert any(line.split()[1] == "templates" for line in graded(ran, "ok"))


def test_folder_of_own_words_that_is_not_there_is_told(
    place: Place, capsys: pytest.CaptureFixture[str], own_words: Path
) -> None:
    ran = Command(place, capsys)("check")
    assert ran.code == 0
    (said,) = graded(ran, "warning")
    assert f"{own_words}: no such folder" in said


def test_settings_that_are_wrong_are_told_key_by_key(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.config.write_text(place.config.read_text().replace("tariff:", "tarif:").replace("4999", "x"))
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
    ami.answers["ShowDialPlan"] = lambda message: [refusal(message, "Did not find context")]
    ami.answers["Getvar"] = globals_of()
    ran = await check(ami)
    problems = "\n".join(graded(ran, "problem"))
    assert all(context in problems for context in wanted_contexts())
    assert "CHARGING_AGI is empty" in problems


async def test_a_dialplan_that_asks_another_port_is_a_problem(check: CheckLive, ami: FakeAmi) -> None:
    ami.answers["Getvar"] = globals_of(CHARGING_AGI="127.0.0.1:4573")
    ran = await check(ami)
    assert "asks the daemon at 127.0.0.1:4573" in graded(ran, "problem")[0]


async def test_a_daemon_that_is_asked_second_is_asked(check: CheckLive, ami: FakeAmi) -> None:
    ami.answers["Getvar"] = globals_of(CHARGING_AGI="10.0.0.9:4573", CHARGING_AGI_2="127.0.0.1:4999")
    ran = await check(ami)
    assert (ran.code, graded(ran, "problem")) == (0, [])
    assert any("asks the daemon at 10.0.0.9:4573 and 127.0.0.1:4999" in line for line in graded(ran, "ok"))


async def test_modules_that_are_missing_or_risky_are_named(check: CheckLive, ami: FakeAmi) -> None:
    def modules(message: AmiMessage) -> Iterable[bytes]:
        missing = message.get("Module") == "app_voicemail"
        return [refusal(message, "Module not loaded") if missing else success(message)]

    ami.answers["ModuleCheck"] = modules
    ami.answers["CoreSettings"] = lambda message: [success(message, ("AsteriskVersion", "21.9.0"))]
    ran = await check(ami)
    assert ran.code == 1
    assert "app_voicemail" in graded(ran, "problem")[0]
    warnings = "\n".join(graded(ran, "warning"))
    assert "bridge_native_rtp" in warnings
    assert "21.9.0" in warnings


@pytest.mark.parametrize("version", ["20.20.1", "22.11.0-rc1", "23.4.1", "certified/20.7-cert3", "GIT-22-abc123"])
async def test_the_branches_that_were_tested_are_fine(check: CheckLive, ami: FakeAmi, version: str) -> None:
    ami.answers["CoreSettings"] = lambda message: [success(message, ("AsteriskVersion", version))]
    assert any(version in line for line in graded(await check(ami), "ok"))


async def test_what_this_login_may_not_see_is_unknown_and_no_problem(check: CheckLive, ami: FakeAmi) -> None:
    def denied(message: AmiMessage) -> Iterable[bytes]:
        return [refusal(message, "Permission denied")]

    for action in ("ModuleCheck", "ShowDialPlan", "CoreSettings", "Getvar"):
        ami.answers[action] = denied
    ran = await check(ami)
    assert ran.code == 0
    assert [line.split(maxsplit=3)[2].rstrip(":") for line in graded(ran, "unknown")] == [
        "Asterisk's", "modules", "the", "the", "the",
    ]  # fmt: skip
    assert not any("modules" in line or "dialplan" in line for line in graded(ran, "ok"))


async def test_which_modules_are_needed_and_which_are_a_risk_is_told_where_they_cannot_be_seen(
    check: CheckLive, ami: FakeAmi
) -> None:
    ami.answers["ModuleCheck"] = lambda message: [refusal(message, "Permission denied")]
    (line,) = (one for one in graded(await check(ami), "unknown") if "modules" in one)
    needed, _, risks = line.partition("none should be shown")
    assert "all 8" in needed
    assert "app_voicemail" in needed
    assert "res_pjsip_refer" not in needed
    assert "res_pjsip_refer" in risks
    assert "app_voicemail" not in risks


def test_programs_that_faxes_need_are_looked_for_where_faxes_are_sent(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> list[str]:
        return [line for line in Command(place, capsys)("check").out.splitlines() if line.split()[1] == "fax"]

    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    there = {"gs", "tiffcp", "tiff2pdf"}
    monkeypatch.setattr("shutil.which", lambda name: name if name in there else None)
    assert found() == []
    place.config.write_text(place.config.read_text() + "fax: {folder: fax}\n")
    programs, by_mail, sandbox = found()
    assert sandbox.split(maxsplit=2)[:2] == ["ok", "fax"]
    assert programs.split(maxsplit=2) == ["ok", "fax", "gs, tiffcp, tiff2pdf are there"]
    assert (
        "faxes by mail are refused, since nothing proves their From; to take them, set fax.mail_verified_by" in by_mail
    )
    place.config.write_text(
        place.config.read_text().replace("{folder: fax}", "{folder: fax, mail_verified_by: mx.a.nl}")
    )
    assert found()[1].endswith("faxes by mail are taken if mx.a.nl says that their From is genuine")
    there -= {"gs", "tiffcp", "tiff2pdf"}
    line = found()[0]
    assert line.startswith("warning")
    assert line.endswith("no fax can be sent without gs, tiffcp, tiff2pdf: apt-get install ghostscript libtiff-tools")


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
    ami.answers["Getvar"] = globals_of(CHARGING_AGI="127.0.0.1:4999", CHARGING_SWITCH=said)
    ran = await check(ami)
    assert ran.code == 0
    assert len(graded(ran, "warning")) == warnings


def test_the_wanted_contexts_are_those_of_the_shipped_dialplan() -> None:
    assert {"charging-incoming", "charging-whisper", "charging-maintenance"} <= set(wanted_contexts())


def _prompts(place: Place) -> str:
    (line,) = [one for one in place.config.read_text().splitlines() if "prompts_dir" in one]
    return line.split(": ", 1)[1]
