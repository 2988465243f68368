"""The rules of the house that no linter knows. Read by AST; nothing is imported.

Dependencies point inward (pricing ← tariff ← call ← engine; adapters know ports, never one another), pure files
neither talk nor read clocks, drivers stay in their adapter, files and functions stay small enough to read.
Each rule is a generator of offences, so that the tests at the end can show it a bad file and see it bite.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

import pytest

from tests import house
from tests.docstrings import exceptions_unsaid, names_gone, undocumented, units_unsaid
from tests.house import (
    ROOT,
    Module,
    imports_of,
    inheritance,
    last_name,
    many_methods,
    many_parameters,
    modules_too_small,
    stored_by_hand,
    wiring_patched,
    within,
)

CODE_FOLDERS = ("charging", "agi", "prompts")
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 50

# --- who may import whom --------------------------------------------------------------------------------------

FOUNDATION = (
    *("charging.errors", "charging.clock", "charging.safe_text", "charging.tasks", "charging.records"),
    "charging.unguessable",
    "charging.files",
    "charging.limits",
    "charging.log_limit",
    "charging.priority",
    "charging.__version__",
)
READING = ("charging.yaml_text", "charging.yaml_model")
PRICES = ("charging.pricing", "charging.tariff", "charging.whatif", *READING)
LEDGER_PORT = (
    "charging.ledger.model",
    "charging.ledger.port",
    "charging.ledger.accounts",
    "charging.ledger.balances",
    "charging.ledger.credit_life",
    "charging.ledger.documents",
    "charging.ledger.feed",
    "charging.ledger.given_packs",
)
DOOR = ("charging.door", "charging.sources", "charging.tcp_table")
DOMAIN = (
    *PRICES,
    *LEDGER_PORT,
    "charging.ledger.remembered",
    "charging.ledger.books.verify",
    "charging.call",
    "charging.engine",
    "charging.service",
    "charging.fax.desk",
    "charging.fax.listed",
    "charging.fax.mailed",
    "charging.fax.sending",
    "charging.fax.slow_domains",
    "charging.fax.views",
    "agi.port",
)
COMPOSITION = re.compile(r"charging\.(app|cli|demo|__main__)([_.].*)?")
"""The only modules that know everything."""
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # A module takes the first entry that is it or contains it, and may always import within that entry.
    # Any other module of charging/ may import DOMAIN and the metrics: it gives meaning, and talks to nobody.
    "charging.errors": (),
    "charging.clock": (),
    "charging.shipped": (),
    "charging.safe_text": (),
    "charging.records": (),
    "charging.tasks": (),
    "charging.unguessable": (),
    "charging.files": (),
    "charging.limits": (),
    "charging.log_limit": (),
    "charging.priority": (),
    "charging.pricing.money": (),
    "charging.pricing": (),
    "charging.yaml_text": (),
    "charging.yaml_model": ("charging.yaml_text",),
    "charging.settings": (*READING, "charging.ledger.redis.url", "charging.notify.settings", "charging.web.settings"),
    "charging.logs": (),
    "charging.metrics": (),
    "charging.tariff": (*PRICES, "charging.metrics"),
    "charging.whatif": PRICES,
    "charging.call": (*PRICES, *LEDGER_PORT, "agi.port"),
    "charging.engine.observer": (*DOMAIN, "charging.metrics", "charging.logs"),
    "charging.engine": (*PRICES, *LEDGER_PORT, "charging.call", "agi.port"),
    "charging.ledger": ("charging.pricing.money", "charging.pricing.packs"),
    "charging.asterisk": ("charging.call", "charging.engine.ports", "charging.tcp_table"),
    "agi": ("charging.asterisk.variables", "charging.door"),
    "charging.fax": DOMAIN,
    "charging.lab": ("charging.shipped",),
    "charging.notify": DOMAIN,
    "charging.service": DOMAIN,
    "charging.sandbox": DOMAIN,
    "charging.web": (
        *DOMAIN,
        "charging.metrics",
        "charging.settings",
        "charging.door",
        "charging.sources",
        "charging.sandbox",
    ),
    "charging.door": ("charging.sources", "charging.tcp_table"),
    "charging.tcp_table": (),
    "charging.descriptors": (),
    "charging.sources": (),
    "prompts": READING,
}
DRIVERS = {
    "panoramisk": "charging.asterisk",
    "redis": "charging.ledger",
    "sqlite3": "charging.ledger",
    "aiosmtplib": "charging.notify",
    "smtplib": "charging.notify",
    "jinja2": "charging.notify",
    "prometheus_client": "charging.metrics",
    "phonenumbers": "charging.tariff",
    "yaml": "charging.yaml_text",
    "fastapi": "charging.web",
    "starlette": "charging.web",
    "uvicorn": "charging.web",
}
"""Who alone imports a driver (beside the composition)."""

# --- what is pure ---------------------------------------------------------------------------------------------

PURE = (
    "charging.errors",
    "charging.records",
    "charging.safe_text",
    "charging.yaml_*",
    "charging.pricing.*",
    "charging.tariff.*",
    "charging.whatif.*",
    "charging.call.*",
    "charging.engine.closed",
    "charging.ledger.model",
    "charging.ledger.accounts",
    "charging.ledger.balances",
    "charging.ledger.credit_life",
    "charging.ledger.books.audit",
    "charging.ledger.codec",
    "charging.asterisk.message",
    "charging.asterisk.translate",
    "charging.asterisk.variables",
    "charging.asterisk.black_box",
    "charging.notify.policy",
    "agi.protocol",
)
TALKING = ("charging.tariff.watch", "charging.tariff.reading", "charging.tariff.in_force")
"""Within the folders above: what watches the tariff's files."""
IMPURE_MODULES = (
    *("asyncio", "concurrent", "multiprocessing", "sched", "threading"),
    *("http", "httpx", "select", "selectors", "socket", "ssl", "subprocess", "urllib.request"),
    *("logging", "structlog", "random", "secrets", "signal", "time"),
)
CLOCK_READERS = ("charging.clock", "charging.lab", "charging.lab.*")
"""The lab drives real processes in real time; it is no part of the daemon."""
CLOCK_CALLS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("loop", "time")}
MONEY_MODULES = (
    "charging.pricing",
    "charging.pricing.*",
    "charging.tariff.*",
    "charging.whatif.*",
    "charging.ledger",
    "charging.ledger.*",
)

