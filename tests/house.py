"""The shape of the house: how large a class and a constructor may be, who may extend whom, which modules are pieces of
another, and how wiring is done. Read by AST, as all rules of `tests.test_architecture`, which checks them.
"""

from __future__ import annotations

import ast
import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

# --- what may stay as it is, and only shrink --------------------------------------------------------------------

METHODS_MAX = 15
MANY_METHODS: dict[str, int] = {
    "charging.asterisk.control.CallControl": 16,
    "charging.asterisk.link.AmiLink": 21,
    "charging.demo.watch.Watch": 16,
    "charging.engine.desk.Desk": 24,
    "charging.lab.daemon.DaemonProcess": 19,
    "charging.lab.process.AsteriskProcess": 17,
    "charging.ledger.memory.MemoryStore": 28,
    "charging.ledger.redis.client.RedisClient": 21,
    "charging.ledger.redis.directory.RedisDirectory": 17,
    "charging.ledger.redis.feed.RedisFeed": 17,
    "charging.ledger.redis.store.RedisStore": 35,
    "charging.ledger.sqlite.directory.SqliteDirectory": 16,
    "charging.ledger.sqlite.reader.Reader": 19,
    "charging.ledger.sqlite.store.SqliteStore": 31,
    "charging.metrics.Metrics": 28,
    "charging.pricing.rate.Rate": 16,
    "charging.tariff.deck_file._Reader": 24,
    "charging.tariff.tariff.Tariff": 17,
    "charging.web.console.pages.Pages": 16,
}
"""Classes with more methods than METHODS_MAX, and how many. Lower a number when it shrinks; no class joins them."""

PARAMETERS_MAX = 6
MANY_PARAMETERS: dict[str, int] = {
    "charging.app_notices.Notices": 7,
    "charging.door.Door": 8,
    "charging.engine.desk.Desk": 12,
    "charging.engine.leadership.LeaseKeeper": 7,
    "charging.engine.sessions.Registry": 8,
    "charging.lab.daemon.DaemonProcess": 9,
    "charging.notify.notifier.Notifier": 7,
    "charging.service.service.Service": 12,
    "charging.tariff.watch.TariffWatcher": 9,
}
"""Constructors with more parameters than PARAMETERS_MAX, likewise."""

STORED_BY_HAND = {
    "charging.call.finished": "a CDR is a document for others, and no record of ours",
    "charging.call.fax": "the same",
    "charging.call.voicemail": "the same",
    "charging.call.decided": "a page of decisions, which leave out what is empty",
    "charging.ledger.codec": "accounts, numbers and legs, in the words that every store and export shares",
    "charging.notify.model": "a notice, whose facts are of the type that its kind names",
    "charging.pricing.packs": "the text of which a digest is made",
    "charging.service.privacy": "hides a member of a record, whatever its type",
    "charging.service.tokens": "a token, with the digest of its secret in place of its id",
    "charging.tariff.reading": "what a child process answers",
    "charging.tariff.schema": "JSON Schema",
    "charging.fax.sandbox": "what a child process is told",
    "charging.cli.init": "what was laid down, for a person to read",
}
"""Modules that write JSON by hand where records are stored; all others leave it to `charging.records.Codec`, which
follows from the types. Of those that store, `tests.unit.test_stored_kinds` fills every field."""
STORES = re.compile(r"charging\.(call|engine|fax|ledger|notify|pricing|service|tariff)\.|charging\.cli\.init")

SMALL_LINES = 40
SMALL_FOR_A_REASON = {
    "charging.cli.decks": "bars at a terminal: what draws them is loaded only by the one command that reads decks",
    "charging.demo.commands": "the product's commands run in this process, for the demo and for tests",
}
"""Modules below SMALL_LINES that one module alone imports; all others belong in that one."""

DATA = {"NamedTuple", "TypedDict", "Enum", "IntEnum", "StrEnum", "Protocol", "Generic", "BaseModel"}
"""Bases that bring no code of ours along. Exceptions, and pydantic's models, may have bases of ours."""
LIBRARY_BASES = {
    "panoramisk.manager.Manager": "its client is changed by overriding",
    "panoramisk.ami_protocol.AMIProtocol": "the same",
    "typer.core.TyperGroup": "commands are listed by overriding",
    "collections.abc.Mapping": "what typer takes for the commands",
    "httpx.AsyncBaseTransport": "httpx takes transports of this class",
    "httpcore.AsyncNetworkBackend": "httpcore opens connections by one of these",
    "httpcore.AsyncNetworkStream": "and takes such a one from it",
    "rich.progress.ProgressColumn": "rich takes columns of this class",
    "email.message.EmailMessage": "the parser makes parts of this class",
    "email.policy.Compat32": "the parser asks its policy by overriding",
    "redis.asyncio.connection.AbstractConnection": "redis-py makes connections of a class that it is given",
    "redis.asyncio.Connection": "the same",
    "redis.asyncio.SSLConnection": "the same",
    "fastapi.FastAPI": "its document is changed by overriding",
    "starlette.responses.StreamingResponse": "Starlette takes responses of this class",
    "fastapi.responses.StreamingResponse": "the same",
    "uvicorn.protocols.http.h11_impl.H11Protocol": "uvicorn makes protocols of a class that it is given",
    "h11.Connection": "uvicorn reads requests by one of these",
    "h11._receivebuffer.ReceiveBuffer": "h11 takes all lines from one, and has no limit of lines",
    "uvicorn.Server": "its signals are left alone by overriding",
    "fpdf.FPDF": "pages are drawn by overriding",
    "fpdf.structure_tree.StructElem": "tagged PDF, for which fpdf2 has no door",
    "fpdf.structure_tree.StructureTreeBuilder": "the same",
    "fpdf.syntax.PDFArray": "the same",
}
INHERITED = {
    "charging.call.oneoff.Piece": "what is paid by the piece: stored records of two kinds, a voicemail and a fax",
    "charging.service.balance.CreditView": "a promotion is shown as credit with a last day",
    "charging.service.fax_address.FaxAddress": "a new address is shown once with its secret",
    "charging.service.refusal.Refused": "a fax that credit does not pay is refused with its prices",
    "charging.lab.call.Party": "a party of the lab",
    "charging.lab.process.AsteriskProcess": "a process of the lab",
}
"""Classes of ours that others extend although they are neither Protocols nor exceptions nor models. None joins them."""

