"""The shipped units under a real systemd (`systemd_machine`): what they promise to an operator."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from charging.lab.ports import free_port
from tests.fakes.documents import pdf
from tests.integration.command import REPOSITORY, TARIFF
from tests.integration.systemd_machine import Machine, booted

pytestmark = pytest.mark.long
"""It needs root, overlayfs and systemd itself, which a machine that only runs `make test` may not have."""

UNITS = ("charging.service", "charging-backup.service", "charging-backup.timer")
CHARGING = "/opt/charging/.venv/bin/charging"
BACKUPS = "/var/backups/charging"
SETTINGS = """\
switch:
  ami: {{host: 127.0.0.1, port: 1, secret_file: /etc/charging/ami.secret}}
agi: {{port: {agi}}}
ledger: {{url: "sqlite:////var/lib/charging/ledger.db"}}
tariff: tariff.yaml
control: {{socket: /var/lib/charging/control.sock}}
http: {{port: {http}}}
api: {{port: {api}}}
fax: {{folder: /var/lib/charging/fax}}
logs: {{file: /var/log/charging/charging.log}}
"""


CONVERTS = """\
import asyncio
from pathlib import Path
from charging.clock import SystemClock
from charging.fax.folder import DocumentFolder, FolderSettings
from charging.fax.sandbox import missing
print("sandbox:", missing() or "there")
papers = DocumentFolder(FolderSettings(Path("/var/lib/charging/fax"), "/fax", 50, 7), SystemClock())
print("pages:", asyncio.run(papers.prepare("anna", "s-1", Path("/opt/charging/look.pdf").read_bytes())).pages)
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with booted() as made:
        for unit in UNITS:
            made.write(f"/etc/systemd/system/{unit}", (REPOSITORY / "config" / "systemd" / unit).read_text())
        yield made


@pytest.fixture
def ports(machine: Machine) -> Iterator[dict[str, int]]:
    """An operator's settings, no daemon, no ledger."""
    ports = {name: free_port() for name in ("agi", "http", "api")}
    machine.write("/etc/charging/charging.yaml", SETTINGS.format(**ports))
    machine.write("/etc/charging/tariff.yaml", TARIFF)
    machine.write("/etc/charging/ami.secret", "secret\n")
    machine.run("chmod", "600", "/etc/charging/ami.secret")
    machine.run("systemctl", "daemon-reload")
    yield ports
    machine.run("systemctl", "stop", "charging", "charging-backup.timer")
    machine.run("sh", "-c", f"rm -rf /var/lib/charging/* {BACKUPS} /var/log/charging/* /etc/systemd/system/*.d")
    machine.run("sh", "-c", "journalctl --rotate --vacuum-size=1 && systemctl reset-failed && systemctl daemon-reload")


def is_reached(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def logged(machine: Machine, event: str) -> list[dict[str, object]]:
    """The log's lines of an event."""
    lines = machine.run("cat", "/var/log/charging/charging.log").splitlines()
    return [one for one in map(json.loads, lines) if one["event"] == event]


def test_the_unit_is_active_once_everything_is_listened_on_and_not_before(
    machine: Machine, ports: dict[str, int]
) -> None:
    machine.run("systemctl", "start", "charging")
    assert {name: is_reached(port) for name, port in ports.items()} == dict.fromkeys(ports, True)
    assert "active (running)" in machine.run("systemctl", "status", "charging")
    assert machine.shows("charging", "StatusText").startswith("0 calls; ami: ")
    machine.run("systemctl", "stop", "charging")
    assert machine.shows("charging", "Result") == "success"
    assert machine.shows("charging", "ExecMainStatus") == "0"
    (said,) = logged(machine, "daemon_stopping")
    assert (said["open_sessions"], said["calls"]) == (0, 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports["http"]))
        taken.listen()
        machine.run("systemctl", "start", "--no-block", "charging")
        machine.until("charging", "SubState", "auto-restart")
        assert machine.shows("charging", "ActiveState") == "activating"
        assert f"http.port: cannot listen on 127.0.0.1:{ports['http']}: Address already in use; free it" in (
            machine.journal("charging")
        )
    machine.until("charging", "ActiveState", "active")


