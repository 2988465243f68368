"""Every notice, in each language and form, with every turn that its words take."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from charging.call.decide import Cause
from charging.ledger.accounts import Language
from charging.notify.model import (
    Expiry,
    Facts,
    FaxRefused,
    LowCredit,
    LowFreeMinutes,
    MissedCall,
    MissedCalls,
    NoticeKind,
)
from charging.notify.render import HARD_SPACE, SHIPPED, Operator, Rendered, TemplateError, Templates, filters, problems
from charging.notify.samples import samples

OPERATOR = Operator("Bell & Sons <BV>", "https://www.voice.example/top-up?a=1&b=2")
TEMPLATES = Templates(OPERATOR)
EVERY = [
    pytest.param(kind, language, turn, id=f"{kind}-{language}-{turn}")
    for kind, language in itertools.product(NoticeKind, Language)
    for turn in range(len(samples(kind)))
]
VOID = {"meta", "br", "img", "hr"}


class Checked(HTMLParser):
    """Every element is closed, in order; gathers text and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.language = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag == "html":
            self.language = given["lang"] or ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "title" not in self.open:
            self.words += data


def shown(kind: NoticeKind, language: Language, turn: int = 0, account: str = "anna") -> Rendered:
    return TEMPLATES.words(kind, language, samples(kind)[turn], account)


def plain(text: str) -> str:
    return " ".join(text.replace(HARD_SPACE, " ").split())


@pytest.mark.parametrize(("kind", "language", "turn"), EVERY)
def test_every_notice_is_rendered_whole(kind: NoticeKind, language: Language, turn: int) -> None:
    words = shown(kind, language, turn)
    html = Checked(words.html)
    assert html.language == language
    facts = samples(kind)[turn]
    cured = (getattr(facts, name, False) for name in ("topped_up", "until_midnight"))
    to_do = kind is not NoticeKind.GIFT_ENDING and not any(cured)  # buying credit lengthens no gift
    assert html.links == [OPERATOR.top_up_url] * to_do
    assert OPERATOR.name in plain(html.words)
    assert (OPERATOR.top_up_url in words.text) == to_do, "a link in plain text is not escaped"
    assert OPERATOR.name in words.text
    assert "anna" in words.text.splitlines()[-2]
    assert "anna" in html.words
    for text in (words.subject, words.text, html.words):
        assert not re.search(r"[{}]|None|True|False|undefined", text), text
    assert 10 < len(words.subject) < 80
    assert words.subject.isprintable() or HARD_SPACE in words.subject


@pytest.mark.parametrize(("kind", "language", "turn"), EVERY)
def test_plain_text_is_narrow_and_without_gaps(kind: NoticeKind, language: Language, turn: int) -> None:
    text = shown(kind, language, turn).text
    assert all(len(line) <= 72 for line in text.splitlines())
    assert "\n\n\n" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize(("kind", "language", "turn"), EVERY)
def test_each_turn_reads_differently_and_both_forms_give_the_same_figures(
    kind: NoticeKind, language: Language, turn: int
) -> None:
    words = shown(kind, language, turn)
    others = [shown(kind, language, other).text for other in range(len(samples(kind))) if other != turn]
    assert words.text not in others
    figures = r"€ ?[0-9.,]*[0-9]|\+[0-9]{11}|[0-9]+ (?:minuten|minutes|pagina|page)"
    in_text = set(re.findall(figures, plain(words.subject + " " + words.text)))
    in_html = set(re.findall(figures, plain(Checked(words.html).words)))
    assert in_text <= in_html, "what the text says, the page says"


def test_dutch_writes_money_days_and_times_the_dutch_way() -> None:
    f = filters(Language.NL)
    assert plain(f["euro"](2_500_000)) == "€ 2,50"
    assert plain(f["euro"](1_234_567_890_000)) == "€ 1.234.567,89"
    assert plain(f["euro"](-2_500_000)) == "€ -2,50"
    assert plain(f["day"]("2026-11-21")) == "21 november 2026"
    assert plain(f["moment"]("2026-03-01T09:05")) == "1 maart 2026 om 09:05"
    assert plain(f["shortly"]("2026-03-01T09:05")) == "1 maart om 09:05"
    assert [plain(f["calls"](n)) for n in (1, 2)] == ["1 oproep", "2 oproepen"]
    assert f["month"]("2026-11") == "november"
    assert [plain(f["minutes"](s)) for s in (0, 59, 60, 119, 120)] == [
        *("0 minuten", "0 minuten", "1 minuut", "1 minuut", "2 minuten")
    ]