# --- modules --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    tree: ast.Module
    text: str

    @classmethod
    def of(cls, path: Path) -> Module:
        text = path.read_text(encoding="utf-8")
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        return cls(name, ast.parse(text), text)

    @classmethod
    def named(cls, name: str, text: str) -> Module:
        return cls(name, ast.parse(text), text)

    def is_one_of(self, patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatchcase(self.name, pattern) for pattern in patterns)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def imports_of(module: Module) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported; ``from a import b`` is ``a.b``."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}:{node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return "loop" if last_name(node.func) in {"get_running_loop", "get_event_loop"} else ""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


# --- the rules ------------------------------------------------------------------------------------------------


def many_methods(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) for one in node.body)
            name = f"{module.name}.{node.name}"
            if methods > max(METHODS_MAX, MANY_METHODS.get(name, 0)):
                yield f"{name} has {methods} methods"


def many_parameters(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        for one in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(one, ast.FunctionDef) and one.name == "__init__":
                parameters = len(one.args.posonlyargs) + len(one.args.args) + len(one.args.kwonlyargs) - 1
                name = f"{module.name}.{node.name}" if isinstance(node, ast.ClassDef) else ""
                if parameters > max(PARAMETERS_MAX, MANY_PARAMETERS.get(name, 0)):
                    yield f"{name} is made of {parameters} parameters"


def stored_by_hand(module: Module) -> Iterator[str]:
    """What a restart remembers follows from the types: JSON is written by a codec."""
    if STORES.match(module.name) and module.name not in STORED_BY_HAND:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr in {"dumps", "JSONEncoder"}:
                yield f"{module.name}:{node.lineno}: writes JSON by hand"


def wiring_patched(module: Module) -> Iterator[str]:
    """The composition gives everything at construction, and changes no object afterwards."""
    if not re.fullmatch(r"charging\.app(_\w+)?|charging\.cli\.in_process", module.name):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and last_name(node.value) != "self":
            yield f"{module.name}:{node.lineno}: sets {ast.unparse(node)}"


def bases_of(module: Module) -> Iterator[tuple[str, list[str]]]:
    """Every class, and the full names of what it extends."""
    known = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    known |= {node.name: f"{module.name}.{node.name}" for node in module.tree.body if isinstance(node, ast.ClassDef)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            bases = [ast.unparse(one.value if isinstance(one, ast.Subscript) else one) for one in node.bases]
            yield f"{module.name}.{node.name}", [known.get(base, base) for base in bases]


def inheritance(modules: list[Module]) -> Iterator[str]:
    """What a class does stands in that class: only Protocols, exceptions, data and what a library demands extend."""
    bases = {name: of for module in modules for name, of in bases_of(module)}

    def may_extend(base: str) -> bool:
        if base not in bases:
            return base in LIBRARY_BASES or base.rpartition(".")[2] in DATA or base.endswith(("Error", "Exception"))
        return base in INHERITED or (bool(bases[base]) and all(map(may_extend, bases[base])))

    for name, of in bases.items():
        yield from (f"{name} extends {base}" for base in of if not may_extend(base))


def modules_too_small(modules: list[Module]) -> Iterator[str]:
    """A module that one other alone imports, and that is shorter than SMALL_LINES, is a piece of that other."""
    importers: dict[str, set[str]] = {}
    for module in modules:
        for _, name in imports_of(module):
            for one in (name, name.rpartition(".")[0]):
                importers.setdefault(one, set()).add(module.name)
    for module in modules:
        by = importers.get(module.name, set()) - {module.name}
        is_package = any(other.name.startswith(module.name + ".") for other in modules)
        small = module.text.count("\n") < SMALL_LINES and not is_package
        if len(by) == 1 and small and module.name not in SMALL_FOR_A_REASON:
            yield f"{module.name} belongs in {by.pop()}"
