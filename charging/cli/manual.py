"""The manual page, and the completion for bash: both made from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer

from charging import __version__

_HEAD = """\
.TH CHARGING 1 "" "charging {version}" "User Commands"
.SH NAME
charging \\- prepaid call charging for Asterisk
.SH SYNOPSIS
.B charging
.RI [ OPTIONS ]
.I COMMAND
.RI [ ARGUMENT ...]
.SH DESCRIPTION
The daemon that charges the calls of an Asterisk while they run
.RB ( "charging run" ),
and all that is done with accounts, numbers, money and prices.
With a running daemon the commands ask it over its control socket; without one they open the ledger themselves.
"""
_TAIL = """\
.SH EXIT STATUS
.TP
.B 0
Fine.
.TP
.B 1
Refused, or problems found; each is one line.
.TP
.B 2
Wrong usage.
.TP
.B 74
Done, but the output could not be written.
.SH FILES
.TP
.I /etc/charging/charging.yaml
The settings, where no others are named.
"""

_COMPLETION = """\
# Completion of charging for bash. Made by the program.
_charging() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} path= words= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$path ${{COMP_WORDS[i]}}" in
        {commands}) path="$path ${{COMP_WORDS[i]}}" ;;
        esac
    done
    case "$path $before" in
{values}
    *) case "$path" in
{words}
        esac ;;
    esac
    # shellcheck disable=SC2207  # words without blanks
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _charging charging
"""


@cache
def man_page() -> str:
    """``charging(1)``: every command with its arguments and options, in troff."""
    contexts = list(_contexts())
    lines = [_HEAD.format(version=__version__), ".SH OPTIONS\n", *_entries(contexts[0]), ".SH COMMANDS\n"]
    for context in contexts[1:]:
        if not hasattr(context.command, "commands"):
            lines += [f".SS {_troff(context.command_path + _arguments(context))}\n", *_paragraphs(context.command.help)]
            lines += _entries(context)
    return "".join([*lines, _TAIL])


@cache
def bash_completion() -> str:
    """Names of commands and options, and the values of options that have few."""
    paths, words, values = [], [], []
    for context in _contexts():
        path = "".join(f" {name}" for name in context.command_path.split()[1:])
        paths.append(f'"{path}"')
        params = [one for one in context.command.get_params(context) if one.param_type_name == "option"]
        offered = [
            *getattr(context.command, "commands", ()),
            *(name for one in params for name in _names(one, context)),
        ]
        words.append(f'        "{path}") words="{" ".join(offered)}" ;;')
        for one in params:
            if few := " ".join(item.value for item in one.shell_complete(context, "")):
                names = " | ".join(f'"{path} {name}"' for name in one.opts)
                values.append(f'    {names}) words="{few}" ;;')
    commands = " | ".join(paths[1:])
    return _COMPLETION.format(commands=commands, values="\n".join(values), words="\n".join(words))


def _names(option: Any, context: Any) -> list[str]:
    """Those of `--help` are kept with the command by whoever asked for them first, and come from a set: so otherwise
    fewer, or in another order, in each process."""
    return sorted(
        context.help_option_names if option.name == "help" else option.opts,
        key=lambda name: not name.startswith("--"),
    )


def _contexts() -> Iterator[Any]:
    """The program, its groups and its commands, depth first."""
    from charging.cli import build  # which imports this module for its command `init`

    program = typer.main.get_command(build())
    waiting = [typer.Context(program, info_name="charging", **program.context_settings)]
    while waiting:
        context = waiting.pop(0)
        yield context
        inner = getattr(context.command, "commands", {})
        waiting[:0] = [typer.Context(inner[name], info_name=name, parent=context) for name in inner]


def _arguments(context: Any) -> str:
    arguments = [one for one in context.command.params if one.param_type_name == "argument"]
    return "".join(f" {one.name.upper()}" if one.required else f" [{one.name.upper()}]" for one in arguments)


def _entries(context: Any) -> list[str]:
    """A paragraph for each argument and option that has something to say."""
    entries = []
    for one in context.command.get_params(context):
        record = one.get_help_record(context)
        if record is not None and one.name != "help":
            entries.append(f".TP\n.B {_troff(record[0])}\n{_troff(record[1])}\n")
    return entries


def _paragraphs(text: str | None) -> list[str]:
    parts = re.split(r"\n\s*\n", (text or "").replace("\b", ""))
    return [f".PP\n{_troff(' '.join(part.split()))}\n" for part in parts if part.strip()]


def _troff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped
