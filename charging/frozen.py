"""Frozen dataclasses, made and replaced several times as fast. Pure.

A step of a call makes some ten new records of the former one, with sixty fields each, of which two change: that was a
third of all that a tick costs. What makes a frozen record slow is that each field is set past its class. So here the
fields are set on an object of a twin, which has the same places for them and is not frozen, and which becomes a record
when it has all of them. Type checkers know :func:`replace` as the library's own, and :func:`quick` as nothing at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")


def quick(kind: type[T]) -> type[T]:
    """Decorate a frozen dataclass with slots: it is the same, and made faster. Worth it from four fields on."""
    made = dataclasses.fields(kind)  # type: ignore[arg-type]  # it is a dataclass
    twin, absent = _twin(kind), object()
    if not _may_become(twin, kind) or not all(one.init and not one.kw_only for one in made):
        raise TypeError(f"{kind.__name__} keeps its fields elsewhere, or computes some")
    scope: dict[str, Any] = {"_become": object.__setattr__, "_twin": twin, "_kind": kind, "_absent": absent}
    parameters, lines = ["self"], [" _become(self, '__class__', _twin)"]
    for one in made:
        name, given = one.name, one.name
        if one.default is not dataclasses.MISSING:
            scope[f"_default_{name}"] = one.default
            given = f"{name}=_default_{name}"
        elif one.default_factory is not dataclasses.MISSING:
            scope[f"_default_{name}"] = one.default_factory
            given = f"{name}=_absent"
            lines.append(f" if {name} is _absent: {name} = _default_{name}()")
        parameters.append(given)
        lines.append(f" self.{name} = {name}")
    lines.append(" self.__class__ = _kind")
    if hasattr(kind, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec("\n".join([f"def __init__({', '.join(parameters)}):", *lines]), scope)  # noqa: S102  as below
    scope["__init__"].__qualname__ = f"{kind.__qualname__}.__init__"
    kind.__init__ = scope["__init__"]  # type: ignore[method-assign]  # of the same parameters
    return kind


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
    names = [one.name for one in dataclasses.fields(kind)]
    plain = all(one.init for one in dataclasses.fields(kind)) and not hasattr(kind, "__post_init__")
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
    return type(f"{kind.__name__}Twin", (), {"__slots__": tuple([one.name for one in dataclasses.fields(kind)])})


def _may_become(twin: type, kind: type) -> bool:
    """Whether both have the same places, in the same order."""
    empty: Any = object.__new__(twin)
    try:
        empty.__class__ = kind
    except TypeError:
        return False
    return True