def test_the_pages_lines_give_fastagi_a_port_that_nobody_else_may_open(machine: Machine, ports: dict[str, int]) -> None:
    """docs/security.md, *Other people on the switch's machine*."""
    page = (REPOSITORY / "docs" / "security.md").read_text()
    (lines,) = re.findall(r"```ini\n(\[Service\]\nAmbient.*?)```", page, re.DOTALL)
    (port,) = set(re.findall(r"`agi: {port: ([0-9]+)}`", page)) & set(re.findall(r"127\.0\.0\.1:([0-9]{3})`", page))
    machine.write("/etc/charging/charging.yaml", SETTINGS.format(**(ports | {"agi": int(port)})))
    machine.run("systemctl", "start", "--no-block", "charging")
    machine.until("charging", "SubState", "auto-restart")
    assert f"agi.port: cannot listen on 127.0.0.1:{port}: Permission denied; a port below 1024 is root's" in (
        machine.journal("charging")
    )
    machine.drop_in("charging.service", lines)
    machine.run("systemctl", "restart", "charging")
    assert is_reached(int(port))


def test_a_daemon_whose_loop_stands_is_killed_and_started_again(machine: Machine, ports: dict[str, int]) -> None:
    machine.drop_in("charging.service", "[Service]\nWatchdogSec=3\n")
    machine.run("systemctl", "start", "charging")
    before = machine.shows("charging", "MainPID")
    machine.run("kill", "-STOP", before)
    machine.until("charging", "NRestarts", "1")
    machine.until("charging", "ActiveState", "active")
    assert machine.shows("charging", "MainPID") != before
    said = machine.journal("charging")
    assert "Watchdog timeout" in said
    assert "Fatal Python error: Aborted" in said
    assert "asyncio" in said, "it is said where the loop stood"
    assert is_reached(ports["agi"])


def test_fastagis_port_is_held_while_the_daemon_is_started_again_and_given_up_by_a_stop(
    machine: Machine, ports: dict[str, int]
) -> None:
    """Any user of the machine could have it else, and play the daemon."""
    machine.drop_in("charging.service", "[Service]\nRestartSec=600\n")
    machine.run("systemctl", "start", "charging")
    machine.run("systemctl", "kill", "-s", "KILL", "charging")
    machine.until("charging", "SubState", "auto-restart")
    assert (is_reached(ports["agi"]), is_reached(ports["http"])) == (True, False)
    machine.run("systemctl", "restart", "charging")
    assert machine.shows("charging", "NFileDescriptorStore") == "1"
    machine.run("systemctl", "stop", "charging")
    assert not is_reached(ports["agi"])


def test_reload_takes_a_good_tariff_at_once_and_says_what_is_wrong_with_a_bad_one(
    machine: Machine, ports: dict[str, int]
) -> None:
    machine.run("systemctl", "start", "charging")
    machine.write("/etc/charging/tariff.yaml", TARIFF.replace("test-1", "test-2"))
    machine.run("systemctl", "reload", "charging")
    assert logged(machine, "reload_done")[-1]["revision"] == "test-2"
    machine.write("/etc/charging/tariff.yaml", TARIFF.replace("plans:", "plnas:"))
    machine.fails("systemctl", "reload", "charging")
    assert "plnas" in machine.journal("charging")
    assert "revision test-2 stays in force" in machine.journal("charging")
    assert machine.shows("charging", "ActiveState") == "active"
    machine.write("/etc/charging/tariff.yaml", TARIFF.replace("test-1", "test-3"))
    machine.run("mv", "/var/log/charging/charging.log", "/var/log/charging/charging.log.1")
    machine.run("systemctl", "kill", "--signal=HUP", "charging")
    said = "until grep -q reload_done /var/log/charging/charging.log; do sleep 0.1; done"
    machine.run("timeout", "60", "sh", "-c", said)
    assert logged(machine, "reload_done")[-1]["revision"] == "test-3"
    assert machine.shows("charging", "NRestarts") == "0"


def test_check_before_the_first_start_reads_the_secrets_of_the_unit_and_leaves_nothing_behind(
    machine: Machine, ports: dict[str, int]
) -> None:
    """As root, who installs; the unit's user could not read the secret, but by systemd's copy of it."""
    said = machine.run(CHARGING, "check")
    assert "ok       config    /etc/charging/charging.yaml" in said
    assert "the daemon makes it" in said
    assert machine.run("sh", "-c", "ls -A /var/lib/charging 2>/dev/null || true") == ""
    machine.run("install", "-d", "-o", "charging", "/var/lib/charging")
    machine.run(CHARGING, "account", "add", "anna", "--plan", "pro")
    owners = machine.run("sh", "-c", "stat -c '%U' /var/lib/charging/ledger.db*")
    assert set(owners.split()) == {"charging"}
    named_by_environment = SETTINGS.format(**ports).replace(
        "secret_file: /etc/charging/ami.secret", "secret_env: CHARGING_AMI_SECRET"
    )
    machine.write("/etc/charging/charging.yaml", named_by_environment)
    machine.write("/etc/charging/environment", "CHARGING_AMI_SECRET=secret\n")
    try:
        said = machine.run("sh", "-c", f"set -a; . /etc/charging/environment; {CHARGING} check")
        assert "ok       config" in said
        machine.run("systemctl", "start", "charging")
    finally:
        machine.run("rm", "/etc/charging/environment")


