"""What the daemon writes about itself: one event a line, fields instead of sentences.

An event is a ``snake_case`` verb phrase in the past tense (``reservation_granted``); money is an integer with
its unit in the field's name (``charged_micro_euro``). Phone numbers and
mail addresses are masked by one processor, wherever they stand: logs go to more places than customers agreed to.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, TextIO, cast

import structlog

from charging.clock import MICROSECONDS, Clock, SystemClock
from charging.errors import ConfigError, Problem
from charging.log_limit import LogLimit
from charging.safe_text import visible, visible_json

HAPPENED_US = "happened_us"
"""The field of a line that is written later than what it tells: wall clock."""
UNMASKED_FIELDS = frozenset(
    {"event", "level", "timestamp", "session", "account", "transfer", "uid", "bridge", "digest", "revision", "logger"}
)
"""Fields that hold our own words and ids, or Asterisk's ``epoch.number`` ids."""

SPARED_EVENTS = frozenset(
    {
        # A request or a document of a stranger's that meets a fault, or a ledger that does not answer.
        *("ledger_not_reached", "ledger_found_corrupt", "request_failed", "agi_route_failed"),
        *("payment_not_looked_at", "fax_document_unreadable", "fax_document_slow"),
        *("fax_document_fault", "fax_document_no_room"),
        # What callers have Asterisk tell, and meets one.
        *("ami_event_failed", "ami_message_failed"),
        # What is stored and cannot be read, each time that someone asks for it.
        *("decisions_unreadable", "event_unreadable", "change_unreadable"),
        # A batch of the store's, whoever it is for.
        *("redis_batch_failed", "redis_driver_fault"),
    }
)
"""Of which strangers can bring about any number, wherever they are logged: `charging.log_limit` says how many lines of
each are written. The next one tells as ``more`` how many were passed over."""

_MAIL = re.compile(
    r"""(?P<name>"(?:[^"\\\r\n]|\\.){1,128}"|[^\s<>@"'(),:;=/%]{1,64})(?P<at>@|%40)"""
    r"""(?P<domain>[\w-]+(?:\.[\w-]+)+|\[[0-9A-Fa-f:.]+\])"""
)
"""Also with a name in quotes, an at sign as in URLs, a domain of letters beyond ASCII, or an address as its domain."""
_WORD = r"[A-Z\u00c0-\u00de][^\s<>@,;:=]*"
_PARTICLE = r"(?:van|von|de|der|den|het|'t|ten|ter|te|la|le|du|da|di|el|bin|zu|op|in)"
_MAIL_NAME = re.compile(
    r"""(?P<name>"(?:[^"\\\r\n]|\\.){1,128}"|=\?[^\s?]+\?[bBqQ]\?[^\s?]*\?="""
    rf"""|(?<!\w){_WORD}(?:\s+(?:{_WORD}|{_PARTICLE})){{0,5}})(?P<gap>\s*<)(?=[^\s<>]{{1,128}}(?:@|%40))"""
)
"""The name of a person before an address in angle brackets: quoted, encoded, or words that begin with a capital."""

# A telephone number: digits that no letter or number touches, written whole or in groups. An Asterisk uniqueid
# (1700000000.17), the suffix of a channel's name (-0000001a), a day and an IP address are none.
_GAP = r"[\s()/.\u00ad\u200b-\u200f\u2010-\u2015\u2060\ufeff-]{0,3}"
_NARROW_GAP = r"[ ()\u00a0-]{0,2}"
_NUMBER = re.compile(
    r"(?:(?<![A-Za-z0-9.-])|(?<=%2B)|(?<=%2b))(?:"
    rf"\+\(?\d(?:{_GAP}\d){{6,16}}"  # +31 6 12345678
    rf"|\(?00{_GAP}[1-9](?:{_GAP}\d){{6,14}}"  # 0031-6-12345678
    rf"|\(?0[1-9](?:{_GAP}\d){{7,12}}"  # 06-12345678, (020) 123 45 67
    rf"|[1-9](?=\d{{0,2}}[ -])(?:{_NARROW_GAP}\d){{9,14}}(?!:\d)"  # 31 6 12345678, no day and hour
    r"|\d{7,15})(?![A-Za-z0-9]|\.\d)"
)
_MASKED_IN = re.compile(r"[\d@<]|%40")
"""What any of them needs."""
_TRACES = frozenset({"exception", "stack"})
_FIRST_SHOWN = 3
_LAST_SHOWN = 2


def silence_logs() -> None:
    """Drop every log line: for commands that speak by what they print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def configure_logs(
    output: Literal["json", "console"] = "json",
    level: Literal["debug", "info", "warning", "error"] = "info",
    *,
    clock: Clock | None = None,
    stream: TextIO | None = None,
    file: Path | None = None,
) -> None:
    """Send every log line, the libraries' own too, to ``file``, which is opened again where someone has moved it, or
    to ``stream`` (by default the standard error). Raises ConfigError for a file that cannot be opened.

    A stream that cannot be written is no reason to stop charging: the line is lost in silence.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    handler: Any = logging.StreamHandler(stream or sys.stderr) if file is None else _watched(file)
    clock = clock or SystemClock()
    begun: list[structlog.typing.Processor] = [_sparer(clock), structlog.stdlib.add_log_level, _stamper(clock)]
    ended: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        mask_fields,
        *_renderers(output, handler.stream),
    ]
    handler.addFilter(_library_sparer(clock))
    lines = _Lines(handler)
    structlog.configure(
        processors=[*begun, *ended],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_names: lines,
        cache_logger_on_first_use=False,
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*begun, _name_library_message],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ended],
        )
    )
    logging.raiseExceptions = False
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    for ours in ("charging", "agi"):
        logging.getLogger(ours).setLevel(number)


