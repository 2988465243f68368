"""The pages that people read: README.md and docs/, with the parts of them that are made from the program.

The parts between ``<!-- made: NAME -->`` and ``<!-- /made -->`` are made from the program; after a change of it:
``python -m tests.pages`` writes them again.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import typer
import yaml
from prometheus_client.metrics_core import Metric
from pydantic_core import PydanticUndefined

from charging.call.commands import stay
from charging.call.model import State
from charging.call.table import TABLE
from charging.cli import build
from charging.metrics import Metrics
from charging.settings import Settings
from charging.yaml_model import Section
from tests.simulation.soaked import PLACES, PUBLISHED

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
RULES = 23


def name_of(page: Path) -> str:
    """As a test's id: its path in the tree."""
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(page: Path, title: str) -> str:
    """What stands on a page under a heading of the second level."""
    _, _, rest = text_of(page).partition(f"\n## {title}\n")
    assert rest, f"{name_of(page)} has no section {title}"
    return rest.partition("\n## ")[0]


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(titles), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def made_states() -> str:
    """The session's transition table; states with the same row share a column."""
    columns: list[tuple[list[State], Mapping[type, Any]]] = []
    for state, row in TABLE.items():
        if columns and columns[-1][1] == row:
            columns[-1][0].append(state)
        else:
            columns.append(([state], row))
    events = list(dict.fromkeys(event for _, row in columns for event in row))

    def cell(row: Mapping[type, Any], event: type) -> str:
        if event not in row:
            return " "
        return "–" if row[event] is stay else f"`{row[event].__name__}`"

    titles = ["event", *(", ".join(str(state.value) for state in states) for states, _ in columns)]
    return table(titles, ([event.__name__, *(cell(row, event) for _, row in columns)] for event in events))


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def made_metrics() -> str:
    def row(metric: Metric, labels: Iterable[str]) -> list[str]:
        name = metric.name + ("_total" if metric.type == "counter" else "")
        return [f"`{name}`", metric.type, ", ".join(labels), _one_line(metric.documentation)]

    registry = Metrics("0").registry
    collectors = [one for one in registry._collector_to_names if hasattr(one, "_labelnames")]
    rows = [row(metric, one._labelnames) for one in collectors for metric in one.collect()]
    return table(("metric", "kind", "labels", "what it tells"), rows)


def _keys(model: type[Section], name: str) -> Iterator[tuple[str, str]]:
    """(section, its keys with their defaults) of a section and those within it."""
    own: list[str] = []
    inner: list[tuple[str, str]] = []
    for key, field in model.model_fields.items():
        kind = next((one for one in _types(field.annotation) if issubclass(one, Section)), None)
        if kind is not None:
            inner += _keys(kind, f"{name}.{key}" if name else key)
            continue
        default = field.default
        shown = f"`{key}`" if default in (None, PydanticUndefined) else f"`{key}` {default}"
        own.append(shown + (" (needed)" if field.is_required() else ""))
    if own:
        yield name or "(top)", ", ".join(own)
    yield from inner


def _types(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [one for part in getattr(annotation, "__args__", ()) for one in _types(part)]


def made_settings() -> str:
    return table(("section", "keys and their defaults"), ([f"`{name}`", keys] for name, keys in _keys(Settings, "")))


def _commands(command: Any, path: str) -> Iterator[tuple[str, str]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        words = [path, *(one.name.upper() if one.required else f"[{one.name.upper()}]" for one in arguments)]
        yield " ".join(words), _one_line((command.help or "").partition("\n\n")[0])
        return
    for name, one in inner.items():
        yield from _commands(one, f"{path} {name}")


def made_commands() -> str:
    rows = _commands(whole_command(), "charging")
    return table(("command", "what it does"), ([f"`{name}`", text] for name, text in rows))


def made_alerts() -> str:
    groups = yaml.safe_load((ROOT / "config/prometheus/charging_rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    spoken = re.compile(r"\{\{ \$labels\.(\w+) \}\}")
    return table(
        ("alert", "severity", "it says"),
        (
            [f"`{one['alert']}`", one["labels"]["severity"], spoken.sub(r"*\1*", one["annotations"]["summary"])]
            for one in rules
        ),
    )


def made_soak() -> str:
    """What the simulation has told last, and every kind of fault in it."""
    kept = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    broken = kept["violations"] or "no"
    told = (
        f"`python -m tests.simulation --from {first} --stories {last - first + 1}`" for first, last in kept["seeds"]
    )
    said = (
        f"{kept['call_hours']:,} call-hours in {kept['stories']:,} stories ({kept['day']}, commit {kept['commit']}, "
        f"{kept['cpu_s']:,} s of CPU): {broken} violation. They are told again by {' and '.join(told)}."
    )
    rows = [(what, f"{times:,}") for part in ("life", "faults") for what, times in kept[part].items()]
    return f"{said}\n\n{table(('what happened', 'times'), rows)}"


def made_places() -> str:
    """Each kind of life and of fault, where the city has it, and how often it came in the run that is published."""
    kept = json.loads(PUBLISHED.read_text(encoding="utf-8")).get("places", {})
    rows = [
        (what, file, f"{kept[what]:,}" if what in kept else "newer than that run") for what, (file, _) in PLACES.items()
    ]
    return table(("kind", "where in `tests/simulation`", "times"), rows)


MADE: dict[str, Callable[[], str]] = {
    "states": made_states,
    "settings": made_settings,
    "commands": made_commands,
    "metrics": made_metrics,
    "alerts": made_alerts,
    "soak": made_soak,
    "places": made_places,
}
PART = re.compile(r"<!-- made: (\w+) -->\n(.*?)\n?<!-- /made -->", re.DOTALL)


def renewed(text: str) -> str:
    """A page with every made part as the program is now."""
    return PART.sub(lambda part: f"<!-- made: {part[1]} -->\n{MADE[part[1]]()}\n<!-- /made -->", text)


@cache
def whole_command() -> Any:
    return typer.main.get_command(build())


def renew() -> None:
    for page in PAGES:
        old = text_of(page)
        if (new := renewed(old)) != old:
            page.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{name_of(page)}: the parts made from the program are rewritten\n")


if __name__ == "__main__":
    renew()
