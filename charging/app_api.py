"""The public interface, the console and the customers' page in a process of their own: started by the daemon, ended
with it.

The process that decides calls does nothing else. This one reads the ledger by itself and hands changes on to the
daemon (`charging.web.forward`). The daemon holds the listening sockets, so that the addresses are taken for as long as
it runs, and starts the process with the first connection; what connects while it is restarted waits in the sockets'
queue. What the process has to know comes on its standard input, whose end tells that the daemon has ended, however
that came about.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import httpx
import structlog
from starlette.types import ASGIApp

from charging.app_surroundings import accepted_of
from charging.clock import MICROSECONDS, Clock, SystemClock, iso
from charging.door import CannotServe, DoorRefusal, listen
from charging.errors import ChargingError, ConfigError
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.logs import configure_logs
from charging.notify.outbox import Outbox, State
from charging.priority import give_way
from charging.service.live import NoCalls
from charging.service.operators import Operators
from charging.service.service import Service
from charging.service.tokens import USES_EVERY_S, Tokens
from charging.service.webhooks import Webhooks
from charging.settings import Config, Settings
from charging.tariff.in_force import TariffHere
from charging.tasks import Tasks, deaf_to_hangup
from charging.web.api import api_app
from charging.web.asks import Asks
from charging.web.console.app import console_app
from charging.web.console.openid import OpenId, ProviderAway, client_of
from charging.web.console.tariff_file import TariffFile
from charging.web.customers.app import PRIVATE, customers_app
from charging.web.customers.played import Double, Mollie, Stripe
from charging.web.customers.till import Till, till_of
from charging.web.forward import daemon_at
from charging.web.listen import Front, HttpLimits, serve_on
from charging.web.settings import Api, Console, CustomerPage
from charging.web.signed_post import Hook, Receiver
from charging.web.webhooks import DaemonsBook, Sender

PROGRAM = (sys.executable, "-P", "-m", "charging.app_api")
"""``-P``: as for `charging.tariff.reading`."""
PAUSE_S = 1
"""Before a process that has ended is restarted."""
DUTIES_S = 5
"""After which one with duties is restarted though nobody connects."""
ALIVE_S = 3
"""The process says so often that its loop turns."""
FROZEN_S = 30
"""After so long a silence it is ended, and restarted with the next connection. Also the time that it may take to
start. It is the process's own time: while others have the processor it is not frozen."""
LOOKS = 10
"""So often within it, so that a daemon that was itself frozen counts little of that time."""
PORTS_WAIT_S = 10
"""Who has the ports may be the process of a daemon that was killed just before: it ends once it has seen that."""
PORTS_LOOK_S = 0.2
END_S = 4
"""For requests in flight when the daemon ends; longer than the server itself gives them."""

MAIL_PAGES = 20
"""So many thousand notices are looked through for the mail's health."""

_WHYS = frozenset(one.value for one in DoorRefusal)

Turning = Callable[[str, str], None]
"""Told the front and why it turned someone away."""

log = structlog.get_logger("charging.api")


# --- in the daemon ---------------------------------------------------------------------------------------------------


async def keep_api(
    config: Config,
    clock: Clock,
    turned: Turning,
    program: Sequence[str] = PROGRAM,
    fronts: Mapping[str, asyncio.Event] | None = None,
    tariff_kept_in: Callable[[], Path] | None = None,
) -> NoReturn:
    """Serve the ``fronts`` (by default the public interface) until cancelled. ``turned`` is called with the front and
    the reason whenever a connection is refused. ``program`` is given the sockets' descriptors; a front's event is set
    once its socket listens. ``tariff_kept_in`` tells in which folder the process finds the tariff in force; by default
    in that of the settings. Raises CannotServe."""
    with contextlib.ExitStack() as held:
        listeners: dict[str, list[socket.socket]] = {}
        for front, listening in ({"api": asyncio.Event()} if fronts is None else fronts).items():
            section = getattr(config.settings, front)
            found = await _listen(section.host, section.port, front, clock)
            listeners[front] = [held.enter_context(one) for one in found]
            for one in listeners[front]:
                one.setblocking(False)
            listening.set()
        at_once = has_duties = _has_duties(config)
        while True:
            if not at_once:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(DUTIES_S if has_duties else None):
                        await _connection([one for of_front in listeners.values() for one in of_front])
            at_once = False
            told = config if tariff_kept_in is None else _finding_tariff(config, tariff_kept_in())
            code = await _run(told, listeners, turned, program)
            (log.error if code else log.info)("api_process_ended", code=code)
            await clock.sleep_until(clock.now().mono_us + PAUSE_S * MICROSECONDS)


