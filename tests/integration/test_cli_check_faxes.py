"""``charging check --live``: what it says of faxes."""

from __future__ import annotations

import pytest

from charging.asterisk.dialplan import Line
from charging.cli.check_look import shipped_globals
from tests.fakes.ami import FakeAmi
from tests.integration.command import Command, Place
from tests.integration.test_cli_check import OWN, SHIPPED, CheckLive, ami, check, dialplan_of, graded, values_of

__all__ = ["ami", "check"]  # fixtures


@pytest.mark.parametrize("counts", ["yes", "dkim", "no"])
def test_customers_of_one_mail_address_are_named_where_its_faxes_would_be_taken(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, counts: str
) -> None:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    place.config.write_text(f"{place.config.read_text()}fax: {{folder: fax, mail_from_counts: {counts}}}\n")
    charging = Command(place, capsys)
    for account, mail in (("anna", "a@op.nl"), ("bert", "A@op.nl"), ("carl", "c@op.nl"), ("dirk", "c@op.nl")):
        ran = charging("account", "add", account, "--plan", "pro", "--email", mail)
        assert ("has this mail address too" in ran.err) == (account in ("bert", "dirk"))
    charging("account", "close", "dirk", "--reason", "moved")
    told = [one for one in graded(charging("check"), "warning") if "have one mail address" in one]
    assert ["fax       accounts anna, bert have one" in one for one in told] == [True] * (counts != "no")


@pytest.mark.parametrize(("said", "warnings"), [("yes", 1), ("no", 0)])
async def test_an_asterisk_with_calls_that_receives_faxes_is_warned_of(
    check: CheckLive, ami: FakeAmi, said: str, warnings: int
) -> None:
    """One wrong fax ends it, and all its calls."""
    ami.answers["Getvar"] = values_of({**shipped_globals(), "CHARGING_FAX_IN_HERE": said})
    ran = await check(ami)
    assert len([line for line in graded(ran, "warning") if "a stranger's fax can end it" in line]) == warnings


@pytest.mark.parametrize(("said", "warnings"), [("yes", 1), ("no", 0)])
async def test_faxes_that_are_sent_by_t38_are_warned_of(
    check: CheckLive, ami: FakeAmi, said: str, warnings: int
) -> None:
    """The machine that takes one can end Asterisk."""
    ami.answers["Getvar"] = values_of({**shipped_globals(), "CHARGING_FAX_T38": said})
    ran = await check(ami)
    assert (
        len([line for line in graded(ran, "warning") if "the machine that takes one can end this" in line]) == warnings
    )


@pytest.mark.parametrize(("said", "problems"), [("yes", 0), ("no", 1), ("", 1)])
async def test_numbers_whose_faxes_find_it_busy_are_named(
    check: CheckLive, ami: FakeAmi, said: str, problems: int
) -> None:
    """As after an upgrade from a dialplan that received them all."""
    faxes = Line("from-trunk", "+31850000099", "", "Goto", "charging-fax-in,${EXTEN},1")
    ami.answers["ShowDialPlan"] = dialplan_of([*SHIPPED, OWN, faxes])
    ami.answers["Getvar"] = values_of({**shipped_globals(), "CHARGING_FAX_IN_HERE": said})
    ran = await check(ami)
    found = [line for line in graded(ran, "problem") if "[from-trunk] +31850000099 leads to charging-fax-in" in line]
    assert len(found) == problems
