"""``charging init``: lay down what an operator needs; later, say what ships differently."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from charging import __version__
from charging.cli.failure import REFUSED, Refusal
from charging.cli.laid_down import SECRET, STATE, SWITCH_SECRET, WHERE, Site, command, made_secrets, rendered
from charging.cli.ships_differently import Change, Kind, changes, edited, new_keys, patch
from charging.cli.state_folder import make_state_folder
from charging.files import read_bytes

RECORD = ".laid-down.json"
"""In the folder: what was laid down, so that an operator's edit and a change of what ships can be told apart."""
CONFFILES = Path("/var/lib/dpkg/info/charging.conffiles")
SETTINGS = "charging.yaml"
FILE_BYTES_MAX = 64_000_000
"""More than any that is laid down."""
FILE_MODE, SECRET_MODE, FOLDER_MODE = 0o644, 0o600, 0o755
"""Asterisk and others read the files by their own users; the umask does not narrow them."""

_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")
_SAID = {
    Kind.CHANGED: "ships differently; yours is as it was laid down",
    Kind.BOTH: "ships differently, and you have edited yours",
    Kind.NEW: "is new",
    Kind.ENDED: "ships no more",
    Kind.UNKNOWN: "is not as it ships; nothing tells who changed it",
}

FOLDER = typer.Argument(help="For settings and tariff, such as /etc/charging; made if need be.", show_default=False)
STATE_FOLDER = typer.Option(
    None,
    "--state",
    help="For ledger, socket and faxes, such as /var/lib/charging; left out: FOLDER/var.",
    show_default=False,
)
DIFF = typer.Option(
    False, "--diff", help="Where FOLDER was laid down before: the differences, as `patch -p1` takes them."
)
ACCEPT = typer.Option(False, "--accept", help="Where FOLDER was laid down before: take what ships now as known.")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(folder: Path = FOLDER, state: Path | None = STATE_FOLDER, diff: bool = DIFF, accept: bool = ACCEPT) -> None:
    """Lay down a configuration to begin with. Where there is one, change nothing and say what ships differently now.

    Exit 1 if anything does. Secrets are made for the place, and never shown.
    """
    if state is not None and not _PLAIN.fullmatch(str(state.absolute())):
        raise typer.BadParameter(f"found {str(state)!r}, expected a path of letters, digits and . _ - /")
    try:
        record = _read_record(folder / RECORD)
        if record is None and not (folder / SETTINGS).exists():
            if diff or accept:
                raise Refusal(f"{folder}: nothing was laid down there; to do so, leave --diff and --accept out")
            _lay_down(folder, state)
        else:
            _look_again(folder, state, record, diff=diff, accept=accept)
    except OSError as error:
        raise Refusal(f"{error.filename or folder}: {error.strerror or error}") from error


def _site(folder: Path, state: Path | None) -> Site:
    return Site(folder.absolute(), state and state.absolute(), _program())


def _program() -> str:
    """How this command was run, for what runs it again."""
    given = Path(sys.argv[0])
    if given.name == "charging" and given.exists():
        return str(given.absolute())
    return str(Path(sysconfig.get_path("scripts")) / "charging")


# --- the first time ------------------------------------------------------------------------------------------------


def _lay_down(folder: Path, state: Path | None) -> None:
    site = _site(folder, state)
    files, private = rendered(site), made_secrets()
    there = [str(folder / path) for path in (*files, *private) if os.path.lexists(folder / path)]
    if there:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise Refusal(f"{there[0]} is there already{more}: nothing was written; choose another folder")
    written: list[Path] = []
    try:
        for path, content in (files | private).items():
            _make_folders(folder, (folder / path).parent)
            written.append(folder / path)
            _write(folder / path, content, SECRET_MODE if path in private else FILE_MODE)
        make_state_folder(state or folder / STATE)
        _write_record(folder / RECORD, site, files)
    except BaseException:
        for one in written:
            one.unlink(missing_ok=True)
        raise
    sys.stdout.write(_next_steps(folder, state or folder / STATE))
    sys.stderr.write(_closed(folder))


def _make_folders(top: Path, folder: Path) -> None:
    """``folder`` and what is missing between it and ``top``, for all to enter."""
    top.parent.mkdir(parents=True, exist_ok=True)
    for one in [*reversed(folder.parents), folder]:
        if one.is_relative_to(top) and not one.is_dir():
            one.mkdir(mode=FOLDER_MODE)
            one.chmod(FOLDER_MODE)


