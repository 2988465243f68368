"""The composition root: the one place, besides the command line, that knows every part.

`run` starts a daemon and returns when it is told to stop (SIGTERM, SIGINT) or when one of its tasks has failed: a
failure is loud, the supervisor restarts the daemon, and the ordinary start is the recovery. SIGHUP reloads.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, NoReturn

import structlog

from agi.routes import routes_for
from agi.server import AgiLimits, AgiOutcome, AgiServer
from charging import __version__
from charging.app_notices import Notices
from charging.app_start import CALLS_FIRST_S, ROUNDS_WAIT_S, calls_come_first, collect, spare_collector, upgrade_ledger
from charging.app_surroundings import (
    accepted_of,
    connections,
    mail_trouble,
    missing_prompts,
    store_of,
    tell_what_loses_money,
    unusable_fax_folder,
    wrong_templates,
)
from charging.app_switch import fax_line_of, fit_of, lease_of, start_of, switch_of, watches_of
from charging.asterisk.control import CallControl
from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.translate import translate
from charging.call.decide import NO_ROOM, OVERLOADED
from charging.call.model import LoopEvidence, Policy, State
from charging.clock import Clock, SystemClock, iso
from charging.descriptors import raise_limit, shares, wanted
from charging.door import Admits
from charging.engine.black_boxes import BlackBoxes
from charging.engine.desk import Desk, nobody_is_told
from charging.engine.findings import Findings
from charging.engine.leadership import LeaseKeeper
from charging.engine.ledger_room import LedgerRoom
from charging.engine.left_messages import LeftMessages
from charging.engine.left_open import LeftOpen
from charging.engine.observer import MeteredMail, MeteredObserver
from charging.engine.one_switch import OneSwitch
from charging.engine.overload import CrowdWatch, LoadWatch
from charging.engine.ports import Observer
from charging.engine.recovery import Recovery
from charging.engine.sessions import OpenSessions, Registry
from charging.engine.spool import MemoryWatch, SpoolWatch
from charging.engine.undecided import Undecided
from charging.errors import ChargingError, LedgerError
from charging.fax import sandbox
from charging.fax.desk import FaxDesk
from charging.fax.folder import DocumentFolder, FolderSettings
from charging.ledger.metered import LedgerHealth
from charging.ledger.port import Store
from charging.metrics import Metrics
from charging.sandbox import ground
from charging.sandbox.desk import Telephones
from charging.sandbox.papers import PlayedPapers
from charging.sandbox.switch import PlayedSwitch
from charging.service.caretaker import Caretaker
from charging.service.decisions import DecisionKeeper
from charging.service.live import call_view
from charging.service.privacy import NumberHider
from charging.service.proven_time import ProvenTime
from charging.service.trail import Trail
from charging.settings import Config
from charging.sources import Sources
from charging.supervisor import Supervisor
from charging.tariff.in_force import TariffInForce
from charging.tasks import Tasks
from charging.web.settings import FRONTS

log = structlog.get_logger("charging.app")

STDERR = 2

PROBE_S = 5
"""Between looks whether the ledger takes what is written."""

SHARED_POLL_S = 1
"""A top-up made at another daemon reaches a call that is running out within this time (R22)."""

_PHASES = {State.RESERVED: "setup", State.RINGING: "setup", State.RUNNING: "running"}


@dataclass(frozen=True, slots=True)
class Engine:
    """A daemon's parts, wired and not started."""

    config: Config
    clock: Clock
    metrics: Metrics
    store: Store
    ledger_health: LedgerHealth
    tariff: TariffInForce
    link: AmiLink | PlayedSwitch
    control: CallControl | None
    """``None``: the switch is played."""
    registry: Registry
    recovery: Recovery
    black_boxes: BlackBoxes
    load: LoadWatch
    room: LedgerRoom
    spool: SpoolWatch
    memory: MemoryWatch
    lease: LeaseKeeper
    one_switch: OneSwitch
    sources: Sources
    agi: AgiServer
    fax: FaxDesk | None
    """``None``: no faxes are sent."""
    caretaker: Caretaker
    decisions: DecisionKeeper
    notices: Notices | None
    """``None``: nobody is told anything."""
    supervisor: Supervisor
    telephones: Telephones | None
    """Those of a sandbox."""
    api_program: Sequence[str] | None = None
    """What the process of the public interface runs; ``None``: as shipped."""

    def heard(self, message: AmiMessage) -> None:
        """The switch has sent an event: give it to its session."""
        if (event := translate(message)) is not None and self.control is not None:
            self.control.observe(event)
            self.registry.deliver(event)

    def follow_switch(self) -> Coroutine[Any, Any, NoReturn]:
        """Handle the events of the switch, for ever, and reconcile whenever the link comes up."""
        if isinstance(self.link, PlayedSwitch):
            return self.link.run(self.registry.deliver, self.recovery.reconcile)
        return self.link.run(self.heard, self.recovery.reconcile)

    async def calls_come_first(self, most_s: float) -> None:
        """Return when the running calls are paid ahead again, or after this many seconds."""
        await calls_come_first(self.clock, self.link, self, most_s)

    def are_paid_ahead(self) -> bool:
        """Whether running calls need no more of a start: another daemon has them, or all were found and are paid."""
        if not self.lease.holds:
            return self.lease.is_known
        return self.recovery.has_restored and self.registry.open.are_paid_ahead()

    async def after_calls(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a duty when the running calls are paid ahead again."""
        try:
            await self.calls_come_first(ROUNDS_WAIT_S)
            await work
        finally:
            work.close()  # if the daemon stopped before it began

    def touched(self, account: str) -> None:
        """The account's credit, plan, numbers or settings have changed: a notice may be due."""
        if self.notices is not None:
            self.notices.touched(account)

    def ailing(self) -> dict[str, str]:
        """What keeps calls from being forwarded now, for ``/health``; empty if nothing does."""
        found = {"ledger": self.ledger_health.why, "ami": "" if self.link.is_up else str(self.link.state.value)}
        found["switch"] = "another has its switch.id" if self.one_switch.is_another else ""
        return {part: why for part, why in found.items() if why}

    async def reload(self) -> list[str]:
        """Read tariff, decks, templates and prompts again, now, and return what is wrong with them. A wrong tariff or
        template changes nothing. (A log file that was moved is reopened by itself.)"""
        self.supervisor.tell(RELOADING=1)
        problems = [
            f"tariff: {problem}; revision {self.tariff.current().revision} stays in force"
            for problem in await self.tariff.read_now()
        ]
        problems += await asyncio.to_thread(self.look_around)
        self.supervisor.tell(READY=1, STATUS=self.status())
        tariff = self.tariff.current()
        log.info("reload_done", revision=tariff.revision, digest=tariff.digest, problems=len(problems))
        return problems

    def look_around(self) -> list[str]:
        """Log what is wrong with things that calls can do without: missing prompts, the operator's own mail
        templates, faxes."""
        settings = self.config.settings
        folder = settings.switch.prompts_dir_on_switch
        missing = missing_prompts(folder) or []
        self.metrics.prompts_missing.set(len(missing))
        problems = [f"prompts: {folder}/{one}: no such file; copy the project's prompts/ there" for one in missing]
        problems += [*(f"templates: {one}" for one in wrong_templates(settings.mail)), *unusable_fax_folder(settings)]
        problems += [f"{one.path.partition('.')[0]}: LEFT OUT until a restart: {one}" for one in self.config.unread]
        for problem in problems:
            log.error("surroundings_wrong", problem=problem)
        if settings.fax and (why := sandbox.missing()):
            log.error("fax_sandbox_missing", why=why, setting=settings.fax.sandbox)
        return problems

    def status(self) -> str:
        """Return a line on the state of calls, for people."""
        calls = sum(one.answered is not None for one in self.registry.open.calls())
        why = [f"{part}: {reason}" for part, reason in self.ailing().items()]
        return f"{calls} calls; {'; '.join(why) or 'all is well'}"

    async def probe_ledger(self) -> NoReturn:
        """Write to the ledger now and then, so that `ailing` is right even while no call comes."""
        while True:
            with contextlib.suppress(LedgerError):
                self.room.saw(await self.store.ping())
            await self.clock.sleep_until(self.clock.now().plus(PROBE_S).mono_us)


def policy_of(config: Config) -> Policy:
    """Make the core's settings from those of the file."""
    chosen = config.settings.charging
    return Policy(
        tick_s=chosen.tick_s,
        horizon_s=chosen.horizon_s,
        warn_before_s=chosen.warn_before_s,
        answer_tolerance_ms=chosen.answer_tolerance_ms,
        ring_s=chosen.ring_s,
        setup_timeout_s=chosen.setup_timeout_s,
        black_box_wait_s=chosen.black_box_wait_s,
        loop_evidence=LoopEvidence(chosen.loop_evidence),
        given_up_a_minute=chosen.given_up_a_minute,
        messages_an_hour=chosen.messages_an_hour,
        keep_withheld=config.settings.privacy.keep_withheld_numbers,
        short_poll_s=0 if config.settings.ledger.sqlite_file else SHARED_POLL_S,
    )


def _observer(metrics: Metrics, clock: Clock, notices: Notices | None, papers: DocumentFolder | None) -> Observer:
    observe: Observer = MeteredObserver(metrics, clock, metrics.later)
    for watcher in (notices, papers):
        observe = observe if watcher is None else watcher.watching(observe)
    return observe


def build(config: Config, clock: Clock | None = None) -> Engine:
    """Wire a daemon. Raises ConfigError for a tariff file that is wrong."""
    clock, metrics = clock or SystemClock(), Metrics(__version__)
    settings, health = config.settings, LedgerHealth()
    store = store_of(config, clock, metrics, health)
    tariff = TariffInForce(settings.tariff, metrics, clock, accepted_of(settings))
    notices, papers = _notices(config, store, tariff, clock, metrics), _papers(config, clock)
    observe = _observer(metrics, clock, notices, papers)
    link, control, switch = switch_of(config, clock, metrics)
    policy, decisions = policy_of(config), _decisions(config, store, clock, metrics)
    one_switch = OneSwitch(store, clock, start_of(link, switch), observe, lambda: lease, policy.horizon_s)
    lease = lease_of(config, clock, store, observe, fit_of(config, clock, link, policy.proof_max_age_s, one_switch))
    registry = Registry(
        ledger=store,
        switch=switch,
        clock=clock,
        policy=policy,
        switch_id=settings.switch.id,
        observe=observe,
        findings=Findings(store, clock, observe),
        leads=lambda: lease.holds,
    )
    recovery, black_boxes = _recovery(registry, store, tariff, decisions)
    _count_sessions(metrics, registry.open)
    load = LoadWatch(clock, observe, metrics.loop_lag_seconds.observe)
    spool, memory = watches_of(config, clock, observe, metrics, link)
    room = LedgerRoom(observe, metrics.ledger_room.set)
    desk = Desk(
        store=store,
        tariff=tariff.current,
        registry=registry,
        switch=switch,
        clock=clock,
        policy=policy,
        switch_id=settings.switch.id,
        observe=observe,
        missed=nobody_is_told if notices is None else notices.missed,
        keep=lambda made: None if room.is_used_up else metrics.later.do(lambda: decisions.keep(made())),
        turns_away=lambda: OVERLOADED if load.is_overloaded else NO_ROOM if room.is_used_up else None,
        has_room=lambda: spool.has_room,
    )
    sources = Sources(settings.agi.allow, settings.switch.ami.host)
    agi = _agi(config, clock, metrics, desk, lambda *of: not one_switch.is_another and sources.admits(*of))
    fax = _fax(config, papers, registry, link, metrics)
    telephones = Telephones(desk, switch, clock) if isinstance(switch, PlayedSwitch) else None
    time = ProvenTime(store, clock, metrics.expiry_held.set)
    caretaker = Caretaker(store, tariff.current, clock, registry.funds_changed, believed=time.believed)
    calls = link, control, registry, recovery, black_boxes, load, room, spool, memory, lease, one_switch, sources
    rest = agi, fax, caretaker, decisions, notices, Supervisor(), telephones
    return Engine(config, clock, metrics, store, health, tariff, *calls, *rest)


def _recovery(
    registry: Registry, store: Store, tariff: TariffInForce, decisions: DecisionKeeper
) -> tuple[Recovery, BlackBoxes]:
    clock, recovery = registry.clock, Recovery(registry)
    left = LeftMessages(store, tariff.current, clock, registry.observe, registry.policy)
    undecided = Undecided(store.directory, tariff.current, clock, registry.switch_id, decisions.keep)
    return recovery, BlackBoxes(recovery, left.charge, undecided)


def _notices(config: Config, store: Store, tariff: TariffInForce, clock: Clock, metrics: Metrics) -> Notices | None:
    mail = config.settings.mail
    if mail is None:
        return None
    alone = config.settings.ledger.sqlite_file is not None
    return Notices(mail, config.mail_password, store, tariff.current, clock, MeteredMail(metrics), alone=alone)


def _decisions(config: Config, store: Store, clock: Clock, metrics: Metrics) -> DecisionKeeper:
    kept = config.settings.privacy
    return DecisionKeeper(
        store.documents,
        clock,
        metrics.count_decision_lost,
        daemon=f"{socket.gethostname()}-{os.getpid()}",
        days=kept.decisions_days,
        most=kept.decisions_most,
    )


def _agi(config: Config, clock: Clock, metrics: Metrics, desk: Desk, admits: Admits) -> AgiServer:
    def measure(route: str, outcome: AgiOutcome, seconds: float) -> None:
        metrics.later.do(lambda: metrics.count_agi(route, outcome.value, seconds))

    agi = config.settings.agi
    limits = AgiLimits(connections=agi.max_connections, header_s=agi.header_timeout_s, request_s=agi.request_timeout_s)
    return AgiServer(
        routes_for(desk),
        clock,
        limits=limits,
        admits=admits,
        observer=measure,
        turned=lambda why: metrics.count_turned("agi", why.value),
    )


def _papers(config: Config, clock: Clock) -> DocumentFolder | None:
    fax = config.settings.fax
    if fax is None:
        return None
    on_switch = (fax.folder_on_switch or str(fax.folder)).rstrip("/")
    required = fax.sandbox == "required"
    settings = FolderSettings(fax.folder, on_switch, fax.max_pages, fax.keep_days, required, fax.max_bytes)
    return DocumentFolder(settings, clock)


def _fax(
    config: Config,
    papers: DocumentFolder | None,
    registry: Registry,
    link: AmiLink | PlayedSwitch,
    metrics: Metrics,
) -> FaxDesk | None:
    fax = config.settings.fax
    if fax is None or papers is None:
        return None
    return FaxDesk(
        registry=registry,
        line=fax_line_of(link),
        papers=PlayedPapers(papers, link) if isinstance(link, PlayedSwitch) else papers,
        switch_id=config.settings.switch.id,
        header=fax.header or "",
        horizon_s=config.settings.charging.horizon_s,
        at_once=fax.at_once,
        max_bytes=fax.max_bytes,
        at_once_of_account=fax.at_once_of_account,
        unpaid_max_s=fax.unpaid_line_s,
        unpaid_refused=metrics.fax_unpaid_refusals.inc,
    )


def _count_sessions(metrics: Metrics, sessions: OpenSessions) -> None:
    """Set the gauges, when they are read."""

    def count(phase: str) -> Callable[[], float]:
        return lambda: sum(
            number for state, number in sessions.counts().items() if _PHASES.get(state, "ended") == phase
        )

    for phase in ("setup", "running", "ended"):
        metrics.sessions_open.labels(phase).set_function(count(phase))
    metrics.calls_live.set_function(count("running"))
    metrics.session_overdue_seconds.set_function(sessions.overdue_s)
    metrics.tick_overdue_seconds.set_function(sessions.tick_overdue_s)


def _duties(engine: Engine, listening: Listening, hung_up: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
    """Everything that a daemon does all the time, by name of task. A duty that ends brings the daemon down."""
    duties: dict[str, Coroutine[Any, Any, None]] = {
        "sessions": engine.registry.run(),
        "session-audit": engine.recovery.run(),
        "sessions-named": engine.recovery.find_named(),
        "black-boxes": engine.black_boxes.run(),
        "sessions-left-open": LeftOpen(
            engine.registry, engine.store.leases, engine.metrics.sessions_left_open.set
        ).run(),
        "load-watch": engine.load.run(),
        "spool-watch": engine.spool.run(),
        "memory-watch": engine.memory.run(),
        "lease": engine.lease.run(engine.recovery),
        "one-switch": engine.one_switch.run(),
        "ami-link": engine.follow_switch(),
        "switch-address": engine.sources.watch(engine.clock),
        "tariff-watch": engine.tariff.watch(),
        "caretaker": engine.after_calls(engine.caretaker.run()),
        "decisions": engine.decisions.run(),
        "changes": Trail(engine.store, engine.clock).run(),
        "decisions-pruned": engine.decisions.prune_for_ever(),
        "ledger-probe": engine.probe_ledger(),
        "ledger-settings": engine.after_calls(tell_what_loses_money(engine.store, engine.clock)),
        "collector": engine.after_calls(collect(engine.clock)),
        "interfaces": _serve_interfaces(engine, listening),
        "supervisor": engine.supervisor.stay_alive(engine.clock, engine.status),
        "look-around": _look_around(engine),
        "reloads": _reload_when_told(engine, hung_up),
    }
    if (switch := engine.control) is not None:
        watch = CrowdWatch(switch.turned_away, engine.clock, engine.registry.observe, lambda: engine.registry.leads())
        duties["crowds"] = watch.run()
    if engine.fax is not None:
        duties["fax-documents"] = engine.fax.papers.sweep_for_ever()
    if days := engine.config.settings.privacy.cdr_numbers_days:
        duties["number-hider"] = NumberHider(engine.store, engine.clock, days).run()
    if engine.notices is not None:
        duties |= {"notices": engine.after_calls(engine.notices.look_for_ever()), **engine.notices.duties()}
    return duties


Listening = Mapping[str, asyncio.Event]
"""By section of the settings: set once its address is listened on."""


async def _serve_interfaces(engine: Engine, listening: Listening) -> None:
    """What people and programs ask. Reading it takes longer than all that calls need: those are seen to first, and the
    loop goes on meanwhile. Each that ends brings the daemon down."""
    await engine.calls_come_first(CALLS_FIRST_S)
    server, api = await asyncio.to_thread(_interfaces)
    settings, serving = engine.config.settings, Tasks()
    try:
        serving.begin(server.serve_control(engine, listening["control"]), "control")
        told = engine.metrics, engine.ailing, listening["http"]
        http = server.serve_metrics(settings.http, *told, sandbox=settings.sandbox)
        serving.begin(http, "metrics")
        fronts = {name: listening[name] for name in FRONTS if name in listening}
        if fronts or settings.webhooks:
            program, turned = engine.api_program or api.PROGRAM, engine.metrics.count_turned
            kept = api.keep_api(engine.config, engine.clock, turned, program, fronts, lambda: engine.tariff.kept_in)
            serving.begin(kept, "api")
        await serving.failure()
    finally:
        await serving.end()


def _interfaces() -> tuple[ModuleType, ModuleType]:
    from charging import app_api
    from charging.web import server

    return server, app_api


async def _look_around(engine: Engine) -> None:
    """Log at the start what is wrong with things that calls can do without; running ones go first."""
    await engine.calls_come_first(CALLS_FIRST_S)
    await asyncio.to_thread(engine.look_around)
    with contextlib.suppress(LedgerError):
        if not await engine.store.directory.accounts_page("", 1):
            lost = "if it had any, another ledger is open: stop the daemon, and look at ledger.url and its disk"
            log.warning("ledger_without_accounts", ledger=engine.config.settings.ledger.url, advice=lost)
    mail = engine.config.settings.mail
    if mail is not None and (trouble := await mail_trouble(mail, engine.config.mail_password)):
        log.error("surroundings_wrong", problem=trouble)


async def _reload_when_told(engine: Engine, hung_up: asyncio.Event) -> NoReturn:
    while True:
        await hung_up.wait()
        hung_up.clear()
        await engine.reload()


async def _announce(engine: Engine, listening: Listening) -> None:
    """Report that the daemon is ready, once it listens on every address; on FastAGI it does already."""
    for one in listening.values():
        await one.wait()
    settings = engine.config.settings
    spare_collector(youngest_only=True)
    if settings.sandbox:
        log.warning("sandbox_started", advice="no Asterisk and no real money: calls come by POST /v1/test/calls")
    agi_port = None if settings.sandbox else engine.agi.port
    log.info("daemon_started", version=__version__, switch=settings.switch.id, agi_port=agi_port)
    engine.supervisor.tell(READY=1, STATUS=engine.status())


def _take_leave(engine: Engine) -> None:
    """Log how many calls live on their reservations, and when they are cut if no daemon comes back."""
    views = [call_view(one, engine.clock.now(), True, one.posted, 0) for one in engine.registry.open.calls()]
    ends = sorted(view.covered_until_us for view in views if view.covered_until_us is not None)
    told = {"first_cut": iso(ends[0]), "last_cut": iso(ends[-1])} if ends else {}
    log.info("daemon_stopping", open_sessions=len(views), calls=len(ends), **told)
    until = f", the last until {told['last_cut']}" if ends else ""
    engine.supervisor.tell(STOPPING=1, STATUS=f"{len(ends)} calls live on what they have reserved{until}")


async def serve(engine: Engine, stop: asyncio.Event, hung_up: asyncio.Event | None = None) -> None:
    """Run a daemon until ``stop`` is set; reload whenever ``hung_up`` is. Raises the error that brought it down:
    ChargingError if the cause is outside (a port that is taken, a ledger that does not open)."""
    settings = engine.config.settings
    await upgrade_ledger(settings, engine.clock)
    await engine.store.open()
    duties = Tasks()
    try:
        await ground.check(engine.store.documents, is_sandbox=settings.sandbox)
        engine.metrics.ledger_up.set_function(lambda: not engine.ledger_health.why)
        if not await engine.store.sessions_page("", 1):  # no call runs: read it before any call is decided
            await asyncio.to_thread(_interfaces)
        listening = {name: asyncio.Event() for name in ("control", "http", *FRONTS) if getattr(settings, name)}
        for name, duty in _duties(engine, listening, hung_up or asyncio.Event()).items():
            duties.begin(duty, name)
        if not settings.sandbox:
            await engine.sources.resolve()
            listeners = await engine.agi.start(settings.agi.host, settings.agi.port, engine.supervisor.handed)
            engine.supervisor.keep("agi", listeners)
            duties.begin(engine.agi.serve(), "agi-door")
        duties.begin(_announce(engine, listening), "announce")
        await duties.until(stop)
        _take_leave(engine)
    finally:
        await engine.agi.close()
        await duties.end()
        if engine.notices is not None:
            await engine.notices.drain()
        engine.metrics.later.run()
        await engine.decisions.drain()
        with contextlib.suppress(LedgerError):  # it lapses by itself
            await engine.lease.release()
        await engine.store.close()


async def _until_signalled(engine: Engine) -> None:
    stop, hung_up = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    try:
        await serve(engine, stop, hung_up)
    finally:
        engine.metrics.later.run()


def within_descriptors(config: Config) -> Config:
    """Return settings with which all listeners fit into the process's limit of open files, which is raised as far as
    allowed. FastAGI keeps what it is set to. Raises ChargingError if they cannot fit."""
    settings = config.settings
    calls, others = connections(settings)
    limit = raise_limit(wanted(calls, others))
    given = shares(limit, calls, others)
    if given != others:
        log.warning("connections_limited", open_files=limit, **given)
    sections = {name: getattr(settings, name).model_copy(update={"max_connections": n}) for name, n in given.items()}
    return replace(config, settings=settings.model_copy(update=sections))


def run(config: Config) -> int:
    """Run the daemon in the foreground; returns the process's exit code. Raises ChargingError, with what to do, if it
    cannot start or one of its tasks has failed."""
    faulthandler.enable(STDERR)  # the watchdog's SIGABRT leaves in the log where the loop stood
    engine = build(within_descriptors(config))
    spare_collector()  # before running calls are brought to life: thousands of them are many new objects
    try:
        asyncio.run(_until_signalled(engine))
    except OSError as error:
        raise ChargingError(str(error)) from error
    return 0
