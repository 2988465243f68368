"""What the daemon needs around itself: prompts, templates, ports, folders, the mail server.

``charging check`` examines all of it before the start, and the daemon reports it in the same words.
"""

from __future__ import annotations

import os  # its tests of paths, not Path's, which raise where a folder may not be entered
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

import structlog
from pydantic import SecretStr

from charging.call.running import PROMPT_CREDIT_LOW, PROMPT_MINUTES_LOW
from charging.clock import Clock
from charging.descriptors import raise_limit, shares, wanted
from charging.door import listen
from charging.engine.spool import RESERVE_BYTES, RESERVE_PART, Memory
from charging.errors import ChargingError, ConfigError, LedgerError
from charging.fax.folder import why_unwritable
from charging.files import closed_on_the_way, free_bytes
from charging.ledger.accounts import Language
from charging.ledger.metered import LedgerHealth, metered
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.ledger.sqlite.file import too_long
from charging.metrics import Metrics
from charging.notify.render import Operator, Templates
from charging.notify.render import problems as problems_of_templates
from charging.notify.settings import Mail
from charging.notify.smtp import Smtp
from charging.settings import LISTENERS, Config, Settings
from charging.tariff.accepted import Accepted, Brake
from charging.tariff.in_force import what_counts
from charging.tariff.tariff import Tariff
from charging.web.settings import FRONTS

log = structlog.get_logger("charging.app")

PROMPTS = tuple(
    f"{language}/{prompt}.wav" for language in Language for prompt in (PROMPT_CREDIT_LOW, PROMPT_MINUTES_LOW)
)
"""What subscribers hear in a call (R17), under the folder of the prompts."""
LEDGER_LOOK_S = 600
"""Between two looks at the settings of the ledger's servers."""
MAIL_S = 5
"""How long a mail server may take to say that it is there."""


def spool_free(folder: str) -> int | None:
    """The free bytes on the disk where the switch keeps messages; ``None`` if that is another machine's, or tells no
    size."""
    try:
        return free_bytes(folder)
    except OSError:
        return None


def on_one_disk(folder: str | Path, other: str | Path) -> bool:
    """Whether both are there, on one file system of this machine."""
    try:
        return os.stat(folder).st_dev == os.stat(other).st_dev
    except (OSError, ValueError):
        return False


def spool_free_of(settings: Settings) -> Callable[[], int | None]:
    """Return a function that measures it in bytes, by the settings."""
    return partial(spool_free, settings.switch.voicemail_dir_on_switch)


