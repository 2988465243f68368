"""Faxes by mail through a real Postfix, set up by the very lines of docs/fax-by-mail.md.

It is an instance of its own: its folders, its ports, none of the machine's settings. The command runs as the test's own
user, and Postfix pipes to none that is root: what it starts hands mail and arguments on, and the exit code back.
"""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import smtplib
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from charging.lab.ports import free_port
from tests.fakes.documents import pdf
from tests.integration.command import Command, Place
from tests.integration.smtp_server import Mailbox, mail_server

pytestmark = pytest.mark.long

PAGE = Path(__file__).parents[2] / "docs" / "fax-by-mail.md"
PROGRAM = Path("/usr/sbin/postfix")
SERVER = "mx.voice.example"
FAX = "fax@fax.voice.example"
DEADLINE_S = 90
SETTINGS = """
fax: {{folder: fax, mail_verified_by: {server}}}
mail: {{port: {port}, sender_address: no-reply@op.nl, sender_name: The Operator, top_up_url: "https://op.nl/credit"}}
"""
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = {server}
mydestination =
fast_flush_domains =
mynetworks =
alias_maps =
relayhost = [127.0.0.1]:{sink}
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
HANDS_ON = """#!/bin/bash
folder=$(mktemp -d {folder}/handed/XXXXXX) && cat >"$folder/mail" && printf '%s\\0' "$@" >"$folder/arguments" || exit 75
chmod -R a+rX "$folder" && exec 3<>/dev/tcp/127.0.0.1/{port} || exit 75
echo "$folder" >&3
read -r code <&3
cat "$folder/said" >&2
exit "$code"
"""


def blocks() -> list[str]:
    """The fenced blocks of the page's section on Postfix."""
    section = PAGE.read_text().partition("## Postfix")[2]
    return re.findall(r"```\n(.*?)```", section, re.DOTALL)


class _Milter(socketserver.BaseRequestHandler):
    """What checks mails for Postfix: it finds what the test says, and writes so on top (Sendmail's milter protocol)."""

    def handle(self) -> None:
        while (head := self._exactly(5)) is not None:
            size, command = struct.unpack("!Ic", head)
            said = self._exactly(size - 1)
            if command in b"HM":
                self.server.heard.append(said)  # type: ignore[attr-defined]
            if command == b"O":
                self._send(b"O" + struct.pack("!III", 6, 1, 0))  # adds headers; sees every step
            elif command == b"E":
                found = self.server.finds  # type: ignore[attr-defined]
                header = f"Authentication-Results\0 {SERVER}; {found}\0".encode()
                self._send(b"i" + struct.pack("!I", 0) + header)
                self._send(b"a")
            elif command == b"Q":
                return
            elif command not in (b"D", b"A"):
                self._send(b"c")

    def _exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            more = self.request.recv(size - len(data))
            if not more:
                return None
            data += more
        return data

    def _send(self, packet: bytes) -> None:
        self.request.sendall(struct.pack("!I", len(packet)) + packet)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    finds = "dmarc=pass header.from=example.nl"
    heard: list[bytes]
    """What it was told of HELO and MAIL."""
    config: Path
    code: int | None = None


class _Runs(socketserver.StreamRequestHandler):
    """Runs the command for Postfix; or ends with the code that a test wants."""

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        folder = Path(self.rfile.readline().decode().strip())
        arguments = (folder / "arguments").read_bytes().decode().split("\0")[:-1]
        if server.code is None:
            with (folder / "mail").open("rb") as mail:
                environment = {**os.environ, "TEST_AMI_SECRET": "s"}
                command = [sys.executable, "-m", "charging", "--config", str(server.config), *arguments]
                ran = subprocess.run(command, stdin=mail, capture_output=True, env=environment, check=False)
            (folder / "said").write_bytes(ran.stdout + ran.stderr)
            code = ran.returncode
        else:
            (folder / "said").write_text("charging: as the test says\n")
            code = server.code
        self.wfile.write(f"{code}\n".encode())