class _Lines:
    """Writes our own lines where the handler writes those of libraries. They are whole already: on the handler's own
    way each would become a record, twice, at half the cost of a line; and each decision is a line."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def _write(self, line: str) -> None:
        handler = self._handler
        with handler.lock, suppress(Exception):  # a line that cannot be written is lost
            if isinstance(handler, logging.handlers.WatchedFileHandler):
                handler.reopenIfNeeded()
                if handler.stream is None:  # it could not be opened at the last line
                    handler.setStream(Path(handler.baseFilename).open("a", encoding="utf-8"))  # noqa: SIM115
            handler.stream.write(line + "\n")
            handler.stream.flush()

    debug = info = warning = error = critical = _write


def _watched(file: Path) -> logging.handlers.WatchedFileHandler:
    try:
        return logging.handlers.WatchedFileHandler(file, encoding="utf-8")
    except OSError as error:
        expected = "a file that the daemon's user may write (LogsDirectory=charging makes /var/log/charging)"
        raise ConfigError([Problem("", "logs.file", f"{file}: {error.strerror}", expected)]) from error


def get_logger(name: str = "charging") -> structlog.typing.FilteringBoundLogger:
    """The logger of a module."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(name))


def mask(text: str) -> str:
    """``text`` with the middle of each phone number starred out, the name of each mail address, and that of the person
    before it."""
    if _MASKED_IN.search(text) is None:  # most fields are words
        return text
    text = _MAIL_NAME.sub(lambda match: f"***{match['gap']}", text)
    text = _MAIL.sub(lambda match: f"{match['name'].lstrip(chr(34))[:1]}***{match['at']}{match['domain']}", text)
    return _NUMBER.sub(lambda match: _starred(match[0]), text)


def _starred(number: str) -> str:
    """The digits in the middle as stars; signs, blanks and dashes stay, so that it is seen for a number."""
    shown, last = number[:_FIRST_SHOWN], number[-_LAST_SHOWN:]
    middle = number[_FIRST_SHOWN:-_LAST_SHOWN]
    return shown + re.sub(r"[\d\s()]", "*", middle) + last


def mask_fields(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that masks every field but UNMASKED_FIELDS, however deep."""
    for name, value in fields.items():
        if name not in UNMASKED_FIELDS:
            fields[name] = _masked(value)
    return fields


def _masked(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {_masked(key): _masked(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(one) for one in value]
    return mask(value if isinstance(value, str) else str(value))


def escape_fields(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that escapes, for the console, what a terminal would obey. Of a traceback the line breaks stay;
    what follows them is moved in, so that none of its lines can pass for an event."""
    escaped = {visible(str(name)): _escaped(value) for name, value in fields.items() if name not in _TRACES}
    for name in _TRACES & fields.keys():
        escaped[name] = visible("  " + str(fields[name]).replace("\n", "\n  "), keep="\n")
    return escaped


def _escaped(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(one) for key, one in value.items()}
    return [_escaped(one) for one in value] if isinstance(value, list) else visible(str(value))


def _sparer(clock: Clock) -> structlog.typing.Processor:
    log_limit = LogLimit(clock)

    def spare(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if (event := fields.get("event")) in SPARED_EVENTS:
            if (more := log_limit.more(str(event))) is None:
                raise structlog.DropEvent
            if more:
                fields["more"] = more
        return fields

    return spare


def _library_sparer(clock: Clock) -> Callable[[logging.LogRecord], bool]:
    """What a library has to say may be of a stranger's request, and a traceback: so many lines of each library."""
    log_limit = LogLimit(clock)

    def spare(record: logging.LogRecord) -> bool:
        if more := log_limit.more(record.name):
            record.msg = f"{record.msg} ({more} more)"
        return more is not None

    return spare


def _stamper(clock: Clock) -> structlog.typing.Processor:
    def stamp(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        wall_us = fields.pop(HAPPENED_US, None) or clock.now().wall_us
        seconds, micros = divmod(wall_us, MICROSECONDS)
        fields["timestamp"] = f"{_second(seconds)}.{micros // 1000:03d}Z"
        return fields

    return stamp


@lru_cache(maxsize=4)
def _second(since_epoch: int) -> str:
    """Many lines have the same."""
    return datetime.fromtimestamp(since_epoch, UTC).isoformat().removesuffix("+00:00")


def _renderers(output: str, stream: TextIO) -> list[structlog.typing.Processor]:
    if output == "json":
        return [structlog.processors.JSONRenderer(_json)]
    return [escape_fields, structlog.dev.ConsoleRenderer(colors=stream.isatty())]


def _json(fields: Any, default: Callable[[Any], Any]) -> str:
    return visible_json(_encoder(default).encode(fields))


@cache
def _encoder(default: Callable[[Any], Any]) -> json.JSONEncoder:
    """`json.dumps` makes one for each text."""
    return json.JSONEncoder(ensure_ascii=False, default=default)


def _name_library_message(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A library's sentence becomes a field, so that ``event`` stays a closed set of words."""
    fields["message"] = fields.pop("event")
    fields["event"] = "library_spoke"
    return fields