def test_english_writes_money_days_and_times_the_english_way() -> None:
    f = filters(Language.EN)
    assert f["euro"](2_500_000) == "€2.50"
    assert f["euro"](1_234_567_890_000) == "€1,234,567.89"
    assert f["euro"](-2_500_000) == "-€2.50"
    assert plain(f["day"]("2026-11-21")) == "21 November 2026"
    assert plain(f["moment"]("2026-03-01T09:05")) == "1 March 2026 at 09:05"
    assert [plain(f["days"](n)) for n in (1, 2)] == ["1 day", "2 days"]
    assert [plain(f["pages"](n)) for n in (1, 2)] == ["1 page", "2 pages"]
    assert plain(f["shortly"]("2026-03-01T09:05")) == "1 March at 09:05"
    assert [plain(f["times"](n)) for n in (1, 2)] == ["1 time", "2 times"]


def test_what_one_has_is_rounded_down_and_what_one_needs_up() -> None:
    f = filters(Language.EN)
    assert (f["euro"](19_999), f["euro"](20_000)) == ("€0.01", "€0.02")
    assert (f["cost"](10_001), f["cost"](10_000)) == ("€0.02", "€0.01")


@pytest.mark.parametrize(("micro", "said"), [(9_999, "has run out"), (10_000, "is running low: €0.01 left")])
def test_credit_that_nobody_can_see_is_none(micro: int, said: str) -> None:
    facts = LowCredit(micro, 0, can_forward=False, paid_voicemail=False)
    words = TEMPLATES.words(NoticeKind.LOW_CREDIT, Language.EN, facts, "anna")
    assert words.subject == f"Your credit {said}"
    assert said.partition(":")[0] in plain(Checked(words.html).words)
    few = LowFreeMinutes("2026-11", 60, micro, paid_voicemail=False)
    text = plain(TEMPLATES.words(NoticeKind.LOW_FREE_MINUTES, Language.NL, few, "anna").text)
    assert ("geen beltegoed" in text) == (micro < 10_000)


@pytest.mark.parametrize(
    ("micro", "can_forward", "subject", "meaning"),
    [
        (
            9_999,
            True,
            "Uw beltegoed is bijna op: nog minder dan een cent",
            "Is het op, dan kunnen we geen oproepen meer",
        ),
        (9_999, False, "Uw beltegoed is op", "We kunnen geen oproepen meer"),
        (1, True, "Uw beltegoed is bijna op: nog minder dan een cent", "Is het op, dan kunnen we geen oproepen meer"),
        (0, True, "Uw beltegoed is op", "We kunnen geen oproepen meer"),
    ],
)
def test_credit_is_not_called_gone_while_a_call_can_be_begun_with_it(
    micro: int, can_forward: bool, subject: str, meaning: str
) -> None:
    facts = LowCredit(micro, 0, can_forward, paid_voicemail=False)
    words = TEMPLATES.words(NoticeKind.LOW_CREDIT, Language.NL, facts, "anna")
    assert plain(words.subject) == subject
    for text in (plain(words.text), plain(Checked(words.html).words)):
        assert meaning in text
        assert ("minder dan een cent" in text) == ("minder dan een cent" in subject)


PRICE = 150_000
"""Micro-euro of a message."""
TAKEN = {
    Language.NL: "rechtstreeks naar uw voicemail gestuurd zolang uw tegoed genoeg is voor een bericht (€ 0,15), "
    "en daarna niet beantwoord.",
    Language.EN: "go straight to your voicemail as long as your credit is enough for a message (€0.15), "
    "and after that not be answered.",
}


def both_forms(facts: Facts, kind: NoticeKind, language: Language) -> tuple[str, str]:
    words = TEMPLATES.words(kind, language, facts, "anna")
    return plain(words.text), plain(Checked(words.html).words)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("free_seconds", [0, 600])
@pytest.mark.parametrize(("credit", "takes"), [(PRICE, True), (PRICE - 1, False)])
def test_r13_calls_that_credit_has_taken_by_voicemail_are_not_called_unanswered(
    language: Language, free_seconds: int, credit: int, takes: bool
) -> None:
    low = LowCredit(credit, free_seconds, can_forward=False, paid_voicemail=True, message_price=PRICE)
    few = LowFreeMinutes("2026-11", free_seconds, credit, paid_voicemail=True, message_price=PRICE)
    for kind, facts in ((NoticeKind.LOW_CREDIT, low), (NoticeKind.LOW_FREE_MINUTES, few)):
        for text in both_forms(facts, kind, language):
            assert (TAKEN[language] in text) == takes
            assert ("voicemail" in text) == takes