@contextmanager
def _serving(handler: Any) -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), handler) as server:
        server.heard = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Postfix:
    """A running one."""

    folder: Path
    port: int
    milter: _Server
    runs: _Server
    command: Command
    told: Mailbox = field(default_factory=Mailbox)
    """Every mail that leaves: replies, and bounces."""

    def take(self, message: EmailMessage, *recipients: str, sender: str = "anna@example.nl") -> None:
        """An outside server brings a mail."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=DEADLINE_S) as smtp:
            smtp.sendmail(sender, list(recipients) or [FAX], message.as_bytes())

    def log(self) -> str:
        return (self.folder / "log/mail.log").read_text()

    def waits_for(self, words: str, times: int = 1) -> list[str]:
        """The lines of the log that have them, once there are so many."""
        deadline = time.monotonic() + DEADLINE_S
        while len(found := [line for line in self.log().splitlines() if re.search(words, line)]) < times:
            assert time.monotonic() < deadline, f"{words} not in {self.log()}"
            time.sleep(0.05)
        return found

    def deferred(self) -> list[dict[str, Any]]:
        """What waits in its queue."""
        ran = subprocess.run(
            ["/usr/sbin/postqueue", "-c", self.folder / "etc", "-j"], capture_output=True, text=True, check=True
        )
        return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.fixture
def postfix(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Postfix]:
    if not PROGRAM.exists() or os.getuid() != 0:
        pytest.fail("needs Postfix, and root to start one: `make test-all` installs it, or `apt-get install postfix`")
    command = Command(Place(tmp_path), capfd)
    command.place.write()
    monkeypatch.setenv("TEST_AMI_SECRET", "s")
    folder = Path(tempfile.mkdtemp(prefix="charging-postfix-"))  # which Postfix's own users must be able to enter
    mailbox = Mailbox()
    try:
        with mail_server(mailbox) as sink, _serving(_Milter) as milter, _serving(_Runs) as runs:
            runs.config = command.place.config
            settings = command.place.config.read_text() + SETTINGS.format(server=SERVER, port=sink)
            command.place.config.write_text(settings)
            port = free_port()
            _lay_out(folder, port, sink, milter.server_address[1], runs.server_address[1])
            started = subprocess.run(
                [PROGRAM, "-c", folder / "etc", "start"], capture_output=True, text=True, check=False
            )
            assert started.returncode == 0, started.stderr + (folder / "log/mail.log").read_text()
            try:
                _await_port(port)
                yield Postfix(folder, port, milter, runs, command, mailbox)
            finally:
                subprocess.run([PROGRAM, "-c", folder / "etc", "stop"], capture_output=True, check=True)
    finally:
        shutil.rmtree(folder)


def _lay_out(folder: Path, port: int, sink: int, milter: int, runs: int) -> None:
    """The page's lines, with this instance's paths and ports, and what any Postfix has beside them."""
    folder.chmod(0o755)
    for name in ("etc", "spool", "data", "log", "handed"):
        (folder / name).mkdir(mode=0o755)
    shutil.chown(folder / "data", "postfix")
    (folder / "handed").chmod(0o1777)
    main, recipients, checks, commands, master = blocks()
    ours = main.replace("/etc/postfix", f"{folder}/etc").replace("127.0.0.1:11332", f"127.0.0.1:{milter}")
    assert ours.count(str(folder)) == 3
    (folder / "etc/main.cf").write_text(MAIN.format(folder=folder, server=SERVER, sink=sink) + ours)
    (folder / "etc/fax_recipients").write_text(recipients)
    (folder / "etc/header_checks").write_text(checks)
    (folder / "etc/commands").write_text(commands)
    shipped = "user=charging argv=/usr/local/bin/charging --config /etc/charging/charging.yaml"
    assert shipped in master
    line = master.replace(shipped, f"user=nobody argv={folder}/hands-on")
    (folder / "etc/master.cf").write_text(MASTER.format(port=port) + line)
    (folder / "hands-on").write_text(HANDS_ON.format(folder=folder, port=runs))
    (folder / "hands-on").chmod(0o755)


def _await_port(port: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "Postfix does not listen"
            time.sleep(0.05)
        else:
            return


def letter(subject: str = "?", **headers: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Anna@Example.nl", FAX, subject
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.add_attachment(pdf(1), "application", "pdf", filename="offer.pdf")
    return message


def customer(postfix: Postfix) -> None:
    assert postfix.command("account", "add", "anna", "--plan", "pro", "--email", "anna@example.nl").code == 0


def test_r14_mail_that_the_server_vouches_for_is_delivered_and_its_customer_answered(postfix: Postfix) -> None:
    customer(postfix)
    postfix.take(letter())
    postfix.waits_for("relay=chargingfax,.*status=sent")
    assert postfix.told.recipients == ["Anna@Example.nl"]
    assert "geen bestaand faxnummer" in postfix.told.got[0].get_body().get_content()  # type: ignore[union-attr]
    assert postfix.deferred() == []


def test_forged_results_are_taken_out_and_the_servers_own_count(postfix: Postfix) -> None:
    """Dropped: delivered as far as Postfix knows, so that nobody gets a bounce; and its log says why."""
    customer(postfix)
    postfix.milter.finds = "dmarc=fail header.from=example.nl"
    postfix.take(letter(Authentication_Results=f"{SERVER}; dmarc=pass header.from=example.nl"))
    (line,) = postfix.waits_for("relay=chargingfax,.*status=sent")
    assert "DMARC does not pass" in line
    handed = next((postfix.folder / "handed").glob("*/mail")).read_bytes()
    assert email.message_from_bytes(handed).get_all("Authentication-Results") == [
        f"{SERVER}; dmarc=fail header.from=example.nl"
    ]
    assert (postfix.told.got, postfix.deferred()) == ([], [])


def test_sender_of_an_envelope_whose_bracket_ends_the_servers_comment_is_refused_on_the_line(postfix: Postfix) -> None:
    """As Rspamd 3.4 would write it out: before it hears of it."""
    name = "a) ; spf=pass smtp.mailfrom=example.nl; x=y (b"
    with pytest.raises(smtplib.SMTPSenderRefused, match="501"):
        postfix.take(letter(), sender=f'<"{name}"@evil.example>')
    assert (postfix.told.got, postfix.deferred()) == ([], [])


NAMES = b"mail_1.example.nl", b"[192.0.2.1]", b"[IPv6:2001:db8::1]"
SENDERS = b"<>", b"<anna@example.nl> SIZE=100 BODY=8BITMIME", b" <SRS0=a=b=c.nl=o'neill@e-x.nl>", b"<anna@example.nl.>"
NO_NAMES = b"a) ; dkim=pass header.d=example.nl; x=y (b", b'"a"', b"a;b", b"[a)b]", b"a b"
NO_SENDERS = (
    *(b"<@example.nl,@x:me@evil.example>", b"<@example.nl:me@evil.example>", b"<me @ evil.example>", b"<me>"),
    *(b"<me@evil.example (x) ; spf=pass>", b'"a) ; spf=pass" <me@evil.example>', b"me@evil.example"),
    *(b'<"x@example.nl"@evil.example>', b"<a;b@evil.example>", b"<evil.example!me>", b"<a\\;b@evil.example>"),
)


@pytest.mark.parametrize("before", [b"", b" ", b"\t"])
def test_milter_hears_of_names_and_addresses_alone(postfix: Postfix, before: bytes) -> None:
    """It gets them as they were typed, and writes them out; the command gets what Postfix made of them."""

    def told(*commands: bytes) -> list[int]:
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=DEADLINE_S) as smtp:
            smtp._command_encoding = "latin-1"  # type: ignore[attr-defined]  # what is no UTF-8 too
            return [smtp.docmd(one.decode("latin-1"))[0] for one in commands]

    assert {told(before + b"EHLO " + one)[0] for one in NO_NAMES} == {501}
    assert {told(b"EHLO x", before + b"MAIL FROM:" + one)[1] for one in NO_SENDERS} == {501}
    assert set(postfix.milter.heard) == {b"x\0"}
    assert all(told(b"EHLO " + one, b"MAIL FROM:<>") == [250, 250] for one in NAMES)
    assert all(told(b"EHLO x", b"MAIL FROM:" + one) == [250, 250] for one in SENDERS)


def test_received_spf_of_the_sender_is_taken_out(postfix: Postfix) -> None:
    """Before a milter sees it: OpenDMARC would believe it."""
    customer(postfix)
    postfix.take(letter(Received_SPF="pass"))
    postfix.waits_for("relay=chargingfax,.*status=sent")
    assert postfix.told.recipients == ["Anna@Example.nl"], "the mail counts without it"


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r"])
def test_mail_within_a_mail_is_no_mail(postfix: Postfix, end: bytes) -> None:
    """SMTP smuggling: another server took it for text."""
    inner = b"MAIL FROM:<anna@example.nl>\r\nRCPT TO:<" + FAX.encode() + b">\r\nDATA\r\nFrom: anna@example.nl\r\n\r\nx"
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=DEADLINE_S) as smtp:
        smtp.docmd("EHLO x")
        smtp.docmd("MAIL FROM:<me@evil.example>")
        smtp.docmd(f"RCPT TO:<{FAX}>")
        assert smtp.docmd("DATA")[0] == 354
        smtp.send(b"From: me@evil.example\r\n\r\nx" + end + inner + b"\r\n.\r\n")
        smtp.getreply()
    postfix.waits_for("relay=chargingfax,.*status=sent")
    assert [one for one in postfix.milter.heard if b"@" in one] == [b"<me@evil.example>\0"]


def test_fax_that_cannot_be_sent_now_stays_with_the_server(postfix: Postfix) -> None:
    """No daemon runs: 75."""
    customer(postfix)
    postfix.take(letter("+31201234567"))
    postfix.waits_for("relay=chargingfax,.*status=deferred")
    (waiting,) = postfix.deferred()
    assert "start the daemon" in waiting["recipients"][0]["delay_reason"]
    assert postfix.told.got == []


def test_any_other_code_would_be_bounced(postfix: Postfix) -> None:
    """Why the command has no other."""
    postfix.runs.code = 69
    postfix.take(letter())
    postfix.waits_for("relay=chargingfax,.*status=bounced")
    postfix.waits_for("relay=127.0.0.1.*status=sent")
    assert postfix.told.recipients == ["anna@example.nl"]


def test_secret_address_goes_through_without_any_proof(postfix: Postfix) -> None:
    customer(postfix)
    name = json.loads(postfix.command("fax", "address", "new", "anna", "--json").out)["name"]
    postfix.milter.finds = "dmarc=fail header.from=example.nl"
    message = letter()
    message.replace_header("From", "scanner@office.example")
    postfix.take(message, f"{name}@fax.voice.example")
    postfix.waits_for("relay=chargingfax,.*status=sent")
    postfix.take(message, f"fax+{'a' * 26}@fax.voice.example")
    _, line = postfix.waits_for("relay=chargingfax,.*status=sent", 2)
    assert "its secret fax address is nobody's (any more)" in line
    assert postfix.told.recipients == ["anna@example.nl"], "its account's own address, not the From"


def test_what_is_too_large_or_no_fax_address_is_refused_on_the_line(postfix: Postfix) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="550"):
        postfix.take(letter(), "sales@fax.voice.example")
    large = letter()
    large.add_attachment(bytes(16_000_000), "application", "pdf", filename="large.pdf")
    with pytest.raises(smtplib.SMTPException, match="552"):
        postfix.take(large)
    assert (postfix.deferred(), postfix.told.got) == ([], [])
