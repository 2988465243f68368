"""``charging check`` without the switch: settings, tariff, prompts, templates, ledger."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import shutil
import stat
import subprocess
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from charging.app_left_out import without_unread
from charging.app_surroundings import (
    PROMPTS,
    mail_trouble,
    missing_prompts,
    on_one_disk,
    taken_addresses,
    tariff_that_counts,
    too_few_descriptors,
    unusable_editions_folder,
    unusable_fax_folder,
    unusable_ledger_folder,
    unusable_log_file,
    unusable_socket,
    wrong_templates,
)
from charging.cli.check_results import CheckResult, ok, problem, unknown, warning
from charging.cli.client import connected, daemon_answers
from charging.cli.options import check_there
from charging.clock import SystemClock
from charging.errors import ChargingError, ConfigError, LedgerCorrupt, LedgerMissing
from charging.fax import sandbox
from charging.fax.convert import PACKAGES, ROOM_BYTES
from charging.fax.dns_lookup import Dns, Unanswered
from charging.fax.listed import SHARED
from charging.files import closed_on_the_way, free_bytes
from charging.ledger.accounts import Status, folded
from charging.notify.settings import Mail
from charging.settings import TEST_KEYS, Config, Fax, Settings, completed
from charging.tariff.file import files_of
from charging.web.settings import OPENID_BACK
from charging.yaml_model import sorted_problems, validate
from charging.yaml_text import read_document

ASTDB_FOLDER = Path("/var/lib/asterisk")
"""Where Asterisk keeps it, unless ``astdbdir`` says otherwise."""
LOG_FOLDER = Path("/var/log/asterisk")
"""Of Asterisk's logs, unless ``astlogdir`` says otherwise."""
NUMBERS_MAX = 20_000
"""Of so many it is looked whether they have a mailbox."""
SHARED_MAX = 10
"""Mail addresses that several accounts have, of which each is told; and accounts of one that are named."""
SYSTEMD_SECONDS = 5
DNS_SECONDS = 5.0
"""In which the DNS answers, or does not."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    number: str
    """As the carrier writes it."""
    context: str
    """Where the carrier's calls arrive."""
    target: str | None = None
    """Where the call is forwarded to, as the books see it; it is not dialled."""


def findings(file: Path, live: bool, call: Wanted | None = None) -> Iterator[CheckResult]:
    """Everything that was looked at, as it was found. A missing secret is one problem among the others."""
    try:
        check_there(file)
        document = read_document(file)
        settings = validate(document, Settings)
    except ConfigError as error:
        yield from (problem("config", str(one)) for one in error.problems)
        yield unknown("rest", "tariff, prompts, ledger and switch: mend the settings first, then check again")
        return
    config, problems = completed(document, settings)
    config = config and without_unread(config)
    yield from (problem("config", str(one)) for one in sorted_problems(problems))
    if not problems:
        yield ok("config", str(file))
    yield from _writable(file, settings)
    yield from _unreadable(file, settings)
    yield from _tariff(settings)
    yield from _prompts(settings.switch.prompts_dir_on_switch)
    yield from _templates(settings.mail)
    yield from _mail(config, settings.mail)
    yield from _places(settings)
    yield from _ledger(settings)
    if not settings.sandbox:
        yield from _spool(settings)
    yield from _proxies(settings)
    yield from _payments(config, settings)
    yield from _webhooks(config, settings)
    yield from _openid(settings)
    if settings.fax is not None:
        yield from _fax_programs()
        yield _fax_mail(settings.fax)
        yield from _shared_mail(settings, settings.fax)
        yield from _fax_sandbox(settings.fax)
        yield from _fax_room(settings.fax)
    if live or call is not None:
        yield from _live(config, settings)
    if config is not None and call is not None:
        yield from rehearsed(config, call)


