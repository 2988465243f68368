"""``charging check --live``: what it says of faxes."""

from __future__ import annotations

import pytest

from charging.cli.check_look import shipped_globals
from tests.fakes.ami import FakeAmi
from tests.integration.test_cli_check import CheckLive, ami, check, graded, values_of

__all__ = ["ami", "check"]  # fixtures


@pytest.mark.parametrize(("said", "warnings"), [("yes", 1), ("no", 0)])
async def test_an_asterisk_with_calls_that_receives_faxes_is_warned_of(
    check: CheckLive, ami: FakeAmi, said: str, warnings: int
) -> None:
    """One wrong fax ends it, and all its calls."""
    ami.answers["Getvar"] = values_of({**shipped_globals(), "CHARGING_FAX_IN_HERE": said})
    ran = await check(ami)
    assert len([line for line in graded(ran, "warning") if "a stranger's fax can end it" in line]) == warnings
