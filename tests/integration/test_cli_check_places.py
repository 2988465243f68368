"""``charging check``: what it says of the places where the daemon is about to listen and to write."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charging.errors import LedgerUnavailable
from charging.fax.folder import why_unwritable
from charging.lab.ports import free_port
from charging.ledger.sqlite.file import FileLock, create
from charging.web.sockets import is_answered
from tests.fakes.ami import eventually
from tests.integration.command import Command, Place, run_process
from tests.integration.redis_servers import RedisServer
from tests.integration.smtp_server import Certificate, Mailbox, mail_server
from tests.integration.test_cli_check import MAIL, graded

STAFF: dict[str, object] = {
    "openid_issuer": "https://localhost:1",
    "openid_client_id": "charging",
    "openid_client_secret_env": "TEST_OPENID",
    "openid_url": "https://console.voice.example",
    "openid_view": ["staff"],
}
"""A console behind a proxy that speaks TLS."""


def test_ports_folders_and_the_mail_server_are_looked_at_before_the_start(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And `charging run` says the same words. What calls do without is a warning."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (place.folder / "file").write_text("")
        text = place.config.read_text().replace("socket: control.sock", "socket: file/control.sock")
        mail = MAIL.format("words").replace("mail: {", "mail: {port: 1, ")
        text = re.sub(r"^http: .*$", f"http: {{port: {port}}}", text, flags=re.MULTILINE)
        place.config.write_text(text + "fax: {folder: file/fax}\n" + mail)
        ran = Command(place, capsys)("check")
        started = Command(place, capsys)("run")
    assert ran.code == started.code == 1
    ports, control = sorted(graded(ran, "problem"), reverse=True)
    assert f"http.port: cannot listen on 127.0.0.1:{port}: Address already in use; free it" in ports
    assert "choose another host or port under `http` in charging.yaml" in ports
    assert (
        f"control.socket: {place.folder}/file/control.sock: there is no folder {place.folder}/file; make it" in control
    )
    warned = {line.split()[1]: line for line in graded(ran, "warning")}
    assert f"fax.folder: {place.folder}/file is no folder" in warned["fax"]
    assert "mail.host: 127.0.0.1:1: Connection refused (look at mail.host and mail.port); mails wait" in warned["mail"]
    assert "in the ledger for 72 h" in warned["mail"]
    said = started.err.splitlines()[-1].removeprefix("charging: ")
    assert said in ports or said in control
    assert not (place.folder / "ledger.db-wal").exists()


async def test_the_folder_that_a_start_makes_is_no_problem_before_it(tmp_path: Path) -> None:
    """Of ledger and socket, as the shipped settings have it; nobody else may look into it."""
    place = Place(tmp_path)
    place.write()
    text = place.config.read_text().replace("ledger.db", "var/ledger.db").replace("control.sock", "var/control.sock")
    place.config.write_text(text)
    environment = {"TEST_AMI_SECRET": "x"}
    checked = await run_process("--config", str(place.config), "check", env=environment)
    assert graded(checked, "problem") == []
    assert not (tmp_path / "var").exists()
    program = Path(sys.executable).with_name("charging")
    daemon = await asyncio.create_subprocess_exec(
        program, "--config", place.config, "run", stderr=asyncio.subprocess.DEVNULL, env=os.environ | environment
    )
    try:
        await eventually(lambda: is_answered(tmp_path / "var" / "control.sock"), "the daemon answers")
        assert (tmp_path / "var").stat().st_mode & 0o777 == 0o710
    finally:
        daemon.terminate()
        await daemon.wait()


@pytest.mark.parametrize("section", ["agi", "http", "api", "console", "customer_page"])
def test_every_section_that_listens_is_looked_at(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        kept = [line for line in place.config.read_text().splitlines() if not line.startswith(f"{section}:")]
        place.config.write_text("\n".join([*kept, f"{section}: {{port: {port}}}\n"]))
        (told,) = graded(Command(place, capsys)("check"), "problem")
    assert f"{section}.port: cannot listen on 127.0.0.1:{port}: Address already in use; free it" in told


def test_two_sections_at_one_address_by_two_names_are_found(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a name leads to."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    port = free_port()
    text = re.sub(r"^http: .*$", f"http: {{port: {port}}}", place.config.read_text(), flags=re.MULTILINE)
    place.config.write_text(f"{text}api: {{host: 127.1, port: {port}}}\n")
    (told,) = graded(Command(place, capsys)("check"), "problem")
    assert f"api.port: 127.1:{port} is that of http; give each section its own" in told


@pytest.mark.parametrize(
    ("section", "grade", "told"),
    [
        ("logs: {file: none/log}\n", "problem", "logs.file: {}/none/log: there is no folder {}/none; make it"),
        ("logs: {file: .}\n", "problem", "logs.file: {} is a folder; name a file in it"),
        ("editions: {folder: tariff.yaml}\n", "warning", "editions.folder: {}/tariff.yaml is no folder; choose"),
    ],
)
def test_where_logs_and_tariffs_are_kept_is_looked_at(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    section: str,
    grade: str,
    told: str,
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    place.config.write_text(place.config.read_text() + section)
    ran = Command(place, capsys)("check")
    (found,) = graded(ran, grade)
    assert told.replace("{}", str(place.folder)) in found
    assert ran.code == (1 if grade == "problem" else 0)


@pytest.mark.parametrize(
    ("settings", "key"),
    [("", "mail.tls and mail.ca_file"), (", tls: starttls, ca_file: ca.pem", "mail.user and its password")],
    ids=["TLS", "a login"],
)
def test_what_a_mail_server_asks_for_once_it_hears_of_a_sender_is_told_with_its_keys(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, settings: str, key: str
) -> None:
    """It greets everyone."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    certificate = Certificate.made(place.folder)
    shutil.copy(certificate.cert, place.folder / "ca.pem")
    with mail_server(Mailbox(), starttls=certificate.context(), auth=True) as port:
        mail = MAIL.format("words").replace("mail: {", f"mail: {{port: {port}{settings}, ")
        place.config.write_text(place.config.read_text() + mail)
        (told,) = (line for line in graded(Command(place, capsys)("check"), "warning") if line.split()[1] == "mail")
    assert f"127.0.0.1:{port}" in told
    assert "530 " in told
    assert f"(look at {key})" in told


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_no_address_of_this_machine_is_told_by_its_own_key(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Nobody has such a port: to free it would be the wrong advice."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    place.config.write_text(place.config.read_text().replace("http: {", f"http: {{host: {host}, "))
    (told,) = graded(Command(place, capsys)("check"), "problem")
    assert f"http.host: cannot listen on {host}:" in told
    assert "name an address of this machine (`ip address` shows them)" in told
    assert "free it" not in told


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (
            "not a database\n" * 100,
            "it is no ledger; name another file in ledger.url, or `charging ledger restore` a copy",
        ),
        (None, "is a SQLite file, but not a ledger; name another file in ledger.url"),
    ],
    ids=["text", "another program's"],
)
def test_a_file_that_is_no_ledger_is_told_with_what_to_do(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    advice: str,
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    file = place.folder / "ledger.db"
    if content is None:
        with sqlite3.connect(file) as another:
            another.execute("CREATE TABLE songs (title TEXT)")
        another.close()
    else:
        file.write_text(content)
    before = file.read_bytes()
    (told,) = graded(Command(place, capsys)("check"), "problem")
    assert advice in told
    assert file.read_bytes() == before


def test_a_redis_that_is_not_there_is_told_with_its_key(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    text = place.config.read_text()
    place.config.write_text(re.sub(r"sqlite:[^\s\"']+", f"redis://127.0.0.1:{free_port()}/0", text))
    told = graded(Command(place, capsys)("check"), "problem")[-1]
    assert "the Redis ledger did not answer" in told
    assert told.endswith("is it running, and is ledger.url its address?")


@pytest.mark.parametrize(
    ("end", "server", "key"),
    [
        ("/0", ("requirepass sesame",), "name its password by ledger.password_env or ledger.password_file"),
        ("/99", (), "look at the number at the end of ledger.url"),
        ("/0", ("replicaof 127.0.0.1 1",), "it is a replica: name the master in ledger.url, or its sentinels"),
        ("/0", ("maxmemory 1000",), "config set maxmemory"),
        ("/0", ("user default on nopass ~other:* +@all",), "ACL SETUSER USER ~PREFIX:*"),
    ],
    ids=["password", "database", "replica", "full", "rights"],
)
def test_what_a_redis_refuses_is_told_with_the_key_or_the_command_that_mends_it(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    server: tuple[str, ...],
    key: str,
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    with RedisServer(place.folder, *server) as redis:
        url = f"redis://127.0.0.1:{redis.port}{end}"
        place.config.write_text(re.sub(r"sqlite:[^\s\"']+", url, place.config.read_text()))
        told = graded(Command(place, capsys)("check"), "problem")[-1]
    assert key in told
    assert "is it running" not in told


def test_replicas_that_ledger_url_asks_for_and_that_are_not_there_are_told(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    with RedisServer(place.folder) as redis:
        url = f"redis://127.0.0.1:{redis.port}/0?min_replicas_ack=1"
        place.config.write_text(re.sub(r"sqlite:[^\s\"']+", url, place.config.read_text()))
        told = graded(Command(place, capsys)("check"), "warning")
    (found,) = (line for line in told if "min_replicas_ack" in line)
    assert "NOTHING IS BOOKED: min_replicas_ack=1 in ledger.url, and it has 0 replicas" in found


def test_a_folder_that_may_not_be_written_is_told_with_the_key() -> None:
    """Asked by another user than root, who may write everywhere."""
    code = (
        "import os, sys; from pathlib import Path; from types import SimpleNamespace\n"
        "from charging.app_surroundings import unusable_ledger_folder\n"
        "from charging.fax.folder import why_unwritable; from charging.web.listen import CannotServe, check_place\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "print(why_unwritable(Path(sys.argv[1], 'fax')))\n"
        "try: check_place(Path(sys.argv[1], 'control.sock'))\n"
        "except CannotServe as error: print(error)\n"
        "ledger = SimpleNamespace(sqlite_file=Path(sys.argv[1], 'var', 'ledger.db'))\n"
        "print(*unusable_ledger_folder(SimpleNamespace(ledger=ledger)))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        command = [sys.executable, "-c", code, folder]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    fax, control, ledger = said.splitlines()
    assert f"ledger.url: {folder}/var: {folder}, where it would be made, may not be written; give it to" in ledger
    assert "may not be written; give it to the daemon's user, and name it by ReadWritePaths= in the unit" in fax
    assert control.startswith(f"control.socket: {folder}/control.sock: its folder may not be written; let the daemon's")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x" * 247, ""),
        ("x" * 248, "it cannot be made: File name too long; choose a shorter name"),
        ("x" * 240 + "/ledger.db", ""),
        ("x" * 256 + "/ledger.db", "it cannot be made: File name too long; choose a shorter name"),
        ("path of 504", ""),
        ("path of 505", "it cannot be made: SQLite takes a path of 504 bytes at most; choose a shorter one"),
    ],
)
def test_a_ledger_whose_name_is_too_long_is_a_problem_and_not_there_yet(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    """By what SQLite puts beside it, too. It was said that the daemon makes it."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    if name.startswith("path of "):
        left = int(name.removeprefix("path of ")) - len(os.fsencode(place.folder)) - 1
        name = "y" * 200 + "/" + "y" * (left - 201)
    place.config.write_text(place.config.read_text().replace("ledger.db", name))
    with suppress(OSError):  # of a folder whose name is too long itself
        (place.folder / name).parent.mkdir(exist_ok=True)
    ran = Command(place, capsys)("check")
    problems = [one for one in graded(ran, "problem") if one.split()[1] == "ledger"]
    assert [told in one for one in problems] == [True] * bool(told)
    if not told:
        assert Command(place, capsys)("account", "add", "anna", "--plan", "pro").code == 0


@pytest.mark.parametrize(
    ("changed", "cure"),
    [
        ({"f_flag": os.ST_RDONLY}, "is on a read-only file system; mount it for writing"),
        ({"f_files": 1000, "f_favail": 0}, "can hold no more files (no inode is free: df -i"),
        ({"f_files": 0, "f_favail": 0}, ""),  # a file system that counts none
        ({"f_bavail": 0}, "its disk is full (df"),
        ({"f_blocks": 0, "f_bavail": 0}, ""),  # nor bytes: a tmpfs without a size
    ],
)
def test_a_disk_that_takes_no_more_is_told_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, int], cure: str
) -> None:
    usual = {"f_flag": 0, "f_files": 1000, "f_favail": 10, "f_blocks": 1000, "f_bavail": 10}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**{**usual, **changed}))
    told = why_unwritable(tmp_path / "fax")
    assert cure in told if cure else told == ""


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (errno.EROFS, "mount it for writing"),
        (errno.ENOSPC, "df -i"),
        (errno.EDQUOT, "quota"),
        (errno.EMFILE, "LimitNOFILE"),
        (errno.EACCES, "let the daemon's user write there"),
    ],
)
def test_a_ledger_that_cannot_be_made_is_told_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, cure: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("charging.ledger.sqlite.file._opened", refuse)
    for make in (FileLock(tmp_path / "ledger.db").acquire, partial(create, tmp_path / "ledger.db")):
        with pytest.raises(LedgerUnavailable, match=re.escape(cure)):
            make()


def test_a_check_leaves_no_ledger_behind(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's would be root's, and the daemon could not open it."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    before = sorted(place.folder.iterdir())
    ran = Command(place, capsys)("check")
    assert "not there yet; the daemon makes it" in graded(ran, "ok")[-1]
    assert sorted(place.folder.iterdir()) == before


def test_what_root_makes_belongs_to_the_owner_of_the_folder(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        os.chown(place.folder, 65534, 65534)
    assert Command(place, capsys)("account", "add", "anna", "--plan", "pro").code == 0
    assert {one.stat().st_uid for one in place.folder.glob("ledger.db*")} == {place.folder.stat().st_uid}


@pytest.mark.parametrize("astdb", [True, False])
@pytest.mark.parametrize("beside", [True, False])
def test_a_disk_that_strangers_fill_and_all_calls_need_is_told(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    beside: bool,
    astdb: bool,
) -> None:
    """They can send audio faster than time, so no bound in seconds bounds what it takes."""
    spool = tmp_path / "spool"
    spool.mkdir()
    named = f"switch:\n  voicemail_dir_on_switch: {spool}"
    place.config.write_text(place.config.read_text().replace("switch:", named, 1))
    usual = os.stat

    def stat(path: Any, *args: Any, **more: Any) -> os.stat_result:
        found = usual(path, *args, **more)
        is_apart = not beside and Path(str(path)) == spool
        return os.stat_result((*found[:2], found.st_dev + is_apart, *found[3:10])) if is_apart else found

    monkeypatch.setattr("charging.app_surroundings.os.stat", stat)
    monkeypatch.setattr("charging.cli.check_files.ASTDB_FOLDER", tmp_path if astdb else tmp_path / "none")
    ran = Command(place, capsys)("check")
    told = [line for line in graded(ran, "warning") if "strangers write to the same file system" in line]
    assert len(told) == beside
    assert [("AstDB" in line, str(spool) in line) for line in told] == [(astdb, True)] * beside


@pytest.mark.parametrize("beside", [True, False])
def test_a_log_that_strangers_fill_beside_the_ledger_is_told(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, beside: bool
) -> None:
    """Asterisk writes a line for each packet that is too short."""
    logs = tmp_path / "log"
    if beside:
        logs.mkdir()
    monkeypatch.setattr("charging.cli.check_files.LOG_FOLDER", logs)
    ran = Command(place, capsys)("check")
    told = [line for line in graded(ran, "warning") if "log a line for each packet" in line]
    assert len(told) == beside
    assert all(str(logs) in line and "the ledger" in line for line in told)


@pytest.mark.parametrize(
    ("section", "chosen", "warned"),
    [
        ("customer_page", {"url": "https://my.voice.example"}, "customer_page.trusted_proxies"),
        ("customer_page", {"url": "https://my.voice.example", "trusted_proxies": ["127.0.0.1"]}, ""),
        ("customer_page", {"url": "http://localhost:9481"}, ""),
        ("console", STAFF, "console.trusted_proxies"),
        ("console", STAFF | {"trusted_proxies": ["127.0.0.1"]}, ""),
        ("console", {}, ""),
        ("console", {"trusted_proxies": ["127.0.0.1", "0.0.0.0/0"]}, "0.0.0.0/0, which is every address"),
        (
            "customer_page",
            {"url": "https://my.voice.example", "trusted_proxies": ["::/0"]},
            "::/0, which is every address",
        ),
        ("api", {"trusted_proxies": ["0.0.0.0/0"]}, "0.0.0.0/0, which is every address"),
        ("api", {"trusted_proxies": ["0.0.0.0/1"]}, ""),
    ],
)
def test_visitors_who_all_seem_to_come_from_the_proxy_or_say_themselves_where_from_are_warned_of(
    section: str,
    chosen: dict[str, object],
    warned: str,
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bad links and logins are counted by address: one stranger would keep all out, or be counted nowhere."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    monkeypatch.setenv("TEST_OPENID", "a secret")
    chosen = {**chosen, "port": free_port()}
    place.config.write_text(f"{place.config.read_text()}{section}: {json.dumps(chosen)}\n")
    ran = Command(place, capsys)("check", "--json")
    assert ran.code == 0, "calls do without"
    found = [one["text"] for one in ran.json if one["grade"] == "warning" and "trusted_proxies" in one["text"]]
    assert [warned in one for one in found] == [True] * bool(warned)