def test_the_timer_backs_up_and_keeps_the_newest(machine: Machine, ports: dict[str, int]) -> None:
    machine.run("systemctl", "start", "charging")
    machine.run(CHARGING, "account", "add", "anna", "--plan", "pro")
    machine.run(CHARGING, "ledger", "backup", "/tmp/copy.db")
    assert machine.run("head", "-c", "15", "/tmp/copy.db") == "SQLite format 3", "not in the unit's own /tmp"
    machine.run("rm", "/tmp/copy.db")
    machine.run("sh", "-c", f"install -d -o charging -g charging -m 0700 {BACKUPS}")
    for day in range(10, 30):
        machine.run("touch", f"{BACKUPS}/ledger-202610{day}T031500Z.db")
    machine.run("touch", f"{BACKUPS}/not-ours.db")
    machine.drop_in(
        "charging-backup.timer", "[Timer]\nOnCalendar=\nOnActiveSec=1\nAccuracySec=1\nRandomizedDelaySec=0\n"
    )
    machine.run("systemctl", "start", "charging-backup.timer")
    machine.run(
        "sh", "-c", f"for i in $(seq 300); do ls {BACKUPS} | grep ledger- | grep -qv 202610 && exit; sleep 0.1; done"
    )
    machine.until("charging-backup", "ActiveState", "inactive")
    assert machine.shows("charging-backup", "Result") == "success", machine.journal("charging-backup")
    files = machine.run("ls", BACKUPS).split()
    assert len(files) == 15
    assert "not-ours.db" in files
    newest = sorted(files)[-2]
    assert machine.run("stat", "-c", "%U %a", f"{BACKUPS}/{newest}").split() == ["charging", "600"]
    machine.run("systemctl", "stop", "charging")
    machine.run(CHARGING, "ledger", "restore", f"{BACKUPS}/{newest}")
    machine.run("systemctl", "start", "charging")
    machine.run(CHARGING, "account", "show", "anna")


def test_what_strangers_fax_is_read_in_the_sandbox_within_the_units_own(
    machine: Machine, ports: dict[str, int]
) -> None:
    """Landlock and seccomp inside what the unit allows: a document is converted under the unit's own lines."""
    unit = (REPOSITORY / "config" / "systemd" / "charging.service").read_text()
    text = re.sub(r"ExecStart=.*", "ExecStart=/opt/charging/.venv/bin/python /opt/charging/look.py", unit)
    text = text.replace("Type=notify", "Type=oneshot").replace("Restart=always", "Restart=no")
    machine.write("/etc/systemd/system/look.service", text)
    machine.write("/opt/charging/look.py", CONVERTS)
    machine.write("/opt/charging/look.pdf", pdf(2).decode())
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "look")
    said = machine.journal("look")
    assert "sandbox: there" in said
    assert "pages: 2" in said


def test_a_child_that_is_ended_for_want_of_memory_does_not_have_the_daemon_stopped(machine: Machine) -> None:
    """By default systemd then stops all of the unit (systemd.service(5), OOMPolicy=)."""
    assert machine.run("systemctl", "show", "charging", "--property", "OOMPolicy").strip() == "OOMPolicy=continue"


def test_systemd_finds_nothing_wrong_in_the_units(machine: Machine) -> None:
    assert machine.run("systemd-analyze", "verify", *(f"/etc/systemd/system/{unit}" for unit in UNITS)) == ""
    said = machine.run("systemd-analyze", "security", "--no-pager", "charging.service")
    level = re.search(r"Overall exposure level for charging.service: ([0-9.]+)", said)
    assert level is not None
    assert float(level[1]) <= 2.0, said


def test_every_shipped_unit_is_tried_here() -> None:
    assert sorted(one.name for one in Path(REPOSITORY, "config", "systemd").iterdir()) == sorted(UNITS)