def _writable(file: Path, settings: Settings) -> Iterator[CheckResult]:
    """What others could change, or put another in its place: whom the daemon believes, what calls cost, what runs as
    the daemon (templates are programs), and what subscribers hear."""
    files = [file, *files_of(settings.tariff), *_files_named_in(settings)]
    if settings.mail is not None and (templates := settings.mail.templates) is not None:
        files.append(templates)
        with suppress(OSError):  # why, is told where they are read
            files += (*templates.glob("*"), *templates.glob("*/*"))
    folders = dict.fromkeys(part for one in files for part in (one.resolve(), one.parent, one.resolve().parent))
    ours = _groups_of_the_daemon(settings)
    for path in folders:
        if whose := _may_write(path, ours):
            who, cure = whose
            yield warning("config", f"{path}: {who} may write there; chmod {cure} {path}")
    prompts = Path(settings.switch.prompts_dir_on_switch)
    every = (part for one in PROMPTS for part in (prompts, Path(prompts, one).parent, Path(prompts, one)))
    for path in dict.fromkeys(every):
        if _may_write(path, None):
            yield warning("prompts", f"{path}: every user of this machine may write there; chmod o-w {path}")


def _files_named_in(settings: Settings) -> Iterator[Path]:
    """Secrets, and certificates of whom is believed."""
    sections = (settings.switch.ami, settings.ledger, settings.mail, settings.console, settings.customer_page)
    for section in (*sections, *settings.webhooks):
        for name, value in section or ():
            if name.endswith("_file") and isinstance(value, Path):
                yield value


def _may_write(path: Path, ours: Collection[int] | None) -> tuple[str, str] | None:
    """Who else than its owner and the groups ``ours`` (``None``: whatever group) may, and what takes it from them."""
    try:
        status = path.stat()
    except OSError:  # why, is told where it is read
        return None
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return None  # there nobody puts a file in the place of another's
    if status.st_mode & stat.S_IWOTH:
        return "every user of this machine", "o-w"
    if ours is None or status.st_gid in ours or not status.st_mode & stat.S_IWGRP:
        return None
    group = _name_of(grp.getgrgid, status.st_gid)
    own = group == _name_of(pwd.getpwuid, status.st_uid)  # as many systems give each user one of his own
    return None if own else (f"every user of the group {group}", "g-w")


def _name_of(ask: Callable[[int], tuple[Any, ...]], number: int) -> str:
    try:
        return str(ask(number)[0])
    except KeyError:
        return str(number)


def _groups_of_the_daemon(settings: Settings) -> set[int]:
    """Those of who runs this, and root's; if that is root, of whoever has the daemon's folders."""
    if os.geteuid() != 0:
        return {0, os.getegid(), *os.getgroups()}
    return {0, *(one.st_gid for one in _folders_of_the_daemon(settings))}


def _folders_of_the_daemon(settings: Settings) -> list[os.stat_result]:
    file = settings.ledger.sqlite_file
    folders = (settings.control.socket.parent, *(() if file is None else (file.parent,)))
    return [one.stat() for one in folders if os.path.isdir(one)]


def _unreadable(file: Path, settings: Settings) -> Iterator[CheckResult]:
    """What the daemon's user may not read, if root looks, who may read everything: the daemon would not start."""
    uid = next((one.st_uid for one in _folders_of_the_daemon(settings) if one.st_uid), 0)
    if os.geteuid() != 0 or not uid:
        return
    who = _name_of(pwd.getpwuid, uid)
    try:
        groups = os.getgrouplist(who, pwd.getpwuid(uid).pw_gid)
    except KeyError:
        groups = []
    closed = {one for one in _files_named_in(settings) if not _may_read(one, uid, groups)}
    passed_on = _passed_on() if closed else None
    for one in sorted(one for one in closed if f"{one.name}:{one}" not in (passed_on or ())):
        line = f"LoadCredential={one.name}:{one}"
        cure = (
            f"unless its unit has {line}"
            if passed_on is None
            else f"put {line} into its unit (systemctl edit charging)"
        )
        yield warning("config", f"{one}: the daemon's user {who} may not read it, and so it does not start; {cure}")
    for one in (file, *files_of(settings.tariff)):
        if not _may_read(one, uid, groups):
            yield warning("config", f"{one}: the daemon's user {who} may not read it; chgrp it to his group, chmod g+r")


