"""The dialplan that runs against the one that is shipped."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from charging.asterisk.dialplan import (
    STAKES,
    Line,
    answered_before_dialled,
    contexts,
    dial_options,
    differences,
    is_trunk_dial,
    lines_behind,
    running_lines,
    shipped_lines,
    ways_in,
)
from charging.asterisk.message import AmiMessage
from charging.cli.check_dialplan import MEANT
from charging.cli.check_look import shipped, shipped_globals
from charging.shipped import shipped_config

TEXT = r"""
; a comment
[one]
exten => _X.,1,Set(A=${SHIFT(B,\;)})   ; and another
 same => n(again),Gosub(two,s,1)
 same => n,Return()
exten => T,1,Hangup
include => two
[two]
exten => s,1,NoOp(a(b))
"""
ONE = [
    Line("one", "_X.", "", "Set", "A=${SHIFT(B,;)}"),
    Line("one", "_X.", "again", "Gosub", "two,s,1"),
    Line("one", "_X.", "", "Return", ""),
    Line("one", "T", "", "Hangup", ""),
    Line("one", "", "", "include", "two"),
]


def test_a_file_is_read_as_asterisk_reads_it() -> None:
    assert shipped_lines(TEXT) == [*ONE, Line("two", "s", "", "NoOp", "a(b)")]


def test_what_asterisk_says_of_it_are_the_same_lines() -> None:
    entries = [
        AmiMessage.of(
            Event="ListDialplan", Context="one", Extension="_X.", ExtensionLabel="again", Application="Gosub",
            AppData="two,s,1",
        ),
        AmiMessage.of(Event="ListDialplan", Context="one", IncludeContext="two"),
    ]  # fmt: skip
    assert list(running_lines(entries)) == [ONE[1], ONE[4]]


def test_another_dialplan_that_is_looked_into_is_a_line_too() -> None:
    entry = AmiMessage.of(Event="ListDialplan", Context="one", Switch="Lua/one", Registrar="pbx_config")
    assert list(running_lines([entry])) == [Line("one", "", "", "switch", "Lua/one")]
    added = differences(ONE, [*ONE, *running_lines([entry])])
    assert [str(one) for one in added] == ["[one]: found switch => Lua/one, expected no such line"]


@pytest.mark.parametrize(
    ("application", "data", "answers"),
    [
        ("Answer", "", True),
        ("Playback", "welcome", True),
        ("Playback", "welcome,noanswer", False),
        ("BackGround", "menu", True),
        ("Background", "menu,n", False),
        ("Background", "menu&no,m", True),
        ("Read", "CHOICE,menu,1", True),
        ("Read", "CHOICE,menu,1,sn", False),
        ("Ringing", "", False),
        ("Progress", "", False),
    ],
)
def test_callers_whom_an_announcement_has_answered_are_known(application: str, data: str, answers: bool) -> None:
    said = Line("from-trunk", "+31850000001", "", application, data)
    leads = Line("from-trunk", "+31850000001", "", "Goto", "charging-incoming,${EXTEN},1")
    assert ways_in([said, leads]) == [(leads, answers)]


@pytest.mark.parametrize(("exten", "answers"), [("1", True), ("i", True), ("+31850000001", False)])
def test_choices_of_a_menu_come_from_who_was_answered_by_it(exten: str, answers: bool) -> None:
    leads = Line("menu", exten, "", "Goto", "charging-incoming,+31850000001,1")
    assert ways_in([leads, Line("menu", "s", "", "BackGround", "menu")]) == [(leads, answers)]


@pytest.mark.parametrize("text", ["exten => s", "exten => s,x,NoOp()", " same => NoOp()"])
def test_what_is_no_dialplan_is_no_line(text: str) -> None:
    with pytest.raises(ValueError, match="no priority"):
        shipped_lines(f"[one]\n{text}")


def test_the_same_dialplan_does_not_differ_whatever_order_its_extensions_have() -> None:
    assert differences(ONE, [ONE[3], *ONE[:3], ONE[4], Line("own", "s", "", "NoOp", "")]) == []


def test_an_added_line_is_one_difference_and_does_not_shift_the_others() -> None:
    (found,) = differences(ONE, [ONE[0], Line("one", "_X.", "", "NoOp", "mine"), *ONE[1:]])
    assert str(found) == "[one] _X.: found NoOp(mine), expected no such line"


def test_a_changed_a_missing_and_an_included_line_are_told_with_both() -> None:
    mine = [ONE[0], Line("one", "_X.", "again", "Gosub", "three,s,1"), *ONE[3:], Line("one", "", "", "include", "evil")]
    assert [str(one) for one in differences(ONE, mine)] == [
        "[one] _X.: found (again) Gosub(three,s,1), expected (again) Gosub(two,s,1)",
        "[one] _X.: found no such line, expected Return()",
        "[one]: found include => evil, expected no such line",
    ]


def test_a_context_that_is_missing_as_a_whole_is_no_difference_but_missing() -> None:
    both = shipped_lines(TEXT)
    assert differences(both, ONE) == []
    assert contexts(both) == ["one", "two"]


def test_every_setting_as_shipped_is_understood() -> None:
    usual = shipped_globals()
    assert set(MEANT) <= set(usual)
    assert [name for name, (understood, _) in MEANT.items() if not re.fullmatch(understood, usual[name])] == []


@pytest.mark.parametrize("marker", STAKES)
def test_what_is_lost_is_said_of_lines_that_are_shipped(marker: str) -> None:
    lines = shipped_lines(shipped("extensions_charging.conf"))
    with_it = [line for line in lines if marker in str(line)]
    assert with_it, "the table names something that the dialplan no longer has"
    without = [replace(line, data=line.data.replace(marker, "")) for line in lines]
    assert STAKES[marker] in {one.stake for one in differences(lines, without)}
    assert not any(one.stake for one in differences(lines, lines))


def test_the_operators_own_lines_that_lead_to_us_are_known_with_whether_they_answer() -> None:
    lines = shipped_lines(
        "[trunk]\nexten => 1,1,Answer()\n same => n,Goto(charging-incoming,1,1)\n"
        "exten => 2,1,Goto(charging-incoming,2,1)\ninclude => charging-incoming\n"
        "[charging-x]\nexten => s,1,Goto(charging-incoming,1,1)\n"
    )
    assert [(line.exten, answered) for line, answered in ways_in(lines)] == [("1", True), ("2", False), ("", False)]


@pytest.mark.parametrize("file", sorted(path.name for path in (shipped_config() / "asterisk").glob("extensions*.conf")))
def test_no_line_waits_within_import_which_holds_a_lock_that_sip_may_wait_for(file: str) -> None:
    """IMPORT holds the other channel's lock while PJSIP_HEADER waits for a thread of SIP, which may be waiting for that
    channel: all of Asterisk would stop (asterisk#307). A variable is read without waiting."""
    lines = [line for line in shipped(file).splitlines() if not line.lstrip().startswith(";")]
    assert not [
        line for line in lines if "IMPORT(" in re.sub(r"IMPORT\(\$\{(ARG1|CHARGING_CALLED_BY)\},[A-Z_]+\)", "", line)
    ]


OUTSIDE = re.compile(r"(CALLERID|REDIRECTING|CONNECTEDLINE|MASTER_CHANNEL|PJSIP_HEADER)\((?!num-pres|CHANNEL)")
"""What has a stranger's characters. (The presentation, and the kind of a channel, are Asterisk's own words.)"""


@pytest.mark.parametrize("file", sorted(path.name for path in (shipped_config() / "asterisk").glob("extensions*.conf")))
def test_nothing_of_a_stranger_stands_in_the_brackets_of_a_function(file: str) -> None:
    """A ")" of his would close them, and a ":" behind it begin an offset: of what he wrote a part alone would be looked
    at. REPLACE is given names, and takes these brackets away."""
    lines = [str(line) for line in shipped_lines(shipped(file))]
    assert [line for line in lines if any(OUTSIDE.match(line, at) for at in _nested(line))] == []
    cleaned = [line for line in lines if re.match(r"Set\(CHARGING_(NUMBER|CALLER)=\$\{REPLACE\(", line)]
    assert len(cleaned) == 2 * (file == "extensions_charging.conf")


def test_what_is_looked_at_of_a_stranger_in_its_place_has_an_end() -> None:
    """A function hands on 4,095 characters: behind so many good ones anything could stand."""
    lines = shipped_lines(shipped("extensions_charging.conf"))
    cleaning = [str(line) for line in lines if line.context == "charging-clean"]
    in_place = [line for line in cleaning if re.search(r"REGEX\(.*REPLACE\((CALLERID|REDIRECTING)", line)]
    assert len(in_place) == 11
    its_length = r"\$\{LEN\((?P=value)\)\} < \d+"
    looks = re.compile(rf'ExecIf\(\$\[\$\{{REGEX\("\^.*\$" (?P<value>.*?)\)\}} & {its_length}\]\?NoOp\(\):Set')
    assert [line for line in in_place if not looks.match(line)] == []


def test_a_place_is_given_back_wherever_its_caller_hangs_up() -> None:
    """Asterisk looks for h in the context in which he is, alone: a subroutine's as long as one runs. Whose place it is
    stands on his channel before it is taken."""
    lines = shipped_lines(shipped("extensions_charging.conf"))
    takes = [str(line) for line in lines if line.context == "charging-take"]
    noted, taken = "Set(CHARGING_PLACE=${CHARGING_FREE})", "Set(GLOBAL(CHARGING_PLACE_${CHARGING_FREE})="
    assert next(one for one in takes if one.startswith((noted, taken))) == noted
    gives_back = {line.context for line in lines if line.exten == "h" and "Set(GLOBAL(CHARGING_PLACE_" in str(line)}
    assert {line.context for line in lines if "charging-take" in line.data} <= gives_back
    assert "charging-take" in gives_back


def test_no_fax_is_sent_by_t38_unless_the_operator_wants_it_wherever_its_leg_is_put() -> None:
    """An endpoint with fax_detect puts it to the extension `fax`."""
    lines = [str(one) for one in shipped_lines(shipped("extensions_charging.conf")) if one.exten == "fax"]
    assert lines[0] == 'GotoIf($["${CHARGING_FAX_T38}" = "yes"]?:s,sound)'
    assert lines[-2] == "SendFAX(${CHARGING_FAX_FILE})"


def _nested(line: str) -> list[int]:
    """Where a value begins that stands within another."""
    depth, found = 0, []
    for at, sign in enumerate(line):
        if line.startswith("${", at):
            depth += 1
            found += [at + 2] * (depth > 1)
        depth -= sign == "}"
    return found


OUTBOUND = """
[from-inside]
include => routes
[routes]
exten => _+X.,1,Gosub(macro-trunk,s,1(1,${EXTEN}))
 same => n,Macro(other)
[macro-trunk]
exten => s,1,Dial(PJSIP/${ARG2}@carrier,300,TkU(a,(b,c))b(x^s^1(1,2)))
[macro-other]
exten => s,1,Dial(${OUT}/${ARG2},,${OPTIONS}K)
 same => n,Dial(Local/more@routes/n)
[elsewhere]
exten => s,1,Dial(PJSIP/nobody)
"""


def test_dials_behind_a_context_are_found_through_includes_and_subroutines() -> None:
    found = [line for line in lines_behind(shipped_lines(OUTBOUND), "from-inside") if is_trunk_dial(line)]
    assert [line.context for line in found] == ["macro-trunk", "macro-other"]
    assert [dial_options(line) for line in found] == ["TkU(a,(b,c))b(x^s^1(1,2))", "${OPTIONS}K"]
    assert dial_options(Line("one", "s", "", "Dial", "PJSIP/nobody")) == ""


ANSWERING = """
[from-inside]
include => routes
include => codes
[routes]
exten => _+X.,1,{first}
 same => n,{then}
exten => h,1,Answer()
[trunk]
exten => s,1,NoOp()
 same => n,Dial(PJSIP/${{ARG1}}@carrier)
 same => n,Answer()
 same => n,Playback(busy)
[macro-other]
exten => s,1,Dial(PJSIP/${{ARG1}}@other)
[codes]
exten => *97,1,Answer()
 same => n,Gosub(trunk,s,1(1))
exten => 100,1,Answer()
 same => n,Dial(PJSIP/100)
"""


@pytest.mark.parametrize(
    ("first", "then", "answers"),
    [
        ("Answer()", "Dial(PJSIP/${EXTEN}@carrier)", True),
        ("Playback(please-wait)", "Gosub(trunk,s,1(${EXTEN}))", True),
        ("Read(pin)", "Macro(other,${EXTEN})", True),
        ("Playback(please-wait,noanswer)", "Gosub(trunk,s,1(${EXTEN}))", False),
        ("Progress()", "Dial(PJSIP/${EXTEN}@carrier)", False),
        ("Dial(PJSIP/${EXTEN}@carrier)", "Answer()", False),
    ],
)
def test_what_answers_a_forward_before_its_phone_is_dialled_is_found(first: str, then: str, answers: bool) -> None:
    """Not what is said after nobody answered, and not in feature codes."""
    behind = lines_behind(shipped_lines(ANSWERING.format(first=first, then=then)), "from-inside")
    assert [(line.context, line.exten) for line in answered_before_dialled(behind)] == [("routes", "_+X.")] * answers
