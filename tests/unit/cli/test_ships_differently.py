"""What ships differently is told apart from what an operator has edited."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from charging.cli.ships_differently import Change, Kind, changes, edited, new_keys, patch
from charging.shipped import shipped_config

THEN, NOW, MINE = b"then\n", b"now\n", b"mine\n"


@pytest.mark.parametrize(
    ("then", "now", "here", "kind"),
    [
        (THEN, THEN, THEN, None),
        (THEN, THEN, MINE, None),
        (THEN, THEN, None, None),
        (THEN, NOW, THEN, Kind.CHANGED),
        (THEN, NOW, MINE, Kind.BOTH),
        (THEN, NOW, NOW, None),
        (THEN, NOW, None, None),
        (None, NOW, None, Kind.NEW),
        (None, NOW, NOW, None),
        (THEN, None, THEN, Kind.ENDED),
        (THEN, None, MINE, Kind.ENDED),
        (THEN, None, None, None),
    ],
)
def test_each_fate_of_a_file(then: bytes | None, now: bytes | None, here: bytes | None, kind: Kind | None) -> None:
    def files(content: bytes | None) -> dict[str, bytes]:
        return {"other": b""} | ({} if content is None else {"file": content})

    assert [one.kind for one in changes(files(then), files(now), files(here))] == ([kind] if kind else [])


@pytest.mark.parametrize(("here", "kind"), [(NOW, None), (MINE, Kind.UNKNOWN), (None, Kind.NEW)])
def test_nobody_is_blamed_where_nothing_tells_what_was_laid_down(here: bytes | None, kind: Kind | None) -> None:
    found = changes({}, {"file": NOW}, {} if here is None else {"file": here})
    assert [one.kind for one in found] == ([kind] if kind else [])


def test_an_edit_of_what_ships_as_before_is_no_difference_and_is_known() -> None:
    then, here = {"a": THEN, "b": THEN, "c": THEN, "d": THEN}, {"a": MINE, "b": THEN, "d": MINE}
    now = {"a": THEN, "b": THEN, "c": THEN, "d": NOW}
    assert edited(then, now, here) == ["a"]


def test_new_keys_of_the_settings_are_found_commented_out_or_not() -> None:
    then = b"# words: here\nswitch:\n  ami:\n    #host: 127.0.0.1\nlogs:\n  #level: info\n"
    now = (
        b"# words: here\nswitch:\n  # said: of it\n  ami:\n    #host: 127.0.0.1\n    #port: 1\nlogs:\n  #host: x\nm:\n"
    )
    assert new_keys(then, now) == ["switch.ami.port", "logs.host", "m"]


def test_the_shipped_settings_are_read_key_by_key() -> None:
    text = (shipped_config() / "charging.yaml").read_bytes()
    keys = new_keys(b"", text)
    assert {"switch.ami.secret_file", "fax.sandbox", "privacy.decisions_most", "logs.level", "tariff"} <= set(keys)
    assert len(keys) == len(set(keys)) < 150


def test_the_differences_apply_as_a_patch_and_keep_an_operators_edit(tmp_path: Path) -> None:
    then = "".join(f"line {number}\n" for number in range(40))
    now = then.replace("line 5\n", "line 5, better\n")
    (tmp_path / "edited").write_text(then.replace("line 30\n", "mine\n"))
    (tmp_path / "ended").write_text("x")
    text = "edited  edited: words before it\n" + "".join(
        map(
            patch,
            [
                Change("edited", Kind.BOTH, then.encode(), now.encode()),
                Change("sub/new", Kind.NEW, b"", b"new\n"),
                Change("ended", Kind.ENDED, b"x", b""),
                Change("sound.wav", Kind.CHANGED, b"\0abc", b"\0def"),
            ],
        )
    )
    subprocess.run(["git", "apply", "-p1"], input=text.encode(), cwd=tmp_path, check=True)
    assert (tmp_path / "edited").read_text() == now.replace("line 30\n", "mine\n")
    assert (tmp_path / "sub" / "new").read_text() == "new\n"
    assert not (tmp_path / "ended").exists()
    assert "Binary file sound.wav ships differently\n" in text
