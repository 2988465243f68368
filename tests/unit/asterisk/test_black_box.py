"""What the switch remembers of a call that has ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.asterisk.black_box import FORGET_CHARACTERS_MAX, BlackBoxRecord, is_key, packed, parse_record
from tests.fakes.recordings import BRANCHES, USUAL, ami_messages

CONVERSATION_MS, ENDED_AT_US = 1032, 1795867415922000


def parsed(text: str, key: str = "s-1") -> BlackBoxRecord:
    record = parse_record(key, text)
    assert record is not None
    return record


def recorded(name: str, branch: str = USUAL) -> BlackBoxRecord:
    message = next(each for each in ami_messages(name, branch) if each.event == "DBGetResponse")
    return parsed(message.get("Val"), message.get("Key"))


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("name", ["answered_caller_hangs_up", "answered_callee_hangs_up", "ring_group", "picked_up"])
def test_a_recorded_answered_call(name: str, branch: str) -> None:
    record = recorded(name, branch)
    assert record.session == "s-rec-1"
    assert (record.dial_status, record.cause) == ("ANSWER", 16)
    assert 1000 <= (record.conversation_ms or 0) < 2000
    assert (record.decision, record.phase, record.malformed) == ("forward", "dial", ())


def test_a_recorded_answered_call_to_the_millisecond() -> None:
    record = recorded("answered_caller_hangs_up")
    assert (record.conversation_ms, record.ended_at_us) == (CONVERSATION_MS, ENDED_AT_US)


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("name", ["busy", "no_answer", "caller_gives_up"])
def test_a_recorded_call_that_was_not_answered_lasted_no_time(name: str, branch: str) -> None:
    record = recorded(name, branch)
    assert (record.conversation_ms, record.malformed, record.number) == (0, (), "+31850000001")
    assert record.caller.startswith("+3120000")


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_cut_of_a_quota_is_never_before_the_paid_second(branch: str) -> None:
    assert 2000 <= (recorded("cut_by_quota", branch).conversation_ms or 0) <= 2200


def test_the_up_time_of_a_caller_in_voicemail_is_no_conversation() -> None:
    assert parsed("v1|dial=NOANSWER|answered_ms=9000").conversation_ms == 0
    assert parsed("v1|dial=|answered_ms=9000").conversation_ms == 0


def test_an_answered_call_without_a_duration_is_unknown_and_not_zero() -> None:
    assert parsed("v1|dial=ANSWER|answered_ms=").conversation_ms is None
    assert parsed("v1|dial=ANSWER").conversation_ms is None


@pytest.mark.parametrize("value", ["-1", "1.5", "1e3", "0x10", " 5", "1_000", "five", "५"])
def test_a_duration_that_is_no_number_is_unknown_and_named(value: str) -> None:
    record = parsed(f"v1|dial=ANSWER|answered_ms={value}")
    assert record.conversation_ms is None
    assert record.malformed == ("answered_ms",)


@pytest.mark.parametrize(
    ("text", "micros"),
    [("1700000000", 1700000000000000), ("1700000000.123", 1700000000123000), ("17.0000019", 17000001)],
)
def test_the_end_is_read_exactly(text: str, micros: int) -> None:
    assert parsed(f"v1|ended={text}").ended_at_us == micros


def test_forwarded_leg_tells_its_own_time() -> None:
    record = parsed("v2|dial=ANSWER|answered=1700000000.123|ended=1700000004.336|cause=16|phase=dial|switch=asterisk")
    assert (record.conversation_ms, record.by_leg, record.malformed) == (4213, True, ())
    assert (record.cause, record.switch, record.ended_at_us) == (16, "asterisk", 1700000004336000)


@pytest.mark.parametrize(
    ("up", "lasted_ms", "conversation_ms"),
    [
        ("74859.03-74869.25", 10_220, 60_213),
        ("74859.03-74859.04", 10, 60_213),
        ("74859.03-74859.03", None, 60_213),
        ("74859.03-74859.02", None, 60_213),
        ("01-01", None, 60_213),
        ("0.00-0.00", None, 60_213),
        ("74859.03-", None, 60_213),
        ("-74859.03", None, 60_213),
        ("-", None, 60_213),
        ("", None, 60_213),
        ("garbage", None, 60_213),
    ],
)
def test_how_long_the_machine_was_up_tells_a_length_that_no_step_of_its_clock_is_in(
    up: str, lasted_ms: int | None, conversation_ms: int
) -> None:
    record = parsed(f"v2|dial=ANSWER|answered=1700000000.123|ended=1700000060.336|up={up}|cause=16")
    assert (record.lasted_ms, record.conversation_ms) == (lasted_ms, conversation_ms)


def test_a_clock_that_was_set_back_beyond_the_answer_leaves_the_length_that_the_machine_was_up() -> None:
    record = parsed("v2|dial=ANSWER|answered=1700000060.123|ended=1700000000.336|up=100.00-110.25|cause=16")
    assert (record.conversation_ms, record.malformed) == (10_250, ("answered",))


def test_record_of_before_has_the_callers_time() -> None:
    assert not parsed("v1|dial=ANSWER|answered_ms=4213").by_leg


def test_forward_that_was_not_answered_lasted_no_time_whatever_its_caller_did_before() -> None:
    record = parsed("v2|dial=BUSY|ended=1700000004.336|cause=17")
    assert (record.conversation_ms, record.by_leg) == (0, True)


@pytest.mark.parametrize(
    "stamps",
    [
        "answered=|ended=1700000004.336",
        "answered=1700000004.337|ended=1700000004.336",
        "answered=x|ended=1",
        "answered=1",
    ],
    ids=["no answer", "clock went back", "garbage", "no end"],
)
def test_time_of_a_leg_that_cannot_be_known_is_unknown_and_not_zero(stamps: str) -> None:
    assert parsed(f"v2|dial=ANSWER|{stamps}").conversation_ms is None


def test_unknown_fields_are_ignored_and_missing_ones_empty() -> None:
    record = parsed("v1|colour=blue|nonsense|=|dial=BUSY")
    assert (record.dial_status, record.voicemail_file, record.fax_pages) == ("BUSY", "", None)


def test_a_call_without_a_session_has_none() -> None:
    assert parsed("v1|dial=", key="nosession-1700000000.1").session is None


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("v1|vm=SUCCESS|vmfile=/spool/msg0000", True),
        ("v1|vm=SUCCESS|vmfile=", False),
        ("v1|vm=FAILED|vmfile=/spool/msg0000", False),
    ],
)
def test_a_message_is_stored_only_with_its_file(text: str, stored: bool) -> None:
    assert parsed(text).voicemail_stored is stored


def test_a_fax_is_counted_in_pages() -> None:
    assert (parsed("v1|fax=SUCCESS|pages=2").fax_status, parsed("v1|pages=2").fax_pages) == ("SUCCESS", 2)


@pytest.mark.parametrize("text", ["", "v3|dial=ANSWER", "dial=ANSWER", "v11|"])
def test_a_version_that_is_not_known_is_no_record(text: str) -> None:
    assert parse_record("s-1", text) is None


@pytest.mark.parametrize("field", ["vm", "number", "ended", "later"])
def test_a_record_that_says_something_twice_is_a_strangers(field: str) -> None:
    """What the dialplan lets stand in a field could be a whole field of his, if it let a "|" pass."""
    text = "v2|dial=|ended=1.000|vm=|vmfile=x|number=31850000001|later="
    assert parse_record("nosession-1.1", text) is not None
    assert parse_record("nosession-1.1", f"{text}|{field}=SUCCESS") is None


@given(st.text())
def test_whatever_stands_there_never_raises(text: str) -> None:
    parse_record("s-1", text)
    record = parse_record("s-1", "v1|" + text)
    assert record is None or record.answered_ms is None or record.answered_ms >= 0


def test_the_switch_of_the_daemon_that_decided_is_read_and_missing_in_older_records() -> None:
    assert parsed("v1|dial=BUSY|switch=east").switch == "east"
    assert parsed("v1|dial=BUSY|switch=").switch == parsed("v1|dial=BUSY").switch == ""


@pytest.mark.parametrize(
    "text", ["19a0b1c2d3e-0123456789ab", "fax-0a1b2c", "nosession-my.pbx_1-1795305157.1", "k" * 200]
)
def test_what_the_dialplan_writes_is_a_key(text: str) -> None:
    assert is_key(text)


@pytest.mark.parametrize(
    "text", ["", "k" * 201, "a:b", "a,b", "a;b", "a/b", "a|b", 'a"b', "a b", "a\n", "${a}", "$[1]", "a)", "ä", "٣"]
)
def test_what_means_something_to_the_dialplan_is_no_key(text: str) -> None:
    assert not is_key(text)


@pytest.mark.parametrize(("last", "packs"), [(96, 1), (97, 2)])
def test_keys_fill_a_line_to_its_last_character_and_not_beyond(last: int, packs: int) -> None:
    keys = [*("k" * 200 for _ in range(4)), "k" * last]
    assert len(":".join(keys)) == FORGET_CHARACTERS_MAX + packs - 1
    assert len(list(packed(keys))) == packs


@given(st.lists(st.from_regex(r"[A-Za-z0-9._-]{1,200}", fullmatch=True)))
def test_packs_hold_every_key_once_in_order_and_none_is_too_long(keys: list[str]) -> None:
    packs = list(packed(keys))
    assert [key for pack in packs for key in pack.split(":")] == keys
    assert all(len(pack) <= FORGET_CHARACTERS_MAX for pack in packs)


@pytest.mark.parametrize(("digits", "cause"), [(18, 10**18 - 1), (19, None), (5_000, None)])
def test_a_number_that_no_store_takes_is_malformed(digits: int, cause: int | None) -> None:
    record = parse_record("s-1", "v2|cause=" + "9" * digits)
    assert record is not None
    assert (record.cause, record.malformed) == (cause, () if cause is not None else ("cause",))


@pytest.mark.parametrize("dashes", ["-", "--"])
def test_a_dash_is_no_number_but_stands_between_two_times_that_are_not_known(dashes: str) -> None:
    assert parsed(f"v2|cause={dashes}|pages={dashes}|ended={dashes}").malformed == ("ended", "cause", "pages")
    assert parsed(f"v2|up={dashes}").malformed == (() if dashes == "-" else ("up",))


@pytest.mark.parametrize(("digits", "at_us"), [(12, (10**12 - 1) * 1_000_000), (13, None), (5_000, None)])
def test_a_time_that_no_store_takes_is_malformed(digits: int, at_us: int | None) -> None:
    record = parse_record("s-1", f"v2|ended={'9' * digits}.{'0' * 5_000}")
    assert record is not None
    assert (record.ended_at_us, record.malformed) == (at_us, () if at_us is not None else ("ended",))


@pytest.mark.parametrize(("presentation", "withheld"), [("withheld", True), ("allowed", False), ("", False)])
def test_whether_the_caller_withholds_his_number_is_read(presentation: str, withheld: bool) -> None:
    assert parsed(f"v2|dial=BUSY|ended=1.000|caller=+31201234567|presentation={presentation}").withheld is withheld


@pytest.mark.parametrize(
    ("key", "fields", "undecided"),
    [
        ("nosession-1.1", "decision=|phase=fallback", True),
        ("nosession-1.1", "decision=|phase=decide", True),
        ("nosession-1.1", "decision=reject|phase=reject", False),
        ("nosession-1.1", "decision=voicemail|phase=decide", False),
        ("s-1", "decision=|phase=fallback", False),
    ],
)
def test_a_call_that_no_daemon_decided_over_is_known(key: str, fields: str, undecided: bool) -> None:
    assert parsed(f"v2|dial=|ended=1.000|cause=19|{fields}", key).undecided is undecided


@pytest.mark.parametrize(("phase", "turned"), [("turned", "mailbox"), ("reject", "")])
def test_a_call_that_the_switch_turned_away_by_itself_says_why(phase: str, turned: str) -> None:
    record = parsed(f"v2|dial=|ended=1.000|decision=reject|phase={phase}|why=mailbox", "nosession-turned-1.1")
    assert (record.turned, record.undecided) == (turned, False)
