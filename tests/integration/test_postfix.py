"""Faxes by mail through a real Postfix, set up by the very lines of docs/fax-by-mail.md.

It is an instance of its own: its folders, its ports, none of the machine's settings. The command runs as the test's own
user, and Postfix pipes to none that is root: what it starts hands mail and arguments on, and the exit code back.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import smtplib
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from charging.cli.fax_mail import KEPT
from charging.lab.ports import free_port
from tests.fakes.documents import pdf
from tests.fakes.signing import DOMAIN, KEY_AT, key_record, signed
from tests.integration.command import Command, Place
from tests.integration.dns_server import Zone, name_server
from tests.integration.smtp_server import Mailbox, mail_server

pytestmark = pytest.mark.long

PAGE = Path(__file__).parents[2] / "docs" / "fax-by-mail.md"
PROGRAM = Path("/usr/sbin/postfix")
SERVER = "mx.voice.example"
FAX = "fax@fax.voice.example"
DEADLINE_S = 90
CLIENT = "198.41.0.4"
"""From where example.nl sends (SPF). Nothing is sent there: Postfix is told that it speaks to it (XCLIENT)."""
SETTINGS = """
fax: {{folder: fax, mail_from_counts: yes, mail_dns: "127.0.0.1:{dns}"}}
mail: {{port: {port}, sender_address: no-reply@op.nl, sender_name: The Operator, top_up_url: "https://op.nl/credit"}}
"""
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
myhostname = {server}
mydestination =
mynetworks =
alias_maps =
relayhost = [127.0.0.1]:{sink}
smtpd_authorized_xclient_hosts = 127.0.0.1
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
relay unix - - n - - smtp
flush unix n - n 1000? 0 flush
showq unix n - n - - showq
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


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    config: Path


class _Runs(socketserver.StreamRequestHandler):
    """Runs the command for Postfix."""

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        folder = Path(self.rfile.readline().decode().strip())
        arguments = (folder / "arguments").read_bytes().decode().split("\0")[:-1]
        with (folder / "mail").open("rb") as mail:
            environment = {**os.environ, "TEST_AMI_SECRET": "s"}
            command = [sys.executable, "-m", "charging", "--config", str(server.config), *arguments]
            ran = subprocess.run(command, stdin=mail, capture_output=True, env=environment, check=False)
        (folder / "said").write_bytes(ran.stdout + ran.stderr)
        self.wfile.write(f"{ran.returncode}\n".encode())


@contextmanager
def _serving(handler: Any) -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), handler) as server:
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
    zone: Zone
    runs: _Server
    command: Command
    syslog: socket.socket
    told: Mailbox = field(default_factory=Mailbox)
    """Every mail that leaves: replies, and bounces."""

    def take(self, mail: bytes, *recipients: str, sender: str = "anna@example.nl", client: str = CLIENT) -> None:
        """An outside server brings a mail."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=DEADLINE_S) as smtp:
            smtp.ehlo("mx")
            assert smtp.docmd(f"XCLIENT ADDR={client} NAME=mx.example.nl")[0] == 220
            smtp.ehlo("mx")
            smtp.sendmail(sender, list(recipients) or [FAX], mail)

    def log(self) -> str:
        return (self.folder / "log/mail.log").read_text()

    def waits_for(self, words: str, times: int = 1) -> list[str]:
        """The lines of the log that have them, once there are so many."""
        deadline = time.monotonic() + DEADLINE_S
        while len(found := [line for line in self.log().splitlines() if re.search(words, line)]) < times:
            assert time.monotonic() < deadline, f"{words} not in {self.log()}"
            time.sleep(0.05)
        return found

    def why(self) -> str:
        """What the operator is told next; and the mail server, which tells it to whoever sent a mail, is not."""
        line = self.syslog.recv(65_536).decode()
        assert line.startswith("<22>charging: "), "mail.info"
        why = line.removeprefix("<22>charging: ").rstrip("\0")
        assert why[:20] not in self.log()
        return why

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
        zone = Zone({(KEY_AT, "TXT"): [key_record(2_048)], (DOMAIN, "TXT"): [f"v=spf1 ip4:{CLIENT} -all"]})
        with mail_server(mailbox) as sink, name_server(zone) as dns, _serving(_Runs) as runs:
            runs.config = command.place.config
            settings = command.place.config.read_text() + SETTINGS.format(dns=dns, port=sink)
            command.place.config.write_text(settings)
            port = free_port()
            _lay_out(folder, port, sink, runs.server_address[1])
            started = subprocess.run(
                [PROGRAM, "-c", folder / "etc", "start"], capture_output=True, text=True, check=False
            )
            assert started.returncode == 0, started.stderr + (folder / "log/mail.log").read_text()
            syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            syslog.bind(str(folder / "syslog"))
            syslog.settimeout(DEADLINE_S)
            try:
                _await_port(port)
                yield Postfix(folder, port, zone, runs, command, syslog, mailbox)
            finally:
                syslog.close()
                subprocess.run([PROGRAM, "-c", folder / "etc", "stop"], capture_output=True, check=True)
    finally:
        shutil.rmtree(folder)


