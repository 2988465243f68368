"""`charging notice`: every kind can be seen as it is sent, also with the operator's own templates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from charging.cli import main
from charging.cli.notice import WHEN
from charging.notify.model import NoticeKind
from charging.notify.samples import samples


class Ran:
    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._capture.readouterr()
        code = main(["notice", *arguments])
        said = self._capture.readouterr()
        return code, said.out, said.err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Ran:
    return Ran(capsys)


def test_every_kind_is_listed_with_its_rule(run: Ran) -> None:
    assert list(WHEN) == [str(kind) for kind in NoticeKind]
    code, out, err = run("list", "--json")
    assert (code, err) == (0, "")
    assert [row["kind"] for row in json.loads(out)] == list(WHEN)
    assert [row["rule"] for row in json.loads(out)] == ["R15", "R16", "R13", "R13", "R20", "R20", "", "R14"]
    assert "R15" in run("list")[1]


@pytest.mark.parametrize("language", ["nl", "en"])
@pytest.mark.parametrize("kind", NoticeKind)
def test_every_notice_can_be_previewed(run: Ran, kind: NoticeKind, language: str) -> None:
    code, out, err = run("preview", kind, "--language", language)
    assert (code, err) == (0, "")
    assert out.startswith("Subject: ")
    code, out, err = run("preview", kind, "--language", language, "--format", "html")
    assert (code, err) == (0, "")
    assert f'<html lang="{language}">' in out


def test_other_turns_show_other_words(run: Ran) -> None:
    turns = len(samples(NoticeKind.LOW_CREDIT))
    outs = {run("preview", "low-credit", "--turn", str(turn))[1] for turn in range(1, turns + 1)}
    assert len(outs) == turns > 1
    code, out, err = run("preview", "low-credit", "--turn", str(turns + 1))
    assert (code, out) == (1, "")
    assert f"at most {turns}" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("preview", "low-credits"), "expected one of low-credit, "),
        (("preview", "low-credit", "--format", "pdf"), "expected one of text, html"),
        (("preview", "low-credit", "--templates", "/nowhere"), "found no folder /nowhere"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(run: Ran, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert said in err


def test_own_templates_are_shown_and_their_mistakes_named(run: Ran, tmp_path: Path) -> None:
    (tmp_path / "nl").mkdir()
    (tmp_path / "nl/low-credit.txt").write_text("Subject: Eigen\n\nTekst.\n")
    assert run("preview", "low-credit", "--templates", str(tmp_path))[1] == "Subject: Eigen\n\nTekst.\n"
    assert run("list", "--templates", str(tmp_path))[0] == 0
    (tmp_path / "nl/low-credit.txt").write_text("Subject: Eigen\n\n{{ facts.kredit }}\n")
    code, out, err = run("preview", "low-credit", "--templates", str(tmp_path))
    assert (code, out) == (1, "")
    assert "kredit" in err
    code, _, err = run("list", "--templates", str(tmp_path))
    assert code == 1
    assert "nl/low-credit.txt" in err


SETTINGS = """\
switch: {{ami: {{secret_env: NOT_SET}}}}
ledger: {{url: "sqlite:///ledger.db"}}
tariff: tariff.yaml
control: {{socket: control.sock}}
{mail}
"""
MAIL = "mail: {sender_address: a@bell.example, sender_name: Bell, top_up_url: https://bell.example/, templates: own}"


def test_a_preview_is_in_the_words_of_the_settings(run: Ran, tmp_path: Path) -> None:
    settings = tmp_path / "charging.yaml"
    settings.write_text(SETTINGS.format(mail=MAIL))
    (tmp_path / "own/nl").mkdir(parents=True)
    (tmp_path / "own/nl/low-credit.txt").write_text(
        "Subject: Eigen\n\n{{ operator.name }}, {{ operator.top_up_url }}\n"
    )
    named = ("--config", str(settings))
    assert run("preview", "low-credit", *named)[1] == "Subject: Eigen\n\nBell, https://bell.example/\n"
    (tmp_path / "other").mkdir()
    shown = run("preview", "low-credit", "--templates", str(tmp_path / "other"), *named)[1]
    assert "bijna op" in shown, "--templates goes before the settings' folder"
    assert "Bell - account example" in shown
    (tmp_path / "own/nl/low-credit.txt").write_text("Subject: Eigen\n\n{{ facts.kredit }}\n")
    assert run("list", *named)[0] == 1
    settings.write_text(SETTINGS.format(mail=""))
    assert "Example Voice" in run("preview", "low-credit", *named)[1]


def test_a_preview_needs_no_settings_but_those_that_are_named(
    run: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARGING_CONFIG", raising=False)
    assert "Example Voice" in run("preview", "low-credit")[1]
    code, out, err = run("preview", "low-credit", "--config", "nowhere.yaml")
    assert (code, out) == (1, "")
    assert "nowhere.yaml" in err
