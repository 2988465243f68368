"""A changed record is what the library would make of it."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from charging import records
from charging.records import NEWER, RECORD, Codec, replace


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


@dataclass(frozen=True, slots=True)
class Price:
    cents: int
    words: str = ""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sold:
    name: str
    price: Annotated[Price, RECORD]
    count: int = 1
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


TRICKY = 'a,"price":{"cents":1},"count":2'
"""A text that looks as the members do."""
PLAIN, SHARING = Codec(Sold, {"version": 1}), Codec(Sold, {"version": 1}, shared="price")


@pytest.mark.parametrize(
    "sold",
    [
        Sold("apple", Price(25)),
        Sold(TRICKY, Price(25, TRICKY, {"price": {"count": 3}}), 2, {"count_of": TRICKY, "more": {"price": {}}}),
    ],
)
def test_a_member_that_many_share_is_written_and_read_as_if_it_were_each_ones_own(sold: Sold) -> None:
    for _ in range(2):  # the second time from memory
        assert SHARING.dump(sold) == PLAIN.dump(sold)
        assert SHARING.load(PLAIN.dump(sold)) == sold
    assert SHARING.load(SHARING.dump(sold)).price is SHARING.load(SHARING.dump(Sold("pear", sold.price))).price


def test_a_text_in_another_order_or_without_the_next_member_is_read_all_the_same() -> None:
    for text in (
        '{"version":1,"count":3,"price":{"cents":25},"name":"apple"}',
        '{"version":1,"name":"apple","price":{"cents":25},"count":3}',
    ):
        assert SHARING.load(text) == Sold("apple", Price(25), 3)
    assert SHARING.load('{"version":1,"name":"apple","price":{"cents":25}}') == Sold("apple", Price(25))


@pytest.mark.parametrize("price", ['{"cents":"25"}', '{"cents":25', "{}", "null", '{"cents":25},"price":{"cents":26}'])
def test_what_is_wrong_with_a_shared_member_is_refused_as_in_any_text(price: str) -> None:
    text = f'{{"version":1,"name":"apple","price":{price},"count":1}}'
    assert _said_of(SHARING, text) == _said_of(PLAIN, text)


def _said_of(codec: Codec[Sold], text: str) -> object:
    try:
        return codec.load(text)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("record", [Slotted(1), WithoutSlots(1)])
def test_a_field_that_there_is_not_is_refused(record: Slotted | WithoutSlots) -> None:
    with pytest.raises(TypeError):
        replace(record, fist=2)  # type: ignore[call-arg]


@records.dataclass(frozen=True, slots=True)
class Quick:
    """Made here."""

    first: int
    second: str = "b"
    third: dict[str, int] = field(default_factory=dict, hash=False)
    kind: int = field(default=4, compare=False, repr=False)
    own: object = None

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError("first")


@dataclass(frozen=True, slots=True)
class Usual:
    """The same, made by the library."""

    first: int
    second: str = "b"
    third: dict[str, int] = field(default_factory=dict, hash=False)
    kind: int = field(default=4, compare=False, repr=False)
    own: object = None


@records.dataclass(frozen=True, slots=True)
class Empty:
    """Without a field."""


@records.dataclass(frozen=True, slots=True)
class Single:
    """With one."""

    only: float


@records.dataclass(frozen=True, slots=True)
class Worded:
    """With words of its own."""

    first: int

    def __repr__(self) -> str:
        return "worded"


@pytest.mark.parametrize("arguments", [{"first": 1}, {"first": 1, "second": "x", "third": {"a": 1}, "kind": 5}])
def test_one_that_is_made_quickly_is_what_the_library_makes(arguments: dict[str, Any]) -> None:
    made = Quick(**arguments)
    assert type(made) is Quick
    usual = Usual(**arguments)
    assert dataclasses.asdict(made) == dataclasses.asdict(usual)
    assert repr(made) == repr(usual).replace("Usual", "Quick")
    assert hash(made) == hash(usual)
    assert made not in (usual, dataclasses.replace(made, first=2), dataclasses.replace(made, third={"b": 1}))
    assert made == dataclasses.replace(made, kind=6)
    assert Quick.__match_args__ == Usual.__match_args__
    assert (made, repr(made), hash(made)) == (Quick(**arguments), repr(Quick(**arguments)), hash(Quick(**arguments)))
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == dataclasses.replace(made, first=1) == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.first = 8  # type: ignore[misc]


def test_one_that_is_made_quickly_is_as_frozen_as_the_librarys() -> None:
    said = []
    for one in (Quick(1), Usual(1)):
        with pytest.raises(dataclasses.FrozenInstanceError) as set_one:
            one.first = 2  # type: ignore[misc]
        with pytest.raises(dataclasses.FrozenInstanceError) as deleted:
            del one.first
        said += [str(set_one.value), str(deleted.value)]
    assert said[:2] == said[2:]
    assert not hasattr(Quick(1), "__dict__")


def test_one_that_is_made_quickly_may_have_no_field_or_one_or_words_of_its_own() -> None:
    assert (Empty(), repr(Empty()), len({Empty(), Empty()})) == (Empty(), "Empty()", 1)
    assert (Single(1.5), repr(Single(1.5)), len({Single(1.5), Single(1.5)})) == (Single(1.5), "Single(only=1.5)", 1)
    nothing = float("nan")
    assert Single(nothing) == Single(nothing), "the library compares the fields as a tuple, and so the same object"
    assert repr(Worded(1)) == "worded"


def test_one_that_holds_itself_is_shown_all_the_same() -> None:
    holder: dict[str, Any] = {}
    holder["it"] = Quick(1, third=holder)
    assert repr(holder["it"]) == "Quick(first=1, second='b', third={'it': ...}, own=None)"


def test_each_has_a_default_of_its_own() -> None:
    assert Quick(1).third is not Quick(1).third


def test_one_that_is_made_quickly_is_checked_and_refuses_what_it_does_not_have() -> None:
    wrongs: list[dict[str, Any]] = [{}, {"first": 1, "fifth": 2}]
    for wrong in wrongs:
        with pytest.raises(TypeError):
            Quick(**wrong)
    with pytest.raises(ValueError, match="first"):
        Quick(-1)


@records.dataclass(frozen=True, slots=True)
class Under(Slotted):
    fourth: int = 4


@records.dataclass(frozen=True, slots=True)
class Reckoned:
    first: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.first)


@records.dataclass(slots=True)
class Changing:
    first: int


def test_what_cannot_be_made_quickly_is_made_by_the_library() -> None:
    assert Under(1, fourth=5) == Under(1, "b", (), 5) != Under(1)
    assert Reckoned(2).twice == 4
    changing = Changing(1)
    changing.first = 2
    assert changing == Changing(2)
