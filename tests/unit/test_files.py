"""A file may be a pipe: one that nobody writes to ends by itself. A file is replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from charging import files
from charging.cli import init as cli_init
from charging.errors import ConfigError
from charging.files import free_bytes, read_bytes, replace_file
from charging.settings import load_config
from charging.tariff.file import load_tariff
from charging.yaml_text import read_document

TEXT = b"switch: asterisk-1\n"


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "charging.yaml"
    os.mkfifo(path)
    return path


def problem_of(read: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        read()
    [problem] = caught.value.problems
    return f"{problem.file}: {problem.found}"


@pytest.mark.parametrize("read", [read_document, load_config, load_tariff])
def test_a_pipe_that_nobody_writes_to_is_not_waited_for_for_ever(
    fifo: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(files, "PIPE_S", 0)
    assert problem_of(lambda: read(fifo)) == f"{fifo}: a pipe that nobody has written to for 0 s"


def test_what_was_laid_down_and_is_a_pipe_now_is_not_waited_for_for_ever(
    fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIPE_S", 0)
    with pytest.raises(OSError, match="nobody has written to") as caught:
        cli_init._read(fifo)
    assert caught.value.filename == str(fifo)


def test_a_pipe_whose_writer_has_opened_it_and_says_nothing_is_not_waited_for_for_ever(
    fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIPE_S", 0)
    silent = os.open(fifo, os.O_RDWR)
    try:
        assert "nobody has written to" in problem_of(lambda: read_document(fifo))
    finally:
        os.close(silent)


@pytest.mark.parametrize("size", [1, 65_536, 300_000])
def test_a_pipe_is_read_to_its_end_however_it_comes(fifo: Path, size: int) -> None:
    """As ``<(decrypt charging.yaml)``: its writer begins later, and writes in pieces."""
    data = os.urandom(size)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    assert read_bytes(fifo, size + 1) == data
    writer.join()


def test_a_pipe_of_which_too_much_comes_is_read_no_further(fifo: Path) -> None:
    both = os.open(fifo, os.O_RDWR)
    try:
        os.write(both, b"12345")
        assert read_bytes(fifo, 4) == b"1234"
    finally:
        os.close(both)


def test_what_a_shell_passes_as_a_file_is_read(tmp_path: Path) -> None:
    out, into = os.pipe()
    try:
        os.write(into, TEXT)
        os.close(into)
        assert read_document(Path(f"/dev/fd/{out}")).root == {"switch": "asterisk-1"}
    finally:
        os.close(out)


def test_an_ordinary_file_is_read_up_to_the_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", 4) == b"1234"
    assert read_bytes(tmp_path / "file", 6) == b"12345"


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_what_is_no_file_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match="irectory"):
        read_bytes(tmp_path / name, 4)


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    place = tmp_path / "tariff.yaml"
    place.write_bytes(b"old")
    replace_file(place, b"new", mode=0o640)
    assert place.read_bytes() == b"new"
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [place]


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place = tmp_path / "tariff.yaml"
    place.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(place, b"new", mode=0o600)
    assert place.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(("blocks", "free"), [(1000, 10 * 4096), (0, None)])
def test_a_file_system_that_tells_no_size_is_not_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, free: int | None
) -> None:
    told = SimpleNamespace(f_blocks=blocks, f_bavail=10 if blocks else 0, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _folder: told)
    assert free_bytes(tmp_path) == free
