"""Strangers who fail from ever more addresses keep nobody out of the console who has logged in before."""

from __future__ import annotations

import httpx
import pytest
from argon2 import PasswordHasher

from charging.service.operators import Operator, Operators
from charging.web.console import gate
from charging.web.console.gate import COMPARED_PER_MINUTE, KNOWN, NAME_TIMES
from tests.unit.service.conftest import shop
from tests.unit.web.test_console import LOGIN_TRIES, PASSWORD, Place, Visitor, compared, hidden, place

__all__ = ["compared", "place", "shop"]  # fixtures

pytestmark = pytest.mark.usefixtures("compared")


FORGED = "a" * 22 + "." + "0" * 64


async def left(place: Place, name: str = "ada") -> Visitor:
    """A browser in which someone has logged in, and out."""
    visitor = await place.visitor(name)
    token = hidden(await visitor.get("/"), "csrf")
    assert (await visitor.http.post("/logout", data={"csrf": token})).status_code == 303
    return visitor


async def besieged(place: Place, name: str = "ada") -> None:
    """Strangers fail at a name as often as they may, from networks of their own."""
    for turn in range(NAME_TIMES * LOGIN_TRIES):
        await Visitor(place.app, f"2001:db8:{turn:x}::1").log_in(name, "wrong")
    assert "Too many failed logins" in (await Visitor(place.app, "192.0.2.99").log_in(name)).text


async def claims(stranger: Visitor, name: str, told: str) -> httpx.Response:
    """He logs in, and says what his browser is known by."""
    given = {"token": hidden(await stranger.get("/login"), "token"), "name": name, "password": PASSWORD}
    cookies = "; ".join(f"{one}={value}" for one, value in stranger.http.cookies.items())
    headers = {b"cookie": f"{cookies}; {KNOWN}={told}".encode("latin-1")}
    return await stranger.http.post("/login", data=given, headers=headers)


async def test_who_has_logged_in_before_gets_in_while_strangers_guess_at_his_name(place: Place) -> None:
    ada = await left(place)
    await besieged(place)
    assert (await ada.log_in()).status_code == 303


async def test_who_has_logged_in_before_gets_in_while_strangers_use_up_all_comparisons(place: Place) -> None:
    ada = await left(place)
    for turn in range(COMPARED_PER_MINUTE):
        await Visitor(place.app, f"2001:db8:{turn:x}::1").log_in(f"n{turn}", "wrong")
    assert "Too many failed logins" in (await Visitor(place.app, "192.0.2.99").log_in("sam")).text
    assert (await ada.log_in()).status_code == 303


async def test_guesses_in_a_known_browser_are_limited(place: Place, compared: list[str | None]) -> None:
    ada = await left(place)
    del compared[:]
    for _ in range(LOGIN_TRIES):
        assert "is wrong" in (await ada.log_in("ada", "wrong")).text
    assert "Too many failed logins" in (await ada.log_in()).text
    assert len(compared) == LOGIN_TRIES


async def test_browser_is_known_for_the_name_that_has_logged_in_alone(place: Place) -> None:
    ada = await left(place)
    await besieged(place, "sam")
    assert "Too many failed logins" in (await ada.log_in("sam")).text


async def test_browser_is_known_no_more_once_the_password_has_changed(place: Place) -> None:
    ada = await left(place)
    other = PasswordHasher(time_cost=1, memory_cost=19_456, parallelism=1).hash(PASSWORD)
    assert isinstance(await place.operators.change("ada", None, other), Operator)
    await besieged(place)
    assert "Too many failed logins" in (await ada.log_in()).text


@pytest.mark.parametrize("told", ["", FORGED, "a" * 22, "\xe9", "x" * 4_000])
async def test_cookie_that_is_none_of_ours_is_of_no_known_browser(place: Place, told: str) -> None:
    await besieged(place)
    assert "Too many failed logins" in (await claims(Visitor(place.app, "192.0.2.99"), "ada", told)).text


async def test_for_a_cookie_of_a_browser_the_same_is_done_whether_there_is_the_name(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long it took would else tell it to strangers, whom nothing limits there."""
    for name in ("ada", "nobody"):
        await besieged(place, name)
    asked: list[str] = []

    async def get(_: Operators, name: str) -> Operator | None:
        asked.append(name)
        return None

    monkeypatch.setattr(Operators, "get", get)
    for name in ("ada", "nobody"):
        answer = await claims(Visitor(place.app, "192.0.2.99"), name, FORGED)
        assert "Too many failed logins" in answer.text
    assert asked == []


async def test_known_browser_keeps_its_cookie_for_itself(place: Place) -> None:
    answer = await Visitor(place.app).log_in()
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith(KNOWN)]
    assert {"httponly", "secure", "samesite=strict", "path=/"} <= {one.strip().lower() for one in cookie.split(";")}
    assert "max-age=7776000" in cookie.lower()


async def test_who_logs_in_again_and_again_ends_logins_of_his_own_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good login is forgiven, so nothing else bounds how often: a thousand logged out everyone."""
    monkeypatch.setattr(gate, "SESSIONS_MAX", gate.SESSIONS_MAX_EACH + 2)
    place = Place(place.shop, place.file.path.parent)
    ada, vera = await place.visitor("ada"), await place.visitor("vera")
    mine = []
    for _ in range(gate.SESSIONS_MAX_EACH + 1):
        await place.shop.clock.advance(1)
        mine.append(await place.visitor("sam"))
        await ada.get("/")
    assert [one.http for one in mine if (await one.http.get("/")).status_code == 303] == [mine[0].http]
    await vera.get("/")
