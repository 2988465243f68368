"""What the daemon writes about itself: one event a line, fields instead of sentences.

An event is a ``snake_case`` verb phrase in the past tense (``reservation_granted``); money is an integer with
its unit in the field's name (``charged_micro_euro``). Who handles a session binds it once with
:func:`bound`, so that no function passes it on. Phone numbers and mail addresses are masked by one
processor, wherever they stand: logs go to more places than customers agreed to.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, cast

import structlog

from charging.clock import MICROSECONDS, Clock, SystemClock

UNMASKED_FIELDS = frozenset(
    {"event", "level", "timestamp", "session", "account", "transfer", "uid", "bridge", "digest", "revision", "logger"}
)
"""Fields that hold our own words and ids, or Asterisk's ``epoch.number`` ids."""

_MAIL = re.compile(r"([^\s<>@\"'(),:;=/]{1,64})@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
# Seven digits or more that no letter touches; with a plus sign also written in groups. An Asterisk
# uniqueid (1700000000.17) and the suffix of a channel's name (-0000001a) are no phone numbers.
_NUMBER = re.compile(r"(?<![\w.-])(?:\+[0-9](?:[ ()-]{0,2}[0-9]){6,16}|00[1-9][0-9]{6,14}|[0-9]{7,15})(?![\w]|\.[0-9])")
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
) -> None:
    """Send every log line, the libraries' own too, to ``stream`` (by default the standard error).

    A stream that cannot be written is no reason to stop charging: the line is lost in silence.
    """
    stream = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _stamper(clock or SystemClock()),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(output, shared, stream))
    logging.raiseExceptions = False
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    for ours in ("charging", "agi"):
        logging.getLogger(ours).setLevel(number)


def get_logger(name: str = "charging") -> structlog.typing.FilteringBoundLogger:
    """The logger of a module."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(name))


def bound(**fields: str | int) -> AbstractContextManager[None]:
    """Within the block every line of this task carries ``fields`` (``session=…``, ``account=…``)."""
    return structlog.contextvars.bound_contextvars(**fields)


def mask(text: str) -> str:
    """``text`` with the middle of each phone number and the name of each mail address starred out."""
    text = _MAIL.sub(lambda match: f"{match[1][0]}***@{match[2]}", text)
    return _NUMBER.sub(lambda match: _starred(match[0]), text)


def _starred(number: str) -> str:
    hidden = len(number) - _FIRST_SHOWN - _LAST_SHOWN
    return number[:_FIRST_SHOWN] + "*" * hidden + number[-_LAST_SHOWN:]


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


def _stamper(clock: Clock) -> structlog.typing.Processor:
    def stamp(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        seconds, micros = divmod(clock.now().wall_us, MICROSECONDS)
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
        fields["timestamp"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return fields

    return stamp


def _formatter(
    output: str, shared: list[structlog.typing.Processor], stream: TextIO
) -> structlog.stdlib.ProcessorFormatter:
    renderer: structlog.typing.Processor
    if output == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _name_library_message],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            mask_fields,
            renderer,
        ],
    )


def _name_library_message(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A library's sentence becomes a field, so that ``event`` stays a closed set of words."""
    fields["message"] = fields.pop("event")
    fields["event"] = "library_spoke"
    return fields
