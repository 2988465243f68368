"""The list of planted mistakes fits the program as it is; `make mutants` plants them."""

from __future__ import annotations

import pytest

from tests.mutants.planted import ROOMS, ROOT, Mend, Mistake, mends, mistakes

LISTED = mistakes()


@pytest.mark.parametrize("file", sorted({one.file for one in LISTED}))
def test_each_mistake_can_be_planted(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    for one in LISTED:
        if one.file == file:
            planted = one.planted_in(text)
            assert not file.endswith(".py") or compile(planted, file, "exec")


@pytest.mark.parametrize("test", sorted({one.by.partition("[")[0] for one in LISTED if one.by}))
def test_the_test_that_finds_a_mistake_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name.rpartition('::')[2]}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("mend", mends(), ids=lambda one: one.edits[0].so)
def test_each_mend_can_be_taken_back(mend: Mend) -> None:
    for one in mend.edits:
        compile(one.planted_in((ROOT / one.file).read_text(encoding="utf-8")), one.file, "exec")


def test_the_list_is_long_and_each_of_it_is_another() -> None:
    assert len(LISTED) >= 100
    assert len({(one.file, one.so) for one in LISTED}) == len(LISTED)


def test_every_folder_with_mistakes_has_tests() -> None:
    assert {one.file.rpartition("/")[0] for one in LISTED} == ROOMS.keys()
    assert all((ROOT / each).exists() for tests in ROOMS.values() for each in tests)


@pytest.mark.parametrize("text", ["nothing of it", "was was"])
def test_a_mistake_that_does_not_fit_the_file_any_more_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"mend planted\.yaml"):
        Mistake("charging/call/finished.py", "so", "was", "is").planted_in(text)
