"""What operators read in the log: names and levels are theirs to search for, and stay."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import get_args

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from charging.call import told as call
from charging.call.decide import Decision
from charging.call.model import Proof, Short, State
from charging.call.switch_events import TransferKind
from charging.call.told import TickPosted
from charging.engine import observer, told
from charging.engine.observer import MeteredObserver
from charging.engine.told import Told
from charging.log_limit import LINES, LINES_S
from charging.logs import HAPPENED_US
from charging.metrics import Metrics
from charging.records import replace
from charging.tasks import Afterwards
from tests.fakes.ami import eventually
from tests.fakes.clock import FakeClock
from tests.unit.call.test_table import running

ROUTINE = (
    "answer_inferred bridge_joined call_answered call_cut call_decided call_settled caller_not_looked_up calls_ticked "
    "deadline_moved fax_settled hangup_ordered lease_gained left_message_charged message_not_sold prompt_played "
    "session_restored sessions_restored tick_posted tick_postponed voicemail_reserved "
    "voicemail_settled warning_due warning_rearmed"
)
WARNINGS = (
    "answer_delivery_doubted answer_moved audit_postponed callers_turned_away clocks_disagreed drain_begun "
    "drain_ended end_unproven extension_refused forwards_in_vain lease_lost lease_not_released lease_not_renewed "
    "ledger_has_room ledger_not_reached "
    "left_message_too_old leg_replaced maintenance_postponed moved_call_cut newer_version_read overdue_call_cut "
    "overload_begun overload_ended records_not_deleted records_of_another_switch spool_has_room switch_failed "
    "target_uncertain ticks_postponed transfer_cut transfer_followed unpaid_channel_seen"
)
ERRORS = (
    "booking_contradicted clock_jumped event_contradicted faxes_ended ledger_failed ledger_out_of_room "
    "ledger_room_low leg_without_session "
    "mailbox_overflowed quota_overrun recordings_ended session_lost session_reasserted session_reasserted_short "
    "session_unreadable sessions_left_open sessions_not_restored spool_full switch_had_no_room switch_id_taken "
    "unexpected_event_met"
)


@pytest.mark.parametrize(
    ("kinds", "names"), [(told.Routine, ROUTINE), (told.Warnings, WARNINGS), (told.Errors, ERRORS)]
)
def test_names_and_levels_of_what_is_told_are_those_that_operators_know(kinds: type, names: str) -> None:
    assert sorted(map(told.name_of, get_args(kinds))) == names.split()


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (call.CallAnswered(60), {"event": "call_answered", "log_level": "info", "quota_s": 60}),
        (call.TransferCut(TransferKind.BLIND), {"event": "transfer_cut", "log_level": "warning", "kind": "blind"}),
        (call.QuotaOverrun(3), {"event": "quota_overrun", "log_level": "error", "seconds": 3}),
    ],
)
def test_a_line_of_the_log_says_whose_session_it_is_about(what: Told, line: dict[str, object]) -> None:
    session = running()
    with capture_logs() as logs:
        MeteredObserver(Metrics())(what, session)
    assert logs == [{"session": session.id, "account": session.account, **line}]


async def test_routine_is_told_a_moment_later_with_its_own_time_and_before_whatever_is_not_routine() -> None:
    clock, metrics = FakeClock(), Metrics()
    observe = MeteredObserver(metrics, clock, metrics.later)
    with capture_logs() as logs:
        for number in range(2):
            observe(told.CallDecided(Decision.FORWARD, "credit"))
            assert len(logs) == 2 * number
            await clock.advance(1)
            observe(told.SwitchHadNoRoom())
    assert [(line["event"], line.get(HAPPENED_US)) for line in logs] == [
        ("call_decided", clock.now().wall_us - 2_000_000),
        ("switch_had_no_room", None),
        ("call_decided", clock.now().wall_us - 1_000_000),
        ("switch_had_no_room", None),
    ]


@pytest.mark.parametrize(("seconds", "lines"), [(59, 1), (60, 2)])
@pytest.mark.parametrize("what", [told.SwitchFailed("no", "SwitchError"), call.OverdueCallCut(60)])
async def test_what_a_call_meets_each_second_is_told_once_a_minute(what: Told, seconds: int, lines: int) -> None:
    """A switch that refuses one leg's order is asked again each second, for as long as it does."""
    clock, session = FakeClock(), running()
    observe = MeteredObserver(Metrics(), clock)
    with capture_logs() as logs:
        for _ in range(seconds + 1):
            observe(what, session)
            await clock.advance(1)
    assert len(logs) == lines