def _lay_out(folder: Path, port: int, sink: int, runs: int) -> None:
    """The page's lines, with this instance's paths and ports, and what any Postfix has beside them."""
    folder.chmod(0o755)
    for name in ("etc", "spool", "data", "log", "handed"):
        (folder / name).mkdir(mode=0o755)
    shutil.chown(folder / "data", "postfix")
    (folder / "handed").chmod(0o1777)
    main, recipients, master = blocks()
    ours = main.replace("/etc/postfix", f"{folder}/etc")
    assert ours.count(str(folder)) == 2, "who is a recipient, and which transport is its"
    (folder / "etc/main.cf").write_text(MAIN.format(folder=folder, server=SERVER, sink=sink) + ours)
    (folder / "etc/fax_recipients").write_text(recipients)
    shipped = "user=charging argv=/usr/local/bin/charging --config /etc/charging/charging.yaml"
    assert shipped in master
    lines = master.replace(shipped, f"user=nobody argv={folder}/hands-on").splitlines()
    ours = "".join(f"{line} --syslog {folder}/syslog\n" for line in lines)
    (folder / "etc/master.cf").write_text(MASTER.format(port=port) + ours)
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


def letter(subject: str = "?", **headers: str) -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Anna@Example.nl", FAX, subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = "<1@example.nl>"  # else Postfix adds one, for it knows that this machine is its own
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.add_attachment(pdf(1), "application", "pdf", filename="offer.pdf")
    return message.as_bytes()


def customer(postfix: Postfix) -> None:
    assert postfix.command("account", "add", "anna", "--plan", "pro", "--email", "anna@example.nl").code == 0


ELSEWHERE = "198.41.0.5"


@pytest.mark.parametrize(
    ("mail", "client"), [(letter(), CLIENT), (signed(letter(), bits=2_048), ELSEWHERE)], ids=["SPF", "DKIM"]
)
def test_r14_mail_that_is_proven_is_delivered_and_its_customer_answered(
    postfix: Postfix, mail: bytes, client: str
) -> None:
    customer(postfix)
    postfix.take(mail, client=client)
    postfix.waits_for("relay=chargingfax,.*status=sent")
    assert postfix.told.recipients == ["Anna@Example.nl"]
    assert "geen bestaand faxnummer" in postfix.told.got[0].get_body().get_content()  # type: ignore[union-attr]
    assert postfix.deferred() == []


