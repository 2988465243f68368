"""From what went wrong to one line each and an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import typer
from typer.exceptions import TyperException

from charging.errors import ChargingError, ConfigError

REFUSED = 1
WRONG_USAGE = 2
INTERRUPTED = 130


class Refusal(ChargingError):
    """What was asked was refused, in these lines."""

    def __init__(self, *lines: str, document: dict[str, Any] | None = None) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.document = document or {}
        """The daemon's own words for it (`charging.web.problem`), where it came from there."""


def say(line: str) -> None:
    """One line to the standard error. Line breaks within are spaces: one line an error."""
    print("charging: " + " ".join(line.split()), file=sys.stderr)


def failing(run: Callable[[], int]) -> int:
    """The exit code of ``run``, whatever it raises."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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
        say(f"a fault in the program ({type(error).__name__}: {error}); please report it with {_kept()}")
        return REFUSED
    return code


def _usage(error: TyperException) -> int:
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is not None and (not message or message.startswith(("Missing command", "Usage:"))):
        print(context.get_help())
        return WRONG_USAGE
    path = context.command_path if context is not None else "charging"
    say(f"{message.rstrip('.')}; see `{path} --help`")
    return error.exit_code


def _kept() -> str:
    """The file that now holds the traceback of the exception in hand."""
    with tempfile.NamedTemporaryFile("w", prefix="charging-fault-", suffix=".log", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name
