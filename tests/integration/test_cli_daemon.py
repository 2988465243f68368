"""The command as a process, against a control application on a Unix socket with calls that run."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from charging.engine.drain import Drain
from charging.ledger.model import CdrRow
from charging.service.decisions import DecisionKeeper
from charging.service.live import RegistryCalls
from charging.service.service import Service
from charging.web.control import control_app
from charging.web.listen import serve_unix
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig
from tests.integration.command import Command, Place, Ran, run_process

YEAR = ("--since", "2026-01-01", "--until", "2027-01-01")
Charging = Callable[..., Awaitable[Ran]]


@asynccontextmanager
async def daemon(rig: Rig, place: Place) -> AsyncIterator[None]:
    """What a daemon serves on its control socket; what commands read by themselves is its store."""
    service = Service(
        store=rig.store,
        tariff=lambda: rig.tariff,
        clock=rig.clock,
        funds_changed=rig.registry.funds_changed,
        live=RegistryCalls(rig.registry),
    )
    ready = asyncio.Event()
    task = asyncio.create_task(
        serve_unix(control_app(service, drain=Drain(rig.registry, rig.clock)), place.socket, ready)
    )
    await ready.wait()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("charging.cli.in_process.store_of", lambda _settings, reads_only: rig.store)
            yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def charging(place: Place, capsys: pytest.CaptureFixture[str]) -> Charging:
    return Command(place, capsys).beside


async def test_r5_r22_a_running_call_is_seen_topped_up_and_hung_up(place: Place, charging: Charging) -> None:
    async with make_rig() as rig, daemon(rig, place):
        await rig.subscriber(credit=30_000)
        call = await rig.talking()
        await rig.clock.advance(20)

        (shown,) = (await charging("calls", "--json")).json
        assert (shown["session"], shown["number"], shown["watched"]) == (call.session, NUMBER, True)
        assert (shown["elapsed_s"], shown["cost"], shown["covered_s"]) == (20, "0.02", 30)
        balance = (await charging("account", "show", "anna", "--json")).json["balance"]
        assert (balance["credit"]["now"], balance["credit"]["available"]) == ("0.01", "0.00")

        assert (await run_process("--config", str(place.config), "top-up", "anna", "10")).code == 0
        await rig.clock.advance(1)
        assert rig.session_of(call).covered_s > 60

        hung = await charging("hangup", call.session, "--reason", "fraud")
        assert (hung.code, hung.err) == (0, "")
        await rig.clock.advance(10)
        assert (await charging("calls", "--json")).json == []
        (cdr,) = (await charging("cdr", "list", "--account", "anna", "--json")).json
        assert (cdr["session"], cdr["hangup_reason"], cdr["cost"]) == (call.session, "fraud", "0.021")
        assert "fraud" in (await charging("cdr", "list", "--csv")).out
        assert (await charging("ledger", "verify")).code == 0
        again = await charging("tariff", "diff", "--cdrs", str(place.folder / "tariff.yaml"), *YEAR, "--json")
        (total,) = again.json["plans"]
        assert (total["plan"], total["calls"], total["paid"], total["would_pay"]) == ("light", 1, "0.021", "0.06")
    assert not _has_ledger(place)


async def test_why_a_call_was_not_forwarded_is_told_in_words_by_one_command(place: Place, charging: Charging) -> None:
    async with make_rig() as rig, daemon(rig, place):
        keeper = DecisionKeeper(rig.store.documents, rig.clock, daemon="host-1")
        await rig.subscriber(credit=20_000, plan="free")
        await rig.credit(-19_001, "spent")
        await rig.ring()
        await rig.ring("+31201112233", withheld=True)
        for decided in rig.decided:
            keeper.keep(decided)
        await keeper.write()

        told = await charging("calls", "--decided", "--number", "020 123 45 67", "--at", "2026-11-21T13:03")
        assert (told.code, told.err) == (0, "")
        assert told.out.splitlines() == [
            "2026-11-21 12:00:00Z  +31201234567 from +3110765xxxx: not answered: neither free minutes nor credit "
            "sufficed for the first seconds, and credit did not suffice for a voicemail message either (no_credit)",
            "  do: a top-up works at once: `charging top-up anna AMOUNT`; what others held is free when they end",
            "  account anna, plan free, to +3161234xxxx (nl_mobile), credit € 0.000999 available, € 0.00 held by "
            "others, 0 free seconds, a message € 0.10",
            "  in 0 ms by host-1 of switch test",
        ]
        both = await charging("calls", "--decided")
        assert "+3120111xxxx from a withheld number: not answered: the number dialled belongs to no account" in both.out
        shown = (await charging("calls", "--decided", "--account", "anna", "--json")).json
        assert [(one["outcome"], one["reason"], one["account"]) for one in shown] == [("reject", "no_credit", "anna")]

        nothing = ("calls", "--decided", "--number", NUMBER, "--at", "2026-11-21T13:06")
        none = await charging(*nothing)
        assert (none.code, none.out) == (0, "")
        assert none.err.startswith("no decision that fits is kept.")
        assert (
            await charging("calls", "--decided", "--number", NUMBER, "--at", "2026-11-21T13:06", "--json")
        ).json == []


@pytest.mark.parametrize("act", ["suspend", "close"])
async def test_a_suspension_says_which_calls_go_on_and_how_they_are_ended(
    place: Place, charging: Charging, act: str
) -> None:
    """They go on as long as they are paid: far beyond what they had reserved."""
    async with make_rig() as rig, daemon(rig, place):
        await rig.subscriber(credit=10 * EURO)
        quiet = await charging("account", "suspend", "anna", "--reason", "unpaid")
        assert (quiet.code, quiet.err) == (0, "")
        assert (await charging("account", "activate", "anna")).code == 0
        call = await rig.talking()
        await rig.clock.advance(1)
        covered_s = rig.session_of(call).covered_s

        told = await charging("account", act, "anna", "--reason", "unpaid", "--json")
        assert told.code == 0
        assert told.json["status"] in ("suspended", "closed")
        assert told.err == (
            "charging: warning: calls of this account that go on while they can pay: 1; "
            "`charging calls --account anna` shows them, `charging hangup SESSION` ends one\n"
        )
        await rig.clock.advance(1800)
        assert rig.session_of(call).covered_s > covered_s + 1700
        assert (await charging("hangup", call.session)).code == 0
        await rig.clock.advance(10)
        assert (await charging("calls", "--json")).json == []


async def test_a_period_with_messages_and_cdrs_that_cannot_be_read_is_priced_anew(
    place: Place, charging: Charging
) -> None:
    new = place.folder / "new.yaml"
    bought = "  free: {rates: standard, paid_subscription: no, voicemail: {paid: no, price: 0.15}}\n"
    text = (place.folder / "tariff.yaml").read_text()
    new.write_text(text.replace("\nplans:\n", f"\nplans:\n{bought}", 1))
    async with make_rig() as rig, daemon(rig, place):
        await rig.subscriber(credit=EURO, plan="free", forward_to="", paid_voicemail=True)
        answer = await rig.ring()
        assert (answer.decision, answer.session is None) == ("voicemail", False)
        rig.switch.leave_message(answer.session or "", "u1")
        await rig.clock.advance(1)
        ended_us = rig.clock.now().wall_us
        bad = ("not JSON", '{"service": "forward", "plan": "free", "answered": 1}', '{"service": "telex"}')
        await rig.store.restore_cdrs([CdrRow(f"bad-{n}", "anna", ended_us, text) for n, text in enumerate(bad)])
        command = ("tariff", "diff", "--cdrs", str(new), *YEAR)
        ran = await charging(*command, "--json")
        assert ran.code == 0, ran.err
        found = ran.json
        (total,) = found["plans"]
        assert (total["plan"], total["messages"], total["paid"], total["would_pay"]) == ("free", 1, "0.10", "0.15")
        assert found["left_out"] == 3
        told = await charging(*command)
        assert told.err == "charging: 3 CDRs are left out, since they cannot be read\n"
        assert "0.15" in told.out


async def test_calls_are_watched_as_they_run(place: Place, charging: Charging) -> None:
    async with make_rig() as rig, daemon(rig, place):
        await rig.subscriber(credit=EURO)
        await rig.talking()
        ran = await charging("calls", "--watch", "--count", "2", "--interval", "0.1", "--json")
        looks = [json.loads(line) for line in ran.out.splitlines()]
        assert [len(look) for look in looks] == [1, 1]
        table = await charging("calls", "--watch", "--count", "1")
        assert NUMBER in table.out


async def test_refusals_of_a_daemon_are_one_line_and_exit_1(place: Place, charging: Charging) -> None:
    async with make_rig() as rig, daemon(rig, place):
        assert (await charging("top-up", "nobody", "25")).problem.startswith("there is no account 'nobody'")
        await rig.subscriber()
        assert (await charging("top-up", "anna", "1")).problem.endswith("expected at least 10.00")


async def test_a_socket_that_a_killed_daemon_left_is_no_daemon(place: Place, charging: Charging) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place.socket))
        left.listen()
    assert (await charging("account", "add", "anna", "--plan", "pro")).code == 0
    assert _has_ledger(place)


@pytest.fixture
def frozen(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A daemon that accepts and says nothing: whether it did what was asked is not known."""
    monkeypatch.setattr("charging.cli.client.TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.socket))
        listener.listen()
        yield


@pytest.mark.parametrize(
    "act",
    [
        "top-up anna 25",
        "account correct anna -5 --reason slip",
        "subscription paid anna --until 2027-01-31",
        "subscription correct anna --until 2027-01-31",
        "fax send anna +31201112222 charging.yaml",
    ],
)
def test_a_frozen_daemon_is_said_with_the_key_that_makes_the_act_safe_to_repeat(
    place: Place, capsys: pytest.CaptureFixture[str], frozen: None, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    monkeypatch.chdir(place.folder)
    monkeypatch.setattr("secrets.token_hex", lambda _: "72ad")
    told = "the outcome is unknown: repeat this with `--id {}`, by which it is never done twice"
    assert told.format("cli-72ad") in Command(place, capsys)(*act.split()).problem
    if "--until" not in act:
        assert told.format("order-9") in Command(place, capsys)(*act.split(), "--id", "order-9").problem


def test_a_frozen_daemon_is_said_where_nothing_can_be_done_twice(
    place: Place, capsys: pytest.CaptureFixture[str], frozen: None
) -> None:
    assert "outcome is unknown: look, then ask again" in Command(place, capsys)("calls").problem


def _has_ledger(place: Place) -> bool:
    return (place.folder / "ledger.db").exists()


async def test_a_drain_pays_the_calls_that_run_and_says_what_to_do_next(place: Place, charging: Charging) -> None:
    async with make_rig() as rig, daemon(rig, place):
        await rig.subscriber(credit=1_000_000)
        call = await rig.talking()

        async def while_time_goes_on(*arguments: str) -> Ran:
            ran = asyncio.ensure_future(charging(*arguments))
            while not ran.done():
                await rig.clock.advance(0.05)
                await asyncio.sleep(0)
            return await ran

        drained = await while_time_goes_on("drain", "--refuse-new")
        assert drained.code == 0
        assert drained.out.splitlines()[:2] == [
            "1 running calls are paid as far as they can be, and Asterisk has their deadlines.",
            "1 of them end by their money; once Asterisk waits, their subscribers hear no warning.",
        ]
        assert "core restart gracefully" in drained.out
        assert rig.session_of(call).enforced_s == 1000
        rig.switch.disobeys = lambda: True
        await rig.credit(1_000_000, "more")
        behind = await while_time_goes_on("drain", "--json")
        assert (behind.code, behind.json["behind"], behind.json["refuses_new"]) == (1, [call.session], False)
        ended = await charging("drain", "--end")
        assert (ended.code, ended.out.startswith("The drain is over")) == (0, True)
        assert (await charging("drain", "--end", "--refuse-new")).code == 2


async def test_without_a_daemon_nothing_is_drained(charging: Charging) -> None:
    refused = await charging("drain")
    assert refused.code == 1
    assert "no daemon runs" in refused.err
