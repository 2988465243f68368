"""Every number that the daemon shows to Prometheus, in one place.

Labels are small, closed sets of words: never an account, a number, a session or a channel. Series whose words
are known beforehand exist from the start at zero, so that ``rate()`` and alerts see the first increase.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from charging.tasks import Afterwards

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""What ``/metrics`` answers as its Content-Type."""
AMI_STATES = ("down", "connecting", "refused", "reconciling", "up", "shutting_down")
"""refused: wrong secret, or a right is missing; reconciling: logged in, catching up with the calls; shutting_down:
Asterisk waits for its last call."""
SESSION_STATES = ("setup", "running", "ended")
"""ended: its money is not booked yet."""
AGI_ROUTES = ("incoming", "unanswered")
AGI_RESULTS = ("answered", "declined", "caller_left", "deadline", "failed", "foreign_header", "unproven", "crowded_out")
SERVICES = ("forward", "voicemail", "fax")
NOTICES = (
    "low-credit",
    "low-free-minutes",
    "missed-call",
    "missed-calls",
    "credit-expiry",
    "subscription-ending",
    "gift-ending",
    "fax-refused",
)
"""The kinds of mails to subscribers (`charging.notify.model.NoticeKind`)."""
FAX_MAILS_DROPPED = ("automatic", "not_set_up", "unproven", "slow_dns", "stranger", "unknown_address", "fault")
"""`charging.service.refusal.Dropped`."""
PAYMENTS = ("credited", "failed", "stuck", "taken_back")
"""What a payment on the customers' page becomes (`charging.service.payments.State`)."""
SWITCH_TURNED = (
    "number",
    "caller",
    "all",
    "mailbox",
    "mailbox_caller",
    "mailbox_full",
    "fax",
    "fax_number",
    "fax_caller",
    "vain",
    "vain_number",
    "vain_caller",
)
"""`charging.asterisk.variables.TURNED_AWAY`."""
LISTENERS = ("agi", "api", "control", "http")
TURNED = ("source", "full", "crowded_out", "silent", "no_descriptor")
"""Why a connection was turned away (`charging.door.DoorRefusal`)."""
FINDINGS = (
    "events_contradict_record",
    "leg_outlived_record",
    "record_contradicts_booking",
    "record_without_booking",
)
"""`charging.engine.findings.Kind`."""
LEDGER_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
AGI_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3)
LAG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
OVERRUN_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30)


class Room(StrEnum):
    """What strangers who call can use up on the switch's machine."""

    DISK = "disk"
    MEMORY = "memory"


FREE_BYTES = {
    Room.DISK: (
        "charging_voicemail_free_bytes",
        "Bytes that are free for switch.voicemail_dir_on_switch. Below 500 MB no message is taken. NaN where that "
        "folder is not on this machine.",
    ),
    Room.MEMORY: (
        "charging_switch_memory_free_bytes",
        "Bytes of memory that the switch's machine can still give. NaN where it is another machine.",
    ),
}


