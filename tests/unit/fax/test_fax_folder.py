"""The folder of documents: who may read it, and what is removed from it whatever stands in the way."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from charging.call.fax import Fax
from charging.call.model import State
from charging.call.told import FaxSettled
from charging.clock import MICROSECONDS
from charging.engine.told import SessionRestored, Told
from charging.fax import convert
from charging.fax.convert import bytes_max
from charging.fax.desk import Paper
from charging.fax.folder import BROKEN_OFF_KEPT_S, KNOWN_S, DocumentFolder, FolderSettings
from charging.service.refusal import Code, Obstacle, Refused
from charging.service.turns import SLOW_S, QueueBounds
from charging.tasks import end
from tests.fakes.ami import eventually
from tests.fakes.clock import FakeClock
from tests.fakes.documents import pdf

DAY_S = 86_400
KEEP_DAYS = 7


def folder_at(path: Path, clock: FakeClock) -> DocumentFolder:
    return DocumentFolder(FolderSettings(path, "/switch/fax", max_pages=3, keep_days=KEEP_DAYS), clock)


@pytest.fixture
def folder(tmp_path: Path, clock: FakeClock) -> DocumentFolder:
    return folder_at(tmp_path, clock)


@pytest.fixture
def closed_umask() -> Iterator[None]:
    """That of the shipped systemd unit."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def aged(path: Path, clock: FakeClock, days: float) -> Path:
    """The path, last changed so long ago."""
    at_ns = (clock.now().wall_us - round(days * DAY_S * MICROSECONDS)) * 1000
    os.utime(path, ns=(at_ns, at_ns), follow_symlinks=False)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def opened(path: Path) -> Path:
    """A folder as an operator has made it, for a group of his."""
    path.mkdir()
    path.chmod(0o2770)
    return path


def old_document(path: Path, clock: FakeClock) -> Path:
    path.write_bytes(b"II*\0")
    return aged(path, clock, KEEP_DAYS + 1)


def old_obstacle(path: Path, clock: FakeClock) -> Path:
    """What nobody, not even root, can remove as a file: it stands for a file of another user."""
    path.mkdir()
    return aged(path, clock, KEEP_DAYS + 1)


def test_document_that_cannot_be_removed_keeps_no_other_from_it(
    folder: DocumentFolder, tmp_path: Path, clock: FakeClock
) -> None:
    for name in ("a.tif", "z.tif"):
        old_document(tmp_path / name, clock)
    obstacle = old_obstacle(tmp_path / "m.tif", clock)
    with capture_logs() as logs:
        assert folder.sweep() == 2
    assert os.listdir(tmp_path) == ["m.tif"]
    (said,) = logs
    assert (said["event"], said["log_level"], said["path"]) == ("fax_document_not_removed", "warning", str(obstacle))
    assert said["why"]