@pytest.mark.parametrize(("language", "left"), [(Language.NL, "3 berichten"), (Language.EN, "3 messages")])
@pytest.mark.parametrize("can_forward", [False, True])
@pytest.mark.parametrize("credit", [0, PRICE])
def test_r13_calls_that_free_messages_have_taken_by_voicemail_are_not_called_unanswered(
    language: Language, left: str, can_forward: bool, credit: int
) -> None:
    low = LowCredit(credit, 0, can_forward, paid_voicemail=True, message_price=PRICE, free_messages=3)
    few = LowFreeMinutes("2026-11", 0, credit, paid_voicemail=True, message_price=PRICE, free_messages=3)
    for kind, facts in ((NoticeKind.LOW_CREDIT, low), (NoticeKind.LOW_FREE_MINUTES, few)):
        for text in both_forms(facts, kind, language):
            assert "voicemail" in text
            assert left in text


@pytest.mark.parametrize("language", Language)
def test_r13_when_credit_that_forwards_is_gone_voicemail_takes_nothing_either(language: Language) -> None:
    facts = LowCredit(PRICE, 600, can_forward=True, paid_voicemail=True, message_price=PRICE)
    for text in both_forms(facts, NoticeKind.LOW_CREDIT, language):
        assert "voicemail" not in text
        assert "niet beantwoord." in text or "not be answered." in text


@pytest.mark.parametrize(("price", "gone"), [(5_000, False), (5_001, True)])
def test_credit_is_not_called_gone_while_a_message_can_be_taken_with_it(price: int, gone: bool) -> None:
    low = LowCredit(5_000, 0, can_forward=False, paid_voicemail=True, message_price=price)
    few = LowFreeMinutes("2026-11", 60, 5_000, paid_voicemail=True, message_price=price)
    for text in both_forms(low, NoticeKind.LOW_CREDIT, Language.EN):
        assert ("Your credit has run out" in text, "less than a cent" in text) == (gone, not gone)
    for text in both_forms(few, NoticeKind.LOW_FREE_MINUTES, Language.EN):
        assert ("no credit" in text, "less than a cent" in text) == (gone, not gone)


WHY = {
    Language.NL: {
        Cause.NO_CREDIT: "omdat uw beltegoed te laag was om",
        Cause.NO_MESSAGE: "u niet te bereiken was en uw beltegoed te laag was om een voicemail op te nemen",
        Cause.CREDIT_IN_USE: "uw beltegoed in gebruik was voor een andere oproep of een fax",
        Cause.TOO_MANY_CALLS: "u al zo veel gesprekken tegelijk had als met uw abonnement kan",
        Cause.DAY_LIMIT: "het bedrag was bereikt dat oproepen en voicemails op een dag met uw abonnement mogen kosten",
    },
    Language.EN: {
        Cause.NO_CREDIT: "your credit was too low to forward",
        Cause.NO_MESSAGE: "you could not be reached, and your credit was too low to take a voicemail",
        Cause.CREDIT_IN_USE: "your credit was in use for another call or a fax",
        Cause.TOO_MANY_CALLS: "you had as many calls at once as your plan allows",
        Cause.DAY_LIMIT: "what your plan lets calls and messages of a day cost was used up",
    },
}


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("causes", [*((one,) for one in Cause), (Cause.NO_CREDIT, Cause.TOO_MANY_CALLS)])
def test_r13_a_missed_call_is_told_with_its_cause_and_no_other(language: Language, causes: tuple[Cause, ...]) -> None:
    for kind in (NoticeKind.MISSED_CALL, NoticeKind.MISSED_CALLS):
        facts = samples(kind)[0]
        assert isinstance(facts, MissedCall | MissedCalls)
        for text in both_forms(replace(facts, causes=causes, credit=240_000, suffices=True), kind, language):
            assert [cause for cause in Cause if WHY[language][cause] in text] == list(causes)
            assert "€ 0,24" in text or "€0.24" in text