WITHOUT_MONEY = ("charging.ledger.redis.url", "charging.ledger.redis.client")
"""Within the folders above: connections and their time-outs."""


def is_pure(module: Module) -> bool:
    return module.is_one_of(PURE) and not module.is_one_of(TALKING)


def calls_in(module: Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))


# --- the rules ------------------------------------------------------------------------------------------------


def outward_imports(module: Module) -> Iterator[str]:
    if COMPOSITION.fullmatch(module.name):
        return
    home = next((entry for entry in MAY_IMPORT if within(module.name, entry)), module.name)
    allowed = (*FOUNDATION, home, *MAY_IMPORT.get(home, (*DOMAIN, "charging.metrics")))
    for line, name in imports_of(module):
        ours = name.split(".")[0] in {"charging", "agi", "prompts", "tests"}
        if ours and not any(within(name, one) for one in allowed):
            yield f"{module.name}:{line}: imports {name}"


def drivers_outside_their_adapter(module: Module) -> Iterator[str]:
    if COMPOSITION.fullmatch(module.name):
        return
    for line, name in imports_of(module):
        adapter = DRIVERS.get(name.split(".")[0])
        if adapter is not None and not within(module.name, adapter):
            yield f"{module.name}:{line}: imports {name}, which only {adapter} may"


def impure_imports(module: Module) -> Iterator[str]:
    if not is_pure(module):
        return
    for line, name in imports_of(module):
        if any(within(name, one) for one in IMPURE_MODULES):
            yield f"{module.name}:{line}: imports {name}"


def coroutines_in_pure_files(module: Module) -> Iterator[str]:
    if is_pure(module):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.AsyncFunctionDef):
                yield f"{module.name}:{node.lineno}: async def {node.name}"


def clock_readings(module: Module) -> Iterator[str]:
    if module.is_one_of(CLOCK_READERS):
        return
    for line, name in imports_of(module):
        if within(name, "time"):
            yield f"{module.name}:{line}: imports {name}"
    for call in calls_in(module):
        function = call.func
        if isinstance(function, ast.Attribute) and (last_name(function.value), function.attr) in CLOCK_CALLS:
            yield f"{module.name}:{call.lineno}: reads a clock by {ast.unparse(function)}"


