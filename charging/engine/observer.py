"""What is told, as log lines and numbers: the one place that knows both words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import get_args

import structlog

from charging.call import told as call
from charging.call.decide import Reason
from charging.call.decided import flood_of
from charging.call.model import Short
from charging.call.storage import Record
from charging.clock import Clock, SystemClock
from charging.engine import told
from charging.ledger.balances import is_free_seconds, is_money
from charging.limits import Limits
from charging.log_limit import LogLimit
from charging.logs import HAPPENED_US
from charging.metrics import Metrics
from charging.tasks import Afterwards

log = structlog.get_logger("charging.session")

LATE = ("money", "day_limit", "max_call", "max_cost", "daemon_away")
"""Reasons of a cut for which the switch's lateness is measured."""


LEVELS: dict[type, int] = {
    **dict.fromkeys(get_args(told.Routine), logging.INFO),
    **dict.fromkeys(get_args(told.Details), logging.DEBUG),
    **dict.fromkeys(get_args(told.Warnings), logging.WARNING),
    **dict.fromkeys(get_args(told.Errors), logging.ERROR),
}

BATCHED = (told.SessionRestored, call.DeadlineMoved, call.TickPosted)
"""Of each call at a tick or a restart: for the log alone, and only where details are wanted. The last is counted, with
all of a moment."""

TICKS_TOGETHER_S = 10
"""So long ticks are added up before they are told."""

PERSISTENT = (told.SwitchFailed, told.LedgerFailed, call.ExtensionRefused, call.OverdueCallCut)
"""What a session meets again each second, for as long as switch, ledger or money stay as they are."""

TOLD_A_MINUTE = 1
"""So often a minute the same line of one session is logged."""

_NO_TICKS = told.CallsTicked(0, 0, 0, 0)
_level = logging.getLogger("charging.session")


