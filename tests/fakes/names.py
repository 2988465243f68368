"""A DNS that tests play, in memory: for unit tests of what proves a mail's sender."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from charging.fax.dns_lookup import Kind, Unanswered

CNAMES_MAX = 10


@dataclass
class PlayedDns:
    """A `charging.fax.dns_lookup.Lookup`: what each name has, in small letters."""

    records: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    """By name and kind; a ``CNAME`` is followed."""
    silent: set[tuple[str, str]] = field(default_factory=set)
    """Names and kinds that nobody answers about."""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, name: str, kind: Kind) -> list[str]:
        self.asked.append((name, kind))
        name = name.lower()
        for _ in range(CNAMES_MAX):
            if (name, kind) in self.records:
                return list(self.records[name, kind])
            if (name, kind) in self.silent:
                raise Unanswered(f"the DNS does not answer about {name}: as the test says")
            if (name, "CNAME") not in self.records:
                return []
            (name,) = self.records[name, "CNAME"]
            name = name.lower()
        return []
