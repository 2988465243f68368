"""``charging check``: what it says of who may read, write and enter what the daemon needs."""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from charging.app_surroundings import PROMPTS
from tests.integration.command import Command, Place
from tests.integration.test_cli_check import graded

OTHERS = 65534
"""A user and a group that the daemon's are not."""
GROUP = grp.getgrgid(OTHERS).gr_name


@pytest.mark.parametrize("closed", ["outer", "outer/folder", "outer/folder/nl"])
def test_a_folder_that_may_not_be_entered_is_not_said_to_be_missing(closed: str) -> None:
    """Asked by another user than root, who may enter everywhere."""
    code = (
        "import os, sys; from pathlib import Path; from types import SimpleNamespace\n"
        "from charging.app_surroundings import missing_prompts, unusable_log_file, wrong_templates\n"
        "from charging.cli.check_files import _prompts\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "folder = Path(sys.argv[1], 'outer', 'folder')\n"
        "print(missing_prompts(str(folder)), *_prompts(str(folder)))\n"
        "print(*wrong_templates(SimpleNamespace(templates=folder, sender_name='', top_up_url='')))\n"
        "print(*unusable_log_file(SimpleNamespace(logs=SimpleNamespace(file=folder / 'log' / 'charging.log'))))\n"
    )
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        inner = Path(place, "outer", "folder", "nl")
        inner.mkdir(parents=True)
        Path(place, closed).chmod(0o600)
        said = subprocess.run([sys.executable, "-c", code, place], capture_output=True, text=True, check=True).stdout
        Path(place, closed).chmod(0o700)
    prompts, templates, log = said.splitlines()
    who = f"{pwd.getpwuid(os.geteuid() or 65534).pw_name} may not enter {place}/{closed}"
    assert prompts.startswith("None warning")
    assert f"{place}/outer/folder: not looked at, for {who}; check as a user who may, as Asterisk must" in prompts
    assert (who in templates, who in log) == (closed == "outer",) * 2 if closed != "outer/folder" else (False, True)


