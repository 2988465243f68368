"""The wheel has all that `charging init` lays down, and no demo; with the second wheel there is one.

That calls are charged with what was laid down, and nothing else, is seen in tests/asterisk/test_laid_down.py.
"""

from __future__ import annotations

import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from charging import __version__
from charging.cli import main
from tests.integration.wheels import ROOT, build_wheel, install


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("venv") / "venv", [wheel])


def run(command: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_a_wheel_lays_down_what_a_checkout_does(command: Path, tmp_path: Path) -> None:
    """With no checkout near; but for the paths in it, and what is secret."""
    ran = run(command, "init", "shop", folder=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert main(["init", str(tmp_path / "other" / "shop")]) == 0
    differing = []
    for path in (tmp_path / "other" / "shop").rglob("*"):
        made = tmp_path / "shop" / path.relative_to(tmp_path / "other" / "shop")
        assert made.is_dir() == path.is_dir()
        if path.is_file() and made.read_bytes() != path.read_bytes():
            differing.append(made.relative_to(tmp_path / "shop").as_posix())
    assert set(differing) <= {
        *(".laid-down.json", "WHERE.md", "ami.secret", "asterisk/manager_secret.conf", "charging.yaml"),
        "postfix/master.cf",
        *(f"systemd/{one.name}" for one in (tmp_path / "shop" / "systemd").iterdir()),
    }
    assert (
        f"ExecStart={command} --config {tmp_path}/shop/charging.yaml run\n"
        in (tmp_path / "shop" / "systemd" / "charging.service").read_text()
    )


def test_a_server_has_no_demo_and_is_told_what_to_install(command: Path, wheel: Path, tmp_path: Path) -> None:
    ran = run(command, "demo", folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(
        "charging: the demo is not installed, since a server needs none; install charging-demo"
    )
    second = build_wheel(ROOT / ".ci" / "demo", tmp_path)
    demo = install(tmp_path / "venv", [wheel, second])
    found = (
        "from charging.demo import show_demo; from charging.lab.folder import SHIPPED_CONFIG as c; assert c.is_dir()"
    )
    subprocess.run([demo.parent / "python", "-I", "-c", found], check=True, cwd=tmp_path)


def test_a_wheel_has_every_page_and_style_of_console_and_customers(wheel: Path) -> None:
    folders = [
        ROOT / "charging/web" / page / kind for page in ("console", "customers") for kind in ("templates", "static")
    ]
    there = [one for folder in folders for one in folder.iterdir()]
    with zipfile.ZipFile(wheel) as packed:
        assert {one.relative_to(ROOT).as_posix() for one in there} <= set(packed.namelist())


def test_the_two_wheels_have_the_same_version() -> None:
    projects = [tomllib.loads((ROOT / path / "pyproject.toml").read_text())["project"] for path in (".", ".ci/demo")]
    assert [one["version"] for one in projects] == [__version__, __version__]
    assert projects[1]["dependencies"] == [f"charging=={__version__}"]