class Metrics:
    """The collectors and the registry that holds them; one for each daemon (and each test)."""

    def __init__(self, version: str = "") -> None:
        self.registry = CollectorRegistry()
        self.later = Afterwards()
        """What is counted, and logged, a moment after it happened."""
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._make_sessions()
        self._make_calls()
        self._make_doubts()
        self._make_money()
        self._make_switch()
        self._make_ledger()
        self._make_tariff()
        self._make_mail()
        self._make_webhooks()
        self._gauge("charging_build_info", "1, labelled with the version that runs.", "version").labels(version).set(1)

    def render(self) -> bytes:
        """The text that Prometheus reads, in the format :data:`CONTENT_TYPE`."""
        self.later.run()
        return generate_latest(self.registry)

    def set_ami_state(self, state: str) -> None:
        """The AMI link's state, one of AMI_STATES, as ``charging_ami_state`` and ``charging_ami_up``."""
        for one in AMI_STATES:
            self.ami_state.labels(one).set(one == state)
        self.ami_up.set(state == "up")

    def count_agi(self, route: str, result: str, seconds: float) -> None:
        """One FastAGI connection; a route from the network that is none of ours is counted as ``other``."""
        route = route.strip("/")
        known = route if route in AGI_ROUTES else "other"
        self.agi_requests.labels(known, result).inc()
        if known != "other":
            self.agi_seconds.labels(known).observe(seconds)

    def count_turned(self, listener: str, why: str) -> None:
        """One connection that a listener turned away, or cut off."""
        self.turned_away.labels(listener, why).inc()

    def count_decision_lost(self, why: str) -> None:
        """One decision that was not kept."""
        self.decisions_lost.labels(why).inc()

    def count_fax_mail_dropped(self, reason: str) -> None:
        """One mail for a fax that was neither faxed nor answered."""
        self.fax_mails_dropped.labels(reason).inc()

    def count_payment(self, result: str) -> None:
        """One payment on the customers' page has become that."""
        self.payments.labels(result).inc()

    def set_webhook_off(self, webhook: str, *, off: bool) -> None:
        """Whether an endpoint has answered that it is gone. What it has taken is counted from here on."""
        self.webhook_off.labels(webhook).set(off)
        self.count_webhook(webhook, taken=0, failed=0)

    def set_webhook(self, webhook: str, told_us: int, letters: dict[str, int]) -> None:
        """How far an endpoint was told (wall clock), and its letters by state."""
        self.webhook_told.labels(webhook).set(told_us / 1e6)
        for state, count in letters.items():
            self.webhook_letters.labels(webhook, state).set(count)

    def count_webhook(self, webhook: str, *, taken: int, failed: int) -> None:
        """So many more deliveries, and tries that failed."""
        self.webhook_deliveries.labels(webhook, "taken").inc(taken)
        self.webhook_deliveries.labels(webhook, "failed").inc(failed)

    def forget_webhook(self, webhook: str) -> None:
        """Another daemon sends to it, and knows."""
        for gauge in (self.webhook_told, self.webhook_off, self.webhook_letters):
            gauge.remove_by_labels({"webhook": webhook})

    def set_free(self, room: Room, free: int | None) -> None:
        """So many bytes of it are free on the switch's machine; ``None``: it is not known."""
        self.free_bytes[room].set(math.nan if free is None else free)

    def set_sessions_open(self, counts: dict[str, int]) -> None:
        """How many sessions are open in each state; a state that is not named has none."""
        for state in {*SESSION_STATES, *counts}:
            self.sessions_open.labels(state).set(counts.get(state, 0))

    def set_tariff(self, revision: str, digest: str, warnings: int = 0) -> None:
        """The tariff in force from now on; it was good, with so many warnings."""
        self.tariff_warnings.set(warnings)
        self.tariff_info.clear()
        self.tariff_info.labels(revision, digest).set(1)
        self.tariff_bad.set(0)
        self.tariff_waits.set(0)

    def refuse_tariff(self, *, waits: bool) -> None:
        """What stands on disk does not count: it is wrong, or ``waits`` to be accepted."""
        self.tariff_bad.set(not waits)
        self.tariff_waits.set(waits)
        self.tariff_reload.labels("waits" if waits else "bad").inc()

    def _make_sessions(self) -> None:
        self.calls_live = self._gauge("charging_calls_live", "Calls answered and running now.")
        self.sessions_open = self._gauge("charging_sessions_open", "Open sessions by state.", "state")
        self.set_sessions_open({})
        self.session_overdue_seconds = self._gauge(
            "charging_session_overdue_seconds",
            "For how long the session that should have been over first (what it had reserved has ended) is open beyond "
            "that; 0: none is.",
        )
        self.sessions_left_open = self._gauge(
            "charging_sessions_left_open",
            "Open sessions of switches that no daemon leads (`sessions_left_open` names those): nobody ends them.",
        )

        self.loop_lag_seconds = self._histogram(
            "charging_loop_lag_seconds",
            "How late the loop that decides and ticks calls comes to what is due, looked at ten times a second.",
            LAG_SECONDS,
        )
        self.overload_refusals = self._counter(
            "charging_overload_refusals", "New calls turned away because the daemon was behind with those that ran."
        )
        self.tick_overdue_seconds = self._gauge(
            "charging_tick_overdue_seconds",
            "For how long the running call whose tick was due first has waited for it; 0: none waits. A call is cut "
            "once this comes near charging.horizon_s.",
        )

    def _make_calls(self) -> None:
        self.setups = self._counter(
            "charging_setups",
            "Incoming calls decided, by decision (forward, voicemail, reject) and reason.",
            "decision",
            "reason",
        )
        self.ticks = self._counter(
            "charging_ticks",
            "Ticks of running calls: granted (reserved in full), short (money ended), deferred (the link was silent: "
            "nothing charged), failed (the ledger did not answer).",
            "result",
            known=[("granted", "short", "deferred", "failed")],
        )
        self.prompts = self._counter(
            "charging_prompts",
            "Prompts to a subscriber during a call, by prompt and result (played, fallback: played by the second way, "
            "failed, unheard: the subscriber had the caller on hold, or the call ended first).",
            "prompt",
            "result",
            known=[("credit_low", "minutes_low"), ("played", "fallback", "failed", "unheard")],
        )
        self.cuts = self._counter(
            "charging_cuts",
            "Calls ended by charging, by reason (money, day_limit, max_call, max_cost, operator, daemon_away: the "
            "deadline that the switch holds came before a daemon that was away could extend it).",
            "reason",
            known=[("money", "day_limit", "max_call", "max_cost", "operator", "daemon_away")],
        )
        self.quota_overrun = self._histogram(
            "charging_quota_overrun_seconds",
            "By how much calls that were cut outlived the second they had paid for; not charged to the customer.",
            OVERRUN_SECONDS,
        )
        self.unproven_ends = self._counter(
            "charging_unproven_ends", "Calls settled to the last proven second, for want of any record of their end."
        )
        self.clock_jumps = self._counter(
            "charging_clock_jumps", "Times at which the wall clock stepped against the monotonic clock."
        )
        self.unexpected_events = self._counter(
            "charging_unexpected_events",
            "Events that the session table has no row for, by state and event.",
            "state",
            "event",
        )

    def _make_doubts(self) -> None:
        self.decisions_lost = self._counter(
            "charging_decisions_lost",
            "Decisions that `charging calls --decided` will not show, by reason (full: the store was away or too slow, "
            "unproven, too_many_wait, too_many_given_up: more of them than are kept of a minute; any other: more of it "
            "for one number).",
            "reason",
            known=[("full", "unproven", "too_many_wait", "too_many_given_up")],
        )
        self.findings = self._counter(
            "charging_findings",
            "Findings: records of the switch, or events, that contradict what was booked of a call, by kind.",
            "kind",
            known=[FINDINGS],
        )
        self.contradicted_events = self._counter(
            "charging_contradicted_events",
            "Events of the switch that it denied when it was asked about the channel alone, by what they said.",
            "event",
            known=[("answer", "end")],
        )
        self.stray_legs = self._counter(
            "charging_stray_legs", "Channels that talked under the name of a session which nobody charged; hung up."
        )
        self.moved_calls = self._counter(
            "charging_moved_calls",
            "Calls that ended because someone moved a leg (moved: out of its bridge; replaced: by another), by kind.",
            "kind",
            known=[("blind", "attended", "pickup", "moved", "replaced")],
        )

    def _make_money(self) -> None:
        self.messages_refused = self._counter(
            "charging_messages_refused",
            "Callers who could leave no message, by reason: no_credit or day_limit (the plan's credit_a_day), because "
            "no paid one could be reserved; no_room, because the switch found its disk nearly full, or the daemon did "
            "while they spoke, and hung up.",
            "reason",
            known=[("no_credit", "day_limit", "no_room")],
        )
        self.charged = self._counter(
            "charging_charged_micro_euro",
            "Credit charged, in millionths of a euro, by service.",
            "service",
            known=[SERVICES],
        )
        self.payments = self._counter(
            "charging_payments",
            "Payments on the customers' page, by result (credited, failed: nothing was paid, stuck: paid and not "
            "credited, taken_back: by the provider or a bank, after it was paid).",
            "result",
            known=[PAYMENTS],
        )
        self.free_seconds_used = self._counter("charging_free_seconds_used", "Free seconds used.")
        self.forwards_in_vain = self._counter(
            "charging_forwards_in_vain",
            "Accounts of which far more forwards were dialled and cost nothing than people make, each once an hour "
            "(`forwards_in_vain` names it): a carrier may bill them all the same.",
        )
        self.fax_unpaid_seconds = self._counter(
            "charging_fax_unpaid_seconds", "Seconds for which faxes held a line and delivered no page that pays for it."
        )
        self.fax_unpaid_refusals = self._counter(
            "charging_fax_unpaid_refusals",
            "Faxes refused because their account had held lines unpaid for fax.unpaid_line_s on that day.",
        )

    def _make_switch(self) -> None:
        self.ami_up = self._gauge("charging_ami_up", "1 while the AMI link is up and reconciled, else 0.")
        self.ami_state = self._gauge(
            "charging_ami_state", "1 for the state the AMI link is in, 0 for the others.", "state"
        )
        self.set_ami_state("down")
        self.ami_suspects = self._counter(
            "charging_ami_suspects", "AMI messages that a stranger had written into; none of them was obeyed."
        )
        self.ami_reconnects = self._counter("charging_ami_reconnects", "Times the AMI link was made again.")
        self.agi_requests = self._counter(
            "charging_agi_requests",
            "FastAGI requests by route (other: none of ours) and result (answered, declined: left to another daemon, "
            "caller_left, deadline, failed, header_late, foreign_header: not as Asterisk writes it, unproven: the "
            "switch knows no such call, bad_request, unknown_route, crowded_out: too many at once, stopped: with the "
            "daemon).",
            "route",
            "result",
            known=[(*AGI_ROUTES, "other"), AGI_RESULTS],
        )
        self.turned_away = self._counter(
            "charging_connections_turned_away",
            "Connections that a listener turned away or cut off, by reason (source: an address that has no business "
            "there, full: every place is served, crowded_out: was idle for longest, silent: said or took nothing for "
            "too long, no_descriptor: none left in the process or the machine).",
            "listener",
            "reason",
            known=[LISTENERS, TURNED],
        )
        self.switch_turned = self._counter(
            "charging_switch_turned_away",
            "Callers whom the switch turned away by itself, one too many: of those who wait for a decision for one "
            "number, with one number (caller) or in all; at one mailbox, one caller at it (mailbox_caller), or it is "
            "full (mailbox_full); of those who send faxes, in all, to one number (fax_number) or with one "
            "(fax_caller); of those who ring in vain, in all, for one number (vain_number) or with one (vain_caller).",
            "reason",
            known=[SWITCH_TURNED],
        )
        self.agi_seconds = self._histogram(
            "charging_agi_seconds", "From a FastAGI request to its answer.", AGI_SECONDS, "route"
        )
        for route in AGI_ROUTES:
            self.agi_seconds.labels(route)
        self.free_bytes = {room: self._gauge(*told) for room, told in FREE_BYTES.items()}
        for room in FREE_BYTES:
            self.set_free(room, None)

    def _make_ledger(self) -> None:
        self.ledger_room = self._gauge(
            "charging_ledger_room_bytes",
            "Bytes that a SQLite ledger can still grow by: those that its disk has free, and those it has kept. Below "
            "8 MiB no new call is taken. NaN for other ledgers.",
        )
        self.ledger_room.set(math.nan)
        self.ledger_operation_seconds = self._histogram(
            "charging_ledger_operation_seconds",
            "Duration of ledger operations, by operation and outcome.",
            LEDGER_SECONDS,
            "operation",
            "outcome",
        )
        self.expiry_held = self._gauge(
            "charging_expiry_held",
            "0 while credit and free minutes expire when they are due; 1 while that waits until the clock is believed "
            "after an outage; 2 while it waits for an operator.",
        )
        self.ledger_up = self._gauge("charging_ledger_up", "1 while the ledger takes what is written, else 0.")

    def _make_tariff(self) -> None:
        self.prompts_missing = self._gauge(
            "charging_prompts_missing",
            "Prompts that were not in switch.prompts_dir_on_switch at the start or the last reload, so subscribers "
            "hear no warning; 0 where that folder is not on this machine.",
        )
        self.tariff_info = self._gauge(
            "charging_tariff_info", "1, labelled with the tariff in force.", "revision", "digest"
        )
        self.tariff_reload = self._counter(
            "charging_tariff_reload",
            "Edits of the tariff noticed, by result (good, bad: refused, waits: to be accepted).",
            "result",
            known=[("good", "bad", "waits")],
        )
        self.tariff_warnings = self._gauge(
            "charging_tariff_warnings",
            "What is odd in the tariff in force and its decks, and no reason to refuse them: `charging tariff check`.",
        )
        self.tariff_bad = self._gauge(
            "charging_tariff_bad", "1 while the tariff file on disk is refused and an older one is in force."
        )
        self.tariff_waits = self._gauge(
            "charging_tariff_waits",
            "1 while a doubtful edition of a rate deck waits for `charging tariff accept`, and an older one goes on.",
        )

    def _make_mail(self) -> None:
        self.notices = self._counter(
            "charging_notices",
            "Attempts to mail a notice to a subscriber, by kind and result (sent, later: again, never: given up).",
            "kind",
            "result",
            known=[NOTICES, ("sent", "later", "never")],
        )
        self.mail_up = self._gauge(
            "charging_mail_up",
            "0 while the mail server could not be used at the last try, else 1 (also if no mail is set up).",
        )
        self.mail_up.set(1)
        self.fax_mails_dropped = self._counter(
            "charging_fax_mails_dropped",
            "Mails for faxes that were neither faxed nor answered, by reason (automatic: no person's, malformed or too "
            "large, not_set_up: fax.mail_from_counts is not set, unproven: the From may be forged, slow_dns: its "
            "domain's name servers did not say for a day, or 20 of its mails waited already, stranger: no customer's "
            "address, unknown_address: nobody's secret fax address, fault: of this program).",
            "reason",
            known=[FAX_MAILS_DROPPED],
        )

    def _make_webhooks(self) -> None:
        self.webhook_told = self._gauge(
            "charging_webhook_told_timestamp_seconds",
            "Unix time: what had happened before it was told to the webhook, or has become a letter. Absent where "
            "another daemon sends.",
            "webhook",
        )
        self.webhook_off = self._gauge(
            "charging_webhook_off", "1 while nothing is sent to the webhook, because it has answered 410.", "webhook"
        )
        self.webhook_letters = self._gauge(
            "charging_webhook_letters",
            "Events that the webhook has not taken, by state (waiting: tried again, dead: until `charging webhook "
            "resend`).",
            "webhook",
            "state",
        )
        self.webhook_deliveries = self._counter(
            "charging_webhook_deliveries",
            "Tries to deliver an event to the webhook, by result (taken, failed).",
            "webhook",
            "result",
        )

    def _counter(self, name: str, text: str, *labels: str, known: Iterable[Iterable[str]] = ()) -> Counter:
        counter = Counter(name, text, labels, registry=self.registry)
        counter.labels = cache(counter.labels)  # type: ignore[method-assign]  # a look-up costs twice the counting
        values = list(known)
        if values:
            for one in product(*values):
                counter.labels(*one)
        return counter

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
        histogram = Histogram(name, text, labels, buckets=tuple(buckets), registry=self.registry)
        histogram.labels = cache(histogram.labels)  # type: ignore[method-assign]  # as a counter's
        return histogram
