"""What a daemon serves over HTTP: the control interface on its Unix socket, the public one, and the figures for
Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Protocol

from charging import __version__
from charging.clock import Clock
from charging.door import Observer
from charging.engine.drain import Drain
from charging.engine.leadership import LeaseKeeper
from charging.engine.sessions import Registry
from charging.fax.desk import FaxDesk
from charging.ledger.accounts import Language
from charging.ledger.port import Store
from charging.metrics import CONTENT_TYPE, Metrics
from charging.sandbox.desk import Telephones
from charging.service.live import RegistryCalls
from charging.service.operators import Operators
from charging.service.page_tokens import PagePlace
from charging.service.service import Service
from charging.service.tokens import Tokens
from charging.service.webhooks import Endpoint, Report, Webhooks
from charging.settings import Config, Http
from charging.tariff.tariff import Tariff
from charging.web.control import control_app, play
from charging.web.listen import Front, HttpLimits, serve_port, serve_unix
from charging.web.metrics import HEALTH, Ailing, metrics_app


class TariffSource(Protocol):
    """The tariff in force."""

    @property
    def current(self) -> Callable[[], Tariff]:
        """The tariff for what is asked now."""

    async def accept(self, digest: str, reason: str, by: str) -> list[str]:
        """Let an edition count that waits; what is wrong with that."""


class LinkView(Protocol):
    """The link to the switch, seen from here."""

    @property
    def state(self) -> Enum:
        """Where it is; the value is a word for people."""


class Daemon(Protocol):
    """The parts of a running daemon that the control interface speaks for."""

    @property
    def config(self) -> Config: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def store(self) -> Store: ...
    @property
    def tariff(self) -> TariffSource: ...
    @property
    def link(self) -> LinkView: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def lease(self) -> LeaseKeeper: ...
    @property
    def fax(self) -> FaxDesk | None: ...
    @property
    def telephones(self) -> Telephones | None: ...
    @property
    def metrics(self) -> Metrics: ...
    def ailing(self) -> Mapping[str, str]: ...
    async def reload(self) -> list[str]: ...
    @property
    def touched(self) -> Callable[[str], None]:
        """Called with each account that someone changed."""


async def serve_control(daemon: Daemon, ready: asyncio.Event | None = None) -> None:
    """Serve the control interface until cancelled. Raises CannotServe."""
    settings = daemon.config.settings

    def facts() -> dict[str, str]:
        tariff = daemon.tariff.current()
        return {
            "version": __version__,
            "switch": settings.switch.id,
            "ami": str(daemon.link.state.value),
            "calls": str(daemon.registry.open.counts().total()),
            "ailing": "; ".join(f"{part}: {why}" for part, why in daemon.ailing().items()),
            "tariff": f"{tariff.revision} {tariff.digest}",
            **({"sandbox": "no Asterisk, and no money is real"} if settings.sandbox else {}),
            **({"tariff_waits": tariff.waiting} if tariff.waiting else {}),
            **({"tariff_refused": str(tariff.refused[0])} if tariff.refused else {}),
        }

    app = control_app(
        _service(daemon),
        facts,
        tokens=_tokens(daemon),
        operators=Operators(daemon.store.documents, daemon.clock),
        hooks=_webhooks(daemon),
        drain=Drain(daemon.registry, daemon.clock),
        version=__version__,
        decides_calls=True,
        reload=daemon.reload,
        accept=daemon.tariff.accept,
    )
    if daemon.telephones is not None:
        play(app, daemon.telephones)
    await serve_unix(
        app, settings.control.socket, ready, front=_front(daemon.metrics, "control", settings.control.max_connections)
    )


def _service(daemon: Daemon) -> Service:
    """The service keeps no state of its own, so each interface has one."""
    page = daemon.config.settings.customer_page
    return Service(
        store=daemon.store,
        tariff=daemon.tariff.current,
        clock=daemon.clock,
        funds_changed=daemon.registry.funds_changed,
        live=RegistryCalls(daemon.registry),
        fax=daemon.fax,
        touched=daemon.touched,
        mail_dropped=daemon.metrics.count_fax_mail_dropped,
        payment_became=daemon.metrics.count_payment,
        answer_tolerance_ms=daemon.config.settings.charging.answer_tolerance_ms,
        default_language=Language(daemon.config.settings.charging.default_language),
        customer_page=None if page is None else PagePlace(page.url, page.link_s, page.widget_min * 60),
    )


def _tokens(daemon: Daemon) -> Tokens:
    return Tokens(daemon.store, daemon.clock)


def _webhooks(daemon: Daemon) -> Webhooks:
    metrics = daemon.metrics

    def observe(name: str, endpoint: Endpoint | None, report: Report | None) -> None:
        if endpoint is None:
            metrics.forget_webhook(name)
            return
        metrics.set_webhook_off(name, off=endpoint.off)
        if report is not None:
            metrics.set_webhook(name, report.told_us, {"waiting": report.waiting, "dead": report.dead})
            metrics.count_webhook(name, taken=report.taken, failed=report.failed)

    names = [one.name for one in daemon.config.settings.webhooks]
    return Webhooks(daemon.store, daemon.clock, names, daemon.lease.owner, observe)


async def serve_metrics(
    http: Http,
    metrics: Metrics,
    ailing: Ailing = dict,
    ready: asyncio.Event | None = None,
    *,
    sandbox: bool = False,
) -> None:
    """Serve ``/metrics`` and ``/health`` until cancelled. Raises CannotServe."""
    app = metrics_app(metrics.render, CONTENT_TYPE, ailing, sandbox=sandbox)
    front = replace(_front(metrics, "http", http.max_connections), always=frozenset({HEALTH}), takes_bodies=False)
    await serve_port(app, http.host, http.port, ready, front=front)


def _turning(metrics: Metrics, listener: str) -> Observer:
    return lambda why: metrics.count_turned(listener, why.value)


def _front(metrics: Metrics, name: str, connections: int) -> Front:
    return Front(name, HttpLimits(connections), observe=_turning(metrics, name))
