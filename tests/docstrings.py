"""What can be held mechanically of the public docstrings of the program, by
`tests.test_architecture`: a docstring is there, a whole number has a unit, an exception is named where it is raised.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.house import Module

Function = ast.FunctionDef | ast.AsyncFunctionDef

HELD = re.compile(r"agi\.|charging\.(?!cli\.|web\.routes\.)")
"""All rooms but the commands, whose docstrings are what `--help` prints, and the routes of the API, whose docstrings
are published in its OpenAPI document, with their refusals beside them."""
UNITS = re.compile(
    r"micro-?euro|seconds?|µs|microseconds|\bms\b|minutes?|days?|units?|how many|numbers?|places?|positions?|cursor|"
    r"bytes?|pieces|pages|messages|exit code|cause|process id|percent|versions?|epoch|ARGV|rounded|sort key|inverse",
    re.IGNORECASE,
)
"""Words that say what a whole number counts."""
SAID_BY_NAME = re.compile(r"_(s|us|ms|mb|minute|max)$")
"""Ends of names that say the unit themselves (`tests.test_words` knows them)."""
NAMED_ELSEWHERE = {"AssertionError", "NotImplementedError"}
"""A fault of the program: nobody catches it."""


@dataclass(frozen=True, slots=True)
class Public:
    """A function or method that other modules may call."""

    where: str
    function: Function
    said: str
    """Its docstring, its class's and its module's: what holds for all stands there."""
    is_method: bool


def public_functions(module: Module) -> Iterator[Public]:
    if HELD.match(module.name):
        said = ast.get_docstring(module.tree) or ""
        yield from _of(module.name, module.tree.body, said, is_method=False)


def _of(where: str, body: list[ast.stmt], said: str, *, is_method: bool) -> Iterator[Public]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            of_class = f"{said} {ast.get_docstring(node) or ''}"
            yield from _of(f"{where}.{node.name}", node.body, of_class, is_method=True)
        elif isinstance(node, Function) and not node.name.startswith("_"):
            yield Public(f"{where}.{node.name}", node, f"{said} {ast.get_docstring(node) or ''}", is_method)


def undocumented(module: Module) -> Iterator[str]:
    """Methods may be without: what a store's do stands in the port's."""
    for one in public_functions(module):
        if not one.is_method and not ast.get_docstring(one.function):
            yield f"{one.where} has no docstring"


def units_unsaid(module: Module) -> Iterator[str]:
    for one in public_functions(module):
        returned, own = one.function.returns, ast.get_docstring(one.function)
        counts = returned is not None and re.search(r"\bint\b", ast.unparse(returned))
        if counts and own and not SAID_BY_NAME.search(one.function.name) and not UNITS.search(own):
            yield f"{one.where} does not say what its number counts"


def exceptions_unsaid(module: Module) -> Iterator[str]:
    for one in public_functions(module):
        for name in sorted(_raised(one.function) - NAMED_ELSEWHERE):
            if name not in one.said and (not one.is_method or ast.get_docstring(one.function)):
                yield f"{one.where} raises {name}, and does not say so"


def _raised(function: Function) -> set[str]:
    """The exceptions that it makes itself, and not in a function within."""
    found, ahead = set[str](), list[ast.AST](function.body)
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func).rpartition(".")[2])
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            ahead += ast.iter_child_nodes(node)
    return {name for name in found if name[:1].isupper()}


NAMED = re.compile(r"`~?(charging(?!\.yaml`)(?:\.\w+)+)`")


def names_gone(modules: list[Module]) -> Iterator[str]:
    """Modules, and what stands in them, that a docstring or comment names and that there are no more."""
    known = {module.name: module for module in modules}
    for module in modules:
        for named in dict.fromkeys(NAMED.findall(module.text)):
            if not _is_there(named, known):
                yield f"{module.name} names {named}"


def _is_there(named: str, known: dict[str, Module]) -> bool:
    parent, members = named, list[str]()
    while parent not in known:
        parent, _, member = parent.rpartition(".")
        members.append(member)
    if parent == "charging":  # `charging.horizon_s` is a setting
        parent = "charging.settings"
    text = known[parent].text
    return all(re.search(rf"^\s*((async )?def |class )?{one}\b", text, re.MULTILINE) for one in members)