def test_document_that_is_gone_already_is_no_trouble(
    folder: DocumentFolder, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = old_document(tmp_path / "z.tif", clock)
    monkeypatch.setattr(Path, "glob", lambda path, pattern: [path / "gone.tif", old] if "tif" in pattern else [])
    with capture_logs() as logs:
        assert folder.sweep() == 1
    assert logs == []


def test_link_to_nowhere_is_removed_in_its_time(folder: DocumentFolder, tmp_path: Path, clock: FakeClock) -> None:
    link = tmp_path / "x.tif"
    link.symlink_to("nowhere")
    aged(link, clock, KEEP_DAYS - 1)
    assert folder.sweep() == 0
    aged(link, clock, KEEP_DAYS + 1)
    assert folder.sweep() == 1
    assert os.listdir(tmp_path) == []


def test_what_a_killed_daemon_was_making_is_removed_after_a_day(
    folder: DocumentFolder, tmp_path: Path, clock: FakeClock
) -> None:
    for name, days in ((".making-old", 1.01), (".making-young", 0.99), ("others", 99)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "document").write_bytes(b"%PDF")
        aged(tmp_path / name, clock, days)
    assert folder.sweep() == 1
    assert sorted(os.listdir(tmp_path)) == [".making-young", "others"]


class Asleep(Exception):
    """The sweep is over, and waits for the next one."""


class FirstSleepEnds(FakeClock):
    async def sleep_until(self, mono_us: int) -> None:
        raise Asleep


async def test_sweep_that_fails_is_told_and_made_again_in_its_time(tmp_path: Path) -> None:
    """The duty ends never: with it the daemon would."""
    clock = FirstSleepEnds()
    old_obstacle(tmp_path / "m.tif", clock)
    for path, event in ((tmp_path, "fax_document_not_removed"), (tmp_path / ("x" * 300), "fax_folder_not_swept")):
        with capture_logs() as logs, pytest.raises(Asleep):
            await folder_at(path, clock).sweep_for_ever()
        assert [(one["event"], one["log_level"]) for one in logs] == [(event, "warning")]


@pytest.mark.usefixtures("closed_umask")
async def test_folder_that_is_made_is_open_to_the_group_of_the_switch(tmp_path: Path, clock: FakeClock) -> None:
    """Whatever the umask; also where the folder around it is made with it."""
    place = tmp_path / "spool" / "fax"
    await folder_at(place, clock).prepare("anna", "a", b"no document")
    assert [mode(one) for one in (place, place.parent)] == [0o750, 0o750]


async def test_folder_that_is_there_keeps_its_mode(tmp_path: Path, clock: FakeClock) -> None:
    place = opened(tmp_path / "fax")
    await folder_at(place, clock).prepare("anna", "a", b"no document")
    assert mode(place) == 0o2770


# --- documents of faxes that are over ---------------------------------------------------------------------------


def a_fax(paper: str) -> Fax:
    now = FakeClock().now()
    words: dict[str, Any]
    words = {name: "x" for name in ("id", "account", "number", "target", "plan", "switch", "document", "tariff")}
    return Fax(**words, pages=2, price=1, digest="ab" * 32, paper=paper, opened=now, dial_by=now)


@pytest.mark.parametrize(
    ("what", "kept"),
    [
        (FaxSettled({}), []),
        (FaxSettled({"unpaid:2026-11-30": 50}), []),
        (FaxSettled({"credit": 1}), ["x-1.tif"]),
        (FaxSettled({"promo:2027-01-01": 1}), ["x-1.tif"]),
        (FaxSettled({"pages:2026-11": 1}), ["x-1.tif"]),
        (SessionRestored(State.RUNNING), ["x-1.tif"]),
    ],
)
def test_document_goes_as_its_fax_is_booked_without_a_charge_and_stays_where_a_page_was_paid(
    folder: DocumentFolder, tmp_path: Path, what: Told, kept: list[str]
) -> None:
    (tmp_path / "x-1.tif").touch()
    told: list[Told] = []
    observe = folder.watching(lambda event, _session=None: told.append(event))
    observe(what, a_fax("x-1"))
    assert (os.listdir(tmp_path), told) == (kept, [what])


@pytest.mark.parametrize(("pages", "more", "kept"), [(1, 0, 1), (1, 1, 0), (2, 1, 1)])
def test_document_stays_only_as_large_as_the_pages_that_were_paid(
    folder: DocumentFolder, tmp_path: Path, pages: int, more: int, kept: int
) -> None:
    """Of fifty dense pages one was delivered, again and again: 16 MB each were kept for a week, for a few cents."""
    with (tmp_path / "x-1.tif").open("wb") as file:
        file.truncate(bytes_max(1) + more)
    fax = a_fax("x-1")
    folder.watching(lambda *_told: None)(FaxSettled({"credit": pages * fax.price}), fax)
    assert len(os.listdir(tmp_path)) == kept


def test_document_of_a_fax_of_version_0_1_goes_too(folder: DocumentFolder, tmp_path: Path) -> None:
    (tmp_path / "x-abababab.tif").touch()
    folder.watching(lambda *_told: None)(FaxSettled({}), a_fax(""))
    assert os.listdir(tmp_path) == []


def test_document_that_cannot_be_removed_ends_no_session(folder: DocumentFolder, tmp_path: Path) -> None:
    (tmp_path / "x-1.tif").mkdir()
    with capture_logs() as logs:
        folder.watching(lambda *_told: None)(FaxSettled({}), a_fax("x-1"))
    assert [one["event"] for one in logs] == ["fax_document_not_removed"]


async def test_copy_of_a_document_that_was_refused_is_not_read_again_for_a_while(
    folder: DocumentFolder, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each could take a minute and a half of what reads documents."""
    read: list[bytes] = []

    async def converted(room: convert.Room, _pages_max: int) -> Refused:
        read.append(room.document.read_bytes())
        is_ours = room.document.read_bytes() == b"ours"
        return Refused(Code.UNAVAILABLE if is_ours else Code.INVALID, "why", "")

    monkeypatch.setattr("charging.fax.folder.convert", converted)
    for name in ("a", "b"):
        for data in (b"bad", b"ours"):
            answer = await folder.prepare("anna", name, data)
            assert isinstance(answer, Refused)
            assert answer.message == "why"
    assert read == [b"bad", b"ours", b"ours"], "what we lack may be there by now"
    await folder.prepare("bob", "a", b"bad")
    assert len(read) == 4, "how soon he is answered does not tell him that another handed it in"
    await clock.advance(KNOWN_S - 1)
    await folder.prepare("anna", "c", b"bad")
    assert len(read) == 4
    await clock.advance(1)
    await folder.prepare("anna", "d", b"bad")
    assert len(read) == 5


async def test_folder_of_a_document_is_removed_beside_the_calls_also_where_it_is_broken_off(
    folder: DocumentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of megabytes took a tenth of a second of the loop in which calls are decided."""
    removed_by, here, begun = list[int](), threading.get_ident(), asyncio.Event()
    remove = shutil.rmtree

    def removes(work: Path, *more: Any, **named: Any) -> None:
        removed_by.append(threading.get_ident())
        remove(work, *more, **named)

    async def converted(_room: convert.Room, _pages_max: int) -> Refused:
        begun.set()
        if len(removed_by) == 1:
            await asyncio.Event().wait()
        return Refused(Code.INVALID, "why", "")

    monkeypatch.setattr(shutil, "rmtree", removes)
    monkeypatch.setattr("charging.fax.folder.convert", converted)
    await folder.prepare("anna", "a", b"one")
    begun.clear()
    broken_off = asyncio.create_task(folder.prepare("anna", "b", b"two"))
    await begun.wait()
    await end([broken_off])
    assert len(removed_by) == 2
    assert here not in removed_by
    assert os.listdir(tmp_path) == []


async def test_pages_of_a_document_are_known_for_a_while(
    folder: DocumentFolder, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of one that could not be paid was read again each time, only to be refused."""

    async def converted(room: convert.Room, _pages_max: int) -> convert.Made:
        room.paper.write_bytes(b"II*")
        return convert.Made(7, "digest")

    monkeypatch.setattr("charging.fax.folder.convert", converted)
    assert await folder.pages_of("anna", b"good") is None
    paper = await folder.prepare("anna", "a", b"good")
    assert isinstance(paper, Paper)
    assert (await folder.pages_of("anna", b"good"), await folder.pages_of("anna", b"bad")) == (7, None)
    assert await folder.pages_of("bob", b"good") is None, "who else handed it in is nobody's business"
    again = await folder.prepare("anna", "b", b"good")
    assert isinstance(again, Paper), "each fax has a paper of its own"
    assert again.name != paper.name
    await clock.advance(KNOWN_S)
    assert await folder.pages_of("anna", b"good") is None


class Hanging:
    """Documents that are read for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        monkeypatch.setattr("charging.fax.folder.convert", self._converted)

    async def _converted(self, _room: convert.Room, _pages_max: int) -> Refused:
        self.begun += 1
        await asyncio.Event().wait()
        raise AssertionError("it never ends")

    async def broken_off(self, folder: DocumentFolder, clock: FakeClock, after_s: float) -> Paper | Refused:
        """Anna's, by mail, that has taken so long as another customer's has taken long too."""
        begun = self.begun
        tasks = [asyncio.create_task(folder.prepare("anna", "a", b"slow", patient=False))]
        await eventually(lambda: self.begun == begun + 1, "hers")
        await clock.advance(after_s - SLOW_S)
        tasks.append(asyncio.create_task(folder.prepare("bob", "b", b"slow", patient=False)))
        await eventually(lambda: self.begun == begun + 2, "his")
        await clock.advance(SLOW_S)
        await eventually(tasks[0].done, "it is broken off")
        await end(tasks[1:])
        return await tasks[0]


async def test_documents_that_wait_have_so_many_bytes(folder: DocumentFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging(monkeypatch)
    half = bytes(QueueBounds().bytes // 2)
    tasks = [asyncio.create_task(folder.prepare(one, one, half)) for one in ("anna", "bob")]
    await eventually(lambda: hanging.begun == 2, "both are read")
    refused = await folder.prepare("carl", "c", b"one more")
    assert isinstance(refused, Refused)
    assert refused.code is Code.UNAVAILABLE
    await end(tasks)


@pytest.mark.parametrize(("more", "waits"), [(0, True), (1, False)])
async def test_where_a_document_may_be_large_two_that_are_read_leave_room_for_a_third(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, more: int, waits: bool
) -> None:
    """With a larger fax.max_bytes those of two customers took all bytes there were."""
    most, hanging = 25_000_000, Hanging(monkeypatch)
    folder = DocumentFolder(FolderSettings(tmp_path, "/switch/fax", 3, KEEP_DAYS, max_bytes=most), clock)
    tasks = [asyncio.create_task(folder.prepare(one, one, bytes(most))) for one in ("anna", "bob")]
    await eventually(lambda: hanging.begun == 2, "both are read")
    third = asyncio.create_task(folder.prepare("carl", "c", bytes(most + more), patient=False))
    await eventually(lambda: clock.sleepers == 3 or third.done(), "it waits for its turn, or is refused")
    assert third.done() != waits
    await end([*tasks, third])


@pytest.mark.parametrize("seconds", [[9, 9, 9], [30, 62]])
async def test_document_of_a_mail_that_is_broken_off_too_often_is_refused_for_good(
    folder: DocumentFolder, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, seconds: list[int]
) -> None:
    """For five days the mail came again, and each time held one of the mail server's places."""
    hanging, codes = Hanging(monkeypatch), []
    for one in seconds:
        answer = await hanging.broken_off(folder, clock, one)
        assert isinstance(answer, Refused)
        codes.append(answer.code)
        await clock.advance(4_000)
    assert codes == [Code.UNAVAILABLE] * (len(seconds) - 1) + [Code.INVALID]
    again = await folder.prepare("anna", "c", b"slow", patient=False)
    assert isinstance(again, Refused)
    assert (again.obstacle, f"{sum(seconds)} s in all" in again.message) == (Obstacle.UNREADABLE, True)
    begun = hanging.begun
    others = [("anna", b"other", False), ("anna", b"slow", True), ("carl", b"slow", False)]
    for account, data, patient in others:
        task = asyncio.create_task(folder.prepare(account, "d", data, patient=patient))
        begun += 1
        await eventually(lambda: hanging.begun == begun, f"that of {account} is begun")  # noqa: B023  at once
        await end([task])
    await clock.advance(BROKEN_OFF_KEPT_S)
    task = asyncio.create_task(folder.prepare("anna", "e", b"slow", patient=False))
    await eventually(lambda: hanging.begun == begun + 1, "what was at fault may be the machine")
    await end([task])


async def test_document_has_so_long_for_all_programs_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own limit; to find the page at fault, one is started for each of fifty pages."""

    async def hangs(command: list[str], room: convert.Room) -> int | None:
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(convert, "_ended", hangs)
    monkeypatch.setattr(convert, "DOCUMENT_S", 0.01)
    room = convert.Room(tmp_path)
    room.furnish(pdf(1))
    async with asyncio.timeout(60):
        refused = await convert.convert(room, 3)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.obstacle) == (Code.INVALID, Obstacle.UNREADABLE)
    assert "cannot be read within" in refused.message
