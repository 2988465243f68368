"""A changed record is what the library would make of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from charging.frozen import replace


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
