"""Our records are frozen dataclasses: how they are made quickly, and how they are stored by their types. Pure.

**Made quickly.** A step of a call makes some ten new records of the former one, with sixty fields each, of which two
change: that was a third of all that a tick costs. What makes a frozen record slow is that each field is set past its
class. So here the fields are set on an object of a twin, which has the same places for them and is not frozen, and
which becomes a record when it has all of them. The classes are made quickly, too: the library writes and compiles six
methods for each, half a millisecond, and a start makes three hundred before calls are seen to. All but the first of
them are the same for every record here. Type checkers know :func:`dataclass` and :func:`replace` as the library's own.

**Stored by their types.** What a restart remembers follows from the types: one codec between records and the text that
is stored. Everything that a record's dataclass declares is stored under its own name, unless its type says
:data:`VOLATILE`. So a field that is added is remembered without a word elsewhere; it needs a default, which older
records take.

A member that this version does not know was written by a newer one. A record whose type declares a field that is
:data:`NEWER` keeps such members as they are, and writes them back: so the version that goes back by one reads open
calls, and the newer one finds what it wrote. Other records refuse them, as all refuse a value that they do not know:
what it means here would be a guess.
An `Instant` is stored by its wall clock: monotonic readings mean nothing to another machine. :func:`alive` gives the
stored ones a monotonic reading again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, fields, is_dataclass
from functools import cache, cached_property, lru_cache, partial
from operator import attrgetter
from reprlib import recursive_repr
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    NoReturn,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import GetCoreSchemaHandler, PlainSerializer, TypeAdapter
from pydantic_core import CoreSchema, core_schema, from_json, to_json

from charging.clock import Instant

SHARED_MAX = 1_024
"""So many members that records have in common are kept."""

T = TypeVar("T")
Schemas = Callable[[Any], CoreSchema]

# --- made quickly ------------------------------------------------------------------------------------------------


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(**asked: bool) -> Callable[[type[T]], type[T]]:
        """What the library makes, in less time; a class that is not frozen with slots, or has a base, or computes
        fields, is left to the library."""

        def made(kind: type[T]) -> type[T]:
            computes = any(isinstance(one, Field) and not one.init for one in vars(kind).values())
            if asked != {"frozen": True, "slots": True} or kind.__bases__ != (object,) or computes:
                return dataclasses.dataclass(**asked)(kind)
            return _frozen(dataclasses.dataclass(slots=True, init=False, repr=False, eq=False)(kind))

        return made


def _frozen(kind: type[T]) -> type[T]:
    """The class, with the methods of a frozen record: those that it does not have."""
    made = fields(kind)  # type: ignore[arg-type]  # it is a dataclass
    compared = _values_of(tuple(one.name for one in made if one.compare))
    hashed = _values_of(tuple(one.name for one in made if (one.compare if one.hash is None else one.hash)))

    def equal(self: T, other: object) -> bool:
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    def hash_of(self: T) -> int:
        return hash(hashed(self))

    kind.__dataclass_params__.frozen = True  # type: ignore[attr-defined]
    methods = {"__init__": _init_of(kind, made), "__eq__": equal, "__hash__": hash_of, **_OF_EVERY_RECORD}
    for name, method in methods.items():
        if vars(kind).get(name) is None:
            setattr(kind, name, method)
    return kind


@recursive_repr("...")
def _shown(record: Any) -> str:
    members = (f"{one.name}={getattr(record, one.name)!r}" for one in fields(record) if one.repr)
    return f"{type(record).__qualname__}({', '.join(members)})"


def _refuse_to_set(_record: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_record: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(record: Any) -> list[Any]:
    """For pickle and copy."""
    return [getattr(record, one.name) for one in fields(record)]


def _take_state(record: Any, state: list[Any]) -> None:
    for one, value in zip(fields(record), state, strict=True):
        object.__setattr__(record, one.name, value)


_OF_EVERY_RECORD: Mapping[str, Callable[..., Any]] = {
    "__repr__": _shown,
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
    "__getstate__": _state,
    "__setstate__": _take_state,
}


def _init_of(kind: type[T], made: tuple[Field[Any], ...]) -> Callable[..., None]:
    """What sets all fields of a new one."""
    twin, absent = _twin(kind), object()
    assert _may_become(twin, kind), f"{kind.__name__} has slots, and no base"
    scope: dict[str, Any] = {"_become": object.__setattr__, "_twin": twin, "_kind": kind, "_absent": absent}
    parameters, lines = ["self"], [" _become(self, '__class__', _twin)"]
    for one in made:
        name, given = one.name, one.name
        if one.default is not MISSING:
            scope[f"_default_{name}"] = one.default
            given = f"{name}=_default_{name}"
        elif one.default_factory is not MISSING:
            scope[f"_default_{name}"] = one.default_factory
            given = f"{name}=_absent"
            lines.append(f" if {name} is _absent: {name} = _default_{name}()")
        parameters.append(given)
        lines.append(f" self.{name} = {name}")
    lines.append(" self.__class__ = _kind")
    if hasattr(kind, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec("\n".join([f"def __init__({', '.join(parameters)}):", *lines]), scope)  # noqa: S102  as below
    init: Callable[..., None] = scope["__init__"]
    init.__qualname__ = f"{kind.__qualname__}.__init__"
    return init


if TYPE_CHECKING:
    from dataclasses import replace as replace
else:

    def replace(record: Any, /, **changes: Any) -> Any:
        """The record with some fields changed. Raises TypeError for a field that it does not have."""
        kind = type(record)
        copied = _copier(kind)
        if copied is None:
            return dataclasses.replace(record, **changes)
        made = copied(record)
        for name, value in changes.items():
            try:
                setattr(made, name, value)
            except AttributeError:
                raise TypeError(f"{kind.__name__} has no {name!r}") from None
        made.__class__ = kind
        return made


@cache
def _copier(kind: type) -> Callable[[object], Any] | None:
    """What makes a twin with all fields of such a record; ``None``: those that compute something when they are made, or
    keep their fields elsewhere, are left to the library."""
    names = [one.name for one in fields(kind)]
    plain = all(one.init for one in fields(kind)) and not hasattr(kind, "__post_init__")
    twin = _twin(kind)
    if not plain or not names or not _may_become(twin, kind):
        return None
    lines = ["def copied(record, new=new, twin=twin):", " made = new(twin)"]
    lines += [f" made.{name} = record.{name}" for name in names]
    scope: dict[str, Any] = {"new": object.__new__, "twin": twin}
    exec("\n".join([*lines, " return made"]), scope)  # noqa: S102  nothing but the names of our own fields is in it
    copied: Callable[[object], Any] = scope["copied"]
    return copied


def _twin(kind: type) -> type:
    """A class with the same places, whose objects may be changed."""
    return type(f"{kind.__name__}Twin", (), {"__slots__": tuple([one.name for one in fields(kind)])})


def _may_become(twin: type, kind: type) -> bool:
    """Whether both have the same places, in the same order."""
    empty: Any = object.__new__(twin)
    try:
        empty.__class__ = kind
    except TypeError:
        return False
    return True


# --- stored by their types ----------------------------------------------------------------------------------------


class _Volatile:
    """See VOLATILE."""


VOLATILE = _Volatile()
"""``Annotated[…, VOLATILE]``: not stored. Another process finds it out again; it has a default."""


class _Newer:
    """See NEWER."""


NEWER = _Newer()
"""``newer: Annotated[Mapping[str, Any], NEWER]``: the members that only a newer version knows. Of a row:
``Annotated[tuple[Any, ...], NEWER]``, the values behind its last."""

SORTED = PlainSerializer(sorted, return_type=list[Any])
"""``Annotated[frozenset[…], SORTED]``: equal sets make equal texts."""


class _Wall:
    """An instant, stored in microseconds of the wall clock."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda wall_us: Instant(0, wall_us),
            core_schema.int_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda instant: instant.wall_us, return_schema=core_schema.int_schema()
            ),
        )


