"""``charging init``: what it lays down, and that the shipped systemd unit finds it there."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from charging.cli import main
from charging.cli.options import DEFAULT_CONFIG
from charging.config import load_config
from tests.integration.command import REPOSITORY


def test_a_configuration_to_begin_with_is_laid_down_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new"
    assert main(["init", str(folder)]) == 0
    made = folder / "tariff.yaml"
    assert made.read_bytes() == (REPOSITORY / "config" / "tariff.yaml").read_bytes()
    assert (folder / "asterisk" / "extensions_charging.conf").is_file()
    made.write_text("mine")
    capsys.readouterr()
    assert main(["init", str(folder)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert made.read_text() == "mine"
    monkeypatch.setenv("CHARGING_CONFIG", str(folder / "charging.yaml"))
    made.write_bytes((REPOSITORY / "config" / "tariff.yaml").read_bytes())
    assert main(["account", "add", "anna", "--plan", "voice_free"]) == 0
    assert (folder / "var" / "charging.db").is_file()


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