def _may_read(path: Path, uid: int, groups: Collection[int]) -> bool:
    """By the modes of the file, and of the folders on the way to it; ``True`` if it is not there."""
    there = path.resolve()
    for one, right in (*((folder, stat.S_IXOTH) for folder in there.parents), (there, stat.S_IROTH)):
        try:
            status = one.stat()
        except OSError:
            return True
        bits = status.st_mode >> (6 if status.st_uid == uid else 3 if status.st_gid in groups else 0)
        if not bits & right:
            return False
    return True


def _passed_on() -> set[str] | None:
    """What systemd passes on to the daemon, as NAME:FILE; ``None``: there is no systemd here, or no such unit. It shows
    no property that has it."""
    command = ("systemctl", "cat", "charging")
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SYSTEMD_SECONDS)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found: set[str] = set()
    for line in ran.stdout.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "LoadCredential":
            found = found | {value.strip()} if value.strip() else set()
    return found


def _tariff(settings: Settings) -> Iterator[CheckResult]:
    file = settings.tariff
    try:
        tariff = tariff_that_counts(settings, SystemClock())
    except ConfigError as error:
        yield from (problem("tariff", str(one)) for one in error.problems)
        return
    if tariff.refused:
        yield from (problem("tariff", str(one)) for one in tariff.refused)
        yield ok("tariff", f"the one before goes on: revision {tariff.revision}, digest {tariff.digest}")
        return
    yield from (warning("tariff", str(one)) for one in tariff.warnings)
    if settings.ledger.sqlite_file is None and settings.editions.folder is None:
        hint = "name a folder that outlives a restart by editions.folder"
        yield warning("tariff", f"a deck that waits to be accepted counts after a restart of the machine: {hint}")
    yield ok("tariff", f"{file}: revision {tariff.revision}, digest {tariff.digest}, plans {', '.join(tariff.plans)}")


def _prompts(folder: str) -> Iterator[CheckResult]:
    """No problems: calls are charged without a warning to the subscriber."""
    missing = missing_prompts(folder)
    if missing is None:
        if why := next(filter(None, (closed_on_the_way(Path(folder, one).parent) for one in PROMPTS)), ""):
            yield warning("prompts", f"{folder}: not looked at, for {why}; check as a user who may, as Asterisk must")
            return
        hint = "the switch needs the project's prompts/ there, or say in prompts_dir_on_switch where they are"
        yield warning("prompts", f"{folder}: no such folder on this machine; {hint}")
    elif missing:
        for one in missing:
            yield warning("prompts", f"{folder}/{one}: no such file; copy the project's prompts/ there")
    else:
        yield ok("prompts", f"{folder}: {len(PROMPTS)} files")


def _templates(mail: Mail | None) -> Iterator[CheckResult]:
    """Of the operator's own. No problems, since calls are charged without mails."""
    if mail is None or mail.templates is None:
        return
    wrong = wrong_templates(mail)
    yield from (warning("templates", one) for one in wrong)
    if not wrong:
        yield ok("templates", str(mail.templates))


def _mail(config: Config | None, mail: Mail | None) -> Iterator[CheckResult]:
    """Whether the mail server is there; a warning, since mails wait."""
    if mail is None or config is None:
        return
    trouble = asyncio.run(mail_trouble(mail, config.mail_password))
    yield warning("mail", trouble) if trouble else ok("mail", f"{mail.host}:{mail.port} ({mail.tls}) answers")