BRACKET = '<"a) ; spf=pass smtp.mailfrom=example.nl; x=y (b"@evil.example>'
FORGED: dict[str, tuple[bytes, str]] = {
    "nothing": (letter(), "anna@example.nl"),
    "results": (letter(Authentication_Results=f"{SERVER}; dmarc=pass header.from=example.nl"), "anna@example.nl"),
    "Received-SPF": (letter(Received_SPF="pass"), "anna@example.nl"),
    "bracket": (letter(), BRACKET),
    "source route": (letter(), "<@example.nl,@x:me@evil.example>"),
    "changed": (signed(letter(), bits=2_048).replace(b"Subject: ?", b"Subject: +31900123456"), "anna@example.nl"),
    "another's": (signed(letter(), domain="evil.example", bits=2_048), "anna@example.nl"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_mail_is_dropped_whatever_it_says(postfix: Postfix, kind: str) -> None:
    """Delivered as far as Postfix knows, so that nobody gets a bounce; and the operator is told why."""
    customer(postfix)
    mail, sender = FORGED[kind]
    postfix.take(mail, sender=sender, client=ELSEWHERE)
    (line,) = postfix.waits_for("relay=chargingfax,.*status=sent")
    assert line.endswith("(delivered via chargingfax service)")
    assert "dropped a mail that says to be from Anna@Example.nl" in postfix.why()
    assert (postfix.told.got, postfix.deferred()) == ([], [])


def test_mail_waits_while_the_dns_does_not_answer(postfix: Postfix) -> None:
    customer(postfix)
    postfix.zone.broken |= {DOMAIN}
    postfix.take(letter())
    postfix.waits_for("relay=chargingfax,.*status=deferred")
    (waiting,) = postfix.deferred()
    assert KEPT in waiting["recipients"][0]["delay_reason"]
    assert "the DNS does not answer" in postfix.why()


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
    assert {line.split("<")[1].split(">")[0] for line in postfix.waits_for("from=<.*nrcpt=")} == {"me@evil.example"}


def test_fax_that_cannot_be_sent_now_stays_with_the_server(postfix: Postfix) -> None:
    """No daemon runs: 75."""
    customer(postfix)
    postfix.take(letter("+31201234567"))
    postfix.waits_for("relay=chargingfax,.*status=deferred")
    (waiting,) = postfix.deferred()
    assert KEPT in waiting["recipients"][0]["delay_reason"]
    assert "start the daemon" in postfix.why()
    assert postfix.told.got == []


@pytest.mark.parametrize("end", ["exit 1", "exit 69", "exit 127", "kill -9 $$", "exec sleep 60"])
def test_mail_stays_with_the_server_whatever_becomes_of_the_program(postfix: Postfix, end: str) -> None:
    """It was bounced, to whoever the envelope named, where the program was just being replaced by a newer one, or
    where it took too long."""
    (postfix.folder / "hands-on").write_text(f"#!/bin/bash\n{end}\n")
    with (postfix.folder / "etc/main.cf").open("a") as settings:
        settings.write("chargingfax_time_limit = 1s\n")
    postfix.take(letter())
    postfix.waits_for("relay=chargingfax,.*status=(deferred|SOFTBOUNCE)")
    assert (len(postfix.deferred()), postfix.told.got) == (1, [])


def test_secret_address_goes_through_without_any_proof(postfix: Postfix) -> None:
    customer(postfix)
    name = json.loads(postfix.command("fax", "address", "new", "anna", "--json").out)["name"]
    message = letter().replace(b"Anna@Example.nl", b"scanner@office.example")
    postfix.take(message, f"{name}@fax.voice.example", client=ELSEWHERE)
    postfix.waits_for("relay=chargingsecret,.*status=sent")
    assert name not in "".join(one.read_text() for one in (postfix.folder / "handed").glob("*/arguments")), "public"
    postfix.take(message, f"fax+{'a' * 26}@fax.voice.example")
    postfix.waits_for("relay=chargingsecret,.*status=sent", 2)
    assert "its secret fax address is nobody's (any more)" in postfix.why()
    assert postfix.told.recipients == ["anna@example.nl"], "its account's own address, not the From"


OCCUPIED = """#!/bin/bash
[[ "$(head -n 5)" == *"X-Original-To: fax+aaaa"* ]] && exit 0
echo >>{folder}/handed/held
while [ -e {folder}/handed ]; do sleep 0.1; done
"""


def test_no_mail_to_another_address_holds_up_one_to_a_secret_address(postfix: Postfix) -> None:
    """Each of them may wait for the DNS, or be a stranger's: a customer's mail was not taken within 300 seconds."""
    (postfix.folder / "hands-on").write_text(OCCUPIED.format(folder=postfix.folder))
    for number in range(5):
        postfix.take(letter(), f"3120123456{number}@fax.voice.example")
    for _ in range(5):
        postfix.take(letter())
    held, deadline = postfix.folder / "handed/held", time.monotonic() + DEADLINE_S
    while not held.exists() or len(held.read_text()) < 3:
        assert time.monotonic() < deadline, "not all places are taken"
        time.sleep(0.05)
    postfix.take(letter(), f"fax+{'a' * 26}@fax.voice.example", client=ELSEWHERE)
    postfix.waits_for(f"to=<fax.{'a' * 26}@.*status=sent")
    (postfix.folder / "handed").rename(postfix.folder / "ended")


@pytest.mark.parametrize(
    "recipient", ["sales@fax.voice.example", "fax@nosuch.fax.voice.example", "31201112222@q.w.fax.voice.example"]
)
def test_what_is_no_fax_address_is_refused_on_the_line(postfix: Postfix, recipient: str) -> None:
    """A name below the domain was taken, looked for, and bounced to whoever the envelope named."""
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="550"):
        postfix.take(letter(), recipient)
    assert (postfix.deferred(), postfix.told.got) == ([], [])


@contextmanager
def stranger(postfix: Postfix) -> Iterator[smtplib.SMTP]:
    """Speaks to it from elsewhere."""
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=DEADLINE_S) as smtp:
        smtp.ehlo("mx")
        assert smtp.docmd(f"XCLIENT ADDR={ELSEWHERE} NAME=mx.evil.example")[0] == 220
        smtp.ehlo("mx")
        yield smtp


