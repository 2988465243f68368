"""Faxes on a real Asterisk: really sent by spandsp, priced per page before, charged by the pages that arrived."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import httpx
import pytest

from charging.fax.convert import Made, Room, convert
from charging.fax.tiff import page_count
from charging.lab import Lab, fax_machine
from charging.lab.errors import LabError
from tests.asterisk.engine import NUMBER, Engine, engine
from tests.asterisk.parties import black_box_record, dialog_of, operator_sets
from tests.asterisk.test_check_live import Edit, edited
from tests.asterisk.waiting import eventually
from tests.fakes.documents import pdf

pytestmark = pytest.mark.asterisk

PAGE = 80_000
CREDIT = 10_000_000
SEND_S = 60
FAXES = "/accounts/anna/faxes"


async def send(live: Engine, target: str, pages: int = 2, key: str = "k") -> dict[str, Any]:
    return await live.daemon.upload(FAXES, pdf(pages), key, target=target, name="offer.pdf")


async def over(live: Engine, session: str, deadline_s: float = SEND_S) -> dict[str, Any]:
    """The fax, once it is over."""
    found: dict[str, Any] = {}

    async def ended() -> bool:
        found.update(await live.daemon.get(f"{FAXES}/{session}"))
        return bool(found["state"] != "sending")

    await live.until(ended, "the fax's end", deadline_s)
    return found


async def running(lab: Lab, application: str) -> None:
    async def runs() -> bool:
        return any(channel["Application"] == application for channel in await lab.switch.channels())

    await eventually(runs, f"{application} to run", 30)


async def test_r3_r9_fax_is_reserved_before_and_charged_per_page_never_from_free_minutes(
    lab: Lab, tmp_path: Path
) -> None:
    async with engine(lab, tmp_path, plan="voice_pro", free_seconds=60) as live:
        target = fax_machine.receives(1)
        sent = await send(live, target)
        assert (sent["state"], sent["pages"], sent["cost"]) == ("sending", 2, "0.16")
        assert (await live.balance())["credit"]["reserved"] == "0.16"
        assert (await send(live, target))["session"] == sent["session"], "the same key sends once"
        fax = await over(live, sent["session"])
        assert (fax["state"], fax["pages_sent"], fax["status"]) == ("sent", 2, "SUCCESS")
        assert page_count(fax_machine.received(lab, target).read_bytes()) == 2
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - 2 * PAGE
        assert (await live.balance())["free_seconds"]["left"] == 60, "free minutes never pay for a fax"
        cdr = await live.cdr()
        assert (cdr["service"], cdr["pages"], cdr["cost"], cdr["number"]) == ("fax", 2, "0.16", NUMBER)
        assert cdr["unpaid_s"] == 0
        assert len(await live.cdrs(1)) == 1


async def test_r3_fax_to_a_busy_machine_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    documents = lab.switch.folder / "fax"
    kept_before = set(documents.glob("*.tif"))  # of other tests; a daemon sweeps old ones away
    async with engine(lab, tmp_path) as live:
        fax = await over(live, (await send(live, fax_machine.busy()))["session"], 20)
        assert (fax["state"], fax["status"], fax["cost"]) == ("failed", "BUSY", "0.00")
        assert set(documents.glob("*.tif")) <= kept_before, "its document is gone at once"
        await live.nothing_reserved()
        assert await live.posted() == CREDIT


async def test_r3_fax_that_breaks_off_in_its_first_page_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        fax = await over(live, (await send(live, fax_machine.unplugged(8.0)))["session"], 30)
        assert (fax["state"], fax["status"], fax["pages_sent"], fax["cost"]) == ("failed", "FAILED", 0, "0.00")
        await live.nothing_reserved()
        assert await live.posted() == CREDIT
        assert (await live.cdr())["unpaid_s"] >= 7, "it held the line for eight seconds, and nobody paid"


async def test_r3_fax_cancelled_before_its_first_page_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    async with operator_sets(lab, "CHARGING_FAX_T38", "yes"), engine(lab, tmp_path) as live:
        sent = await send(live, fax_machine.receives(8))
        await running(lab, "Wait")  # whether it asks for T.38
        await live.daemon.post(f"{FAXES}/{sent['session']}/cancellation", {})
        fax = await over(live, sent["session"], 5)
        assert (fax["state"], fax["cost"]) == ("failed", "0.00")
        assert await lab.switch.channels() == []
        await live.nothing_reserved()
        assert await live.posted() == CREDIT


@pytest.mark.parametrize("pages", [1, 3])
async def test_r3_page_that_the_machine_has_is_charged_whenever_its_sender_cancels(
    lab: Lab, tmp_path: Path, pages: int
) -> None:
    """The machine has a page some seconds before it confirms it: whoever cancelled in between had it for nothing."""
    target = fax_machine.receives(20 + pages)
    received = fax_machine.received(lab, target)
    received.unlink(missing_ok=True)

    async def has_come() -> bool:
        return received.exists()

    async with engine(lab, tmp_path) as live:
        sent = await send(live, target, pages)
        await running(lab, "SendFAX")
        await eventually(has_come, "the first page to come", 40)
        await live.daemon.post(f"{FAXES}/{sent['session']}/cancellation", {})
        fax = await over(live, sent["session"], 30)
        assert (fax["pages_sent"], fax["cost"]) == (1, "0.08")
        assert page_count(received.read_bytes()) == 1
        assert await lab.switch.channels() == []
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - PAGE


async def test_r14_fax_without_enough_credit_is_refused_at_once_and_not_dialled(lab: Lab, tmp_path: Path) -> None:
    documents = lab.switch.folder / "fax"
    kept_before = set(documents.glob("*.tif"))  # of other tests; a daemon sweeps old ones away
    async with engine(lab, tmp_path, credit="0.15") as live:
        with pytest.raises(LabError, match=r"402.*2 pages at 0\.08 cost 0\.16.*\"missing\":\"0\.01\""):
            await send(live, fax_machine.receives(2))
        await live.nothing_reserved()
        assert await lab.switch.channels() == []
        assert await lab.switch.black_box() == {}
        assert set(documents.glob("*.tif")) <= kept_before, "its document is not kept"


def trunk_takes_t38(lab: Lab) -> AbstractAsyncContextManager[None]:
    """As that of an operator may who forwards no calls over it."""
    return edited(lab, Edit("pjsip.conf", "t38_udptl = no", "t38_udptl = yes"))


@contextlib.asynccontextmanager
async def by_t38(lab: Lab) -> AsyncIterator[None]:
    """He sends by it, too."""
    async with trunk_takes_t38(lab), operator_sets(lab, "CHARGING_FAX_T38", "yes"):
        yield


async def t38_faxes(lab: Lab) -> int:
    """How many faxes the switch has sent or received by T.38."""
    stats = await lab.switch.cli("fax show stats")
    found = re.search(r"Spandsp T\.38\s+Success\s+: (\d+)", stats)
    assert found is not None, stats
    return int(found[1])


async def test_r3_fax_by_t38_is_charged_per_page(lab: Lab, tmp_path: Path) -> None:
    async with by_t38(lab), engine(lab, tmp_path) as live:
        before, target = await t38_faxes(lab), fax_machine.asks_for_t38(7)
        fax = await over(live, (await send(live, target))["session"])
        assert (fax["state"], fax["pages_sent"], fax["cost"]) == ("sent", 2, "0.16")
        assert await t38_faxes(lab) == before + 1
        assert page_count(fax_machine.received(lab, target).read_bytes()) == 2
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - 2 * PAGE


async def test_fax_goes_by_sound_though_trunk_and_machine_would_have_t38(lab: Lab, tmp_path: Path) -> None:
    """By T.38 a machine that confirms a page too early has Asterisk take all memory."""
    async with trunk_takes_t38(lab), engine(lab, tmp_path) as live:
        before, target = await t38_faxes(lab), fax_machine.asks_for_t38(6)
        fax = await over(live, (await send(live, target))["session"])
        assert (fax["state"], fax["pages_sent"]) == ("sent", 2)
        assert await t38_faxes(lab) == before
        assert page_count(fax_machine.received(lab, target).read_bytes()) == 2


async def test_a_fax_whose_leg_fax_detection_puts_elsewhere_begins_again_by_sound(lab: Lab, tmp_path: Path) -> None:
    async with trunk_takes_t38(lab), engine(lab, tmp_path) as live:
        before, target = await t38_faxes(lab), fax_machine.asks_for_t38(5)
        sent = await send(live, target, pages=1)
        await running(lab, "SendFAX")
        leg = next(one["Channel"] for one in await lab.switch.channels() if one["Application"] == "SendFAX")
        to = {"Context": "charging-fax-answered", "Exten": "fax", "Priority": "1"}
        await lab.switch.action("Redirect", {"Channel": leg, **to})
        await over(live, sent["session"], 120)
        assert await t38_faxes(lab) == before


@pytest.mark.parametrize("t38", [True, False], ids=["by T.38", "by sound"])
async def test_r3_r9_received_fax_is_free_and_needs_neither_credit_nor_a_daemon(
    lab: Lab, tmp_path: Path, t38: bool
) -> None:
    room, paper = Room(tmp_path), lab.world.recording_folder() / "letter.tif"
    room.furnish(pdf(2))
    assert isinstance(await convert(room, pages_max=2), Made)
    shutil.copy(room.paper, paper)
    known, before = fax_machine.delivered(lab), await t38_faxes(lab)
    takes = trunk_takes_t38(lab) if t38 else contextlib.nullcontext()
    async with takes, engine(lab, tmp_path, credit="0", plan="voice_free", paid_voicemail=True) as live:
        await live.daemon.post("/numbers", {"number": fax_machine.SUBSCRIBER, "account": "anna"})
        if not t38:
            await live.daemon.kill()
        await lab.world.send_fax(fax_machine.SUBSCRIBER, paper, t38=t38)

        async def arrived() -> bool:
            return len(fax_machine.delivered(lab)) > len(known) and not await lab.switch.channels()

        await eventually(arrived, "the fax to arrive", SEND_S)
        (received,) = set(fax_machine.delivered(lab)) - set(known)
        assert page_count(received.read_bytes()) == 2
        assert await t38_faxes(lab) == before + t38
        assert await lab.switch.black_box() == {}, "there is nothing to book"
        if not t38:
            await live.daemon.start()
        await live.nothing_reserved()
        assert (await live.journal(), (await live.daemon.get("/cdrs"))["items"]) == ([], [])


async def fax_session(lab: Lab) -> str:
    """What the switch says of the one fax that it sends or receives; empty: there is none."""
    found = re.search(r"^PJSIP/\S+ +Spandsp +([0-9]+) ", await lab.switch.cli("fax show sessions"), re.MULTILINE)
    return "" if found is None else await lab.switch.cli(f"fax show session {found[1]}")


async def test_a_page_without_end_takes_little_memory(lab: Lab, tmp_path: Path) -> None:
    """Asterisk keeps every dot of a page until it ends. With error correction a white line is one bit, so that a call
    took 3 MB of memory a second; without it is fourteen (ITU-T T.4)."""
    room, paper = Room(tmp_path), lab.world.recording_folder() / "letter.tif"
    room.furnish(pdf(2))
    assert isinstance(await convert(room, pages_max=2), Made)
    shutil.copy(room.paper, paper)
    await lab.world.send_fax(fax_machine.SUBSCRIBER, paper, t38=False)
    told: list[str] = []

    async def page_is_received() -> bool:
        told.append(await fax_session(lab))
        return re.search(r"Rx Pages +: [1-9]", told[-1]) is not None

    await eventually(page_is_received, "a page to be received", SEND_S)
    assert re.search(r"ECM Mode +: No", told[-1]) is not None, told[-1]


def received_pages(paper: Path) -> int:
    return page_count(paper.read_bytes()) or 0 if paper.exists() else 0


async def is_received(paper: Path, pages: int) -> bool:
    return received_pages(paper) >= pages


async def test_pages_that_were_confirmed_by_sound_are_charged_though_the_machine_asks_for_t38_then(
    lab: Lab, tmp_path: Path
) -> None:
    """Asterisk counted the pages from one again: a machine had four of six pages for nothing."""
    async with by_t38(lab), engine(lab, tmp_path) as live:
        sent = await send(live, fax_machine.receives(8), pages=4)

        async def are_confirmed() -> bool:
            return re.search(r"Tx Pages +: [2-9]", await fax_session(lab)) is not None

        await live.until(are_confirmed, "two pages to be confirmed", 120)
        await lab.world.ask_for_t38_now()
        fax = await over(live, sent["session"], 120)
        assert fax["pages_sent"] >= 2
        assert await live.posted() == CREDIT - fax["pages_sent"] * PAGE


async def test_fax_whose_machine_is_replaced_is_charged_by_the_pages_that_came_to_the_other(
    lab: Lab, tmp_path: Path
) -> None:
    """By INVITE with Replaces, which Asterisk takes from anyone on the trunk: all pages came, and none was charged."""
    await lab.switch.cli("module load res_pjsip_refer.so")
    paper = fax_machine.received_instead(lab)
    paper.unlink(missing_ok=True)
    try:
        async with engine(lab, tmp_path) as live:
            sent = await send(live, fax_machine.receives(9))
            await running(lab, "SendFAX")
            channels = await lab.switch.channels()
            leg = next(one["Channel"] for one in channels if one["Application"] == "SendFAX")
            await lab.world.receive_fax_instead(await dialog_of(lab, leg))
            await live.until(lambda: is_received(paper, 1), "a page at the other machine", 90)
            assert await lab.switch.black_box() == {}, "it is not over"
            fax = await over(live, sent["session"], 90)
            assert (fax["state"], fax["pages_sent"], fax["cost"]) == ("sent", 2, "0.16")
            assert page_count(paper.read_bytes()) == 2
            assert (await live.cdr())["unpaid_s"] == 0
            await live.nothing_reserved()
    finally:
        await lab.reset()
        await lab.switch.cli("module unload res_pjsip_refer.so")


async def test_daemon_killed_while_a_fax_is_sent_charges_it_once(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        sent = await send(live, fax_machine.receives(3))
        await running(lab, "SendFAX")
        await live.daemon.kill()
        await live.daemon.start()
        fax = await over(live, sent["session"])
        # How many pages a line of a busy machine bears is the modems' business; that they are what is paid is ours.
        assert fax["status"] in ("SUCCESS", "FAILED")
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - fax["pages_sent"] * PAGE
        assert len(await live.cdrs(1)) == 1


async def test_daemon_dead_when_a_fax_ends_charges_it_once_when_it_is_back(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        sent = await send(live, fax_machine.receives(4), pages=1)
        await running(lab, "SendFAX")
        await live.daemon.kill()

        async def ended() -> bool:
            return bool(await lab.switch.black_box()) and not await lab.switch.channels()

        await eventually(ended, "the fax's end", SEND_S)
        record = await black_box_record(lab, sent["session"])
        assert record["switch"] == "lab"
        recorded = int(record["pages"] or 0)
        await live.daemon.start()
        assert (await over(live, sent["session"], 20))["pages_sent"] == recorded
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - recorded * PAGE


@pytest.mark.parametrize(
    ("target", "before"),
    [(fax_machine.receives(6), "1700000000"), ("+3102527123456", "4000000000")],
    ids=["late", "a number abroad"],
)
async def test_order_that_is_late_or_would_be_dialled_abroad_is_not_dialled(lab: Lab, target: str, before: str) -> None:
    """What is not dialled may be ordered again."""
    fields = {
        **{"Channel": "Local/send@charging-fax/n", "Context": "charging-fax", "Exten": "idle", "Priority": "1"},
        **{"Async": "true", "ChannelId": "f-late", "OtherChannelId": "f-late-2"},
        "Variable": "\n".join(
            f"__CHARGING_{name}={value}"
            for name, value in (
                ("SESSION", "late"),
                ("TARGET", target),
                ("FAX_FILE", "/nowhere.tif"),
                ("FAX_BEFORE", before),
                ("FAX_RING_S", "30"),
                ("FAX_S", "60"),
            )
        ),
    }
    async with operator_sets(lab, "CHARGING_DIAL_FORMAT", "national"):
        await lab.switch.action("Originate", fields)
        record = await black_box_record(lab, "late")
    assert (record["dial"], record["fax"], record["phase"]) == ("", "", "undialled")


async def test_r14_fax_handed_in_by_mail_is_sent_and_without_credit_answered(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, credit="0.10") as live:
        await live.charging("account", "set", "anna", "--email", "anna@example.nl")
        own = json.loads(await live.charging("fax", "address", "new", "anna", "--json"))["name"]
        assert (
            await live.charging(
                "fax",
                "submit-mail",
                "--sender",
                "anna@example.nl",
                "--recipient",
                f"{own}@example.nl",
                stdin=mail(fax_machine.busy(), pages=1),
            )
            == ""
        )
        assert (await live.cdr())["dial_status"] == "BUSY"
        reply = await live.charging(
            "fax",
            "submit-mail",
            "--sender",
            "anna@example.nl",
            "--recipient",
            f"{own}@example.nl",
            stdin=mail(fax_machine.busy(), pages=2),
        )
        answer = message_from_string(reply, policy=default)
        assert answer["To"] == "anna@example.nl"
        told = "de fax (2\N{NO-BREAK SPACE}pagina’s) kost €\N{NO-BREAK SPACE}0,16"
        assert told in answer.get_content()
        await live.nothing_reserved()
        assert len(await live.cdrs(1)) == 1


def mail(number: str, pages: int) -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Anna@Example.nl", "fax@example.nl", number
    message.add_attachment(pdf(pages), "application", "pdf", filename="offer.pdf")
    return message.as_bytes()


async def test_command_sends_a_document_and_lists_what_became_of_it(lab: Lab, tmp_path: Path) -> None:
    document = tmp_path / "offer.pdf"
    document.write_bytes(pdf(1))
    async with engine(lab, tmp_path) as live:
        sent = json.loads(await live.charging("fax", "send", "anna", fax_machine.busy(), str(document), "--json"))
        assert (sent["state"], sent["document"], sent["cost"]) == ("sending", "offer.pdf", "0.08")
        await over(live, sent["session"])
        (listed,) = json.loads(await live.charging("fax", "list", "anna", "--json"))
        assert (listed["session"], listed["state"], listed["status"]) == (sent["session"], "failed", "BUSY")


async def test_same_key_for_another_fax_is_refused(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        await send(live, fax_machine.busy(), key="one")
        with pytest.raises((LabError, httpx.HTTPError), match="key_reused"):
            await send(live, fax_machine.receives(5), key="one")
        await live.nothing_reserved()
