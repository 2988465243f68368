"""From an empty machine to a charged call: by the Debian package, and by the wheel as an ordinary user.

(The third way, `make demo`, is what tests/asterisk/test_demo.py runs.)
"""

from __future__ import annotations

import asyncio
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from charging import __version__
from charging.lab import Lab
from tests.asterisk.clean_machine import CleanMachine, clean_machine
from tests.asterisk.conftest import FIGURES
from tests.asterisk.shop import Shop
from tests.integration.wheels import ROOT, build_wheel

pytestmark = [pytest.mark.asterisk, pytest.mark.long, pytest.mark.timeout(1800)]

LEDGER, SECRET = "var/lib/charging/charging.db", "etc/charging/ami.secret"
HOME = "/srv/someone"
"""Of the ordinary user."""

SWITCH_SECRET = "etc/asterisk/charging/manager_secret.conf"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make wheel` and `make deb` leave in dist."""
    folder = tmp_path_factory.mktemp("dist")
    for project in (ROOT, ROOT / ".ci" / "demo"):
        build_wheel(project, folder)
    shutil.copy(ROOT / "requirements.lock", folder)
    subprocess.run([sys.executable, ROOT / ".ci" / "deb.py", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[CleanMachine]:
    with clean_machine(tmp_path) as made:
        yield made


def modes(machine: CleanMachine, *paths: str) -> list[str]:
    """Owner, group and mode, by the machine's own names."""
    return machine.run("stat", "--format=%U:%G %a", *(f"/{path.lstrip('/')}" for path in paths)).splitlines()


async def test_the_debian_package_installs_starts_charges_upgrades_and_goes(
    machine: CleanMachine, dist: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    (package,) = machine.put(dist, "charging_*.deb")
    began = time.monotonic()
    machine.run("dpkg", "--install", package)
    installed_s = time.monotonic() - began
    assert machine.run("charging", "--version") == f"charging {__version__}\n"
    assert machine.run("dpkg", "--verify", "charging") == ""
    assert modes(machine, "var/lib/charging", "var/backups/charging", SECRET, SWITCH_SECRET) == [
        *("charging:charging 710", "charging:charging 700", "root:charging 640", "root:root 600"),
    ]
    assert (machine.root / "etc/systemd/system/multi-user.target.wants/charging.service").is_symlink()
    secret = (machine.root / SECRET).read_text().strip()
    assert re.fullmatch("[0-9a-f]{48}", secret)
    assert "install charging-demo" in machine.fails("charging", "demo")

    settings = machine.root / "etc" / "charging"
    shop = Shop(machine.command("/usr/bin/charging", user="charging"), settings)
    prompts = machine.root / "usr/share/asterisk/sounds/charging"
    async with Lab(config=machine.root / "etc/asterisk/charging", prompts=prompts) as lab:
        shop.fit(lab)
        async with shop.open(tmp_path / "log"):
            await shop.sell_a_call(lab)
            live = await shop.charging("check", "--live")
    assert [line for line in live.splitlines() if line.startswith("problem")] == []
    record_property(
        FIGURES,
        f"Debian package: installed in {installed_s:.0f} s, charged call after {time.monotonic() - began:.0f} s",
    )
    assert modes(machine, LEDGER) == ["charging:charging 600"]
    again(machine, package, secret)
    gone(machine)


def again(machine: CleanMachine, package: str, secret: str) -> None:
    """An Asterisk arrives later; the same version is installed over this one: edits, secrets and money stay."""
    edited = (machine.root / "etc/charging/charging.yaml").read_bytes()
    ledger = (machine.root / LEDGER).read_bytes()
    machine.run("adduser", "--system", "--group", "--quiet", "--no-create-home", "asterisk")
    machine.run("dpkg-trigger", "--by-package=base-files", "--no-await", "/usr/sbin/asterisk")
    machine.run("dpkg", "--configure", "--pending")
    assert modes(machine, SWITCH_SECRET) == ["root:asterisk 640"]
    assert "charging" in machine.run("id", "-nG", "asterisk").split()
    machine.run("dpkg", "--install", package)
    assert (machine.root / "etc/charging/charging.yaml").read_bytes() == edited
    assert (machine.root / SECRET).read_text().strip() == secret
    assert (machine.root / LEDGER).read_bytes() == ledger
    assert modes(machine, SWITCH_SECRET) == ["root:asterisk 640"]


def gone(machine: CleanMachine) -> None:
    """Removed, settings and money stay; purged, the money alone."""
    machine.run("dpkg", "--remove", "charging")
    assert not (machine.root / "usr/lib/charging").exists()
    assert not (machine.root / "usr/bin/charging").is_symlink()
    assert all((machine.root / path).exists() for path in (LEDGER, SECRET, SWITCH_SECRET, "etc/charging/tariff.yaml"))
    said = machine.run("dpkg", "--purge", "charging")
    assert "/var/lib/charging is left, for it may hold customers' money" in said
    assert (machine.root / LEDGER).exists()
    assert not (machine.root / "etc/charging").exists()
    assert not (machine.root / "etc/asterisk/charging").exists()
    assert not any((machine.root / "etc/systemd/system").rglob("charging*"))


def test_the_demo_is_a_package_beside_it(machine: CleanMachine, dist: Path) -> None:
    demo = machine.put(dist, "charging-demo_*.deb")
    assert "charging" in machine.fails("dpkg", "--install", *demo)
    machine.run("dpkg", "--purge", "charging-demo")
    server = machine.put(dist, "charging_*.deb")
    machine.run("dpkg", "--install", "--force-depends", *server, *demo)
    found = (
        "from charging.demo import show_demo; from charging.lab.folder import SHIPPED_CONFIG as c; assert c.is_dir()"
    )
    machine.run("/usr/lib/charging/bin/python", "-I", "-c", found)
    machine.run("dpkg", "--purge", "charging-demo")
    assert "install charging-demo" in machine.fails("charging", "demo")


async def test_the_wheel_installs_and_charges_for_an_ordinary_user(
    machine: CleanMachine, dist: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    fetch_libraries(tmp_path / "libraries")
    for folder in (tmp_path / "libraries", dist):
        machine.put(folder, "*.whl")
    machine.put(dist, "requirements.lock")
    machine.run("adduser", "--disabled-password", "--gecos", "", "--quiet", "--home", HOME, "someone")
    home, began = machine.root / HOME.lstrip("/"), time.monotonic()

    def typed(*words: str) -> str:
        return machine.run(*words, user="someone")

    pip = f"{HOME}/venv/bin/pip", "install", "--quiet", "--no-index", "--find-links", "/srv", "--no-deps"
    typed("python3", "-m", "venv", f"{HOME}/venv")
    typed(*pip, "--require-hashes", "-r", "/srv/requirements.lock")
    typed(*pip, f"/srv/charging-{__version__}-py3-none-any.whl")
    assert "No broken requirements" in typed(pip[0], "check")
    command = f"{HOME}/venv/bin/charging", "--config", f"{HOME}/shop/charging.yaml"
    typed(command[0], "init", f"{HOME}/shop")
    installed_s = time.monotonic() - began
    assert modes(machine, f"{HOME}/shop/ami.secret") == ["someone:someone 600"]
    shop = Shop(machine.command(*command, user="someone"), home / "shop")
    async with Lab(config=home / "shop" / "asterisk", prompts=home / "shop" / "prompts") as lab:
        shop.fit(lab)
        async with shop.open(tmp_path / "log"):
            await shop.sell_a_call(lab)
    record_property(
        FIGURES, f"wheel: installed in {installed_s:.0f} s, charged call after {time.monotonic() - began:.0f} s"
    )
    assert "edited by you, and shipped as before: charging.yaml" in await asyncio.to_thread(
        typed, command[0], "init", f"{HOME}/shop"
    )


def fetch_libraries(folder: Path) -> None:
    """What the lock pins for Debian's Python, as files; also what a newer Python would do without."""
    lock = folder.with_suffix(".lock")
    lock.write_text(re.sub(r" ; [^\\\n]*", " ", (ROOT / "requirements.lock").read_text()))
    has_pip = importlib.util.find_spec("pip") is not None
    platforms = (f"manylinux{one}_{platform.machine()}" for one in ("_2_28", "_2_17", "2014"))
    subprocess.run(
        [
            *(sys.executable if has_pip else "python3", "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--require-hashes", "--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"),
            *(word for one in platforms for word in ("--platform", one)),
            *("--abi", "cp311", "--dest", folder, "-r", lock),
        ],
        check=True,
    )