@pytest.mark.parametrize(
    ("credit", "suffices", "topped_up", "said"),
    [
        (10_000_000, True, True, "You now have €10.00 of credit and can be reached again."),
        (240_000, True, False, "You now have €0.24 of credit. With more of it, more calls can be answered."),
        (5_000, True, False, "You now have less than a cent of credit. With more of it,"),
        (5_000, False, False, "You now have €0.00 of credit. Buy credit, and you can be reached again."),
        (0, False, False, "You now have €0.00 of credit. Buy credit, and you can be reached again."),
    ],
)
def test_r13_a_missed_call_says_what_credit_is_good_for_now(
    credit: int, suffices: bool, topped_up: bool, said: str
) -> None:
    for kind in (NoticeKind.MISSED_CALL, NoticeKind.MISSED_CALLS):
        facts = samples(kind)[0]
        assert isinstance(facts, MissedCall | MissedCalls)
        now = replace(facts, credit=credit, suffices=suffices, topped_up=topped_up)
        for text in both_forms(now, kind, Language.EN):
            assert said in text
            assert ("Buy credit" in text) == (not topped_up)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize(
    ("causes", "suffices", "waits"),
    [
        ((Cause.DAY_LIMIT,), True, True),
        ((Cause.DAY_LIMIT,), False, False),
        ((Cause.NO_CREDIT, Cause.DAY_LIMIT), True, False),
    ],
)
def test_r13_who_has_reached_the_days_limit_is_not_told_to_buy_credit(
    language: Language, causes: tuple[Cause, ...], suffices: bool, waits: bool
) -> None:
    for kind in (NoticeKind.MISSED_CALL, NoticeKind.MISSED_CALLS):
        facts = samples(kind)[0]
        assert isinstance(facts, MissedCall | MissedCalls)
        credit = 240_000 if suffices else 0
        now = replace(facts, credit=credit, suffices=suffices, topped_up=False, causes=causes)
        for text in both_forms(now, kind, language):
            assert ("middernacht" in text or "midnight" in text) == waits
            assert ("Buy credit" in text or "egoed kopen" in text or "Koop " in text) != waits


def test_what_came_from_outside_is_escaped_in_html() -> None:
    facts = MissedCall("+31851234567", "<script>alert(1)</script>", "2026-11-21T14:05", 0)
    words = TEMPLATES.words(NoticeKind.MISSED_CALL, Language.NL, facts, "anna")
    assert "<script>" not in words.html
    assert "<script>alert(1)</script>" in Checked(words.html).words


def test_a_list_in_plain_text_is_indented_where_it_is_wrapped(tmp_path: Path) -> None:
    templates = own(tmp_path, "nl/low-credit.txt", "Subject: x\n\n- " + "woord " * 20 + "\n" + "woord " * 20)
    facts = samples(NoticeKind.LOW_CREDIT)[0]
    text = templates.words(NoticeKind.LOW_CREDIT, Language.NL, facts, "anna").text
    assert [line[:3] for line in text.splitlines()] == ["- w", "  w", "woo", "woo"]


def test_a_subject_is_one_line_whatever_is_in_it() -> None:
    facts = MissedCall("+31851234567", "a\r\vb\x85c\u2028d", "2026-11-21T14:05", 0)
    subject = TEMPLATES.words(NoticeKind.MISSED_CALL, Language.NL, facts, "anna").subject
    assert len(subject.splitlines()) == 1


def test_a_long_name_of_a_document_is_shortened() -> None:
    facts = FaxRefused("x" * 200, "+31201234567", 1, 1, 0)
    words = TEMPLATES.words(NoticeKind.FAX_REFUSED, Language.EN, facts, "anna")
    assert "x" * 57 + "…" in words.text
    assert "x" * 58 not in words.text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("https://evil.example/refund?anna=1 .pdf", "https evil example refund?anna=1.pdf"),
        ("pay@evil.example", "pay evil example"),
        ("www.evil.example.PDF", "www evil example.PDF"),
        ("scan 2026-11-30 (2).tiff", "scan 2026-11-30 (2).tiff"),
        ("://", "…"),
    ],
)
def test_the_name_of_a_document_is_no_link(name: str, shown: str) -> None:
    words = TEMPLATES.words(NoticeKind.FAX_REFUSED, Language.EN, FaxRefused(name, "+31201234567", 1, 1, 0), "anna")
    assert f'"{shown}"' in " ".join(words.text.split())


def test_the_last_day_is_today() -> None:
    facts = Expiry(1_000_000, "2026-11-21", 0)
    words = TEMPLATES.words(NoticeKind.CREDIT_EXPIRY, Language.EN, facts, "anna")
    assert "expires today" in words.subject


# --- the operator's own ---------------------------------------------------------------------------------------


def own(folder: Path, name: str, text: str) -> Templates:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return Templates(OPERATOR, folder)


