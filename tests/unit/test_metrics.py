"""Metrics: every collector is documented, in the registry of its own, and free of personal labels."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from charging.engine.observer import MeteredMail
from charging.metrics import AMI_STATES, NOTICES, Metrics
from charging.notify.model import NoticeKind
from charging.notify.smtp import Fate

PROMISED = {
    "charging_setups": {"decision", "reason"},
    "charging_calls_live": set(),
    "charging_sessions_open": {"state"},
    "charging_session_overdue_seconds": set(),
    "charging_sessions_left_open": set(),
    "charging_loop_lag_seconds": set(),
    "charging_overload_refusals": set(),
    "charging_messages_refused": {"reason"},
    "charging_tick_overdue_seconds": set(),
    "charging_ticks": {"result"},
    "charging_charged_micro_euro": {"service"},
    "charging_free_seconds_used": set(),
    "charging_payments": {"result"},
    "charging_voicemail_free_bytes": set(),
    "charging_switch_memory_free_bytes": set(),
    "charging_fax_unpaid_seconds": set(),
    "charging_fax_unpaid_refusals": set(),
    "charging_prompts": {"prompt", "result"},
    "charging_prompts_missing": set(),
    "charging_cuts": {"reason"},
    "charging_ami_up": set(),
    "charging_ami_state": {"state"},
    "charging_ami_reconnects": set(),
    "charging_ami_suspects": set(),
    "charging_ledger_operation_seconds": {"operation", "outcome"},
    "charging_expiry_held": set(),
    "charging_ledger_up": set(),
    "charging_ledger_room_bytes": set(),
    "charging_quota_overrun_seconds": set(),
    "charging_unproven_ends": set(),
    "charging_clock_jumps": set(),
    "charging_decisions_lost": {"reason"},
    "charging_findings": {"kind"},
    "charging_contradicted_events": {"event"},
    "charging_stray_legs": set(),
    "charging_moved_calls": {"kind"},
    "charging_agi_requests": {"route", "result"},
    "charging_agi_seconds": {"route"},
    "charging_connections_turned_away": {"listener", "reason"},
    "charging_forwards_in_vain": set(),
    "charging_switch_turned_away": {"reason"},
    "charging_tariff_info": {"revision", "digest"},
    "charging_tariff_reload": {"result"},
    "charging_tariff_bad": set(),
    "charging_tariff_waits": set(),
    "charging_tariff_warnings": set(),
    "charging_unexpected_events": {"state", "event"},
    "charging_notices": {"kind", "result"},
    "charging_mail_up": set(),
    "charging_fax_mails_dropped": {"reason"},
    "charging_webhook_told_timestamp_seconds": {"webhook"},
    "charging_webhook_off": {"webhook"},
    "charging_webhook_letters": {"webhook", "state"},
    "charging_webhook_deliveries": {"webhook", "result"},
    "charging_build_info": {"version"},
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_promised_collector_is_there_with_its_labels_and_its_words() -> None:
    registry: CollectorRegistry = Metrics().registry
    families = {family.name: family for family in registry.collect() if family.name.startswith("charging_")}
    assert families.keys() == PROMISED.keys()
    for family in families.values():
        assert family.documentation.endswith("."), family.name


@pytest.mark.parametrize(("name", "labels"), PROMISED.items())
def test_labels_are_those_promised_and_never_a_person(metrics: Metrics, name: str, labels: set[str]) -> None:
    collector = metrics.registry._names_to_collectors[name]
    assert set(collector._labelnames) == labels  # type: ignore[attr-defined]
    assert not labels & {"account", "number", "session", "channel", "caller", "uid"}


def test_render_is_text_that_prometheus_can_parse(metrics: Metrics) -> None:
    families = list(text_string_to_metric_families(metrics.render().decode()))
    assert "charging_build_info" in {family.name for family in families}
    assert value(metrics, "charging_build_info", version="1.2.3") == 1


def test_two_daemons_in_one_process_share_nothing(metrics: Metrics) -> None:
    metrics.unproven_ends.inc()
    assert value(Metrics(), "charging_unproven_ends_total") == 0


def test_known_series_exist_at_zero_before_anything_happened(metrics: Metrics) -> None:
    assert value(metrics, "charging_ticks_total", result="granted") == 0
    assert value(metrics, "charging_cuts_total", reason="money") == 0
    assert value(metrics, "charging_prompts_total", prompt="credit_low", result="failed") == 0
    assert value(metrics, "charging_sessions_open", state="running") == 0


@pytest.mark.parametrize("state", AMI_STATES)
def test_ami_state_is_one_of_its_words(metrics: Metrics, state: str) -> None:
    metrics.set_ami_state(state)
    states = {one: value(metrics, "charging_ami_state", state=one) for one in AMI_STATES}
    assert states == {one: float(one == state) for one in AMI_STATES}
    assert value(metrics, "charging_ami_up") == float(state == "up")


def test_route_that_is_none_of_ours_makes_no_series_of_its_own(metrics: Metrics) -> None:
    metrics.count_agi("/incoming", "answered", 0.01)
    metrics.count_agi("/../etc/passwd", "unknown_route", 0.01)
    assert value(metrics, "charging_agi_requests_total", route="incoming", result="answered") == 1
    assert value(metrics, "charging_agi_requests_total", route="other", result="unknown_route") == 1
    assert value(metrics, "charging_agi_seconds_count", route="incoming") == 1
    assert value(metrics, "charging_agi_seconds_count", route="other") is None


def test_ami_is_down_from_the_start(metrics: Metrics) -> None:
    assert value(metrics, "charging_ami_state", state="down") == 1
    assert value(metrics, "charging_ami_up") == 0


def test_new_tariff_replaces_the_old_one_and_cures_a_bad_one(metrics: Metrics) -> None:
    metrics.set_tariff("1", "aa")
    metrics.tariff_bad.set(1)
    metrics.set_tariff("2", "bb")
    assert value(metrics, "charging_tariff_info", revision="1", digest="aa") is None
    assert value(metrics, "charging_tariff_info", revision="2", digest="bb") == 1
    assert value(metrics, "charging_tariff_bad") == 0


def test_session_states_that_are_not_named_have_none(metrics: Metrics) -> None:
    metrics.set_sessions_open({"running": 2})
    metrics.set_sessions_open({"setup": 1})
    assert value(metrics, "charging_sessions_open", state="running") == 0
    assert value(metrics, "charging_sessions_open", state="setup") == 1


def test_every_kind_and_fate_of_a_notice_has_its_series_from_the_start(metrics: Metrics) -> None:
    assert set(NOTICES) == set(NoticeKind)
    for kind in NoticeKind:
        for fate in Fate:
            assert value(metrics, "charging_notices_total", kind=str(kind), result=str(fate)) == 0


def test_mails_are_counted_and_the_mail_server_is_up_until_it_fails(metrics: Metrics) -> None:
    mail = MeteredMail(metrics)
    assert value(metrics, "charging_mail_up") == 1
    mail.mail_server(False)
    mail.notice("missed-call", "later")
    assert value(metrics, "charging_mail_up") == 0
    mail.mail_server(True)
    mail.notice("missed-call", "sent")
    assert value(metrics, "charging_mail_up") == 1
    assert value(metrics, "charging_notices_total", kind="missed-call", result="later") == 1
    assert value(metrics, "charging_notices_total", kind="missed-call", result="sent") == 1