def _places(settings: Settings) -> Iterator[CheckResult]:
    """Where the daemon is about to listen and to write. One that runs has all of it."""
    if daemon_answers(settings.control.socket):
        return
    yield from (problem("ports", text) for text in taken_addresses(settings))
    yield from (problem("limits", text) for text in too_few_descriptors(settings))
    yield from (problem("control", text) for text in unusable_socket(settings))
    yield from (problem("logs", text) for text in unusable_log_file(settings))
    yield from (warning("tariff", text) for text in unusable_editions_folder(settings))
    yield from (warning("fax", text) for text in unusable_fax_folder(settings))


def _ledger(settings: Settings) -> Iterator[CheckResult]:
    file = settings.ledger.sqlite_file
    if file is not None and not os.path.exists(file) and not daemon_answers(settings.control.socket):
        unusable = [problem("ledger", text) for text in unusable_ledger_folder(settings)]
        made = ok("ledger", f"{file}: not there yet; the daemon makes it, or the first `charging account add`")
        yield from unusable or [made]
        return
    try:
        with connected(settings) as client:
            client.get("/health")
            warnings = client.get("/ledger/warnings")["items"]
            how = "the running daemon answers" if client.daemon else "opens; no daemon runs"
            if not client.get("/accounts", {"limit": 1})["items"]:
                how += "; IT HAS NO ACCOUNT (if it had any, another ledger is open: look at ledger.url and its disk)"
    except ConfigError:
        yield unknown("ledger", f"{settings.ledger.url}: not opened without its password")
    except LedgerMissing as error:
        yield from _missing_ledger(settings, str(error))
    except ChargingError as error:
        yield problem("ledger", str(error))
    else:
        yield from (warning("ledger", text) for text in warnings)
        yield ok("ledger", f"{settings.ledger.url}: {how}")


def _missing_ledger(settings: Settings, why: str) -> Iterator[CheckResult]:
    """Of a Redis without one: what is to be mended before it is begun. No problem, unless a daemon is on it."""
    if daemon_answers(settings.control.socket):
        yield problem("ledger", why)
        return
    from charging.cli.in_process import store_of

    async def unsafe() -> Sequence[str]:
        store = store_of(settings)
        try:
            with suppress(LedgerCorrupt):  # for there is none
                await store.ping()
            return await store.warnings()
        finally:
            await store.close()

    try:
        yield from (warning("ledger", text) for text in asyncio.run(unsafe()))
        yield ok("ledger", f"{settings.ledger.url}: {why}")
    except ChargingError as error:
        yield problem("ledger", str(error))


def _spool(settings: Settings) -> Iterator[CheckResult]:
    """Whether callers who fill a disk with messages, faxes or lines of Asterisk's log fill what all calls need."""
    folder, file = settings.switch.voicemail_dir_on_switch, settings.ledger.sqlite_file
    needed = {"the ledger": file and file.parent, "Asterisk's AstDB (the black box)": ASTDB_FOLDER}
    rotates = f"give {LOG_FOLDER} a file system or a quota of its own"
    for written, how, cure in (
        (
            folder,
            "can send audio faster than time",
            "give it, and CHARGING_FAX_IN, a file system or a quota of their own",
        ),
        (str(LOG_FOLDER), "can have Asterisk log a line for each packet", rotates),
    ):
        if beside := [what for what, where in needed.items() if where and on_one_disk(written, where)]:
            what = f"{written}: strangers write to the same file system as {' and '.join(beside)}"
            yield warning("switch", f"{what}, and can {how}; {cure}")


def _openid(settings: Settings) -> Iterator[CheckResult]:
    """Whether people can log in to the console by the login provider; a warning, since passwords do without."""
    if (console := settings.console) is None or console.openid_issuer is None:
        return
    from charging.web.console.openid import trouble

    if why := asyncio.run(trouble(console)):
        yield warning("console", f"nobody can log in by {console.openid_issuer}: {why}; names and passwords work")
    else:
        back = f"{console.openid_url}{OPENID_BACK}"
        yield ok("console", f"{console.openid_issuer} answers; it must send browsers back to {back}")


