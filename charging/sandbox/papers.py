"""Documents of faxes in the test mode: read as ever, or only said to have so many pages."""

from __future__ import annotations

import re
from typing import NoReturn

from charging.fax.desk import Paper, Papers
from charging.records import dataclass
from charging.sandbox.switch import FaxScript, PlayedSwitch
from charging.service.refusal import Refused

_SAID = re.compile(rb"sandbox fax ([0-9]+) ([0-9]+) ([0-9]+)")
PAGE_S = 2


def said(pages: int, confirmed: int, page_s: int) -> bytes:
    """The text in the place of a document of so many ``pages``, of which the machine confirms some."""
    return b"sandbox fax %d %d %d" % (pages, confirmed, page_s)


@dataclass(frozen=True, slots=True)
class PlayedPapers:
    """Makes documents ready, and tells the switch how the machine at the other end will do."""

    papers: Papers
    """For documents that are some."""
    switch: PlayedSwitch

    async def prepare(self, account: str, session: str, data: bytes, *, patient: bool = True) -> Paper | Refused:
        if (match := _SAID.fullmatch(data)) is not None:
            pages, confirmed, page_s = map(int, match.groups())
            self.switch.faxes.expect(session, FaxScript(min(pages, confirmed), page_s, succeeds=confirmed >= pages))
            return Paper(pages, session, session)
        paper = await self.papers.prepare(account, session, data, patient=patient)
        if isinstance(paper, Paper):
            self.switch.faxes.expect(session, FaxScript(paper.pages, PAGE_S, succeeds=True))
        return paper

    async def pages_of(self, account: str, data: bytes) -> int | None:
        return None if _SAID.fullmatch(data) is not None else await self.papers.pages_of(account, data)

    def remove(self, name: str) -> None:
        self.papers.remove(name)

    async def sweep_for_ever(self) -> NoReturn:
        await self.papers.sweep_for_ever()
