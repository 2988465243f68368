"""What a restart remembers: every field of every stored type, but for what its type declares volatile; and the records
of the versions that have shipped are readable for ever."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic_core import to_jsonable_python

from charging.call.fax import Fax
from charging.call.model import Session, from_json
from charging.call.oneoff import Piece
from charging.call.storage import Record, revive
from charging.call.voicemail import Voicemail
from charging.clock import Instant
from charging.ledger import codec as ledger
from charging.ledger.accounts import Account, Number
from charging.notify.missed import Missed
from charging.notify.model import FACTS, Notice
from charging.notify.record import Record as NoticeRecord
from charging.pricing.rate import Rate
from charging.records import NEWER, VOLATILE, Codec, alive, moved_instants, stored_fields

NOW = Instant(7_000_000_000, 1_795_262_400_000_000)
GOLDEN = Path(__file__).parents[1] / "data" / "records"

# --- a value for every type, and never a field's default --------------------------------------------------------


class Maker:
    """Makes values that differ from one another."""

    def __init__(self) -> None:
        self.made = 0

    def value(self, hint: Any) -> Any:
        self.made += 1
        origin = get_origin(hint)
        arguments = [one for one in get_args(hint) if one is not types.NoneType]
        if origin is Annotated or origin in (Union, types.UnionType):
            return self.value(arguments[0])
        if origin is tuple:
            return tuple(self.value(one) for one in arguments if one is not ...)
        if origin is frozenset:
            return frozenset({self.value(arguments[0])})
        if origin in (Mapping, dict) or (isinstance(origin, type) and issubclass(origin, Mapping)):
            return {self.value(arguments[0]): self.value(arguments[1])}
        return self.plain(hint)

    def plain(self, kind: Any) -> Any:
        if kind is Instant:
            return NOW.plus(-self.made)
        if is_dataclass(kind):
            return self.whole(kind)
        if issubclass(kind, Enum):
            return list(kind)[-1]
        if kind is Any:
            return f"any-{self.made}"
        made = {bool: True, int: self.made, str: f"text-{self.made}", date: date(2026, 1, 1 + self.made % 28)}
        return made[kind]

    def whole(self, kind: Any) -> Any:
        hints = get_type_hints(kind, include_extras=True)
        return kind(**{one.name: self.of_field(one, hints[one.name]) for one in fields(kind) if one.init})

    def of_field(self, field: Field[Any], hint: Any) -> Any:
        if get_origin(hint) is Annotated and VOLATILE in get_args(hint):
            return default_of(field)
        if get_origin(hint) is Annotated and NEWER in get_args(hint):
            return ("unknown",) if get_origin(get_args(hint)[0]) is tuple else {"unknown": "here"}
        if field.name == "max_cost":
            return 10**9  # not less than the least that a call costs
        value = self.value(hint)
        if value == default_of(field):
            value = not value if isinstance(value, bool) else self.value(hint)
        assert value != default_of(field), field.name
        return value


def default_of(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def rate_made(maker: Maker) -> Rate:
    rate: Rate = maker.whole(Rate)
    return rate


@pytest.fixture(autouse=True)
def _rates_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate counts with what it is given; made-up values need not make sense."""
    monkeypatch.setattr(Rate, "__post_init__", lambda _rate: None)


@pytest.mark.parametrize("kind", [Session, Voicemail, Fax])
def test_every_field_of_an_open_session_comes_back(kind: type[Record]) -> None:
    record = Maker().whole(kind)
    codec = Codec(kind)
    back = alive(codec.load(codec.dump(record)), NOW)
    for name in stored_fields(kind):
        assert getattr(back, name) == getattr(record, name), name


def test_every_field_of_a_rate_comes_back() -> None:
    rate, codec = rate_made(Maker()), Codec(Rate)
    assert codec.load(codec.dump(rate)) == rate


def test_every_field_of_accounts_and_numbers_comes_back() -> None:
    newer = {"newer": {"unknown": "here"}}
    account, number = replace(Maker().whole(Account), **newer), replace(Maker().whole(Number), **newer)
    assert ledger.load_account(ledger.dump_account(account), account.version) == account
    assert ledger.load_number(ledger.dump_number(number)) == number


@pytest.mark.parametrize("kind", FACTS)
def test_every_field_of_a_notice_comes_back(kind: Any) -> None:
    maker = Maker()
    hints = get_type_hints(Notice)
    whole = {one.name: maker.value(hints[one.name]) for one in fields(Notice) if one.name not in ("kind", "facts")}
    notice = Notice(kind=kind, facts=maker.whole(FACTS[kind]), **whole)
    assert Notice.from_json(notice.to_json()) == notice


@pytest.mark.parametrize("kind", [NoticeRecord, Missed])
def test_every_field_of_what_notices_remember_comes_back(kind: Any) -> None:
    record = Maker().whole(kind)
    assert kind.from_json(record.to_json()) == record