def test_no_report_of_success_goes_to_whoever_the_envelope_names(postfix: Postfix) -> None:
    with stranger(postfix) as smtp:
        assert not {"dsn", "etrn"} & smtp.esmtp_features.keys()
        assert smtp.mail("victim@innocent.example")[0] == 250
        code, why = smtp.rcpt(FAX, ["NOTIFY=SUCCESS"])
        assert (code, b"DSN support is disabled" in why) == (501, True)


def test_no_stranger_has_the_queue_tried_again(postfix: Postfix) -> None:
    with stranger(postfix) as smtp:
        assert smtp.docmd("ETRN fax.voice.example")[0] >= 500


def test_one_machine_brings_so_many_mails_a_minute(postfix: Postfix) -> None:
    """Each starts the command, and mails wait in the order in which they came."""
    with stranger(postfix) as smtp:
        codes = [smtp.docmd(word)[0] for _ in range(31) for word in ("MAIL FROM:<me@evil.example>", "RSET")]
    assert (set(codes[:60]), codes[60]) == ({250}, 450)


def test_one_ipv6_network_brings_no_more_than_one_machine(postfix: Postfix) -> None:
    """Where Postfix cannot count networks, none may come."""
    codes = []
    for nth in range(31):
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=DEADLINE_S) as smtp:
            smtp.ehlo("mx")
            codes.append(smtp.docmd(f"XCLIENT ADDR=IPV6:2001:db8::{nth + 1:x} NAME=mx.example.nl")[0])
            if codes[-1] == 220:
                smtp.ehlo("mx")
                codes.append(smtp.docmd("MAIL FROM:<me@evil.example>")[0])
    assert codes[-1] >= 400, codes


def test_what_is_too_large_is_refused_on_the_line(postfix: Postfix) -> None:
    large = letter() + b"x" * 76 * 300_000
    with pytest.raises(smtplib.SMTPException, match="552"):
        postfix.take(large)
    assert (postfix.deferred(), postfix.told.got) == ([], [])