class _Row:
    """``Annotated[Segment, ROW]``: a list of its fields in their order; short, for what a record has many of."""

    def __get_pydantic_core_schema__(self, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        names = tuple(stored_fields(source))
        members = list(_members(source, handler.generate_schema).values())
        newer, count, values_of = _newer_field(source), len(members), _values_of(names)
        if newer is None:
            row = core_schema.tuple_schema(members)

            def read(values: Any) -> Any:
                return source(*values)

            written = values_of
        else:
            row = core_schema.tuple_schema([*members, core_schema.any_schema()], variadic_item_index=count)

            def read(values: Any) -> Any:
                return source(*values[:count], **{newer: values[count:]}) if len(values) > count else source(*values)

            def written(value: Any) -> tuple[Any, ...]:
                return (*values_of(value), *getattr(value, newer))

        return core_schema.no_info_after_validator_function(
            read,
            row,
            serialization=core_schema.plain_serializer_function_ser_schema(written, return_schema=row),
        )


class _Record:
    """``Annotated[Rate, RECORD]``: its fields by their names."""

    def __init__(self, apart: str = "") -> None:
        """``apart``: a field that is read and written elsewhere; what is read is then the others, by their names."""
        self._apart = apart

    def __get_pydantic_core_schema__(self, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        names = tuple(name for name in stored_fields(source) if name != self._apart)
        members = {
            name: core_schema.typed_dict_field(schema, required=schema["type"] != "default")
            for name, schema in _members(source, handler.generate_schema).items()
            if name != self._apart
        }
        newer, known = _newer_field(source), frozenset(names)
        whole = core_schema.typed_dict_schema(members, extra_behavior="forbid" if newer is None else "allow")
        is_apart = bool(self._apart)

        def read(values: dict[str, Any]) -> Any:
            if newer is not None and not known.issuperset(values):
                values[newer] = {name: values.pop(name) for name in set(values) - known}
            return values if is_apart else source(**values)

        values_of = _values_of(names)

        def written(value: Any) -> dict[str, Any]:
            members = dict(zip(names, values_of(value), strict=True))
            return members if newer is None else members | getattr(value, newer)

        return core_schema.no_info_after_validator_function(
            read,
            whole,
            serialization=core_schema.plain_serializer_function_ser_schema(written, return_schema=whole),
        )


ROW = _Row()
RECORD = _Record()


def _values_of(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """What reads these fields of a record in one go."""
    if len(names) < 2:
        return lambda value: tuple([getattr(value, name) for name in names])
    return attrgetter(*names)


def stored_fields(record: type[Any]) -> dict[str, Any]:
    """The fields that are stored, each with its type, in the order of their declaration."""
    hints = get_type_hints(record, include_extras=True)
    return {
        one.name: hints[one.name]
        for one in fields(record)
        if one.init and not _is(VOLATILE, hints[one.name]) and not _is(NEWER, hints[one.name])
    }


def _newer_field(record: type[Any]) -> str | None:
    """The field that keeps what only a newer version knows."""
    hints = get_type_hints(record, include_extras=True)
    return next((name for name, hint in hints.items() if _is(NEWER, hint)), None)


@cache
def _layout(kind: type[Any]) -> tuple[int, str | None, tuple[str, ...]]:
    """How many fields are stored, the one for what is newer, and those of records within. Found once: to read the types
    of fields takes long."""
    stored = stored_fields(kind)
    return len(stored), _newer_field(kind), tuple(name for name, hint in stored.items() if _has_record(hint))


def _has_record(hint: Any) -> bool:
    """Whether a value of this type is a record that keeps what is newer, or may have some within."""
    if isinstance(hint, type) and is_dataclass(hint):
        _, newer, within = _layout(cast(Any, hint))
        return newer is not None or bool(within)
    return any(map(_has_record, get_args(hint)))


def newer_members(record: Any) -> Iterator[str]:
    """What only a newer version knows of a record that was read, and of the records within: ``rate.discount``, and of
    a row ``rate.steps.5``, its sixth value."""
    count, newer, within = _layout(cast(Any, type(record)))
    if newer is not None and (kept := getattr(record, newer)):
        yield from kept if isinstance(kept, Mapping) else (str(count + n) for n in range(len(kept)))
    for name in within:
        value = getattr(record, name)
        for one in value if isinstance(value, tuple) else (value,):
            if is_dataclass(one):
                yield from (f"{name}.{found}" for found in newer_members(one))


def known_members(kind: type[Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``members`` that are fields of a dataclass; the others are a newer version's."""
    names = _field_names(cast(Any, kind))
    if names.issuperset(members):
        return dict(members)
    return {name: value for name, value in members.items() if name in names}


@cache
def _field_names(kind: type[Any]) -> frozenset[str]:
    return frozenset(one.name for one in fields(kind))


def _is(mark: object, hint: Any) -> bool:
    return get_origin(hint) is Annotated and mark in get_args(hint)


def _is_instant(hint: Any) -> bool:
    return hint is Instant or (_is_union(hint) and set(get_args(hint)) == {Instant, NoneType})


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def _members(record: type[Any], schema_of: Schemas) -> dict[str, CoreSchema]:
    """A schema for each stored field; one that has a default may be missing in the text."""
    hints = stored_fields(record)
    members = {}
    for one in fields(record):
        if one.name in hints:
            hint = hints[one.name]
            if _is_instant(hint):
                wall = Annotated[Instant, _Wall()]
                hint = wall | None if _is_union(hint) else wall
            members[one.name] = _with_default(one, schema_of(hint))
    return members


def _with_default(one: Field[Any], schema: CoreSchema) -> CoreSchema:
    if one.default is not MISSING:
        return core_schema.with_default_schema(schema, default=one.default)
    if one.default_factory is not MISSING:
        return core_schema.with_default_schema(schema, default_factory=one.default_factory)
    return schema


class _Apart:
    """A member that is a record itself, and that many records have in common: it is read and written once for all of
    them. Its text is cut out between its name and the next member's: a text within a member cannot hold either, since
    its own quotation marks are escaped."""

    def __init__(self, record: type[Any], name: str, *, sparse: bool = False) -> None:
        stored = stored_fields(record)
        self._sparse = sparse
        names = list(stored)
        self._record, self._name = record, name
        self._begin, self._end = f',"{name}":', f',"{names[names.index(name) + 1]}":'
        self._member: TypeAdapter[Any] = TypeAdapter(stored[name])
        others: TypeAdapter[Any] = TypeAdapter(Annotated[record, _Record(apart=name)])  # type: ignore[arg-type]
        # Without the adapter, which adds some 2 µs: these are read and written for each call.
        self._read_others, self._write_others = others.validator.validate_json, others.serializer.to_json
        self._read = lru_cache(SHARED_MAX)(partial(self._member.validate_json, strict=True))
        self._written: dict[int, tuple[object, str]] = {}
        """By the identity of the member, which is kept with it."""

    def load(self, text: str) -> Any:
        """The record; ``None`` if the text is not built as it is written here, or is wrong."""
        begin = text.find(self._begin)
        end = text.find(self._end, begin)
        if begin < 0 or end < 0:
            return None
        try:
            member = self._read(text[begin + len(self._begin) : end])
            members = self._read_others(text[:begin] + text[end:], strict=True)
            members[self._name] = member
            return self._record(**members)
        except (TypeError, ValueError):  # what is wrong is said of the whole text, by whoever reads that
            return None

    def dump(self, record: Any) -> str:
        """Compact JSON text."""
        member = getattr(record, self._name)
        known = self._written.get(id(member))
        if known is None:
            if len(self._written) >= SHARED_MAX:
                self._written.clear()
            text = self._member.dump_json(member, exclude_defaults=self._sparse).decode()
            known = self._written[id(member)] = member, text
        others = self._write_others(record, exclude_defaults=self._sparse).decode()
        at = others.index(self._end)
        return f"{others[:at]}{self._begin}{known[1]}{others[at:]}"


class Codec(Generic[T]):
    """Between records of one type and their text."""

    def __init__(
        self,
        record: type[T],
        tag: Mapping[str, str | int] | None = None,
        older: Mapping[str, Callable[[dict[str, Any]], None]] | None = None,
        shared: str = "",
        *,
        sparse: bool = False,
    ) -> None:
        """``tag``: members that say what kind of text this is, in front of the record's own. ``older``: by the names of
        members that only older versions wrote, what makes today's of each. ``shared``: a member, neither the first nor
        the last, that is a record and that many records have in common. ``sparse``: members that have their default
        are not written, for a record of many that is written often; such a default is never changed."""
        self.record = record
        self._tag = dict(tag or {})
        self._head = to_json(self._tag).decode()[:-1] + ("," if self._tag else "")
        self._older = {f'"{name}":': convert for name, convert in (older or {}).items()}
        self._apart = _Apart(record, shared, sparse=sparse) if shared else None
        self._sparse = sparse

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        """Made when it is needed: a start would wait for those of all records, and that of open calls alone takes as
        long as a hundred of them."""
        return TypeAdapter(Annotated[self.record, RECORD])  # type: ignore[arg-type]

    def dump(self, record: T) -> str:
        """Compact JSON text."""
        if self._apart is not None:
            return self._head + self._apart.dump(record)[1:]
        return self._head + self._adapter.dump_json(record, exclude_defaults=self._sparse).decode()[1:]

    def wrote(self, text: str) -> bool:
        """Whether the text begins as this codec writes it; one that someone else has written may be a record, too."""
        return text.startswith(self._head)

    def load(self, text: str) -> T:
        """The record that ``text`` is of. Raises ValueError, which names every member that does not fit."""
        if self.wrote(text) and not any(name in text for name in self._older):
            own = f"{{{text[len(self._head) :]}"
            if self._apart is not None and (found := self._apart.load(own)) is not None:
                return cast(T, found)
            return self._adapter.validate_json(own, strict=True)
        members = from_json(text)
        if not isinstance(members, dict):
            raise ValueError("not a JSON object")
        for name, value in self._tag.items():
            if members.pop(name, None) != value:
                raise ValueError(f"its {name} is not {value}")
        for convert in self._older.values():
            convert(members)
        return self._adapter.validate_json(to_json(members), strict=True)


def alive(record: T, now: Instant) -> T:
    """A stored record with monotonic readings again (see :func:`moved_instants`)."""
    return replace(record, **moved_instants(record, now))  # type: ignore[type-var]


def moved_instants(
    record: Any, now: Instant, stepped_us: int = 0, before_steps: tuple[str, ...] = ()
) -> dict[str, Instant]:
    """The instants of a stored record by their names, with monotonic readings again, by today's distance between the
    two clocks. The wall clock was stepped by ``stepped_us`` after those that ``before_steps`` names were read."""
    moved = {}
    for name in _instants(cast(Any, type(record))):
        if (value := getattr(record, name)) is not None:
            ago_us = now.wall_us - (stepped_us if name in before_steps else 0) - value.wall_us
            moved[name] = Instant(now.mono_us - ago_us, value.wall_us)
    return moved


@cache
def _instants(kind: type[Any]) -> tuple[str, ...]:
    """The fields that are, or may be, an `Instant`."""
    return tuple(name for name, hint in get_type_hints(kind).items() if _is_instant(hint))