def _write(path: Path, content: bytes, mode: int) -> None:
    """A new file, which nobody reads before it has its mode."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE), "wb") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), mode)


def _next_steps(folder: Path, state: Path) -> str:
    run = command(Site(folder, None, "charging"))
    return (
        f"All is in {folder}; {state} is for ledger, socket and faxes. Next:\n"
        f"  1. Give Asterisk its part, as {folder / 'asterisk' / 'README.md'} tells.\n"
        f"  2. Put your prices into {folder / 'tariff.yaml'}.\n"
        f"  3. Put the rest where {folder / WHERE} tells: service, alerts, dashboard.\n"
        f"     A password for AMI was made: {folder / SECRET}, and for Asterisk {folder / SWITCH_SECRET}.\n"
        f"  4. {run} check --live\n"
        f"  5. {run} run\n"
    )


def _closed(folder: Path) -> str:
    """A word where other users, and so Asterisk's, cannot read the folder: it would not start with a link to it."""
    place = folder.absolute()
    shut = [one for one in (place, *place.parents) if not one.stat().st_mode & stat.S_IXOTH]
    if not shut or place.is_relative_to(tempfile.gettempdir()):  # where it is tried, with no Asterisk
        return ""
    return (
        f"charging: {shut[-1]} is closed to other users: where Asterisk runs as one, copy its part and the prompts\n"
        f"  ({folder / WHERE} tells how); a link would keep it from starting\n"
    )


# --- later ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Record:
    """What was laid down."""

    version: str
    state: Path | None
    files: Mapping[str, bytes]
    """As :func:`_kept`."""


def _look_again(folder: Path, state: Path | None, record: _Record | None, *, diff: bool, accept: bool) -> None:
    if CONFFILES.is_file() and str((folder / SETTINGS).absolute()) in CONFFILES.read_text().split():
        raise Refusal(f"{folder} is the Debian package's: dpkg says at each upgrade what ships differently")
    if record is not None and state not in (None, record.state):
        raise Refusal(f"{folder} was laid down with --state {record.state or folder / STATE}; leave --state out")
    site = _site(folder, record.state if record else state)
    files = rendered(site)
    if accept:
        _write_record(folder / RECORD, site, files)
        print(f"{folder}: what ships with {__version__} is known now; nothing else was changed")
        return
    then = record.files if record else {}
    now = {path: _kept(content) for path, content in files.items()}
    here = {path: _kept(found) for path in then.keys() | now.keys() if (found := _read(folder / path)) is not None}
    differing = changes(then, now, here)
    for one in differing:
        _tell(one)
    if diff and record is not None:
        sys.stdout.write("\n" + "".join(map(patch, differing)) if differing else "")
    else:
        _tell_rest(folder, record, edited(then, now, here), any_differing=bool(differing))
    if differing:
        raise typer.Exit(REFUSED)


def _tell(change: Change) -> None:
    print(f"{change.kind:9}{change.path}: {_SAID[change.kind]}")
    if change.path == SETTINGS and change.then:
        keys = new_keys(change.then, change.now)
        print(f"         its new keys: {', '.join(keys)}" if keys else "         it has no new keys")


def _tell_rest(folder: Path, record: _Record | None, yours: list[str], *, any_differing: bool) -> None:
    if yours:
        print(f"edited by you, and shipped as before: {', '.join(yours)}")
    if not any_differing:
        print(f"{folder}: nothing ships differently with {__version__}")
        return
    name, before = shlex.quote(str(folder)), record.version if record else "an earlier version"
    print(f"\n{folder} was laid down by {before}, this is {__version__}; nothing was changed. What you can do:")
    if record is None:
        print("  charging init NEW               lay all down afresh in a folder NEW, to compare and copy from")
    else:
        print(f"  charging init {name} --diff      see the differences; with | patch -d {name} -p1")
        print("                                  they come into your files, and what you have edited stays")
    print(f"  charging init {name} --accept    once you have what you want of them: they are not told again")


def _read(path: Path) -> bytes | None:
    try:
        return read_bytes(path, FILE_BYTES_MAX)
    except FileNotFoundError:
        return None


# --- the record ----------------------------------------------------------------------------------------------------


def _kept(content: bytes) -> bytes:
    """A text as it is; of anything else its digest, which is no text."""
    try:
        if "\0" not in content.decode():
            return content
    except UnicodeDecodeError:
        pass
    return b"\0" + hashlib.sha256(content).hexdigest().encode()


def _write_record(path: Path, site: Site, files: Mapping[str, bytes]) -> None:
    document = {
        "made_by": "charging init; it compares with this. Leave it as it is.",
        "version": __version__,
        "state": site.state and str(site.state),
        "files": {name: _kept(content).decode() for name, content in files.items()},
    }
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    _write(new, json.dumps(document, indent=1, ensure_ascii=False).encode(), FILE_MODE)
    new.replace(path)


def _read_record(path: Path) -> _Record | None:
    """What was laid down; ``None`` where nothing tells. Raises Refusal."""
    content = _read(path)
    if content is None:
        return None
    try:
        document: dict[str, Any] = json.loads(content)
        files = {name: text.encode() for name, text in document["files"].items()}
        state = document["state"]
        return _Record(document["version"], Path(state) if state else None, files)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Refusal(
            f"{path}: cannot be read ({type(error).__name__}); remove it, and differences are told without it"
        ) from None
