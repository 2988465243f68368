"""Logs: fields, bound context, the injected clock, and no customer's number or mail address."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import charging
from charging.log_limit import LINES, LINES_S
from charging.logs import HAPPENED_US, SPARED_EVENTS, configure_logs, get_logger, mask
from tests.fakes.clock import FakeClock


@pytest.fixture(autouse=True)
def _logging_left_as_found() -> Iterator[None]:
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in ("charging", "agi")]
    handlers, level, levels = root.handlers[:], root.level, [one.level for one in ours]
    raising = logging.raiseExceptions
    yield
    structlog.reset_defaults()
    for made in set(root.handlers) - set(handlers):
        made.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger, one in zip(ours, levels, strict=True):
        logger.setLevel(one)
    logging.raiseExceptions = raising


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def json_log(level: Any = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logs("json", level, clock=FakeClock(), stream=stream)
    return stream


def test_a_line_that_is_written_later_has_the_time_of_what_it_tells() -> None:
    stream = json_log()
    get_logger().info("call_decided", **{HAPPENED_US: 1_795_262_400_123_999})
    assert lines_of(stream) == [{"event": "call_decided", "level": "info", "timestamp": "2026-11-21T12:00:00.123Z"}]


def test_event_is_one_json_line_with_the_injected_clocks_time() -> None:
    stream = json_log()
    get_logger().info("reservation_granted", reserved_micro_euro=125000)
    assert lines_of(stream) == [
        {
            "reserved_micro_euro": 125000,
            "event": "reservation_granted",
            "level": "info",
            "timestamp": "2026-11-21T12:00:00.000Z",
        }
    ]


def test_lines_below_the_level_are_not_written() -> None:
    stream = json_log("warning")
    get_logger().info("call_answered")
    get_logger().warning("link_lost")
    assert [line["event"] for line in lines_of(stream)] == ["link_lost"]


def test_debug_level_shows_our_own_debug_lines() -> None:
    stream = json_log("debug")
    get_logger().debug("event_received")
    logging.getLogger("some.library").debug("chatter")
    assert [line["event"] for line in lines_of(stream)] == ["event_received"]


def test_library_message_is_a_field_and_masked() -> None:
    stream = json_log()
    logging.getLogger("panoramisk").warning("lost %s", "+31612345678")
    (line,) = lines_of(stream)
    assert (line["event"], line["message"]) == ("library_spoke", "lost +31*******78")


def test_exception_is_written_and_masked() -> None:
    stream = json_log()
    try:
        raise ValueError("no such number 0612345678")
    except ValueError:
        get_logger().exception("request_failed")
    (line,) = lines_of(stream)
    assert "ValueError: no such number 061*****78" in line["exception"]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("+31612345678", "+31*******78"),
        ("0612345678", "061*****78"),
        ("0031612345678", "003********78"),
        ("PJSIP/+31612345678@trunk", "PJSIP/+31*******78@trunk"),
        ("from 0201234567, to +44 20 7946 0958.", "from 020*****67, to +44***********58."),
        ("jan.de.vries@example.nl", "j***@example.nl"),
        ("To: <a@b.example.com>", "To: <a***@b.example.com>"),
        ("06-12345678", "06-******78"),
        ("06 12 34 56 78", "06 *********78"),
        ("06.12.34.56.78", "06.**.**.**.78"),
        ("(020) 123 45 67", "(02**********67"),
        ("0475/12 34 56", "047*/******56"),
        ("06\u200b12345678", "06\u200b******78"),
        ("0031-6-12345678", "003*-*-******78"),
        ("+31 (0)6 1234 5678", "+31*************78"),
        ("31-6-12345678", "31-*-******78"),
        ("212-555-0123", "212-***-**23"),
        ("/numbers/%2B31612345678", "/numbers/%2B316******78"),
        ("fax_0612345678.pdf", "fax_061*****78.pdf"),
        ('"Jan Jansen" <jan@x.nl>', "*** <j***@x.nl>"),
        ("mail to Jan van der Berg <jan@x.nl> failed", "mail to *** <j***@x.nl> failed"),
        ("From: =?utf-8?q?Jan?= <jan@x.nl>", "From: *** <j***@x.nl>"),
        ('"jan jansen"@x.nl', "j***@x.nl"),
        ("jan@[10.0.0.1]", "j***@[10.0.0.1]"),
        ("jan@münchen.example", "j***@münchen.example"),
        ("/who?mail=jan%40x.nl", "/who?mail=j***%40x.nl"),
    ],
)
def test_numbers_and_mail_addresses_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        *("1700000000.17", "PJSIP/trunk-0000001a", "s-12345678-ab", "123456", "2026-11-21", "10.0.0.254", "a@b"),
        *("21-11-2026 12:00:00", "2026-11-21 12:00:00.125", "127.0.0.1:5060", "0.0125", "0.123456789", "01-12-2026"),
        'a "quoted" word, 3 < 4',
    ],
)
def test_what_is_no_number_or_mail_address_stays(text: str) -> None:
    assert mask(text) == text


def test_masking_costs_what_its_text_is_long() -> None:
    """Text from outside: no repetition of what the patterns look for makes them slow."""
    for piece in ('"', "0 ", "1 ", "+", "A van ", '"a', "=?", "a@", "(0 ", "a."):
        texts = [piece * 5_000, piece * 40_000]
        short, long = (min(_seconds(text) for _ in range(3)) for text in texts)
        assert long <= 24 * short + 0.1, piece  # eight times the text; 64 times the time would be quadratic


def _seconds(text: str) -> float:
    """Of this process alone: the machine may be busy with others."""
    started = time.process_time()
    mask(text)
    return time.process_time() - started


# What a terminal would obey or a reader be misled by: colours, a new line that looks like an event, the direction of
# writing, C1 controls, what is not seen at all.
EVIL = "\x1b[2Jx\x9b31m\r\nlevel=info event=call_charged\u202e\u2066y\u2028\u200b\x00\x7f\ufeff\x08"


@pytest.mark.parametrize("output", ["console", "json"])
@pytest.mark.parametrize("where", ["value", "key", "event", "nested", "library", "exception", "object"])
def test_nothing_that_is_logged_moves_a_cursor_or_begins_a_line(output: Any, where: str) -> None:
    stream = io.StringIO()
    configure_logs(output, clock=FakeClock(), stream=stream)
    _log_evil(where)
    lines = stream.getvalue().split("\n")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", "\n".join(lines))
    assert not any(line.startswith("level=info") for line in lines)
    if output == "json":
        json.loads(stream.getvalue())


def _log_evil(where: str) -> None:
    class Evil:
        def __str__(self) -> str:
            return EVIL

    match where:
        case "value":
            get_logger().warning("call_decided", caller=EVIL)
        case "key":
            get_logger().warning("call_decided", **{EVIL: 1})
        case "event":
            get_logger().warning(EVIL)
        case "nested":
            get_logger().warning("call_decided", headers={"x": [EVIL]})
        case "object":
            get_logger().warning("call_decided", error=Evil())
        case "library":
            logging.getLogger("uvicorn.error").warning("bad request %s", EVIL)
        case "exception":
            try:
                raise ValueError(EVIL)
            except ValueError:
                get_logger().exception("request_failed")


def test_json_says_what_was_said() -> None:
    stream = json_log()
    get_logger().info("call_decided", caller=EVIL, reason="café €")
    assert (lines_of(stream)[0]["caller"], lines_of(stream)[0]["reason"]) == (EVIL, "café €")
    assert "café €" in stream.getvalue()


def test_seventh_digit_makes_a_number() -> None:
    assert (mask("123456"), mask("1234567")) == ("123456", "123**67")


def test_masking_reaches_nested_values_but_no_integers_and_no_ids() -> None:
    stream = json_log()
    get_logger().info(
        "call_decided",
        session="20261121120000-0612345678",
        account="1000234567",
        amount_micro_euro=12500000,
        request={"number": "+31612345678", "tags": ["x@example.com", 3, None, True]},
    )
    (line,) = lines_of(stream)
    assert line["session"] == "20261121120000-0612345678"
    assert line["account"] == "1000234567"
    assert line["amount_micro_euro"] == 12500000
    assert line["request"] == {"number": "+31*******78", "tags": ["x***@example.com", 3, None, True]}


def test_object_that_prints_a_number_is_masked() -> None:
    class Call:
        def __str__(self) -> str:
            return "call to 0612345678"

    stream = json_log()
    get_logger().info("call_decided", call=Call())
    assert lines_of(stream)[0]["call"] == "call to 061*****78"


def test_console_has_colours_on_a_terminal_only() -> None:
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        configure_logs("console", clock=FakeClock(), stream=stream)
        get_logger().info("call_answered", number="0612345678")
        assert "061*****78" in stream.getvalue()
    assert "\x1b[" not in plain.getvalue()
    assert "\x1b[" in terminal.getvalue()


def test_file_that_is_moved_away_is_opened_again_as_soon_as_it_can_be(tmp_path: Path) -> None:
    folder, away = tmp_path / "log", tmp_path / "away"
    folder.mkdir()
    configure_logs(clock=FakeClock(), file=folder / "daemon.log")
    get_logger().info("link_up")
    (folder / "daemon.log").rename(folder / "daemon.log.1")
    get_logger().info("link_lost")
    folder.rename(away)
    get_logger().info("is_lost")
    away.rename(folder)
    get_logger().info("call_answered")
    logging.getLogger("some.library").warning("chatter")
    events = [[json.loads(line)["event"] for line in one.read_text().splitlines()] for one in sorted(folder.iterdir())]
    assert events == [["link_lost", "call_answered", "library_spoke"], ["link_up"]]


def test_stream_that_cannot_be_written_does_not_stop_the_caller() -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    configure_logs(stream=Broken())
    get_logger().info("call_answered")


# --- what strangers can have logged ------------------------------------------------------------------------------


async def test_nobody_fills_a_disk_with_what_he_has_logged() -> None:
    clock, stream = FakeClock(), io.StringIO()
    configure_logs("json", clock=clock, stream=stream)
    for _ in range(1_000):
        for event in SPARED_EVENTS:
            get_logger().error(event, why="of a stranger")
        get_logger().error("payment_not_credited")
    told = Counter(line["event"] for line in lines_of(stream))
    assert told == {event: LINES for event in SPARED_EVENTS} | {"payment_not_credited": 1_000}
    await clock.advance(LINES_S)
    get_logger().error("ledger_not_reached")
    assert lines_of(stream)[-1]["more"] == 1_000 - LINES


async def test_no_library_fills_a_disk_with_what_strangers_have_it_say() -> None:
    """Each library has its lines, and none takes another's."""
    clock, stream = FakeClock(), io.StringIO()
    configure_logs("json", clock=clock, stream=stream)
    for _ in range(1_000):
        logging.getLogger("asyncio").error("Fatal error: %s", "of a stranger")
    logging.getLogger("panoramisk").error("a word")
    assert Counter(line["message"] for line in lines_of(stream)) == {"Fatal error: of a stranger": LINES, "a word": 1}
    await clock.advance(LINES_S)
    logging.getLogger("asyncio").error("Fatal error")
    assert lines_of(stream)[-1]["message"] == f"Fatal error ({1_000 - LINES} more)"


BOUNDED = {
    "ami_message_too_large": "ends the connection, and the next one is made after a pause",
    "ami_held_events_overflowed": "likewise",
    "ami_second_login_failed": "once for a link",
    "ami_message_suspect": "one a minute",
    "payment_not_begun": "six a minute for an account (BEGUN_PER_MINUTE)",
    "payment_of_another_provider": "once for a provider",
    "payments_not_read": "every 20 s",
    "fax_document_fills_disk": "two documents at a time; each may be an attack that someone should see",
    "fax_sandbox_missing": "two documents at a time",
    "webhook_waits": "by the operator's own receiver and the ledger, with a pause",
    "webhook_failed": "likewise",
    "webhook_off": "likewise",
    "webhook_dead_letter": "likewise",
    "webhook_gap": "likewise",
    "webhook_letter_gone": "likewise",
    "black_box_record_without_key": "where it differs from the last",
    "black_box_record_unreadable": "each key once",
    "prompt_not_played": "a few for a call, which has lines of its own",
    "whisper_not_attached": "likewise",
    "whisper_refused": "likewise",
    "prompt_feature_missing": "likewise",
    "prompt_feature_refused": "likewise",
}
"""Warnings and errors of the modules that strangers reach, and what bounds them."""
REACHED = ("charging/web", "agi", "charging/asterisk", "charging/fax/convert.py")


def alarms(file: Path) -> Iterator[str]:
    """The events that a module logs as warnings and errors without log_limit them itself (``more``)."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log"), attr="warning" | "error" | "exception"),
                args=[ast.Constant(value=str(event))],
                keywords=keywords,
            ) if "more" not in {one.arg for one in keywords}:
                yield event


def test_all_that_strangers_can_have_logged_is_bounded() -> None:
    """Either it is spared, here or where it is logged, or something else bounds it."""
    root = Path(charging.__file__).parent.parent
    files = [
        file for place in REACHED for file in ((root / place).rglob("*.py") if "." not in place else [root / place])
    ]
    found = {event for file in files for event in alarms(file)}
    assert found - SPARED_EVENTS - BOUNDED.keys() == set()
    assert BOUNDED.keys() <= found