def memory_of(settings: Settings) -> Memory:
    """The memory of the switch's machine, if that has the switch's folders here."""
    total = _meminfo("MemTotal") or 0
    free = partial(_memory_free, settings.switch.voicemail_dir_on_switch)
    return Memory(free, min(RESERVE_BYTES, total // RESERVE_PART))


def _memory_free(folder: str) -> int | None:
    return _meminfo("MemAvailable") if os.path.isdir(folder) else None


def _meminfo(name: str) -> int | None:
    """In bytes, of proc(5)."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def accepted_of(settings: Settings) -> Accepted:
    """The tariff that counted last, and what a new edition may change without being accepted."""
    chosen = settings.editions
    return Accepted(settings.editions_folder, Brake(chosen.gone_percent, chosen.jump_factor, chosen.jump_percent))


def tariff_that_counts(settings: Settings, clock: Clock) -> Tariff:
    """Return the tariff that a daemon of these settings charges by. Raises ConfigError."""
    return what_counts(settings.tariff, accepted_of(settings), clock)


def missing_prompts(folder: str) -> list[str] | None:
    """The prompts that the folder lacks; ``None`` if this machine has no such folder, or this user may not enter it.
    The switch may be another machine, or see other folders than we do."""
    here = Path(folder)
    if not os.path.isdir(here) or any(closed_on_the_way(here / one.partition("/")[0]) for one in PROMPTS):
        return None
    return [one for one in PROMPTS if not os.path.isfile(here / one)]


def wrong_templates(mail: Mail | None) -> list[str]:
    """What is wrong with the operator's own mail templates. Calls are charged without mails."""
    if mail is None or mail.templates is None:
        return []
    if not os.path.isdir(mail.templates):
        why = closed_on_the_way(mail.templates) or "no such folder"
        return [f"mail.templates: {mail.templates}: {why}; mails have the shipped words"]
    own = Templates(Operator(mail.sender_name, mail.top_up_url), mail.templates)
    return [f"{one}; such mails are not sent until it is mended" for one in problems_of_templates(own)]


def taken_addresses(settings: Settings) -> Iterator[str]:
    """Which sections of the settings cannot listen where they say, and why. Only meaningful while no daemon of these
    settings runs. All are held until the last was tried: two of them may be one address by two names."""
    held: dict[int, str] = {}
    with ExitStack() as sockets:
        for section in LISTENERS:
            if (wanted := getattr(settings, section)) is None:
                continue
            try:
                for one in listen(wanted.host, wanted.port, section):
                    sockets.enter_context(one)
                held[wanted.port] = section
            except ChargingError as error:
                other = held.get(wanted.port)
                own = f"{section}.port: {wanted.host}:{wanted.port} is that of {other}; give each section its own"
                yield own if other else str(error)


def connections(settings: Settings) -> tuple[int, dict[str, int]]:
    """How many connections FastAGI may have at a time, and each other listener by its section's name."""
    others = {"control": settings.control.max_connections, "http": settings.http.max_connections}
    others |= {name: section.max_connections for name in FRONTS if (section := getattr(settings, name)) is not None}
    return settings.agi.max_connections, others


def too_few_descriptors(settings: Settings) -> Iterator[str]:
    """That this process may not hold so many open files as a daemon of these settings needs. A service has a limit of
    its own, by its unit."""
    calls, others = connections(settings)
    try:
        shares(raise_limit(wanted(calls, others)), calls, others)
    except ChargingError as error:
        yield str(error)


def unusable_socket(settings: Settings) -> Iterator[str]:
    """Why the control socket cannot be made; nothing if it can, or if its folder is made with the ledger."""
    file, folder = settings.ledger.sqlite_file, settings.control.socket.parent
    if file is not None and file.parent == folder and not os.path.exists(folder) and os.path.isdir(folder.parent):
        return
    from charging.web.listen import check_place  # a daemon that starts sees to its calls before it reads web servers

    with suppress(FileNotFoundError):  # of a socket that has just gone
        try:
            check_place(settings.control.socket)
        except ChargingError as error:
            yield str(error)


def unusable_ledger_folder(settings: Settings) -> Iterator[str]:
    """Why a new ledger cannot be made; nothing if it can, or if there is one."""
    file = settings.ledger.sqlite_file
    if file is None or os.path.exists(file):
        return
    if why := why_unwritable(file.parent) or too_long(file):
        yield f"ledger.url: {why}"


def unusable_fax_folder(settings: Settings) -> Iterator[str]:
    """Why documents for faxes cannot be kept; nothing if they can."""
    if settings.fax is not None and (why := why_unwritable(settings.fax.folder)):
        yield f"fax.folder: {why}; no fax is sent until it is mended"


def unusable_editions_folder(settings: Settings) -> Iterator[str]:
    """Why the tariff that counts cannot be kept; nothing if it can. Without a copy a restart knows none before it."""
    if why := why_unwritable(settings.editions_folder):
        yield f"editions.folder: {why}"


def unusable_log_file(settings: Settings) -> Iterator[str]:
    """Why the log's file cannot be written; nothing if it can, or if there is none. It is not made here."""
    if (file := settings.logs.file) is None:
        return
    if os.path.isdir(file):
        yield f"logs.file: {file} is a folder; name a file in it"
    elif not os.path.isdir(file.parent):
        why = closed_on_the_way(file.parent)
        cure = f"{why}; check as a user who may" if why else f"there is no folder {file.parent}; make it"
        yield f"logs.file: {file}: {cure}"
    elif not os.access(file if os.path.exists(file) else file.parent, os.W_OK):
        yield f"logs.file: {file} may not be written; give it to the daemon's user"


async def mail_trouble(mail: Mail, password: SecretStr | None) -> str:
    """Why the mail server cannot be used; empty: it can."""
    try:
        server = Smtp(mail.model_copy(update={"timeout_s": min(mail.timeout_s, MAIL_S)}), password)
        await server.open()
        await server.try_sender()
    except ConfigError as error:
        return f"{error}; mails wait in the ledger for {mail.give_up_after_h} h"
    except ChargingError as error:
        return (
            f"mail.host: {error}; mails wait in the ledger for {mail.give_up_after_h} h: mend it, or the section mail"
        )
    await server.close()
    return ""


def store_of(config: Config, clock: Clock, metrics: Metrics, health: LedgerHealth) -> Store:
    """Return the ledger of the settings, not open yet, with its operations measured. Raises ConfigError."""

    def measure(operation: str, outcome: str, seconds: float, times: int = 1) -> None:
        def count() -> None:
            for _ in range(times):
                metrics.ledger_operation_seconds.labels(operation, outcome).observe(seconds)

        metrics.later.do(count)
        health.heard(operation, outcome)

    store = open_store(
        config.settings.ledger.url,
        password=config.ledger_password,
        sentinel_password=config.sentinel_password,
        file=str(config.file),
        keeps_room=True,
    )
    return metered(store, clock, measure)


async def tell_what_loses_money(store: Store, clock: Clock) -> NoReturn:
    """Log what in the settings of the ledger's servers can lose money, for ever: they may change while it runs, and
    each server of a fail-over has its own."""
    told: set[str] = set()
    while True:
        with suppress(LedgerError):
            found = set(await store.warnings())
            for problem in sorted(found - told):
                log.warning("ledger_unsafe", problem=problem)
            told = found
        await clock.sleep_until(clock.now().plus(LEDGER_LOOK_S).mono_us)