async def test_what_another_call_meets_or_what_is_something_else_is_told_beside_it() -> None:
    observe, session = MeteredObserver(Metrics(), FakeClock()), running()
    failed = told.SwitchFailed("no", "SwitchError")
    with capture_logs() as logs:
        for what in (failed, replace(failed, error="why"), told.LedgerFailed("no", "LedgerUnavailable")):
            observe(what, session)
        observe(failed, replace(session, id="s-2"))
        observe(call.EndUnproven(7), session)
        observe(call.EndUnproven(7), session)
    assert len(logs) == 6


@pytest.mark.parametrize(("after_s", "more"), [(LINES_S - 1, None), (LINES_S, 3)])
@pytest.mark.parametrize("reason", ["unknown_number", "too_many_wait", "too_many_given_up", "no_minutes"])
async def test_of_what_a_flood_brings_the_log_has_some_lines_and_how_many_more(
    reason: str, after_s: int, more: int | None
) -> None:
    """The numbers have them all, and other decisions are logged however many they are: of each number some."""
    clock, metrics = FakeClock(), Metrics()
    observe = MeteredObserver(metrics, clock)
    with capture_logs() as logs:
        for number in range(LINES + 3):
            observe(told.CallDecided(Decision.REJECT, reason))
            observe(told.CallDecided(Decision.REJECT, "no_credit", number=str(number)))
        await clock.advance(after_s)
        observe(told.CallDecided(Decision.REJECT, reason))
    lines = [line.get("more") for line in logs if line["reason"] == reason]
    assert lines == [None] * LINES + ([] if more is None else [more])
    assert len(logs) - len(lines) == LINES + 3
    counted = f'charging_setups_total{{decision="reject",reason="{reason}"}} {LINES + 4}.0'
    assert counted.encode() in metrics.render()


async def test_the_numbers_have_all_that_has_happened() -> None:
    metrics = Metrics()
    observe = MeteredObserver(metrics, FakeClock(), metrics.later)
    observe(told.CallDecided(Decision.FORWARD, "credit"))
    assert b'charging_setups_total{decision="forward",reason="credit"} 1.0' in metrics.render()


async def test_ticks_are_told_together_and_each_by_itself_only_to_who_looks_closely(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "TICKS_TOGETHER_S", 0)
    session, observe = running(), MeteredObserver(Metrics())
    with capture_logs() as logs:
        observe(TickPosted({"credit": 7}, 60, Short.NO), session)
        observe(call.DeadlineMoved(60), session)
        observe(TickPosted({"credit": 2, "bundle:2026-11": 30}, 60, Short.MONEY), session)
        assert logs == []
        await eventually(lambda: logs, "the ticks are told")
        together = {"ticks": 2, "short": 1, "charged_micro_euro": 9, "free_seconds": 30}
        assert logs == [{"event": "calls_ticked", "log_level": "info", **together}]
        logs.clear()
        with caplog.at_level(logging.DEBUG, "charging"):
            observe(TickPosted({"credit": 7}, 60, Short.NO), session)
    (line,) = logs
    fields_of_a_tick = {"settled": {"credit": 7}, "covered_s": 60, "short": "no"}
    whose = {"session": session.id, "account": session.account}
    assert line == {"event": "tick_posted", "log_level": "debug", **whose, **fields_of_a_tick}


