"""What is in the Debian packages (without the libraries)."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from charging import __version__
from charging.cli.laid_down import rendered
from charging.settings import load_config
from tests.integration.wheels import ROOT, build_wheel


@pytest.fixture(scope="module")
def deb() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deb", ROOT / ".ci" / "deb.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def dist(deb: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages, unpacked beside themselves, each with its folder DEBIAN."""
    folder = tmp_path_factory.mktemp("dist")
    for project in (ROOT, ROOT / ".ci" / "demo"):
        build_wheel(project, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deb, "install_libraries", lambda *_: None)
        deb.main(folder)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-R", package, folder / package.name.split("_")[0]], check=True)
    return folder


@pytest.fixture
def tree(dist: Path) -> Path:
    return dist / "charging"


def test_all_that_init_lays_down_is_in_the_package_where_debian_has_it(deb: ModuleType, tree: Path) -> None:
    packed = {one.read_bytes() for one in tree.rglob("*") if one.is_file() and one.suffix != ".gz"}
    laid_down = rendered(deb.SITE)
    assert {path for path, content in laid_down.items() if content not in packed} == {"WHERE.md", "man/charging.1"}
    for path in (
        "usr/bin/charging",
        "usr/share/man/man1/charging.1.gz",
        "usr/share/bash-completion/completions/charging",
        "usr/share/asterisk/sounds/charging/nl/credit_low.wav",
        "usr/share/doc/charging/copyright",
        "usr/share/doc/charging/examples/prometheus/charging_rules.yml",
        "etc/asterisk/charging/extensions_charging.conf",
    ):
        assert (tree / path).exists() or (tree / path).is_symlink(), path


def test_every_unit_is_installed_runs_the_packages_command_and_is_started_by_its_scripts(tree: Path) -> None:
    units = sorted(one.name for one in (ROOT / "config" / "systemd").iterdir())
    assert sorted(one.name for one in (tree / "lib" / "systemd" / "system").iterdir()) == units
    for unit in units:
        lines = (tree / "lib" / "systemd" / "system" / unit).read_text().splitlines()
        assert not [line for line in lines if "/opt/charging" in line and not line.startswith("#")], unit
    assert "ExecStart=/usr/bin/charging run\n" in (tree / "lib/systemd/system/charging.service").read_text()
    for script in ("postinst", "prerm", "postrm"):
        text = (tree / "DEBIAN" / script).read_text()
        assert " ".join(units) in text
        assert "@" not in text
        subprocess.run(["sh", "-n", tree / "DEBIAN" / script], check=True)


def test_what_an_operator_edits_is_a_conffile_and_the_settings_are_good(tree: Path) -> None:
    conffiles = (tree / "DEBIAN" / "conffiles").read_text().split()
    assert conffiles == sorted(f"/{one.relative_to(tree)}" for one in (tree / "etc").rglob("*") if one.is_file())
    assert {"/etc/charging/charging.yaml", "/etc/asterisk/charging/charging-globals.conf"} <= set(conffiles)
    assert not any("secret" in one for one in conffiles), "secrets are made, each for its machine"
    (tree / "etc" / "charging" / "ami.secret").write_text("x")
    (tree / "etc" / "charging" / "ami.secret").chmod(0o600)
    settings = load_config(tree / "etc" / "charging" / "charging.yaml", {}).settings
    (tree / "etc" / "charging" / "ami.secret").unlink()
    assert str(settings.ledger.sqlite_file) == "/var/lib/charging/charging.db"
    assert settings.switch.prompts_dir_on_switch == "/usr/share/asterisk/sounds/charging"


def test_a_server_has_no_demo_and_nothing_is_in_both_packages(dist: Path) -> None:
    def files(name: str) -> set[str]:
        tree = dist / name
        return {str(one.relative_to(tree)) for one in tree.rglob("*") if one.is_file() and "DEBIAN" not in one.parts}

    server, demo = files("charging"), files("charging-demo")
    assert server & demo == set()
    assert any("/charging/demo/" in one for one in demo)
    assert not any("/charging/demo/" in one or "/charging/lab/" in one for one in server)
    control = (dist / "charging-demo" / "DEBIAN" / "control").read_text()
    assert f"charging (>= {__version__})" in control


def test_what_debians_python_needs_is_asked_for_whichever_python_builds(deb: ModuleType) -> None:
    """A pin with its hashes: kept without its condition, or left out with them."""
    only_older = "old==1 ; python_full_version < '3.11.3' \\\n    --hash=sha256:aa\n"
    only_newer = "new==1 ; python_version >= '3.12' \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
    every = "each[extra]==2 \\\n    --hash=sha256:dd\n"
    assert (
        deb.lock_of_debian(only_older + only_newer + every)
        == only_older.replace(" ; python_full_version < '3.11.3'", "") + every
    )


def test_money_is_left_by_a_purge(tree: Path) -> None:
    """What is seen in a clean root by the long test; here, that nobody puts a removal into a script."""
    for script in (tree / "DEBIAN").iterdir():
        if script.name in ("postinst", "prerm", "postrm"):
            assert "rm -r" not in script.read_text()
            assert "deluser" not in script.read_text()


def test_modes_do_not_follow_the_builders_umask_and_the_same_tree_gives_the_same_bytes(
    deb: ModuleType, dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deb, "install_libraries", lambda *_: None)
    for wheel in dist.glob("*.whl"):
        shutil.copy(wheel, tmp_path)
    before = os.umask(0o077)
    try:
        deb.main(tmp_path)
    finally:
        os.umask(before)
    for package in dist.glob("*.deb"):
        assert (tmp_path / package.name).read_bytes() == package.read_bytes(), package.name
