"""Every input that is kept for a fuzz target keeps the target's promises, its growth too; and fuzzing itself finds."""

from __future__ import annotations

import pytest

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


def test_reading_that_grows_with_its_input_is_not() -> None:
    check_growth(lambda data: [byte * byte for byte in data * 20], b"a" * 200)
