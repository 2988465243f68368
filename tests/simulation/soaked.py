"""What stories have been told, and what became of them: a log with a line for each, and the page's table of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).with_name("soaked.json")
MS_AN_HOUR = 3_600_000
FAULTS = {
    "daemons killed at one of their awaits": ("daemon killed",),
    "daemons frozen": ("daemon frozen",),
    "switches that died with every daemon as a fax was dialled": ("switch and daemons lost with a fax",),
    "leases gained in the moment in which calls were opened": ("lease gained as calls were opened",),
    "AMI links cut": ("link cut",),
    "switches restarted with their calls": ("switch restarted",),
    "orders to a switch, or their answers, lost": ("order lost",),
    "events lost": ("event lost",),
    "events late, behind those of other channels": ("event late",),
    "events doubled": ("event doubled",),
    "requests to the ledger lost": ("request lost",),
    "answers of the ledger lost": ("answer lost",),
    "fail-overs of the ledger, no acknowledged write lost": ("fail-over with waiting",),
    "writes that a cut off master did not acknowledge": ("write not acknowledged",),
    "fail-overs that lost acknowledged writes": ("fail-over without waiting",),
    "writes refused by a replica": ("write refused: read only",),
    "backups restored": ("backup restored",),
    "of them, made by SQLite while calls ran": ("backup of a file restored",),
    "cuts of the power of a SQLite file's machine": ("power cut",),
    "of them, in the middle of a write": ("power cut in a write",),
    "writes that were not flushed then": ("write that was not flushed",),
    "clocks stepped": ("clock stepped",),
    "starts of every machine with a clock that was months or years wrong": ("started with a wrong clock",),
    "times when every machine was off for days": ("days off",),
    "records that a switch did not delete for a while": ("records not deleted",),
    "callers whose answer came too late": ("caller not answered in time",),
    "times when the mail server was down": ("mail server down",),
    "mails put off": ("mail put off",),
    "mails whose acknowledgement was lost": ("mail acknowledgement lost",),
}
LIFE = {
    "calls answered": ("call answered",),
    "calls cut at the end of their money": ("call cut",),
    "ticks": ("told tick_posted",),
    "voicemail messages": ("message sold", "message free", "message fallback"),
    "numbers added, removed and moved to another account": ("number added", "number removed"),
    "faxes dialled": ("fax dialled",),
    "faxes handed in by mail": ("fax by mail",),
    "subscriptions paid": ("subscription paid",),
    "credits that expired after a year": ("credit expired",),
    "balances looked at while their call ran": ("balance shown in a call",),
    "top-ups, corrections, gifts and packs": ("top-up", "correction", "gift", "pack", "minutes given"),
    "edits of tariff, plan, target and status": (
        *("tariff edited", "plan changed", "forward changed", "account suspended", "account activated"),
    ),
    "months archived": ("archived",),
    "ledgers moved to another store": ("moved",),
    "mails to subscribers": (
        *("mail: missed call", "mail: missed calls", "mail: low credit", "mail: low free minutes"),
        *("mail: gift ends", "mail: credit expires", "mail: subscription ends", "mail: fax not sent"),
    ),
}

PLACES: dict[str, tuple[str, tuple[str, ...]]] = {
    "accounts, plans, numbers, switches": ("city.py", ("call answered",)),
    "voicemail": ("city.py", ("message sold", "message free", "message fallback")),
    "fax, on the website and by mail": ("faxes.py", ("fax dialled",)),
    "notices: R13, R15, R16": (
        "letters.py",
        ("mail: missed call", "mail: missed calls", "mail: low credit", "mail: low free minutes"),
    ),
    "notices: R14": ("faxes.py, inspector.py", ("mail: fax not sent",)),
    "notices: R20": ("ends.py", ("mail: credit expires", "mail: subscription ends")),
    "top-ups": ("people.py", ("top-up",)),
    "corrections, gifts, packs": ("people.py", ("correction", "gift", "pack", "minutes given")),
    "edits of the tariff": ("setting.py", ("tariff edited",)),
    "edits of plan, target, status": (
        "story.py",
        ("plan changed", "forward changed", "account suspended", "account activated"),
    ),
    "numbers added, removed, moved": ("numbers.py", ("number added", "number removed")),
    "ends of a month": ("city.py, `BEGUN`", ("begun at a month's end",)),
    "ends of a year": ("city.py, `BEGUN`", ("begun at a year's end",)),
    "nights when the clocks change": ("city.py, `BEGUN`", ("begun in a night when the clocks change",)),
    "29 February": ("city.py, `BEGUN`", ("begun before a 29 February",)),
    "expiry of minutes and gifts": ("inspector.py", ("value expired",)),
    "expiry of credit after a year": ("ends.py", ("credit expired",)),
    "archive": ("operator.py", ("archived",)),
    "export and import": ("operator.py", ("moved",)),
    "backup and restore, in memory": ("replica.py", ("backup restored",)),
    "backup and restore by SQLite": ("filed.py", ("backup of a file restored",)),
    "one to three daemons with leases": ("machine.py", ("told lease_gained", "told lease_lost")),
    "lease gained in the moment in which calls are opened": ("city.py", ("lease gained as calls were opened",)),
    "SQLite on a disk that loses what was not flushed": ("disk.py, filed.py", ("power cut",)),
    "fail-over of Redis": ("replica.py", ("fail-over with waiting", "fail-over without waiting")),
    "kill at an await": ("machine.py, `Process`", ("daemon killed",)),
    "freeze": ("machine.py, `Process`", ("daemon frozen",)),
    "link cut": ("machine.py, `SwitchLine`", ("link cut",)),
    "events lost, doubled, late behind others": (
        "machine.py, `SwitchLine`",
        ("event lost", "event late", "event doubled"),
    ),
    "answers lost": ("machine.py, `LedgerLine`", ("answer lost", "request lost", "order lost")),
    "clock steps": ("steps.py", ("clock stepped",)),
    "start with a clock that is months or years wrong": ("story.py", ("started with a wrong clock",)),
    "restart of the switch": ("city.py", ("switch restarted",)),
    "restart of the switch and of all its daemons": ("faxes.py", ("switch and daemons lost with a fax",)),
}
"""Each kind that the city must have: in which file it is, and by which counts it is known that it came."""


def note(log: Path, seed: int, talked_ms: int, cpu_s: float, counts: Mapping[str, int], violation: str) -> None:
    """One more story was told."""
    line = {"seed": seed, "talked_ms": talked_ms, "cpu_s": round(cpu_s, 2), "violation": violation, "counts": counts}
    with log.open("a", encoding="utf-8") as file:
        print(json.dumps(line), file=file)


def noted(logs: Iterable[Path]) -> list[dict[str, Any]]:
    """The stories of logs, each seed once."""
    stories: dict[int, dict[str, Any]] = {}
    for log in logs:
        for line in log.read_text(encoding="utf-8").splitlines():
            story = json.loads(line)
            stories[story["seed"]] = story
    return list(stories.values())


def summary(stories: Iterable[Mapping[str, Any]]) -> str:
    """For who watches."""
    told = list(stories)
    hours, cpu_s = sum(one["talked_ms"] for one in told) / MS_AN_HOUR, sum(one["cpu_s"] for one in told)
    broken = [f"{one['seed']}: {one['violation'][:200]}" for one in told if one["violation"]]
    speed = hours / cpu_s if cpu_s else 0
    lines = f"{hours:,.0f} call-hours in {len(told):,} stories, {speed:,.0f} for each second of CPU"
    return "\n".join([lines, *(broken or ["no violation"])])


def _rows(seeds: Iterable[int]) -> list[tuple[int, int]]:
    """The first and the last of each row of seeds without a gap."""
    rows: list[tuple[int, int]] = []
    for seed in sorted(seeds):
        if rows and seed == rows[-1][1] + 1:
            rows[-1] = rows[-1][0], seed
        else:
            rows.append((seed, seed))
    return rows


def publish(stories: Iterable[Mapping[str, Any]], commit: str, day: str) -> None:
    """Keep the counts for the page."""
    told = list(stories)
    counts: Counter[str] = Counter()
    for one in told:
        counts.update(one["counts"])
    kept = {
        "commit": commit,
        "day": day,
        "stories": len(told),
        "seeds": _rows(one["seed"] for one in told),
        "call_hours": round(sum(one["talked_ms"] for one in told) / MS_AN_HOUR),
        "cpu_s": round(sum(one["cpu_s"] for one in told)),
        "violations": sum(bool(one["violation"]) for one in told),
        "faults": {what: sum(counts[name] for name in names) for what, names in FAULTS.items()},
        "life": {what: sum(counts[name] for name in names) for what, names in LIFE.items()},
        "places": {what: sum(counts[name] for name in names) for what, (_, names) in PLACES.items()},
    }
    PUBLISHED.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