def _proxies(settings: Settings) -> Iterator[CheckResult]:
    """Whether visitors can be told apart by their addresses, by which bad links, hooks and logins are counted.
    Warnings, since calls do without."""
    page, console = settings.customer_page, settings.console
    for name, section, url, what in (
        ("customer_page", page, page and page.url, "bad links"),
        ("console", console, console and console.openid_url, "logins"),
    ):
        if section and not section.trusted_proxies and urlsplit(url or "").scheme == "https":
            why = "all visitors seem to come from the proxy that speaks TLS, so one stranger's"
            cure = f"name the proxy by {name}.trusted_proxies"
            yield warning(name.replace("_", " "), f"{why} {what} keep all others out: {cure}")
    for name, trusting in (("api", settings.api), ("console", console), ("customer_page", page)):
        if every := [one for one in (trusting.trusted_proxies if trusting else ()) if one.endswith("/0")]:
            what = f"{name}.trusted_proxies has {every[0]}, which is every address"
            why = "each visitor says himself where he comes from, and no bound by address holds"
            yield warning(name.replace("_", " "), f"{what}: {why}; name the proxy's own address")


def _payments(config: Config | None, settings: Settings) -> Iterator[CheckResult]:
    """Whether what customers pay is real, and the provider can tell us of it. Warnings, since calls do without."""
    page = settings.customer_page
    if page is None or page.payment_provider == "none" or config is None or config.payment_key is None:
        return
    provider, found = page.payment_provider, False
    if not settings.sandbox and config.payment_key.get_secret_value().startswith(TEST_KEYS):
        found = True
        hint = "name the live one by customer_page.payment_key_file, or use a sandbox"
        yield warning("payments", f"the key of {provider} is one of its test mode, which credits without money: {hint}")
    if _is_private(urlsplit(page.url).hostname or ""):
        found = True
        hint = "say in customer_page.url where they are reached from outside"
        yield warning("payments", f"{provider} cannot tell {page.url}/hooks/{provider} what was paid: {hint}")
    if not found:
        yield ok("payments", f"{provider}, which tells {page.url}/hooks/{provider}")


def _webhooks(config: Config | None, settings: Settings) -> Iterator[CheckResult]:
    """Whether each program that is told what happens can be, and has taken everything. Warnings, since calls do
    without."""
    if config is None or not settings.webhooks:
        return
    from charging.web.signed_post import Hook, Receiver  # talks to them: only here

    async def reach(hook: Hook) -> str:
        receiver = Receiver(hook, SystemClock())
        try:
            return await receiver.answers()
        finally:
            await receiver.close()

    try:
        with connected(settings) as client:
            states = {one["name"]: one for one in client.get("/webhooks")["items"]}
    except ChargingError:  # as the ledger's findings say
        states = {}
    for one, secret in zip(config.settings.webhooks, config.webhook_secrets, strict=True):
        found = []
        if why := asyncio.run(reach(Hook.of(one, secret.get_secret_value()))):
            found.append(f"{one.name}: {one.url} cannot be told anything: {why}")
        state = states.get(one.name, {"off": False, "dead": 0})
        if state["off"]:
            found.append(f"{one.name}: it has answered 410, so nothing is sent; `charging webhook resend {one.name}`")
        if dead := state["dead"]:
            found.append(f"{one.name}: {dead} events were refused for a day: `charging webhook letters {one.name}`")
        yield from (warning("webhooks", text) for text in found)
        if not found:
            yield ok("webhooks", f"{one.name}: {one.url} answers; `charging webhook test {one.name}` posts something")