class MeteredObserver:
    """Logs each, and counts what operators watch (`engine.ports.Observer`). Used in the loop of the calls."""

    def __init__(self, metrics: Metrics, clock: Clock | None = None, later: Afterwards | None = None) -> None:
        """``later``: routine is told then, with the time of ``clock`` at which it happened; all else at once, after the
        routine that waits."""
        self._metrics = metrics
        self._clock = clock or SystemClock()
        self._later = later
        self._uncounted: list[call.TickPosted] = []
        self._ticks = _NO_TICKS
        self._postponed = 0
        self._told = Limits(TOLD_A_MINUTE)
        self._log_limit = LogLimit(self._clock)

    def __call__(self, what: told.Told, session: Record | None = None) -> None:
        level = LEVELS[type(what)]
        if level == logging.DEBUG and isinstance(what, BATCHED) and not _level.isEnabledFor(level):
            if isinstance(what, call.TickPosted):
                self._ticked(what)
            return
        if self._later is None:
            self._tell(level, what, session)
        elif level > logging.INFO:
            self._later.run()
            self._tell(level, what, session)
        else:
            self._later.do(partial(self._tell, level, what, session, self._clock.now().wall_us))

    def _tell(self, level: int, what: told.Told, session: Record | None, happened_us: int | None = None) -> None:
        is_wanted = level > logging.DEBUG or _level.isEnabledFor(level)
        if is_wanted and not self._is_told_enough(what, session) and (more := self._more(what, session)) is not None:
            bound = {} if session is None else {"session": session.id, "account": session.account}
            when = {} if happened_us is None else {HAPPENED_US: happened_us}
            passed = {"more": more} if more else {}
            log.log(level, told.name_of(type(what)), **{**when, **bound, **told.fields_of(what), **passed})
        self._count(what)

    def _more(self, what: told.Told, session: Record | None) -> int | None:
        """How many of a flood's decisions the log has passed over since the last; ``None``: pass over this one, too."""
        if not isinstance(what, told.CallDecided):
            return 0
        called = (what.number or "") if session is None else session.account
        flood = flood_of(what.decision, what.reason, called)
        return 0 if flood is None else self._log_limit.more(flood)

    def _is_told_enough(self, what: told.Told, session: Record | None) -> bool:
        """Whether the log has the same of this session already, of less than a minute ago."""
        if session is None or not isinstance(what, PERSISTENT):
            return False
        return self._told.take(f"{session.id} {what}", self._clock.now().mono_us) > 0

    def _count(self, what: told.Told) -> None:
        metrics = self._metrics
        match what:
            case told.CallDecided(decision, reason):
                metrics.setups.labels(decision, reason).inc()
                metrics.overload_refusals.inc(reason == Reason.OVERLOADED)
            case call.TickPosted():
                self._ticked(what)
            case call.TickPostponed():
                metrics.ticks.labels("deferred").inc()
                self._postpone()
            case call.LedgerNotReached():
                metrics.ticks.labels("failed").inc()
            case call.CallSettled(settled=settled):
                self._charged(settled)
            case told.MessageNotSold(reason=reason):
                metrics.messages_refused.labels(reason).inc()
            case told.ForwardsInVain():
                metrics.forwards_in_vain.inc()
            case told.SwitchHadNoRoom():
                metrics.messages_refused.labels(Reason.NO_ROOM).inc()
            case told.RecordingsEnded(calls) | told.FaxesEnded(calls):
                metrics.messages_refused.labels(Reason.NO_ROOM).inc(calls)
            case call.VoicemailSettled(settled):
                metrics.charged.labels("voicemail").inc(_money(settled))
            case told.LeftMessageCharged(charged_micro_euro=charged):
                metrics.charged.labels("voicemail").inc(charged)
            case call.FaxSettled(settled):
                metrics.charged.labels("fax").inc(_money(settled))
                metrics.fax_unpaid_seconds.inc(sum(n for key, n in settled.items() if key.startswith("unpaid:")))
            case call.PromptPlayed(prompt, result):
                metrics.prompts.labels(prompt, result).inc()
            case told.BookingContradicted(kind=kind):
                metrics.findings.labels(kind).inc()
            case told.UnexpectedEventMet(pair):
                event, _, state = pair.partition(" while ")
                metrics.unexpected_events.labels(state, event).inc()
            case told.ClockJumped():
                metrics.clock_jumps.inc()
            case _:
                self._count_oddity(what)

    def _count_oddity(self, what: told.Told) -> None:
        """Calls that did not go, or end, by themselves."""
        metrics = self._metrics
        match what:
            case call.CallCut(reason, late_ms):
                metrics.cuts.labels(reason).inc()
                if reason in LATE:
                    metrics.quota_overrun.observe(late_ms / 1000)
            case call.EventContradicted(denied):
                metrics.contradicted_events.labels(denied).inc()
            case told.LegWithoutSession():
                metrics.stray_legs.inc()
            case call.MovedCallCut():
                metrics.moved_calls.labels("moved").inc()
            case call.LegReplaced():
                metrics.moved_calls.labels("replaced").inc()
            case call.TransferCut(kind):
                metrics.moved_calls.labels(kind).inc()
            case call.EndUnproven():
                metrics.unproven_ends.inc()
            case told.CallersTurnedAway(turned):
                for why, count in turned.items():
                    metrics.switch_turned.labels(why).inc(count)

    def _ticked(self, tick: call.TickPosted) -> None:
        """One more, to be counted with those of the same moment."""
        self._uncounted.append(tick)
        if self._later is None:
            self._count_ticks()
        elif len(self._uncounted) == 1:
            self._later.do(self._count_ticks)

    def _count_ticks(self) -> None:
        """Count those that wait; they are told with those of some seconds."""
        ticks, self._uncounted = self._uncounted, []
        short, before = sum(one.short is not Short.NO for one in ticks), self._ticks
        if granted := len(ticks) - short:
            self._metrics.ticks.labels("granted").inc(granted)
        if short:
            self._metrics.ticks.labels("short").inc(short)
        settled = [one.settled for one in ticks if one.settled]
        for one in settled:
            self._charged(one)
        if not before.ticks:
            asyncio.get_running_loop().call_later(TICKS_TOGETHER_S, self._tell_ticks)
        self._ticks = told.CallsTicked(
            before.ticks + len(ticks),
            before.short + short,
            before.charged_micro_euro + sum(map(_money, settled)),
            before.free_seconds + sum(map(_free_seconds, settled)),
        )

    def _tell_ticks(self) -> None:
        ticked, self._ticks = self._ticks, _NO_TICKS
        self(ticked)

    def _postpone(self) -> None:
        """The same of a tick that charged nothing."""
        if not self._postponed:
            asyncio.get_running_loop().call_later(TICKS_TOGETHER_S, self._tell_postponed)
        self._postponed += 1

    def _tell_postponed(self) -> None:
        postponed, self._postponed = self._postponed, 0
        self(told.TicksPostponed(postponed))

    def _charged(self, settled: Mapping[str, int]) -> None:
        self._metrics.charged.labels("forward").inc(max(0, _money(settled)))
        self._metrics.free_seconds_used.inc(max(0, _free_seconds(settled)))


def _free_seconds(settled: Mapping[str, int]) -> int:
    return sum(amount for key, amount in settled.items() if is_free_seconds(key))


def _money(settled: Mapping[str, int]) -> int:
    """Micro-euro of credit, bought and given."""
    return sum(amount for key, amount in settled.items() if is_money(key))


class MeteredMail:
    """Counts mails to subscribers (`notify.worker.Observer`); the worker logs them itself."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def notice(self, kind: str, result: str) -> None:
        self._metrics.notices.labels(kind, result).inc()

    def mail_server(self, up: bool) -> None:
        self._metrics.mail_up.set(up)
