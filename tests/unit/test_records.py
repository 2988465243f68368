"""A changed record is what the library would make of it."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

from charging.records import quick, replace


@dataclass(frozen=True, slots=True)
class Slotted:
    first: int
    second: str = "b"
    third: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class WithoutSlots:
    first: int
    second: int = 2


@dataclass(frozen=True, slots=True)
class Computed:
    first: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.first)


@dataclass(frozen=True, slots=True)
class Below(Slotted):
    fourth: int = 4


@pytest.mark.parametrize("record", [Slotted(1), WithoutSlots(1), Computed(1), Below(1, fourth=5)])
def test_it_is_what_the_library_makes(record: Slotted | WithoutSlots | Computed) -> None:
    changed = replace(record, first=7)
    assert changed == dataclasses.replace(record, first=7)
    assert dataclasses.asdict(changed) == dataclasses.asdict(dataclasses.replace(record, first=7))
    assert type(changed) is type(record)
    assert record.first == 1, "the former one stays as it is"
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.first = 8  # type: ignore[misc]


@pytest.mark.parametrize("record", [Slotted(1), WithoutSlots(1)])
def test_a_field_that_there_is_not_is_refused(record: Slotted | WithoutSlots) -> None:
    with pytest.raises(TypeError):
        replace(record, fist=2)  # type: ignore[call-arg]


@quick
@dataclass(frozen=True, slots=True)
class Quick:
    first: int
    second: str = "b"
    third: dict[str, int] = field(default_factory=dict, hash=False)
    kind: int = field(default=4, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError("first")


@pytest.mark.parametrize("arguments", [{"first": 1}, {"first": 1, "second": "x", "third": {"a": 1}, "kind": 5}])
def test_one_that_is_made_quickly_is_what_the_library_makes(arguments: dict[str, Any]) -> None:
    made = Quick(**arguments)
    assert type(made) is Quick
    assert dataclasses.asdict(made) == {"first": 1, "second": "b", "third": {}, "kind": 4} | arguments
    assert (made, repr(made), hash(made)) == (Quick(**arguments), repr(Quick(**arguments)), hash(Quick(**arguments)))
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == dataclasses.replace(made, first=1) == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.first = 8  # type: ignore[misc]


def test_each_has_a_default_of_its_own() -> None:
    assert Quick(1).third is not Quick(1).third


def test_one_that_is_made_quickly_is_checked_and_refuses_what_it_does_not_have() -> None:
    wrongs: list[dict[str, Any]] = [{}, {"first": 1, "fifth": 2}]
    for wrong in wrongs:
        with pytest.raises(TypeError):
            Quick(**wrong)
    with pytest.raises(ValueError, match="first"):
        Quick(-1)


@pytest.mark.parametrize("kind", [WithoutSlots, Computed, Below])
def test_what_cannot_be_made_quickly_is_refused(kind: type) -> None:
    with pytest.raises(TypeError, match=kind.__name__):
        quick(kind)