def _is_private(host: str) -> bool:
    """Whether a host is known not to be reached from outside; of a name that is known of ``localhost`` alone."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _fax_programs() -> Iterator[CheckResult]:
    if missing := [program for program in PACKAGES if shutil.which(program) is None]:
        install = f"apt-get install {' '.join(dict.fromkeys(PACKAGES[program] for program in missing))}"
        yield warning("fax", f"no fax can be sent without {', '.join(missing)}: {install}")
    else:
        yield ok("fax", f"{', '.join(PACKAGES)} are there")


def _fax_mail(fax: Fax) -> CheckResult:
    if not fax.mail_from_counts:
        own = "only those sent to an account's own address are faxed (`charging fax address new`)"
        return ok("fax", f"of faxes by mail {own}; to take those that customers send from theirs: fax.mail_from_counts")
    try:
        Dns(fax.mail_dns, seconds=DNS_SECONDS)(".", "TXT")
    except Unanswered as error:
        return warning("fax", f"faxes by mail wait, for nothing proves who sent them: {error}; see fax.mail_dns")
    by = "DKIM" if fax.mail_from_counts == "dkim" else "DKIM or SPF"
    return ok("fax", f"faxes by mail are taken if {by} proves their From; the DNS answers")


def _shared_mail(settings: Settings, fax: Fax) -> Iterator[CheckResult]:
    """Customers whose faxes are not taken from their mail address, for two have it. Warnings, since calls do without;
    none where the ledger does not answer, which is told elsewhere."""
    if not fax.mail_from_counts:
        return
    having = defaultdict[str, list[str]](list)
    with suppress(ChargingError), connected(settings) as client:
        for one in client.items("/accounts"):
            if one["email"] and one["status"] != Status.CLOSED:
                having[folded(one["email"])].append(one["id"])
    shared = [accounts for accounts in having.values() if len(accounts) > 1]
    for accounts in shared[:SHARED_MAX]:
        yield warning("fax", f"accounts {', '.join(accounts[:SHARED_MAX])} have one mail address: {SHARED}")
    if more := shared[SHARED_MAX:]:
        yield warning("fax", f"{len(more)} more mail addresses are those of several accounts (`charging account list`)")


def _live(config: Config | None, settings: Settings) -> list[CheckResult]:
    if config is None:
        return [unknown("switch", "not looked at without the AMI secret")]
    from charging.cli.check_live import live_findings  # talks to the switch: only here

    return asyncio.run(live_findings(config, _mailboxes(settings)))


def rehearsed(config: Config, call: Wanted) -> Iterator[CheckResult]:
    """A call, made and looked at."""
    from charging.cli.check_call import rehearse  # talks to the switch: only here

    try:
        yield from rehearse(config, call)
    except ChargingError as error:
        yield problem("rehearsal", str(error))


def _mailboxes(settings: Settings) -> dict[str, str]:
    """That of each number; none where the ledger does not answer, which is told elsewhere."""
    try:
        with connected(settings) as client:
            numbers = list(client.items("/numbers", limit=NUMBERS_MAX))
    except ChargingError:
        return {}
    return {each["number"]: each["mailbox"] or each["number"].removeprefix("+") for each in numbers}


def _fax_room(fax: Fax) -> Iterator[CheckResult]:
    """Whether documents are read at all: not where their disk is nearly full."""
    there = next(one for one in (fax.folder, *fax.folder.parents) if os.path.exists(one))
    free = free_bytes(there)
    if free is not None and free < ROOM_BYTES:
        what = f"{free // 1_000_000} MB are free on the disk of {fax.folder}, and below {ROOM_BYTES // 1_000_000}"
        yield warning("fax", f"NO FAX IS SENT: {what} no document is read; make room, or give it a disk of its own")


def _fax_sandbox(fax: Fax) -> Iterator[CheckResult]:
    """Whether what reads strangers' documents can be shut in here. Warnings, since calls do without faxes."""
    if not (why := sandbox.missing()):
        yield ok("fax", "documents are read in a sandbox (Landlock and seccomp)")
    elif fax.sandbox == "required":
        yield warning("fax", f"NO FAX IS SENT: {why}; or set fax.sandbox to where_available, and take the risk")
    else:
        text = f"STRANGERS' DOCUMENTS ARE READ BY PROGRAMS THAT SEE THE DAEMON'S FILES: {why}"
        yield warning("fax", f"{text}; fax.sandbox is where_available")