# --- records of the versions that have shipped ------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_record_of_a_version_that_shipped_is_read_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    text = path.read_text(encoding="utf-8")
    record = revive(text, NOW, 4)
    written, members = json.loads(Codec(type(record)).dump(record)), json.loads(text)
    own = {name: value for name, value in members.items() if name not in ("version", "kind")}
    assert reaches(written, {**own, **({"epoch": 4} if "epoch" in members else {})})
    assert revive(record.to_json(), NOW, 4) == record


def reaches(written: Any, members: Any) -> bool:
    """Whether all that a text says is written again. Records may have got more members since, rows more ends."""
    if isinstance(members, dict):
        return all(name in written and reaches(written[name], value) for name, value in members.items())
    if isinstance(members, list):
        return len(written) >= len(members) and all(map(reaches, written, members))
    return bool(written == members)


def test_golden_records_are_of_every_kind() -> None:
    kinds = {json.loads(path.read_text()).get("kind", "call") for path in GOLDEN.glob("0.1/*.json")}
    assert kinds == {"call", Voicemail.KIND, Fax.KIND}


# --- what is not written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Session, Rate])
def test_defaults_of_an_open_call_are_what_they_were(kind: Any) -> None:
    """A call's record has no member that has its default: another default would change the calls that are open."""
    known = json.loads((GOLDEN / "defaults.json").read_text(encoding="utf-8"))[kind.__name__]
    stored = stored_fields(kind)
    made = {one.name: default_of(one) for one in fields(kind) if one.name in stored}
    found = {name: to_jsonable_python(value) for name, value in made.items() if value is not MISSING}
    assert found == known


def test_an_open_call_is_written_without_what_is_as_ever() -> None:
    text = (GOLDEN / "0.1" / "session_new.json").read_text(encoding="utf-8")
    written = json.loads(revive(text, NOW, 4).to_json())
    defaults = json.loads((GOLDEN / "defaults.json").read_text(encoding="utf-8"))
    for kind, members in (("Session", written), ("Rate", written["rate"])):
        assert not [name for name, value in members.items() if defaults[kind].get(name, ...) == value]


# --- the codec --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    seen: Instant
    later: Instant | None = None
    count: int = 3
    here: Annotated[int, VOLATILE] = 0


def test_what_is_volatile_is_not_stored() -> None:
    assert json.loads(Codec(Sample).dump(Sample("a", NOW, here=7))) == {
        "name": "a",
        "seen": NOW.wall_us,
        "later": None,
        "count": 3,
    }


def test_field_that_an_older_text_lacks_takes_its_default() -> None:
    assert Codec(Sample).load('{"name":"a","seen":5}') == Sample("a", Instant(0, 5))


@pytest.mark.parametrize(
    "text",
    ['{"name":"a"}', '{"name":"a","seen":"5"}', '{"name":"a","seen":5.0}', '{"name":"a","seen":5,"new":1}', "[]", "{"],
)
def test_text_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  whatever it says of the member
        Codec(Sample).load(text)


def test_text_of_another_tag_is_refused() -> None:
    codec = Codec(Sample, {"version": 2})
    assert codec.load(codec.dump(Sample("a", NOW))).name == "a"
    with pytest.raises(ValueError, match="version"):
        codec.load('{"version":1,"name":"a","seen":5}')


def test_text_that_another_has_written_reads_the_same() -> None:
    """In another order, with spaces: it takes another way through the codec."""
    codec = Codec(Sample, {"version": 2})
    text = codec.dump(Sample("a", NOW))
    members = dict(reversed(json.loads(text).items()))
    assert codec.wrote(text)
    assert not codec.wrote(json.dumps(members))
    assert codec.load(json.dumps(members)) == codec.load(text) == Sample("a", Instant(0, NOW.wall_us))


def test_instants_are_monotonic_again_by_todays_distance_between_the_clocks() -> None:
    back = alive(Sample("a", Instant(0, NOW.wall_us - 5_000_000), Instant(0, NOW.wall_us + 1)), NOW)
    assert back.seen == NOW.plus(-5)
    assert back.later == Instant(NOW.mono_us + 1, NOW.wall_us + 1)
    stepped = moved_instants(back, NOW, stepped_us=2_000_000, before_steps=("seen",))
    assert stepped["seen"].mono_us == NOW.plus(-3).mono_us
    assert stepped["later"] == back.later


def test_revived_pieces_and_calls_ask_the_switch_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for path in GOLDEN.glob("0.1/*.json"):
        record = revive(path.read_text(), NOW, 0)
        assert record.check_mono_us == NOW.mono_us
        assert isinstance(record, Piece) or from_json(path.read_text(), NOW, 0) == record