def test_an_own_file_replaces_that_one_file_only(tmp_path: Path) -> None:
    templates = own(tmp_path, "nl/low-credit.txt", "Subject: Bijna op\n\nNog {{ facts.credit|euro }}.\n")
    facts = samples(NoticeKind.LOW_CREDIT)[0]
    words = templates.words(NoticeKind.LOW_CREDIT, Language.NL, facts, "anna")
    assert (words.subject, plain(words.text)) == ("Bijna op", "Nog € 2,18.")
    assert words.html.replace("Bijna op", "") == TEMPLATES.words(
        NoticeKind.LOW_CREDIT, Language.NL, facts, "anna"
    ).html.replace("Uw beltegoed is bijna op: nog €" + HARD_SPACE + "2,18", ""), "but for the page's title"
    assert templates.words(NoticeKind.LOW_CREDIT, Language.EN, facts, "anna") == shown(
        NoticeKind.LOW_CREDIT, Language.EN
    )
    assert list(problems(templates)) == []


def test_an_own_layout_frames_every_notice(tmp_path: Path) -> None:
    text = "<p>OWN</p>{% block title required %}{% endblock %}{% block body required %}{% endblock %}"
    templates = own(tmp_path, "layout.html", text)
    for kind, language in itertools.product(NoticeKind, Language):
        assert templates.words(kind, language, samples(kind)[0], "anna").html.startswith("<p>OWN</p>")


def test_an_edit_is_seen_without_a_restart(tmp_path: Path) -> None:
    templates = own(tmp_path, "nl/fax-refused.txt", "Subject: one\n\nx")
    facts = samples(NoticeKind.FAX_REFUSED)[0]
    assert templates.words(NoticeKind.FAX_REFUSED, Language.NL, facts, "anna").subject == "one"
    own(tmp_path, "nl/fax-refused.txt", "Subject: another\n\nx")
    assert templates.words(NoticeKind.FAX_REFUSED, Language.NL, facts, "anna").subject == "another"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Subject: x\n\n{{ facts.credits }}", "nl/low-credit.txt.*credits"),
        ("Subject: x\n\n{{ operater.name }}", "operater"),
        ("Subject: x\n\n{% if %}", "nl/low-credit.txt:3:"),
        ("Subject: x\n\n{{ facts.credit|euros }}", "euros"),
        ("Subject: x\n\n{{ 1 / 0 }}", "division"),
        ("Dear you,\n", "expected 'Subject: …'"),
        ("Subject:   \n\nx", "expected 'Subject: …'"),
        ("", "expected 'Subject: …'"),
    ],
)
def test_a_mistake_in_a_template_is_an_error_that_says_where(tmp_path: Path, text: str, said: str) -> None:
    templates = own(tmp_path, "nl/low-credit.txt", text)
    with pytest.raises(TemplateError, match=said):
        templates.words(NoticeKind.LOW_CREDIT, Language.NL, samples(NoticeKind.LOW_CREDIT)[0], "anna")
    found = list(problems(templates))
    assert found
    assert all(re.search(said, one) for one in found)


def test_bytes_that_are_no_utf8_are_an_error(tmp_path: Path) -> None:
    templates = own(tmp_path, "nl/low-credit.txt", "")
    (tmp_path / "nl/low-credit.txt").write_bytes(b"Subject: \xff\n\nx")
    assert list(problems(templates))


def test_shipped_templates_have_no_problems_and_none_is_without_use() -> None:
    assert list(problems(TEMPLATES)) == []
    names = {path.name for path in SHIPPED.rglob("*") if path.is_file()}
    kinds = {f"{kind}{suffix}" for kind in NoticeKind for suffix in (".txt", ".html", "-meaning.txt")}
    assert names - kinds == {"layout.html", "parts.html", "footer.txt", "footer.html"}


def test_the_operators_guide_names_every_fact_and_filter_and_no_other() -> None:
    guide = (Path(__file__).parents[3] / "config/templates/README.md").read_text(encoding="utf-8")
    for kind in NoticeKind:
        (row,) = (line for line in guide.splitlines() if line.startswith(f"| `{kind}`"))
        named = set(re.findall(r"`([a-z_]+)`", row))
        known = {name for name in dir(samples(kind)[0]) if not name.startswith("_")}
        assert named == known, kind
    assert set(re.findall(r"`[a-z_]+\|([a-z_]+)(?:\(last\))?`", guide)) == set(filters(Language.NL))