async def test_ticks_over_a_silent_link_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of calls would else write a line each second, while the daemon has other things to do."""
    monkeypatch.setattr(observer, "TICKS_TOGETHER_S", 0)
    metrics = Metrics()
    observe = MeteredObserver(metrics)
    with capture_logs() as logs:
        for _ in range(3):
            observe(call.TickPostponed(silent=True), running())
        assert logs == []
        await eventually(lambda: logs, "the ticks are told")
    assert logs == [{"event": "ticks_postponed", "log_level": "warning", "ticks": 3}]
    assert metrics.registry.get_sample_value("charging_ticks_total", {"result": "deferred"}) == 3


def test_what_a_finding_found_stands_in_its_line_and_what_is_not_known_does_not() -> None:
    with capture_logs() as logs:
        observe = MeteredObserver(Metrics())
        observe(told.BookingContradicted("s-1", "record_without_booking", {"answered_ms": 7000, "ended_us": None}))
        observe(told.CallDecided(Decision.REJECT, "blocked", number="112"))
    contradicted, decided = logs
    assert contradicted == {
        "event": "booking_contradicted",
        "log_level": "error",
        "session": "s-1",
        "kind": "record_without_booking",
        "answered_ms": 7000,
        "ended_us": None,
    }
    assert decided.keys() == {"event", "log_level", "decision", "reason", "number"}


MICRO = "charged_micro_euro_total"
FINDING = "record_without_booking"


@pytest.mark.parametrize(
    ("what", "series", "labels", "value"),
    [
        (told.CallDecided(Decision.FORWARD, "credit"), "setups_total", {"decision": "forward", "reason": "credit"}, 1),
        (TickPosted({}, 60, Short.NO), "ticks_total", {"result": "granted"}, 1),
        (TickPosted({}, 60, Short.MONEY), "ticks_total", {"result": "short"}, 1),
        (
            TickPosted({"credit": 2}, 60, Short.NO),
            MICRO,
            {"service": "forward"},
            2,
        ),
        (TickPosted({"bundle:1": 9}, 60, Short.NO), "free_seconds_used_total", {}, 9),
        (call.LedgerNotReached(), "ticks_total", {"result": "failed"}, 1),
        (
            call.CallSettled(1, Proof.EVENTS, {"credit": 3}),
            MICRO,
            {"service": "forward"},
            3,
        ),
        (call.VoicemailSettled({"credit": 1}), MICRO, {"service": "voicemail"}, 1),
        (
            told.LeftMessageCharged("anna", 1, 1),
            MICRO,
            {"service": "voicemail"},
            1,
        ),
        (call.FaxSettled({"credit": 1}), MICRO, {"service": "fax"}, 1),
        (call.PromptPlayed("credit_low", "played"), "prompts_total", {"prompt": "credit_low", "result": "played"}, 1),
        (call.CallCut("money", 1500), "cuts_total", {"reason": "money"}, 1),
        (call.CallCut("money", 1500), "quota_overrun_seconds_sum", {}, 1.5),
        (call.CallCut("operator", 1500), "quota_overrun_seconds_count", {}, 0),
        (call.EventContradicted("end"), "contradicted_events_total", {"event": "end"}, 1),
        (told.LegWithoutSession("s-1", "u"), "stray_legs_total", {}, 1),
        (call.MovedCallCut(), "moved_calls_total", {"kind": "moved"}, 1),
        (call.TransferCut(TransferKind.BLIND), "moved_calls_total", {"kind": "blind"}, 1),
        (call.EndUnproven(1), "unproven_ends_total", {}, 1),
        (told.ClockJumped(1), "clock_jumps_total", {}, 1),
        (
            told.BookingContradicted("s", FINDING, {}),
            "findings_total",
            {"kind": FINDING},
            1,
        ),
        (
            told.UnexpectedEventMet("Posted while running"),
            "unexpected_events_total",
            {"state": "running", "event": "Posted"},
            1,
        ),
    ],
)
async def test_what_operators_watch_is_counted(what: Told, series: str, labels: dict[str, str], value: float) -> None:
    metrics = Metrics()
    MeteredObserver(metrics)(what)
    assert metrics.registry.get_sample_value(f"charging_{series}", labels) == value


def test_no_kind_has_a_field_that_the_log_uses_itself() -> None:
    """`event=` beside the event's own name would raise in a call's task, and bring the daemon down."""
    taken = {"event", "level", "logger", "timestamp"}
    found = {kind.__name__: taken & {one.name for one in fields(kind)} for kind in get_args(told.Told)}
    assert {name: names for name, names in found.items() if names} == {}


def counted(metrics: Metrics) -> list[str]:
    """Our own series, without those of the process."""
    return [line for line in generate_latest(metrics.registry).decode().splitlines() if line.startswith("charging_")]


@pytest.mark.parametrize("what", [told.SessionRestored(State.RUNNING), call.DeadlineMoved(120)], ids=type)
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
async def test_what_only_the_log_tells_of_each_call_costs_nothing_where_nobody_reads_it(what: Told, level: int) -> None:
    """Thousands are restored and moved at a time. Where details are wanted they are logged; no number counts them."""
    metrics, later = Metrics(), Afterwards()
    before = counted(metrics)
    logging.getLogger("charging.session").setLevel(level)
    try:
        with capture_logs() as lines:
            MeteredObserver(metrics, later=later)(what)
            assert bool(later._waiting) is (level == logging.DEBUG)
            later.run()
    finally:
        logging.getLogger("charging.session").setLevel(logging.NOTSET)
    assert len(lines) == (level == logging.DEBUG)
    assert counted(metrics) == before
