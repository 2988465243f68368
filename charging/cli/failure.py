"""From what went wrong to one line each and an exit code."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

import typer
from typer.exceptions import TyperException

from charging.errors import ChargingError, ConfigError
from charging.safe_text import visible

REFUSED = 1
WRONG_USAGE = 2
OUTPUT_LOST = 74
"""`EX_IOERR` of sysexits: done, and nobody could be told."""
INTERRUPTED = 130

_CHOICES = re.compile(r"Value error, .* is not one of (.*?)\.?")


class Refusal(ChargingError):
    """The request was refused, for the reasons in these lines."""

    def __init__(self, *lines: str, document: dict[str, Any] | None = None) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.document = document or {}
        """The daemon's own words for it (`charging.web.problem`), where it came from there."""


def say(line: str) -> None:
    """Print one line to the standard error."""
    print(f"charging: {one_line(line)}", file=sys.stderr)


def one_line(text: str) -> str:
    """Line breaks become spaces, and what cannot be seen is written out: one line an error."""
    return visible(" ".join(text.split()))


def failing(run: Callable[[], int]) -> int:
    """Run ``run`` and return its exit code, whatever it raises."""
    _stand_in_for_closed_outputs()
    stream = sys.stdout
    sys.stdout = cast(TextIO, _Output(stream))
    try:
        code = _code_of(run)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop(stream)  # whoever read it has seen enough
        return 0
    except _OutputLost as lost:
        _drop(stream)
        say(f"the output could not be written: {lost}; what the command was to change is changed")
        return OUTPUT_LOST
    finally:
        sys.stdout = stream
    return code


class _OutputLost(Exception):
    """The output cannot be written."""


class _Output:
    """Standard output whose own failures are distinguished from those of other files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _telling():
            return self._stream.write(text)

    def flush(self) -> None:
        with _telling():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _OutputLost(error.strerror or str(error)) from error


def _code_of(run: Callable[[], int]) -> int:
    """Raises _OutputLost."""
    try:
        return run()
    except (BrokenPipeError, _OutputLost):
        raise
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except TyperException as error:
        return _usage(error)
    except ConfigError as error:
        for problem in error.problems:
            say(str(problem))
        return REFUSED
    except Refusal as error:
        for line in error.lines:
            say(line)
        return REFUSED
    except ChargingError as error:
        say(str(error))
        return REFUSED
    except Exception as error:  # noqa: BLE001  the last resort: a person gets a line, the file gets the rest
        say(fault(error))
        return REFUSED


def fault(error: Exception) -> str:
    """The exception that is handled now, of which nobody thought, and where its traceback is kept."""
    return f"a fault in the program ({type(error).__name__}: {error}); please report it with {_kept()}"


def _stand_in_for_closed_outputs() -> None:
    """Python has none where a shell has closed them (``>&-``). What is said to people may be lost; a command's output
    is not written without anyone noticing."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  for as long as the process lasts
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")


def _drop(stream: TextIO) -> None:
    """The interpreter's own flush at exit must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usage(error: TyperException) -> int:
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is not None and (not message or message.startswith(("Missing command", "Usage:"))):
        print(context.get_help())
        return WRONG_USAGE
    path = context.command_path if context is not None else "charging"
    say(f"{_in_our_words(error, message.rstrip('.'))}; see `{path} --help`")
    return error.exit_code


def _in_our_words(error: TyperException, message: str) -> str:
    """What is wrong with an option's value as everything else is told: found, expected."""
    cause = error.__cause__
    if not isinstance(cause, ValueError) or not hasattr(cause, "errors"):
        return message
    from charging.web.invalid import expected_of  # of the same validator, which says it of requests

    (wrong,) = cause.errors()
    head = message.partition(": ")[0]
    if choices := _CHOICES.fullmatch(wrong["msg"]):
        return f"{head}: found {wrong['input']!r}, expected one of {choices[1]}"
    return f"{head}: found {wrong['input']!r}, expected {expected}" if (expected := expected_of(wrong)) else message


def _kept() -> str:
    """Where the traceback of the current exception is kept: in a file; for a service in the journal, since its /tmp may
    be private."""
    if "INVOCATION_ID" in os.environ:
        traceback.print_exc()
        return "what stands before this"
    with tempfile.NamedTemporaryFile("w", prefix="charging-fault-", suffix=".log", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name
