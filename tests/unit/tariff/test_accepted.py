"""The brake: an edition in which prefixes are gone or prices have jumped waits for a person, also over a restart."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from charging.errors import ConfigError
from charging.metrics import Metrics
from charging.tariff import in_force
from charging.tariff.accepted import Accepted, Brake, NotKept
from charging.tariff.deck_file import DeckCache
from charging.tariff.file import load_tariff
from charging.tariff.in_force import TariffHere, TariffInForce, accept, what_counts
from charging.tariff.reading import Reading, read_files
from charging.tariff.tariff import Tariff
from charging.tariff.watch import AGAIN_S
from tests.fakes.clock import FakeClock
from tests.unit.tariff.tariffs import SMALL, write

WITH_DECK = (
    SMALL.replace("60/1}", "60/1, fax_page: 0.12}")
    .replace("standard:\n    fax", "standard:\n    decks: [deck.csv]\n    fax")
    .replace('  unpriced: {prefixes: ["+3110"]}\n', "")
)
EDITION = "prefix;price\n32;0.10\n33;0.10\n34;0.10\n"
DOUBLED = EDITION.replace("33;0.10", "33;0.20")


class Place:
    """A tariff with a deck, and what is kept of it."""

    def __init__(self, folder: Path) -> None:
        self.path = write(folder, WITH_DECK)
        self.deck = folder / "deck.csv"
        self.deck.write_text(EDITION, encoding="utf-8")
        self.accepted = Accepted(folder / "state" / "accepted")
        self.metrics = Metrics()

    def start(self) -> TariffInForce:
        """A daemon's start."""
        self.metrics = Metrics()
        return TariffInForce(self.path, self.metrics, FakeClock(), self.accepted)

    def counts(self) -> Tariff:
        """What another process takes."""
        return what_counts(self.path, self.accepted, FakeClock())

    def price(self, tariff: Tariff, prefix: str = "+33") -> int:
        return tariff.tables["standard"].decks[0].rows(prefix)[0].price

    def accepted_digest(self, record: bytes) -> str:
        return str(json.loads(record)["digest"])

    def gauge(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.start()
    return made


DOUBTFUL = [
    (EDITION.replace("33;0.10\n", ""), "1 prefixes are gone, such as +33 is gone"),
    (DOUBLED, "1 much dearer, such as +33 from 0.10 to 0.20"),
    (EDITION.replace("33;0.10", "33;0.19"), ""),
    (EDITION.replace("33;0.10", "33;0.05"), "1 much cheaper, such as +33 from 0.10 to 0.05"),
    (EDITION.replace("33;0.10", "33;0.06"), ""),
    (EDITION.replace("33;0.10", "33;0"), "1 have become free, such as +33 from 0.10 to 0.00"),
    (EDITION + "35;9\n", ""),
    ("prefix;price;connect fee\n32;0.10;0\n33;0.10;0.09\n34;0.10;0\n", ""),
    ("prefix;price;connect fee\n32;0.10;0\n33;0.10;0.10\n34;0.10;0\n", "1 much dearer, such as +33 from 0.10 to 0.20"),
    ("prefix;price;minimum charge\n32;0.10;0\n33;0.10;9\n34;0.10;0\n", "1 much dearer, such as +33 from 0.10 to 9.00"),
    (
        "prefix;price;increments\n32;0.10;1/1\n33;0.10;3600/1\n34;0.10;1/1\n",
        "1 much dearer, such as +33 from 0.10 to 6",
    ),
    (
        "prefix;price;valid from\n32;0.10;\n33;0.10;2100-01-01\n34;0.10;\n",
        "1 prefixes count only later, such as +33 from 2100-01-01 on",
    ),
    ("prefix;price;valid from\n32;0.10;\n33;0.10;\n33;0.12;2100-01-01\n34;0.10;\n", ""),
]


@pytest.mark.parametrize(("edition", "told"), DOUBTFUL)
def test_an_edition_in_which_prices_jump_or_prefixes_are_gone_waits(place: Place, edition: str, told: str) -> None:
    place.deck.write_text(edition, encoding="utf-8")
    for _ in range(2):  # also after one more restart
        restarted = place.start().current()
        assert (place.counts().digest, place.counts().refused) == (restarted.digest, restarted.refused)
        on_disk = load_tariff(place.path)
        if not told:
            assert (restarted.digest, restarted.refused, restarted.waiting) == (on_disk.digest, (), "")
            continue
        [problem] = restarted.refused
        assert told in problem.found
        assert f"charging tariff accept {on_disk.digest}" in problem.hint
        assert (restarted.waiting, place.price(restarted)) == (on_disk.digest, 100_000)
        assert (place.gauge("charging_tariff_waits"), place.gauge("charging_tariff_bad")) == (1, 0)


PAGED = "prefix;price;fax page\n32;0.10;0.60\n33;0.10;0.60\n34;0.10;\n"


@pytest.mark.parametrize(
    ("edition", "told"),
    [
        (PAGED.replace("33;0.10;0.60", "33;0.10;1.19"), ""),
        (PAGED.replace("33;0.10;0.60", "33;0.10;1.20"), "1 much dearer, such as +33, a fax page from 0.60 to 1.20"),
        (PAGED.replace("33;0.10;0.60", "33;0.10;0.30"), "1 much cheaper, such as +33, a fax page from 0.60 to 0.30"),
        (PAGED.replace("33;0.10;0.60", "33;0.10;0"), "1 have become free, such as +33, a fax page from 0.60 to 0.00"),
        (PAGED.replace("33;0.10;0.60", "33;0.10;"), ""),
        (EDITION, ""),
        (PAGED.replace("34;0.10;", "34;0.10;1.00"), "1 much dearer, such as +34, a fax page from 0.50 to 1.00"),
        (PAGED.replace("33;0.10;0.60", "33;0.20;1.20"), "1 much dearer, such as +33 from 0.10 to 0.20"),
    ],
)
def test_an_edition_in_which_fax_pages_jump_waits(place: Place, edition: str, told: str) -> None:
    """Also those that a row begins or ceases to price itself, against the table's own."""
    place.path.write_text(WITH_DECK.replace("    fax", "    deck_fax_page: 0.50\n    fax", 1), encoding="utf-8")
    place.deck.write_text(PAGED, encoding="utf-8")
    accept(place.path, place.accepted, load_tariff(place.path).digest, "", "")
    place.deck.write_text(edition, encoding="utf-8")
    assert told in "; ".join(one.found for one in place.start().current().refused)
    assert bool(place.start().current().refused) == bool(told)


@pytest.mark.parametrize(
    "broken",
    [
        EDITION + "35;0.1",
        EDITION + "# rows: 4\n",
        EDITION + f"# sha256: {hashlib.sha256(b'another').hexdigest()}\n",
        "",
    ],
    ids=["broken-off", "rows", "digest", "empty"],
)
def test_after_a_restart_a_deck_that_cannot_be_whole_leaves_the_one_before_in_force(place: Place, broken: str) -> None:
    place.deck.write_text(broken, encoding="utf-8")
    with capture_logs() as logs:
        restarted = place.start().current()
    assert {one["event"] for one in logs} == {"tariff_edit_refused"}
    assert (place.price(restarted), place.counts().refused) == (100_000, restarted.refused)
    assert (place.gauge("charging_tariff_waits"), place.gauge("charging_tariff_bad")) == (0, 1)
    digest = restarted.digest
    [told] = {line.rpartition("; ")[2] for line in accept(place.path, place.accepted, digest, "", "cli:root")}
    assert told == "only a file without errors can be accepted"


def test_a_broken_tariff_file_leaves_the_one_before_in_force_too(place: Place) -> None:
    place.path.write_text(WITH_DECK.replace("price: 0.12", "price: O.12"), encoding="utf-8")
    assert place.counts().revision == "small-1"


def test_a_deck_that_is_named_differently_is_compared_too(place: Place) -> None:
    (place.path.parent / "december.csv").write_text(DOUBLED, encoding="utf-8")
    place.path.write_text(
        WITH_DECK.replace("deck.csv", "december.csv").replace("small-1", "december"), encoding="utf-8"
    )
    assert (place.counts().revision, place.price(place.counts())) == ("small-1", 100_000)


def test_what_is_accepted_counts_and_what_is_put_back_is_accepted_already(place: Place) -> None:
    place.deck.write_text(DOUBLED, encoding="utf-8")
    waiting = place.counts().waiting
    [refused] = accept(place.path, place.accepted, "0" * 16, "", "cli:root")
    assert f"found the digest {waiting} on disk" in refused
    assert place.price(place.counts()) == 100_000
    assert accept(place.path, place.accepted, waiting, "agreed with the carrier", "cli:root") == []
    assert (place.price(place.counts()), place.counts().refused) == (200_000, ())
    place.deck.write_text(EDITION, encoding="utf-8")  # half as dear, against what was accepted
    assert place.counts().waiting
    place.deck.write_text(DOUBLED, encoding="utf-8")
    assert not place.counts().waiting


HUNDRED = "prefix;price\n" + "".join(f"39{number:02};0.10\n" for number in range(100))


@pytest.mark.parametrize(
    ("brake", "changed", "waits"),
    [
        (Brake(gone_percent=2), HUNDRED.replace("3900;0.10\n3901;0.10\n", ""), False),
        (Brake(gone_percent=2), HUNDRED.replace("3900;0.10\n3901;0.10\n3902;0.10\n", ""), True),
        (Brake(jump_percent=1), HUNDRED.replace("3900;0.10", "3900;0.20"), False),
        (Brake(jump_percent=1), HUNDRED.replace("3900;0.10\n3901;0.10", "3900;0.20\n3901;0.05"), True),
        (Brake(jump_percent=1), HUNDRED.replace("3900;0.10", "3900;0"), True),
        (Brake(jump_factor=3), HUNDRED.replace("3900;0.10", "3900;0.29"), False),
        (Brake(jump_factor=3), HUNDRED.replace("3900;0.10", "3900;0.30"), True),
    ],
)
def test_thresholds_say_what_waits_and_the_rest_is_a_warning(
    place: Place, brake: Brake, changed: str, waits: bool
) -> None:
    place.deck.write_text(HUNDRED, encoding="utf-8")
    place.accepted = Accepted(place.path.parent / "other", brake)
    place.start()
    place.deck.write_text(changed, encoding="utf-8")
    found = place.counts()
    assert bool(found.waiting) == waits
    jumped = brake.jump_factor == 2
    assert bool(found.warnings) == (jumped and not waits)


def test_without_anything_kept_what_stands_on_disk_counts(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.counts().refused == ()
    place.deck.write_text("", encoding="utf-8")
    with pytest.raises(ConfigError):
        place.start()


@pytest.mark.parametrize("damage", ["record", "files", "content"])
def test_what_is_kept_and_damaged_holds_nothing_up_and_is_told(place: Place, damage: str) -> None:
    for file in place.accepted.folder.iterdir():
        if (file == place.accepted.record) == (damage == "record"):
            file.unlink() if damage == "files" else file.write_text("?")
    place.deck.write_text(DOUBLED, encoding="utf-8")
    found = place.counts()
    assert place.price(found) == 200_000
    assert found.warnings[0].file == str(place.accepted.record)
    place.start()
    assert place.counts().warnings == ()


@pytest.fixture
def sick(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Makes the folder one that cannot be read, and well again; in this process, which reads for itself here."""
    healthy, is_sick = Path.read_bytes, False

    def read_bytes(path: Path) -> bytes:
        if is_sick and path.parent == place.accepted.folder:
            raise OSError(errno.EIO, "Input/output error")
        return healthy(path)

    async def here(path: Path, files: tuple[Path, ...], decks: DeckCache, accepted: Accepted) -> Reading:
        return read_files(path, files, decks, accepted)

    def make(value: bool) -> None:
        nonlocal is_sick
        is_sick = value

    monkeypatch.setattr(Path, "read_bytes", read_bytes)

    async def called(function: Callable[..., None], *arguments: Any) -> None:
        function(*arguments)

    monkeypatch.setattr(in_force, "read_in_child", here)
    monkeypatch.setattr(asyncio, "to_thread", called)
    return make


async def watched(place: Place, running: TariffInForce) -> None:
    """Two looks at the files, and that they rest, past the time after which what was broken off is tried again."""
    assert isinstance(running._clock, FakeClock)
    task = asyncio.ensure_future(running.watch())
    await running._clock.advance(2 * AGAIN_S)
    task.cancel()


@pytest.mark.parametrize("edition", [DOUBLED, EDITION + "35;0.10\n"], ids=["doubtful", "good"])
async def test_while_a_tariff_is_in_force_none_counts_that_cannot_be_compared(
    place: Place, sick: Callable[[bool], None], edition: str
) -> None:
    running, kept = place.start(), place.accepted.record.read_bytes()
    place.deck.write_text(edition, encoding="utf-8")
    sick(True)
    await watched(place, running)
    told = running.current()
    assert (told.digest, place.price(told), told.waiting) == (place.accepted_digest(kept), 100_000, "")
    assert "Input/output error" in told.refused[0].found
    assert "tried again" in told.refused[0].hint
    assert place.gauge("charging_tariff_bad") == 1
    sick(False)
    assert place.accepted.record.read_bytes() == kept
    await watched(place, running)
    on_disk = load_tariff(place.path).digest
    assert running.current().waiting == (on_disk if edition == DOUBLED else "")
    assert (running.current().digest == on_disk) == (edition != DOUBLED)


async def test_a_start_that_cannot_read_what_counted_goes_on_with_the_files_says_so_and_keeps_nothing(
    place: Place, sick: Callable[[bool], None]
) -> None:
    kept = place.accepted.record.read_bytes()
    place.deck.write_text(DOUBLED, encoding="utf-8")
    sick(True)
    with capture_logs() as logs:
        running = place.start()
    assert place.price(running.current()) == place.price(place.counts()) == 200_000
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["tariff_edit_refused"]
    assert "counts meanwhile" in running.current().refused[0].hint
    sick(False)
    assert place.accepted.record.read_bytes() == kept
    await watched(place, running)
    assert running.current().waiting == running.current().digest, "someone must look at it"
    place.deck.write_text(EDITION, encoding="utf-8")
    await watched(place, running)
    assert (place.price(running.current()), running.current().refused) == (100_000, ())


def test_a_bad_file_and_a_folder_that_cannot_be_read_are_no_start(place: Place, sick: Callable[[bool], None]) -> None:
    place.deck.write_text("", encoding="utf-8")
    sick(True)
    with pytest.raises(ConfigError):
        place.start()


def test_what_is_kept_lasts_over_a_loss_of_power_by_name_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    place.deck.write_text(EDITION + "35;0.10\n", encoding="utf-8")
    place.start()
    assert synced[-1] == str(place.accepted.folder)
    assert synced.count(str(place.accepted.folder)) == len(synced) / 2


def test_files_that_have_changed_since_they_were_read_are_not_kept(place: Place) -> None:
    before = place.accepted.digest()
    place.deck.write_text(EDITION + "35;0.10\n", encoding="utf-8")
    read = load_tariff(place.path)
    place.deck.write_text(EDITION + "36;0.10\n", encoding="utf-8")
    with pytest.raises(NotKept):
        place.accepted.keep(place.path, read)
    assert place.accepted.digest() == before
    assert place.counts().tables["standard"].decks[0].rows("+36")


def test_a_folder_that_cannot_be_written_is_told_and_calls_go_on(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "state").write_text("in the way", encoding="utf-8")
    with capture_logs() as logs:
        assert place.start().current().revision == "small-1"
    assert "tariff_not_kept" in [one["event"] for one in logs]


def test_a_folder_whose_name_is_no_text_is_told_and_calls_go_on(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"t\xe4rif")
    folder.mkdir()
    place = Place(folder)
    with capture_logs() as logs:
        assert place.start().current().revision == "small-1"
    (told,) = [line for line in logs if line["event"] == "tariff_not_kept"]
    assert "not UTF-8" in told["error"]
    tariff = load_tariff(place.path)
    (problem,) = accept(place.path, place.accepted, tariff.digest, "meant", "me")
    assert "not UTF-8" in problem


async def test_a_process_that_starts_beside_finds_the_tariff_in_force_though_the_folder_cannot_be_written(
    tmp_path: Path, sick: Callable[[bool], None]
) -> None:
    """Also what is compared with it: a doubtful edition waits in both."""
    (tmp_path / "another").mkdir()
    place = Place(tmp_path / "another")
    (place.path.parent / "state").write_text("in the way", encoding="utf-8")
    running = place.start()
    place.deck.write_text(DOUBLED, encoding="utf-8")
    await watched(place, running)
    beside = replace(place.accepted, folder=running.kept_in)
    for broken in (DOUBLED, "no deck"):
        place.deck.write_text(broken, encoding="utf-8")
        other = TariffHere(place.path, FakeClock(), beside).current()
        assert place.price(other) == place.price(running.current()) == 100_000
    assert running.current().waiting