async def _listen(host: str, port: int, front: str, clock: Clock) -> list[socket.socket]:
    """As `listen`, but a port that is taken is waited for for PORTS_WAIT_S. Raises CannotServe."""
    until_us, is_told = clock.now().plus(PORTS_WAIT_S).mono_us, False
    while True:
        try:
            return listen(host, port, front)
        except CannotServe as error:
            is_taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if not is_taken or clock.now().mono_us >= until_us:
                raise
            if not is_told:
                log.warning("port_waited_for", front=front, port=port, seconds=PORTS_WAIT_S, why=str(error))
            is_told = True
        await clock.sleep_until(clock.now().plus(PORTS_LOOK_S).mono_us)


def _finding_tariff(config: Config, folder: Path) -> Config:
    settings = config.settings
    editions = settings.editions.model_copy(update={"folder": folder})
    return replace(config, settings=settings.model_copy(update={"editions": editions}))


def _has_duties(config: Config) -> bool:
    """Whether the process must run although no client has connected: payments may have been made while it was down, or
    webhooks may be waiting."""
    page = config.settings.customer_page
    return bool(config.settings.webhooks) or (page is not None and page.payment_provider != "none")


async def _connection(listeners: Sequence[socket.socket]) -> None:
    """Return when a connection waits to be accepted."""
    loop, waiting = asyncio.get_running_loop(), asyncio.Event()
    for one in listeners:
        loop.add_reader(one, waiting.set)
    try:
        await waiting.wait()
    finally:
        for one in listeners:
            loop.remove_reader(one)


