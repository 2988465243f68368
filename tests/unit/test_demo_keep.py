"""Where the demo cannot keep what it shows, it says so before it shows anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.cli.failure import Refusal
from charging.demo.show import show_demo
from charging.ledger.accounts import Language


@pytest.mark.parametrize("folder", ["/proc/x", "/dev/null/x", "/proc/self/task"])
def test_a_folder_that_cannot_be_written_is_refused_at_once(
    folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("charging.demo.show.ensure_asterisk", lambda: pytest.fail("it began"))
    with pytest.raises(Refusal, match=folder):
        show_demo(Language.EN, Path(folder))
    assert capsys.readouterr().out == ""