@pytest.mark.parametrize("name", ["charging.yaml", "tariff.yaml", "letter.j2", "."])
def test_what_any_user_of_the_machine_could_change_is_named(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """He sets prices, or whom the daemon believes; and a template is a program."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    (place.folder / "letter.j2").write_text("")
    mail = "host: localhost, sender_address: a@op.nl, sender_name: Op, top_up_url: https://op.nl/, templates: letter.j2"
    place.config.write_text(f"{place.config.read_text()}mail: {{{mail}}}\n")
    path = place.folder / name
    said = f"{path.resolve()}: every user of this machine may write there"
    mode = path.stat().st_mode & 0o755
    for more, is_told in ((0, False), (0o020, False), (0o002, True)):
        path.chmod(mode | more)
        warned = [one for one in graded(Command(place, capsys)("check"), "warning") if "every user" in one]
        assert [said in one for one in warned] == [True] * is_told
    if path.is_dir():
        path.chmod(mode | 0o1002)  # as /tmp is: nobody puts a file in the place of another's
        assert "every user" not in str(graded(Command(place, capsys)("check"), "warning"))
    path.chmod(mode)


@pytest.mark.parametrize(
    ("name", "mode", "group", "told"),
    [
        ("charging.yaml", 0o660, OTHERS, f"every user of the group {GROUP} may write there; chmod g-w"),
        ("charging.yaml", 0o640, OTHERS, ""),
        ("charging.yaml", 0o660, os.getegid(), ""),
        ("secrets/key", 0o640, OTHERS, ""),
        ("words/nl/low.txt", 0o664, OTHERS, "every user of the group"),
        ("words/nl/low.txt", 0o646, OTHERS, "every user of this machine may write there; chmod o-w"),
        ("prompts/nl", 0o757, OTHERS, "every user of this machine may write there; chmod o-w"),
        ("prompts/nl/credit_low.wav", 0o646, OTHERS, "every user of this machine may write there; chmod o-w"),
        ("prompts/nl/credit_low.wav", 0o664, OTHERS, ""),
        ("secrets", 0o770, OTHERS, "every user of the group"),
        ("secrets", 0o750, OTHERS, ""),
    ],
)
def test_what_another_group_may_change_is_named_and_of_prompts_what_every_user_may(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    mode: int,
    group: int,
    told: str,
) -> None:
    """A secret in a folder that others may write is theirs to choose; a prompt is what subscribers hear."""
    for one in (Path("words/nl/low.txt"), Path("secrets/key"), *(Path("prompts", prompt) for prompt in PROMPTS)):
        (place.folder / one).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / one).write_text("right")
        (place.folder / one).chmod(0o600)
    mail = "host: localhost, sender_address: a@op.nl, sender_name: Op, top_up_url: https://op.nl/, templates: words"
    text = place.config.read_text().replace("secret_env: TEST_AMI_SECRET", "secret_file: secrets/key")
    text = re.sub("prompts_dir_on_switch: .*", f"prompts_dir_on_switch: {place.folder}/prompts", text)
    place.config.write_text(f"{text}mail: {{{mail}}}\n")
    path, usual = (place.folder / name).resolve(), Path.stat
    path.chmod(mode)

    def stat(one: Path, **more: Any) -> os.stat_result:
        found = usual(one, **more)
        return os.stat_result((*found[:5], group, *found[6:10])) if one == path else found

    monkeypatch.setattr(Path, "stat", stat)
    warned = [one for one in graded(Command(place, capsys)("check"), "warning") if "may write there" in one]
    assert [f"{path}: {told}" in one for one in warned] == [True] * bool(told)


@pytest.mark.parametrize(
    ("name", "mode", "unit", "told"),
    [
        ("key", 0o600, "[Service]", "so it does not start; put LoadCredential=key:{} into its unit"),
        ("key", 0o640, "[Service]", "so it does not start; put LoadCredential=key:{} into its unit"),
        ("key", 0o600, "[Service]\nLoadCredential=ami.secret:/x\nLoadCredential = key:{} ", ""),
        (
            "key",
            0o600,
            "[Service]\nLoadCredential=key:{}\n# of a drop-in\nLoadCredential=",
            "put LoadCredential=key:{}",
        ),
        ("key", 0o600, "[Service]\n#LoadCredential=key:{}", "put LoadCredential=key:{} into its unit"),
        ("key", 0o600, None, "so it does not start; unless its unit has LoadCredential=key:{}"),
        ("tariff.yaml", 0o600, "LoadCredential=key:{}", "may not read it; chgrp it"),
        ("tariff.yaml", 0o644, "LoadCredential=key:{}", ""),
        ("charging.yaml", 0o640, "LoadCredential=key:{}", "may not read it; chgrp it"),
    ],
)
def test_what_root_may_read_and_the_daemons_user_may_not_is_told(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    mode: int,
    unit: str | None,
    told: str,
) -> None:
    """It was `ok` to root, and after the restart for which he had asked the daemon did not start."""
    place.config.write_text(place.config.read_text().replace("secret_env: TEST_AMI_SECRET", "secret_file: key"))
    key = place.folder / "key"
    key.write_text("right")
    key.chmod(0o600)
    daemons = os.stat_result((0o040755, 0, 0, 1, OTHERS, OTHERS, 0, 0, 0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("charging.cli.check_files._folders_of_the_daemon", lambda _: [daemons])
    systemctl = place.folder / "bin" / "systemctl"
    systemctl.parent.mkdir()
    shows = "exit 1" if unit is None else f"[ $1 = cat ] && cat <<'END'\n{unit.replace('{}', str(key))}\nEND"
    systemctl.write_text(f"#!/bin/sh\n{shows}\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    for folder in (place.folder, *place.folder.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o001)
    (place.folder / name).chmod(mode)
    ran = Command(place, capsys)("check")
    found = [one for one in graded(ran, "warning") if "may not read it" in one]
    assert [told.replace("{}", str(key)) in one for one in found] == [True] * bool(told), found


@pytest.mark.parametrize(("was", "part"), [("tariff.yaml", "tariff"), ("here", "templates")])
def test_what_cannot_be_looked_at_is_told_and_no_fault_of_the_program(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, was: str, part: str
) -> None:
    """As what stands in a folder that only the daemon's user may enter, where another one checks."""
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    named = "x" * 300  # longer than any file system takes
    mail = "host: localhost, sender_address: a@op.nl, sender_name: Op, top_up_url: https://op.nl/, templates: here"
    text = f"{place.config.read_text()}mail: {{{mail}}}\n"
    place.config.write_text(text.replace(was, named))
    ran = Command(place, capsys)("check")
    found = [*graded(ran, "problem"), *graded(ran, "warning")]
    assert any(named in line and line.split()[1] == part for line in found)