async def _run(
    config: Config, listeners: Mapping[str, Sequence[socket.socket]], turned: Turning, program: Sequence[str]
) -> int:
    """Run one process to its end; returns its exit code."""
    descriptors = [(front, one.fileno()) for front, of_front in listeners.items() for one in of_front]
    pipe = asyncio.subprocess.PIPE
    with deaf_to_hangup():
        process = await asyncio.create_subprocess_exec(
            *program,
            *(f"{front}={number}" for front, number in descriptors),
            stdin=pipe,
            stdout=pipe,
            pass_fds=[number for _, number in descriptors],
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(pickle.dumps(config))
        log.info("api_process_started", pid=process.pid)
        if not await _speaks_to_the_end(process.stdout, process.pid, turned):
            log.error("api_process_frozen", silent_s=FROZEN_S)
            process.kill()
        return await process.wait()
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _speaks_to_the_end(process: asyncio.StreamReader, pid: int, turned: Turning) -> bool:
    """Listen to the process until it ends. ``False`` if it has been silent for so long that it must be frozen."""
    look_s, silent_s, starved_s = FROZEN_S / LOOKS, 0.0, starved_for_s(pid)
    while True:
        try:
            async with asyncio.timeout(look_s):
                line = await process.readline()
        except TimeoutError:
            before_s, starved_s = starved_s, starved_for_s(pid)
            silent_s += max(0.0, look_s - (starved_s - before_s))
            if silent_s >= FROZEN_S:
                return False
            continue
        if not line:
            return True
        silent_s, starved_s = 0.0, starved_for_s(pid)
        front, _, why = line.decode().strip().partition(" ")
        if why in _WHYS:
            turned(front, why)


def starved_for_s(pid: int) -> float:
    """For how many seconds, from 0, a process's first thread has waited for a processor since it began. Linux tells it
    (/proc/PID/schedstat, Documentation/scheduler/sched-stats.rst); 0 if it does not."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


# --- in the process --------------------------------------------------------------------------------------------------


async def _watch(tariff: TariffHere, clock: Clock) -> NoReturn:
    """Notice edits of files, for ever. The daemon reports what is wrong with one."""
    while True:
        with contextlib.suppress(ConfigError):
            await tariff.watch()
        await clock.sleep_until(clock.now().mono_us + MICROSECONDS)


def _say(word: str) -> None:
    """To the daemon, which has the metrics."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), f"{word}\n".encode())


async def _stay_alive(clock: Clock) -> NoReturn:
    """Report from the event loop that it runs, for ever."""
    while True:
        _say("alive")
        await clock.sleep_until(clock.now().mono_us + ALIVE_S * MICROSECONDS)


async def _tell_uses(tokens: Tokens, daemon: httpx.AsyncClient, clock: Clock) -> NoReturn:
    """Report to the daemon, for ever, when tokens were last used: only the daemon writes."""
    waiting: dict[str, int] = {}
    while True:
        await clock.sleep_until(clock.now().plus(USES_EVERY_S).mono_us)
        waiting |= tokens.take_uses()
        if waiting:
            with contextlib.suppress(httpx.HTTPError):  # else the next time
                if (await daemon.post("http://daemon/tokens/uses", json={"uses": waiting})).is_success:
                    waiting = {}


async def _serve(
    config: Config, listeners: Mapping[str, Sequence[socket.socket]], daemon: BinaryIO, clock: Clock
) -> None:
    """Until the daemon closes its end of our standard input, or someone says so."""
    settings = config.settings
    store = open_store(
        settings.ledger.url,
        password=config.ledger_password,
        sentinel_password=config.sentinel_password,
        file=str(config.file),
        reads_only=True,
    )
    tariff = TariffHere(settings.tariff, clock, accepted_of(settings))
    service = _service(settings, store, tariff, clock)
    to_daemon = daemon_at(settings.control.socket)
    tokens = Tokens(store, clock)
    pages, to_provider = Asks(service, to_daemon, PRIVATE), httpx.AsyncClient()
    till = till_of(settings.customer_page, pages, to_provider, config.payment_key, config.payment_hook_secret)
    receivers = _receivers(config, clock)
    openid = openid_of(config, clock)
    played = played_provider(config, to_provider, clock)
    apps = _apps(settings, service, store, tokens, to_daemon, pages, till, openid, played)
    await store.open()
    duties, gone = Tasks(), asyncio.Event()
    try:
        loop = asyncio.get_running_loop()
        loop.add_reader(daemon, gone.set)
        for number in (signal.SIGTERM, signal.SIGINT):  # a supervisor or a terminal tells every process of the daemon
            loop.add_signal_handler(number, gone.set)
        duties.begin(_stay_alive(clock), "alive")
        duties.begin(_watch(tariff, clock), "tariff-watch")
        duties.begin(_tell_uses(tokens, to_daemon, clock), "token-uses")
        if till is not None:
            duties.begin(till.keep_looking(), "payments")
        for sender in _senders(config, receivers, service, Webhooks(store, clock), to_daemon):
            duties.begin(sender.keep_sending(), "webhook")
        for front, sockets in listeners.items():
            duties.begin(serve_on(apps[front](), sockets, _front(front, getattr(settings, front))), front)
        await duties.until(gone)
    finally:
        await duties.end()
        for one in receivers:
            await one.close()
        await to_provider.aclose()
        if openid is not None:
            await openid.close()
        await to_daemon.aclose()
        await store.close()


def _receivers(config: Config, clock: Clock) -> Sequence[Receiver]:
    """Return the receiver of each webhook, in the order of the settings."""
    hooks = zip(config.settings.webhooks, config.webhook_secrets, strict=True)
    return [Receiver(Hook.of(one, secret.get_secret_value()), clock) for one, secret in hooks]


def _senders(
    config: Config, receivers: Sequence[Receiver], service: Service, book: Webhooks, daemon: httpx.AsyncClient
) -> Sequence[Sender]:
    stream, books, sandbox = service.events, DaemonsBook(book, daemon), config.settings.sandbox
    return [Sender(one, stream, books, service.clock, sandbox=sandbox) for one in receivers]


class MailsShown:
    """Shows the console the mails to subscribers."""

    def __init__(self, store: Store, are_sent: bool) -> None:
        self._outbox = Outbox(store.documents)
        self._are_sent = are_sent

    async def of_account(self, account: str) -> Sequence[Mapping[str, Any]]:
        entries = sorted(await self._outbox.of_account(account), key=lambda one: -one.notice.at_us)
        return [
            {"at": iso(one.notice.at_us), "kind": one.notice.kind, "state": one.state, "why": one.why}
            for one in entries
        ]

    async def health(self) -> tuple[bool, str]:
        if not self._are_sent:
            return True, "no mail is sent: the settings have no section mail"
        waiting, given_up, why, after = 0, 0, "", ""
        for _ in range(MAIL_PAGES):
            if not (page := await self._outbox.entries(after)):
                break
            after = page[-1].document.id
            failing = [one for one in page if one.state is State.WAITING and one.attempts]
            waiting += len(failing)
            given_up += sum(one.state is State.GIVEN_UP for one in page)
            why = failing[-1].why if failing else why
        told = f"{waiting} wait after a failed attempt ({why})" if waiting else "none waits after a failed attempt"
        return not waiting, f"{told}; {given_up} were given up in the last 90 days"


def _front(front: str, section: Api | Console | CustomerPage) -> Front:
    limits = HttpLimits(section.max_connections)
    return Front(front, limits, section.trusted_proxies, lambda why: _say(f"{front} {why.value}"))


def openid_of(config: Config, clock: Clock) -> OpenId | None:
    """Return the console's login by OpenID, if the settings have one. It uses an HTTP client of its own: a login
    provider that hangs must not hold up payments."""
    console = config.settings.console
    if console is None or console.openid_issuer is None or config.openid_secret is None:
        return None
    try:
        return OpenId(console, config.openid_secret.get_secret_value(), clock, client_of(console))
    except ProviderAway as away:  # names and passwords work, and the API and payments have nothing to do with it
        log.warning("console_openid_away", error=str(away))
        return None


def _service(settings: Settings, store: Store, tariff: TariffHere, clock: Clock) -> Service:
    return Service(
        store=store,
        tariff=tariff.current,
        clock=clock,
        funds_changed=lambda _account: None,
        live=NoCalls(beside=settings.switch.id),
        answer_tolerance_ms=settings.charging.answer_tolerance_ms,
    )


def played_provider(config: Config, http: httpx.AsyncClient, clock: Clock) -> Double | None:
    """Return the payment provider that a sandbox plays itself: if the settings look for it where the customers' page
    is. ``None`` where money is real, whatever they say. ``http`` tells the hooks."""
    page = config.settings.customer_page
    if not config.settings.sandbox or page is None or config.payment_key is None or page.payment_url != page.url:
        return None
    key, secret = config.payment_key.get_secret_value(), ""
    if config.payment_hook_secret is not None:
        secret = config.payment_hook_secret.get_secret_value()
    way = Mollie() if page.payment_provider == "mollie" else Stripe()

    def now_s() -> int:
        return clock.now().wall_us // MICROSECONDS

    return Double(way, key, secret, page.url, f"{page.url}/hooks/stripe", http, now_s)


def _apps(
    settings: Settings,
    service: Service,
    store: Store,
    tokens: Tokens,
    daemon: httpx.AsyncClient,
    pages: Asks,
    till: Till | None,
    openid: OpenId | None,
    played: Double | None,
) -> Mapping[str, Callable[[], ASGIApp]]:
    """Return what makes each front's application."""
    fax_bytes_max = settings.fax.max_bytes if settings.fax is not None else None

    def api() -> ASGIApp:
        assert settings.api is not None, "that is why we run"
        return api_app(
            service, tokens, settings.api, fax_bytes_max=fax_bytes_max, daemon=daemon, sandbox=settings.sandbox
        )

    def console() -> ASGIApp:
        assert settings.console is not None, "that is why we run"
        operators, mails = Operators(store.documents, service.clock), MailsShown(store, settings.mail is not None)
        file = TariffFile(settings.tariff, accepted_of(settings))
        hooks = Webhooks(store, service.clock, [one.name for one in settings.webhooks])
        return console_app(
            Asks(service, daemon),
            operators,
            settings.console,
            mails,
            file,
            openid=openid,
            tokens=tokens,
            hooks=hooks,
            sandbox=settings.sandbox,
        )

    def customer_page() -> ASGIApp:
        assert settings.customer_page is not None, "that is why we run"
        beside = () if played is None else played.routes()
        return customers_app(
            pages, settings.customer_page, till, fax_bytes_max=fax_bytes_max, sandbox=settings.sandbox, beside=beside
        )

    return {"api": api, "console": console, "customer_page": customer_page}


def main(descriptors: Sequence[str], clock: Clock) -> int:
    """Run the process; returns its exit code."""
    give_way()
    daemon = sys.stdin.buffer
    config: Config = pickle.load(daemon)  # noqa: S301  the daemon that has started us wrote it
    logs = config.settings.logs
    configure_logs(logs.format, logs.level, clock=clock, file=logs.file)
    listeners: dict[str, list[socket.socket]] = {}
    for one in descriptors:
        front, _, number = one.partition("=")
        listeners.setdefault(front, []).append(socket.socket(fileno=int(number)))
    try:
        asyncio.run(_serve(config, listeners, daemon, clock))
    except (ChargingError, OSError) as error:
        log.error("api_process_failed", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], SystemClock()))
