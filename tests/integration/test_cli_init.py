"""``charging init``: what it lays down, what it says of it later, and that the shipped systemd unit finds it there."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sysconfig
from pathlib import Path

import pytest

from charging.cli import main
from charging.cli.options import DEFAULT_CONFIG
from charging.settings import load_config
from tests.integration.command import REPOSITORY


def test_a_configuration_to_begin_with_is_laid_down_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new"
    assert main(["init", str(folder)]) == 0
    made = folder / "tariff.yaml"
    assert made.read_bytes() == (REPOSITORY / "config" / "tariff.yaml").read_bytes()
    made.write_text("mine")
    assert main(["init", str(folder)]) == 0
    assert made.read_text() == "mine"
    monkeypatch.setenv("CHARGING_CONFIG", str(folder / "charging.yaml"))
    made.write_bytes((REPOSITORY / "config" / "tariff.yaml").read_bytes())
    assert main(["account", "add", "anna", "--plan", "voice_free"]) == 0
    assert (folder / "var" / "charging.db").is_file()


def test_nothing_that_is_there_is_overwritten_or_left_half_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "asterisk").mkdir()
    (tmp_path / "asterisk" / "features_charging.conf").write_text("mine")
    assert main(["init", str(tmp_path)]) == 1
    assert "features_charging.conf is there already: nothing was written" in capsys.readouterr().err
    assert [one.name for one in tmp_path.rglob("*") if one.is_file()] == ["features_charging.conf"]


def test_a_disk_that_ends_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("charging.cli.init.make_state_folder", full)
    assert main(["init", str(tmp_path / "new")]) == 1
    assert [one for one in (tmp_path / "new").rglob("*") if one.is_file()] == []


def test_a_folder_that_asterisk_cannot_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Asterisk that cannot read what it includes does not start."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    tmp_path.chmod(0o711)
    closed = [one for one in tmp_path.parents if not one.stat().st_mode & 0o001]
    assert main(["init", str(tmp_path / "open")]) == 0
    assert ("is closed to other users" in capsys.readouterr().err) == bool(closed)
    tmp_path.chmod(0o700)
    assert main(["init", str(tmp_path / "shut")]) == 0
    outermost = closed[-1] if closed else tmp_path
    assert f"{outermost} is closed to other users: where Asterisk runs as one, copy" in capsys.readouterr().err


def test_all_that_an_operator_would_copy_is_laid_down_and_has_its_place(laid_down: Path) -> None:
    files = {one.relative_to(laid_down).as_posix() for one in laid_down.rglob("*") if one.is_file()}
    for source in (REPOSITORY / "config").rglob("*"):
        path = source.relative_to(REPOSITORY / "config").as_posix()
        if source.is_file() and path not in NOT_LAID_DOWN and not path.startswith("var/"):
            assert path in files, f"config/{path} is not laid down"
    assert {path for path in files if path.startswith("prompts/")} == {
        f"prompts/{language}/{name}.wav" for language in ("nl", "en") for name in ("credit_low", "minutes_low")
    }
    where = (laid_down / "WHERE.md").read_text()
    titles = [line for line in where.splitlines() if line.startswith("## ")]
    unplaced = {one.split("/")[0] for one in files if not any(one.split("/")[0] in title for title in titles)}
    assert unplaced == {"WHERE.md", ".laid-down.json"}


def test_the_lines_for_postfix_are_those_that_the_page_tells() -> None:
    _, _, told = (REPOSITORY / "docs" / "fax-by-mail.md").read_text().partition("## Postfix\n")
    blocks = re.findall(r"^```\n(.*?)^```$", told, re.DOTALL | re.MULTILINE)
    for block, name in zip(blocks, ("main.cf", "fax_recipients", "master.cf"), strict=True):
        lines = (REPOSITORY / "config" / "postfix" / name).read_text().splitlines()
        assert [line for line in lines if line and not line.startswith("#")] == block.splitlines(), name


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_secrets_are_made_and_are_for_their_owner_and_everything_else_is_for_all(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        assert main(["init", str(tmp_path / "one")]) == 0
        assert main(["init", str(tmp_path / "two")]) == 0
    finally:
        os.umask(before)
    modes = {one: stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "one").rglob("*") if one.name != "var"}
    private = {one.name for one, mode in modes.items() if mode == 0o600}
    assert private == {"ami.secret", "manager_secret.conf"}
    assert {mode for one, mode in modes.items() if one.is_dir()} == {0o755}
    assert {mode for one, mode in modes.items() if one.is_file() and one.name not in private} == {0o644}
    secret = (tmp_path / "one" / "ami.secret").read_text().strip()
    assert len(secret) == 48
    assert f"secret = {secret}\n" in (tmp_path / "one" / "asterisk" / "manager_secret.conf").read_text()
    assert secret not in (tmp_path / "two" / "ami.secret").read_text()
    assert load_config(tmp_path / "one" / "charging.yaml", {}).ami_secret.get_secret_value() == secret
    assert [
        one for one in modes if one.is_file() and one.name not in private and secret in one.read_text("latin-1")
    ] == []


def test_what_is_laid_down_names_this_place_and_this_program(tmp_path: Path) -> None:
    folder = tmp_path / "my shop"
    assert main(["init", str(folder)]) == 0
    program = str(Path(sysconfig.get_path("scripts")) / "charging")
    assert (
        f"ExecStart={program} --config '{folder}/charging.yaml' run\n"
        in (folder / "systemd" / "charging.service").read_text()
    )
    assert f"argv={program} --config {folder}/charging.yaml fax" in (folder / "postfix" / "master.cf").read_text()
    settings = load_config(folder / "charging.yaml", {}).settings
    assert settings.switch.prompts_dir_on_switch == "/usr/share/asterisk/sounds/charging", "Asterisk takes no blank"
    assert main(["init", str(tmp_path / "shop")]) == 0
    settings = load_config(tmp_path / "shop" / "charging.yaml", {}).settings
    assert settings.switch.prompts_dir_on_switch == f"{tmp_path}/shop/prompts"


# --- later -----------------------------------------------------------------------------------------------------


NOT_LAID_DOWN = {
    "asterisk/manager_secret.conf.template": "the secret is made",
    "prometheus/charging_rules_test.yml": "for whoever changes the rules",
    "tariff-examples.md": "a page of the project",
}


@pytest.fixture
def laid_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "shop"
    assert main(["init", str(folder)]) == 0
    capsys.readouterr()
    return folder


@pytest.fixture
def laid_down_earlier(laid_down: Path) -> Path:
    """By a version whose dialplan was shorter, and which knew neither privacy nor Grafana."""
    record = laid_down / ".laid-down.json"
    document = json.loads(record.read_text())
    files = document["files"]
    del files["grafana/charging.json"]
    (laid_down / "grafana" / "charging.json").unlink()
    files["prometheus/ended.yml"] = "old\n"
    (laid_down / "prometheus" / "ended.yml").write_text("old\n")
    for path in ("asterisk/extensions_charging.conf", "charging.yaml"):
        old = files[path].replace("[charging-incoming]\n", "[charging-incoming]\nexten => s,1,Old()\n")
        old = re.sub(r"(?ms)^privacy:.*?^(?=logs:)", "", old)
        assert old != files[path]
        files[path] = old
        (laid_down / path).write_text(old)
    document["version"] = "0.0.9"
    record.write_text(json.dumps(document))
    return laid_down


def contents(folder: Path) -> dict[Path, bytes]:
    return {one: one.read_bytes() for one in folder.rglob("*") if one.is_file()}


@pytest.mark.parametrize("options", [[], ["--diff"]])
def test_a_folder_that_is_as_it_ships_is_told_as_that(
    laid_down: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    before = contents(laid_down)
    assert main(["init", str(laid_down), *options]) == 0
    assert "differently" not in capsys.readouterr().out.replace("nothing ships differently", "")
    assert contents(laid_down) == before


def test_an_operators_edit_is_his_and_no_difference(laid_down: Path, capsys: pytest.CaptureFixture[str]) -> None:
    globals_file = laid_down / "asterisk" / "charging-globals.conf"
    globals_file.write_text(globals_file.read_text().replace("@trunk", "@mine"))
    (laid_down / "ami.secret").write_text("another\n")
    assert main(["init", str(laid_down)]) == 0
    said = capsys.readouterr().out
    assert "edited by you, and shipped as before: asterisk/charging-globals.conf\n" in said
    assert "nothing ships differently" in said


def test_what_ships_differently_is_told_apart_from_what_was_edited(
    laid_down_earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = laid_down_earlier
    for path in ("charging.yaml", "tariff.yaml"):
        (folder / path).write_text("# mine\n" + (folder / path).read_text())
    before = contents(folder)
    assert main(["init", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "changed  asterisk/extensions_charging.conf: ships differently; yours is as it was laid down",
        "edited   charging.yaml: ships differently, and you have edited yours",
        "         its new keys: privacy, privacy.cdr_numbers_days, privacy.keep_withheld_numbers, "
        "privacy.decisions_days, privacy.decisions_most, editions, editions.folder, editions.gone_percent, "
        "editions.jump_factor, editions.jump_percent",
        "new      grafana/charging.json: is new",
        "ended    prometheus/ended.yml: ships no more",
        "edited by you, and shipped as before: tariff.yaml",
    ]
    assert "laid down by 0.0.9" in lines[7]
    assert contents(folder) == before


def test_the_differences_are_a_patch_that_shows_neither_edits_nor_secrets(
    laid_down_earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = laid_down_earlier
    secret = (folder / "ami.secret").read_text().strip()
    settings, manager = folder / "charging.yaml", folder / "asterisk" / "manager_charging.conf"
    settings.write_text(settings.read_text() + "# my password: swordfish\n")
    manager.write_text(manager.read_text() + "secret = swordfish\n")
    assert main(["init", str(folder), "--diff"]) == 1
    said = capsys.readouterr().out
    assert "-exten => s,1,Old()\n" in said
    assert "+privacy:\n" in said
    assert secret not in said
    assert "swordfish" not in said
    subprocess.run(["git", "apply", "-p1"], input=said.encode(), cwd=folder, check=True)
    assert settings.read_text().endswith("# my password: swordfish\n")
    assert main(["init", str(folder)]) == 0 or "edited   charging.yaml" in capsys.readouterr().out
    assert (folder / "grafana" / "charging.json").is_file()


def test_what_was_taken_over_or_accepted_is_not_told_again(
    laid_down_earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = laid_down_earlier
    (folder / "charging.yaml").write_text("# mine\n" + (folder / "charging.yaml").read_text())
    before = contents(folder)
    del before[folder / ".laid-down.json"]
    assert main(["init", str(folder), "--accept"]) == 0
    after = contents(folder)
    del after[folder / ".laid-down.json"]
    assert after == before
    capsys.readouterr()
    assert main(["init", str(folder)]) == 0
    assert "shipped as before: asterisk/extensions_charging.conf, charging.yaml" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--diff", "--accept"])
def test_a_folder_that_was_never_laid_down_is_not_made_by_looking_at_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """Someone has mistyped its name."""
    assert main(["init", str(tmp_path / "shpo"), option]) == 1
    assert "nothing was laid down there" in capsys.readouterr().err
    assert not (tmp_path / "shpo").exists()


def test_a_folder_of_before_there_was_a_record_is_compared_and_nobody_blamed(
    laid_down: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (laid_down / ".laid-down.json").unlink()
    (laid_down / "tariff.yaml").write_text("password: swordfish")
    assert main(["init", str(laid_down), "--diff"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("unknown  tariff.yaml: is not as it ships; nothing tells who changed it\n")
    assert "charging init NEW " in said
    assert "swordfish" not in said


def test_a_record_that_cannot_be_read_is_refused_with_what_to_do(
    laid_down: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (laid_down / ".laid-down.json").write_text("{")
    assert main(["init", str(laid_down)]) == 1
    assert "remove it" in capsys.readouterr().err


def test_the_state_folder_is_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "etc"
    assert main(["init", str(folder), "--state", str(tmp_path / "state")]) == 0
    assert main(["init", str(folder)]) == 0
    assert main(["init", str(folder), "--state", str(tmp_path / "state")]) == 0
    assert main(["init", str(folder), "--state", str(tmp_path / "other")]) == 1
    assert f"was laid down with --state {tmp_path}/state" in capsys.readouterr().err


def test_what_dpkg_looks_after_is_left_to_it(
    laid_down: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    conffiles = laid_down / "conffiles"
    conffiles.write_text(f"{laid_down}/charging.yaml\n")
    monkeypatch.setattr("charging.cli.init.CONFFILES", conffiles)
    assert main(["init", str(laid_down)]) == 1
    assert "dpkg says at each upgrade" in capsys.readouterr().err


# --- state, and the unit -----------------------------------------------------------------------------------------


def test_a_configuration_may_keep_its_state_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, state = tmp_path / "etc", tmp_path / "lib" / "charging"
    assert main(["init", str(folder), "--state", str(state)]) == 0
    said = capsys.readouterr().out
    settings = load_config(folder / "charging.yaml", {"CHARGING_AMI_SECRET": "x"}).settings
    assert settings.ledger.sqlite_file == state / "charging.db"
    assert settings.control.socket == state / "charging.sock"
    assert settings.fax is not None
    assert settings.fax.folder == state / "fax"
    assert stat.S_IMODE(state.stat().st_mode) == 0o710
    assert not (folder / "var").exists()
    assert f"{state} is for ledger" in said
    assert f"charging --config {folder / 'charging.yaml'} check --live" in said
    assert main(["init", str(tmp_path / "x"), "--state", "a: b"]) == 2
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_the_switch_reaches_the_faxes_in_the_state_folder_and_cannot_look_around_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """Its group goes through, whatever the umask; whether `init` makes the folder or the first command."""
    before = os.umask(umask)
    try:
        assert main(["init", str(tmp_path / "etc"), "--state", str(tmp_path / "state")]) == 0
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o710
        (tmp_path / "state").rmdir()
        monkeypatch.setenv("CHARGING_CONFIG", str(tmp_path / "etc" / "charging.yaml"))
        assert main(["account", "add", "anna", "--plan", "voice_free"]) == 0
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o710
        assert {stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "state").iterdir()} == {0o600}
    finally:
        os.umask(before)


def test_a_state_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o700)
    assert main(["init", str(tmp_path / "etc"), "--state", str(state)]) == 0
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_the_systemd_unit_lets_the_group_through_as_init_does() -> None:
    unit = (REPOSITORY / "config" / "systemd" / "charging.service").read_text()
    assert "StateDirectoryMode=0710\n" in unit


def test_the_systemd_unit_expects_what_init_lays_down() -> None:
    unit = (REPOSITORY / "config" / "systemd" / "charging.service").read_text()
    (made,) = re.findall(r"`charging (init \S+ --state \S+)`", unit)
    assert made == f"init {DEFAULT_CONFIG.parent} --state /var/lib/charging"
    assert "ExecStart=/opt/charging/.venv/bin/charging run\n" in unit, "the settings are where they are looked for"
    assert "StateDirectory=charging\n" in unit
