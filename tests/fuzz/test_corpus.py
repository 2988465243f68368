"""Every input that is kept for a fuzz target keeps the target's promises, its growth too; and fuzzing itself finds."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from tests.fuzz import target
from tests.fuzz.target import CORPUS, GROWTH_MAX, TARGETS, check_growth, entries, grown, load

ENTRIES = [pytest.param(name, path.name, id=f"{name}-{path.name}") for name in TARGETS for path in entries(name)]


@pytest.mark.parametrize(("name", "entry"), ENTRIES)
def test_what_is_kept_breaks_no_promise(name: str, entry: str) -> None:
    load(name).check((CORPUS / name / entry).read_bytes())


@pytest.mark.parametrize(("name", "entry"), ENTRIES)
def test_twice_the_input_takes_about_twice_the_time(name: str, entry: str) -> None:
    check_growth(load(name).read, (CORPUS / name / entry).read_bytes())


def test_every_target_has_a_corpus_with_an_attack_for_each_kind() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(len(entries(name)) >= 10 for name in TARGETS)


def test_an_input_grows_by_a_piece_of_its_own() -> None:
    for size in (1_000, 2_000):
        data = grown(b"From: a@example.nl\r\n\r\n", size)
        assert size - 48 < len(data) < size + 48
    assert grown(b"", 100)


def quadratic(data: bytes) -> None:
    left = data
    while left:
        left = left[16:]
        left.count(b"\0")


def test_reading_that_grows_faster_than_its_input_is_found() -> None:
    with pytest.raises(AssertionError, match=f"more than {GROWTH_MAX} times"):
        check_growth(quadratic, b"a" * 200)


@pytest.mark.parametrize(("noisy_rounds", "is_found"), [(20, False), (1000, True)])
def test_a_machine_that_is_busy_for_long_makes_nothing_grow(
    monkeypatch: pytest.MonkeyPatch, noisy_rounds: int, is_found: bool
) -> None:
    """What grows a little too fast in each of many rounds does so."""
    measured = [0.0]

    def once_s(_read: object, data: bytes) -> float:
        measured[0] += 1
        return (len(data) / 10_000) ** (1.25 if measured[0] <= 3 * noisy_rounds else 1)

    monkeypatch.setattr(target, "_once_s", once_s)
    with pytest.raises(AssertionError, match="more than") if is_found else nullcontext():
        check_growth(quadratic, b"a" * 200)


def test_reading_that_grows_with_its_input_is_not() -> None:
    check_growth(lambda data: sum(byte * byte for byte in data * 20), b"a" * 200)
