"""What happened, as log lines and numbers: the one place that knows both words.

The session layer tells events by name (`Tell`); each is logged, and those that operators watch are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from charging.call.decide import Reason
from charging.call.model import Short
from charging.call.storage import Record
from charging.ledger.model import CREDIT
from charging.metrics import Metrics

log = structlog.get_logger("charging.session")

Fields = Mapping[str, Any]

WARNINGS = frozenset(
    "answer_delivery_doubted clocks_disagreed end_unproven extension_refused ledger_not_reached tick_postponed "
    "transfer_cut transfer_followed moved_call_cut leg_replaced unpaid_channel_seen audit_postponed "
    "maintenance_postponed switch_failed overdue_call_cut lease_lost lease_not_renewed lease_not_released "
    "answer_moved records_not_deleted records_of_another_switch left_message_too_old drain_begun drain_ended "
    "overload_begun overload_ended".split()
)
ERRORS = frozenset(
    "session_lost session_reasserted session_reasserted_short quota_overrun unexpected_event_met mailbox_overflowed "
    "session_unreadable leg_without_session event_contradicted booking_contradicted "
    "sessions_not_restored ledger_failed clock_jumped".split()
)


class MeteredObserver:
    """Logs and counts (`engine.ports.Observer`)."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counts: dict[str, Callable[[Fields], None]] = {
            "call_decided": self._decided,
            "tick_posted": self._tick,
            "tick_postponed": lambda _fields: metrics.ticks.labels("deferred").inc(),
            "ledger_not_reached": lambda _fields: metrics.ticks.labels("failed").inc(),
            "call_settled": lambda fields: self._charged(fields["settled"]),
            "voicemail_settled": lambda fields: self._voicemail(fields["settled"].get(CREDIT, 0)),
            "fax_settled": lambda fields: metrics.charged.labels("fax").inc(fields["settled"].get(CREDIT, 0)),
            "left_message_charged": lambda fields: self._voicemail(fields["charged_micro_euro"]),
            "call_cut": self._cut,
            "prompt_played": lambda fields: metrics.prompts.labels(fields["prompt"], fields["result"]).inc(),
            "booking_contradicted": lambda fields: metrics.findings.labels(fields["kind"]).inc(),
            "event_contradicted": lambda fields: metrics.contradicted_events.labels(fields["event"]).inc(),
            "leg_without_session": lambda _fields: metrics.stray_legs.inc(),
            "moved_call_cut": lambda _fields: metrics.moved_calls.labels("moved").inc(),
            "leg_replaced": lambda _fields: metrics.moved_calls.labels("replaced").inc(),
            "transfer_cut": lambda fields: metrics.moved_calls.labels(fields["kind"]).inc(),
            "end_unproven": lambda _fields: metrics.unproven_ends.inc(),
            "clock_jumped": lambda _fields: metrics.clock_jumps.inc(),
            "unexpected_event_met": self._unexpected,
        }

    def __call__(self, what: str, session: Record | None, fields: Fields) -> None:
        level = "error" if what in ERRORS else "warning" if what in WARNINGS else "info"
        bound = {} if session is None else {"session": session.id, "account": session.account}
        getattr(log, level)(what, **{**bound, **fields})
        if (count := self._counts.get(what)) is not None:
            count(fields)

    def _decided(self, fields: Fields) -> None:
        self._metrics.setups.labels(fields["decision"], fields["reason"]).inc()
        if fields["reason"] is Reason.OVERLOADED:
            self._metrics.overload_refusals.inc()

    def _tick(self, fields: Fields) -> None:
        self._metrics.ticks.labels("granted" if fields["short"] is Short.NO else "short").inc()
        self._charged(fields["settled"])

    def _charged(self, settled: Mapping[str, int]) -> None:
        self._metrics.charged.labels("forward").inc(max(0, settled.get(CREDIT, 0)))
        free = sum(amount for key, amount in settled.items() if key.startswith("bundle:"))
        self._metrics.free_seconds_used.inc(max(0, free))

    def _voicemail(self, micro_euro: int) -> None:
        self._metrics.charged.labels("voicemail").inc(micro_euro)

    def _cut(self, fields: Fields) -> None:
        self._metrics.cuts.labels(fields["reason"]).inc()
        if fields["reason"] in ("money", "day_limit", "max_call", "max_cost", "daemon_away"):
            self._metrics.quota_overrun.observe(fields["late_ms"] / 1000)

    def _unexpected(self, fields: Fields) -> None:
        event, _, state = str(fields["pair"]).partition(" while ")
        self._metrics.unexpected_events.labels(state, event).inc()


class MeteredMail:
    """Counts mails to subscribers (`notify.worker.Observer`); the worker logs them itself."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def notice(self, kind: str, result: str) -> None:
        self._metrics.notices.labels(kind, result).inc()

    def mail_server(self, up: bool) -> None:
        self._metrics.mail_up.set(up)