def floats_near_money(module: Module) -> Iterator[str]:
    if module.is_one_of(MONEY_MODULES) and not module.is_one_of(WITHOUT_MONEY):
        for call in calls_in(module):
            if isinstance(call.func, ast.Name) and call.func.id == "float":
                yield f"{module.name}:{call.lineno}: makes a float"


def long_files(module: Module) -> Iterator[str]:
    lines = module.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{module.name}: {lines} lines"


def long_functions(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{module.name}:{node.lineno}: {node.name} has {lines} lines"


LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception"}


def log_events_that_are_sentences(module: Module) -> Iterator[str]:
    for call in calls_in(module):
        function = call.func
        if not isinstance(function, ast.Attribute) or function.attr not in LOG_METHODS or not call.args:
            continue
        if not re.search(r"log(ger)?$", last_name(function.value).lower()):
            continue
        event = call.args[0]
        if not isinstance(event, ast.Constant) or not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", str(event.value)):
            yield f"{module.name}:{call.lineno}: {ast.unparse(event)} is no snake_case event"


def headers_read_by_a_library(module: Module) -> Iterator[str]:
    """Starlette has the standard library unquote each cookie that a stranger sends: by the square of its length."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "cookies" and last_name(node.value) == "request":
            yield f"{module.name}:{node.lineno}: {ast.unparse(node)}, expected charging.web.browser.cookie"


LEFT_OUT = {"skip", "skipif", "xfail", "importorskip", "skipTest"}
MAY_LEAVE_OUT = ("tests.asterisk.conftest",)
"""Without CI, one hook leaves out what needs the real Asterisk where none can be had."""


def left_out(module: Module) -> Iterator[str]:
    if module.is_one_of(MAY_LEAVE_OUT):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in LEFT_OUT and "pytest" in ast.unparse(node.value):
            yield f"{module.name}:{node.lineno}: {ast.unparse(node)}"


CODE_RULES: tuple[Callable[[Module], Iterator[str]], ...] = (
    outward_imports,
    drivers_outside_their_adapter,
    impure_imports,
    coroutines_in_pure_files,
    clock_readings,
    floats_near_money,
    long_files,
    long_functions,
    log_events_that_are_sentences,
    headers_read_by_a_library,
    many_methods,
    many_parameters,
    stored_by_hand,
    wiring_patched,
    undocumented,
    units_unsaid,
    exceptions_unsaid,
)
HOUSE_RULES = (inheritance, modules_too_small, names_gone)
"""Of all modules together."""
TEST_RULES = (long_files, long_functions, left_out)


@pytest.fixture(scope="module")
def code() -> list[Module]:
    return [Module.of(path) for folder in CODE_FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.fixture(scope="module")
def suite() -> list[Module]:
    return [Module.of(path) for path in sorted((ROOT / "tests").rglob("*.py"))]


@pytest.mark.parametrize("rule", CODE_RULES, ids=lambda rule: rule.__name__)
def test_code_has_no(rule: Callable[[Module], Iterator[str]], code: list[Module]) -> None:
    offences = [offence for module in code for offence in rule(module)]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("rule", HOUSE_RULES, ids=lambda rule: rule.__name__)
def test_the_house_has_no(rule: Callable[[list[Module]], Iterator[str]], code: list[Module]) -> None:
    assert list(rule(code)) == []


@pytest.mark.parametrize(
    ("named", "gone"),
    [
        ("charging.x", 0),
        ("charging.x.price", 0),
        ("charging.x.Price.of", 0),
        ("charging.y", 1),
        ("charging.x.cost", 1),
        ("charging.x.Price.gone", 1),
        ("charging.yaml", 0),
    ],
)
def test_a_name_in_a_docstring_is_one_that_there_is(named: str, gone: int) -> None:
    package = Module.named("charging", "")
    there = Module.named("charging.x", "def price(): ...\nclass Price:\n    def of(self): ...\n")
    settings = Module.named("charging.settings", "horizon_s: int\n")
    says = Module.named("charging.z", f'"""See `{named}` and `charging.horizon_s`."""\n')
    assert len(list(names_gone([package, there, settings, says]))) == gone


def test_what_may_only_shrink_is_not_larger_than_it_need_be(code: list[Module]) -> None:
    with pytest.MonkeyPatch.context() as strict:
        strict.setattr(f"{house.__name__}.MANY_METHODS", {})
        strict.setattr(f"{house.__name__}.MANY_PARAMETERS", {})
        strict.setattr(f"{house.__name__}.SMALL_FOR_A_REASON", {})
        strict.setattr(f"{house.__name__}.INHERITED", {})
        found = " ".join(
            offence
            for offences in (
                *(rule(module) for module in code for rule in (many_methods, many_parameters)),
                *(rule(code) for rule in HOUSE_RULES),
            )
            for offence in offences
        )
    allowed = [f"{name} has {methods} methods" for name, methods in house.MANY_METHODS.items()]
    allowed += [f"{name} is made of {parameters} parameters" for name, parameters in house.MANY_PARAMETERS.items()]
    allowed += [f"{name} belongs in" for name in house.SMALL_FOR_A_REASON] + [
        f"extends {name}" for name in house.INHERITED
    ]
    assert [one for one in allowed if one not in found] == []


@pytest.mark.parametrize("rule", TEST_RULES, ids=lambda rule: rule.__name__)
def test_tests_have_no(rule: Callable[[Module], Iterator[str]], suite: list[Module]) -> None:
    offences = [offence for module in suite for offence in rule(module)]
    assert not offences, "\n".join(offences)


def test_every_module_named_in_a_rule_exists_or_is_a_pattern(code: list[Module]) -> None:
    names = {module.name for module in code}
    named = {*MAY_IMPORT, *PURE, *TALKING, *LEDGER_PORT}
    assert {name for name in named if "*" not in name and name not in names and name != "prompts"} == set()


# --- the rules bite -------------------------------------------------------------------------------------------

LONG_FUNCTION = "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX
BAD = [
    (outward_imports, "charging.pricing.money", "from charging.pricing.rate import Rate"),
    (outward_imports, "charging.pricing.rate", "import charging.call.model"),
    (outward_imports, "charging.call.table", "from charging.ledger.sqlite import SqliteLedger"),
    (outward_imports, "charging.call.table", "from charging.asterisk import control"),
    (outward_imports, "charging.asterisk.link", "from charging.ledger.port import Ledger"),
    (outward_imports, "charging.ledger.sqlite", "from charging.asterisk.link import AmiLink"),
    (outward_imports, "charging.notify.outbox", "from charging.web.api import app"),
    (outward_imports, "charging.web.api", "from charging.app import run"),
    (outward_imports, "charging.tariff.watch", "from charging.asterisk.link import AmiLink"),
    (outward_imports, "charging.pricing.rate", "from tests.fakes.clock import FakeClock"),
    (drivers_outside_their_adapter, "charging.call.table", "import redis.asyncio"),
    (drivers_outside_their_adapter, "agi.server", "from panoramisk import Manager"),
    (impure_imports, "charging.pricing.rate", "import asyncio"),
    (impure_imports, "charging.call.table", "from time import monotonic"),
    (impure_imports, "charging.asterisk.translate", "import structlog"),
    (coroutines_in_pure_files, "charging.call.table", "async def f(): ..."),
    (clock_readings, "charging.call.table", "x = datetime.now(UTC)"),
    (clock_readings, "charging.call.table", "x = datetime.datetime.utcnow()"),
    (clock_readings, "charging.engine.runner", "x = asyncio.get_running_loop().time()"),
    (clock_readings, "charging.web.api", "import time"),
    (floats_near_money, "charging.ledger.memory", "x = float('0.1')"),
    (long_files, "charging.x", "\n" * (FILE_LINES_MAX + 1)),
    (long_functions, "charging.x", LONG_FUNCTION),
    (log_events_that_are_sentences, "charging.x", "log.info('Call answered')"),
    (log_events_that_are_sentences, "charging.x", "self._log.warning(f'lost {x}')"),
    (headers_read_by_a_library, "charging.web.x", "x = self.request.cookies.get(NAME)"),
    (
        many_methods,
        "charging.x",
        "class C:\n" + "".join(f"    def f{n}(self): ...\n" for n in range(house.METHODS_MAX + 1)),
    ),
    (many_parameters, "charging.x", "class C:\n    def __init__(self, a, b, c, d, *, e, f, g): ..."),
    (many_parameters, "charging.x", "class C:\n    def __init__(self, a, b, c, d, e, f, g, /): ..."),
    (undocumented, "charging.call.x", "def price(): ..."),
    (undocumented, "charging.web.x", "def page(): ..."),
    (undocumented, "agi.x", "def page(): ..."),
    (units_unsaid, "charging.call.x", 'def price() -> int:\n    """What it costs."""'),
    (units_unsaid, "charging.call.x", 'class C:\n    def price(self) -> int | None:\n        """What it costs."""'),
    (exceptions_unsaid, "charging.call.x", 'def price():\n    """What."""\n    if x:\n        raise LedgerError("no")'),
    (stored_by_hand, "charging.service.x", "body = json.dumps({})"),
    (stored_by_hand, "charging.ledger.x", "ENCODER = json.JSONEncoder()"),
    (wiring_patched, "charging.app_api", "desk.registry = registry"),
    (wiring_patched, "charging.app_api", "desk.registry, desk.fax = registry, fax"),
    (left_out, "tests.unit.test_x", "@pytest.mark.skip\ndef test_x(): ..."),
    (left_out, "tests.unit.test_x", "pytest.importorskip('redis')"),
]
GOOD = [
    (outward_imports, "charging.app", "from charging.ledger.sqlite import SqliteLedger"),
    (outward_imports, "charging.cli.account", "import charging.asterisk.control"),
    (outward_imports, "charging.call.table", "from charging.ledger.model import Transfer"),
    (impure_imports, "charging.engine.runner", "import asyncio"),
    (clock_readings, "charging.clock", "import time"),
    (clock_readings, "charging.call.table", "x = clock.now()"),
    (long_files, "charging.x", "\n" * FILE_LINES_MAX),
    (long_functions, "charging.x", LONG_FUNCTION.removesuffix("    x = 1\n")),
    (log_events_that_are_sentences, "charging.x", "log.info('call_answered', session=s)"),
    (
        many_methods,
        "charging.x",
        "class C:\n" + "".join(f"    def f{n}(self): ...\n" for n in range(house.METHODS_MAX)),
    ),
    (many_parameters, "charging.x", "class C:\n    def __init__(self, a, b, c, d, *, e, f): ..."),
    (undocumented, "charging.call.x", "def _price(): ..."),
    (undocumented, "charging.cli.x", "def page(): ..."),
    (undocumented, "charging.web.routes.x", "def page(): ..."),
    (units_unsaid, "charging.call.x", 'def price() -> int:\n    """Micro-euro that it costs."""'),
    (units_unsaid, "charging.call.x", 'def lasted_ms() -> int:\n    """How long it was."""'),
    (exceptions_unsaid, "charging.call.x", 'def price():\n    """Raises LedgerError."""\n    raise LedgerError("no")'),
    (exceptions_unsaid, "charging.call.x", '"""Raises LedgerError."""\ndef price():\n    raise LedgerError("no")'),
    (stored_by_hand, "charging.service.x", "body = CODEC.dump(record)"),
    (stored_by_hand, "charging.web.x", "body = json.dumps({})"),
    (wiring_patched, "charging.app_api", "class C:\n    def f(self): self.x = 1"),
]


@pytest.mark.parametrize(("rule", "name", "text"), BAD)
def test_rule_finds_an_offence(rule: Callable[[Module], Iterator[str]], name: str, text: str) -> None:
    assert list(rule(Module.named(name, text)))


@pytest.mark.parametrize(("rule", "name", "text"), GOOD)
def test_rule_lets_good_code_pass(rule: Callable[[Module], Iterator[str]], name: str, text: str) -> None:
    assert list(rule(Module.named(name, text))) == []


@pytest.mark.parametrize(
    ("text", "offences"),
    [
        ("class A: ...\nclass B(A): ...", 1),
        ("from queue import Queue\nclass B(Queue): ...", 1),
        ("class A(Exception): ...\nclass B(A): ...", 0),
        ("from typing import Protocol\nclass A(Protocol): ...\nclass B(A, Protocol): ...", 0),
        ("from uvicorn import Server\nclass B(Server): ...", 0),
    ],
)
def test_inheritance_is_found(text: str, offences: int) -> None:
    assert len(list(inheritance([Module.named("charging.x", text)]))) == offences


@pytest.mark.parametrize(("lines", "importers", "offences"), [(39, 1, 1), (40, 1, 0), (39, 2, 0)])
def test_a_piece_of_another_module_is_found(lines: int, importers: int, offences: int) -> None:
    others = [Module.named(f"charging.by{n}", "from charging.x import y") for n in range(importers)]
    assert len(list(modules_too_small([Module.named("charging.x", "\n" * lines), *others]))) == offences
