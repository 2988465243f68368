"""How missed calls are told."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from charging.ledger.accounts import Language
from charging.notify.model import MissedCalls, NoticeKind
from charging.notify.render import HARD_SPACE, Operator, Templates
from charging.notify.samples import samples

TEMPLATES = Templates(Operator("Bell", "https://www.voice.example/top-up"))


@pytest.mark.parametrize(
    ("language", "first", "last", "said"),
    [
        (Language.NL, "2026-11-22T14:03", "2026-11-22T14:03", "Op 22 november om 14:03 heeft u"),
        (Language.NL, "2026-11-22T14:03", "2026-11-22T14:21", "Op 22 november tussen 14:03 en 14:21 heeft u"),
        (Language.NL, "2026-11-21T23:58", "2026-11-22T03:51", "Tussen 21 november om 23:58 en 22 november om 03:51"),
        (Language.EN, "2026-11-22T14:03", "2026-11-22T14:03", "On 22 November at 14:03 you missed"),
        (Language.EN, "2026-11-22T14:03", "2026-11-22T14:21", "On 22 November between 14:03 and 14:21 you missed"),
        (Language.EN, "2026-11-21T23:58", "2026-11-22T03:51", "Between 21 November at 23:58 and 22 November at 03:51"),
    ],
)
def test_when_calls_were_missed_is_told_without_saying_a_day_or_a_minute_twice(
    language: Language, first: str, last: str, said: str
) -> None:
    (sample, *_) = samples(NoticeKind.MISSED_CALLS)
    assert isinstance(sample, MissedCalls)
    facts = replace(sample, first=first, last=last)
    text = TEMPLATES.words(NoticeKind.MISSED_CALLS, language, facts, "anna").text
    assert said in " ".join(text.replace(HARD_SPACE, " ").split())


@pytest.mark.parametrize("language", Language)
def test_why_calls_were_missed_and_what_can_be_done_are_two_paragraphs(language: Language) -> None:
    for kind in (NoticeKind.MISSED_CALL, NoticeKind.MISSED_CALLS):
        html = TEMPLATES.words(kind, language, samples(kind)[0], "anna").html
        (why,) = (one for one in re.findall(r"<p>(.*?)</p>", html, re.DOTALL) if re.search("omdat|because", one))
        assert not re.search(r"beltegoed\.|of credit\.", why), why
        assert "&lt;" not in why
