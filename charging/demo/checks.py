"""What must be true of everything that was shown; each a sentence for the person who watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from charging.demo import scene
from charging.demo.books import Line, micro
from charging.demo.ears import Ears
from charging.demo.watch import Watch
from charging.lab import Call
from charging.pricing.money import MICRO, format_euro

CUT_LATE_MAX_MS = 1000
"""On whatever machine this runs; a quiet one stays below 200."""
CLOCKS_APART_MAX_S = 0.5
FALLS_MIN = 3
PROMPT_HEARD = 0.8
"""So much of the prompts must be measured at the least."""
LEAK_MAX_S = 0.3
QUIETER_DB = 20.0


@dataclass(frozen=True, slots=True)
class Check:
    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything there is when the call is over."""

    watch: Watch
    call: Call
    cdr: dict[str, Any]
    lines: list[Line]
    balance: dict[str, Any]
    ears: Ears
    verified: str


def all_checks(found: Evidence) -> list[Check]:
    """In the order in which they were shown."""
    return [*_money(found), *_prompt(found), *_cut(found), *_books(found)]


def _money(found: Evidence) -> list[Check]:
    cdr, of_call = found.cdr, [line for line in found.lines if line.of_call]
    free = sum(cdr["free_seconds"].values())
    cost, taken = micro(cdr["cost"]), -sum(line.credit for line in of_call)
    first = [part[2] for part in cdr["funding"]]
    falls = sum(after < before for before, after in zip(found.watch.credits_seen, found.watch.credits_seen[1:]))  # noqa: B905 - pairs
    return [
        Check(
            free == scene.FREE_S == -sum(line.free for line in of_call) and first[:1] != ["credit"],
            f"the {free} free seconds went first and cost nothing",
        ),
        Check(
            cost == taken == scene.CREDIT_S * scene.PRICE_A_SECOND,
            f"the other {cdr['billed_s'] - free} seconds were charged once: € {format_euro(taken)} in the journal, "
            f"€ {cdr['cost']} in the CDR",
        ),
        Check(falls >= FALLS_MIN, f"the balance fell during the call: seen falling {falls} times"),
    ]


def _prompt(found: Evidence) -> list[Check]:
    subscriber, caller = found.ears.subscriber, found.ears.caller
    wanted_s = found.ears.prompt_s * found.cdr["warnings"]
    talk_s = min(subscriber.other_voice_s / subscriber.seconds, caller.other_voice_s / caller.seconds)
    return [
        Check(
            found.cdr["warnings"] == scene.TOP_UPS and subscriber.speech_s >= wanted_s * PROMPT_HEARD,
            f"Anna heard the warning {found.cdr['warnings']} times: {subscriber.speech_s:.1f} s of speech",
        ),
        Check(
            caller.speech_s <= LEAK_MAX_S and caller.speech_db <= subscriber.speech_db - QUIETER_DB,
            f"the caller did not: {subscriber.speech_db - caller.speech_db:.0f} dB quieter, {caller.speech_s:.1f} s",
        ),
        Check(talk_s >= PROMPT_HEARD, f"both went on hearing each other ({talk_s:.0%} of the call)"),
    ]


def _cut(found: Evidence) -> list[Check]:
    used_ms, phones_s = found.cdr["used_ms"], found.call.duration_s
    return [
        Check(
            0 <= used_ms - scene.TOTAL_S * 1000 <= CUT_LATE_MAX_MS,
            f"the call was cut {used_ms - scene.TOTAL_S * 1000} ms after its last paid second",
        ),
        Check(found.cdr["cut"] == "money", "and it was the end of the money that cut it"),
        Check(
            abs(phones_s - used_ms / 1000) <= CLOCKS_APART_MAX_S,
            f"the phones saw {phones_s:.2f} s, Asterisk's own record says {used_ms / 1000:.2f} s, "
            f"{found.cdr['billed_s']} s were charged",
        ),
    ]


def _books(found: Evidence) -> list[Check]:
    credit, last = found.balance["credit"], found.lines[-1]
    watched = (found.watch.credit, found.watch.free_s)
    same = micro(credit["posted"]) == last.credit_after == watched[0] and last.free_after == watched[1]
    nothing = micro(credit["reserved"]) == last.reserved_after == 0 and not found.balance["calls"]
    spent = scene.TOP_UPS * scene.TOP_UP_EURO * MICRO - micro(credit["posted"])
    return [
        Check(same, "the journal adds up to the balance, and to what was shown live"),
        Check(spent == micro(found.cdr["cost"]), "every cent that was paid in was talked away, and none besides"),
        Check(nothing, "nothing is left reserved, no call is left open"),
        Check("exact" in found.verified, "`charging ledger verify` finds nothing"),
    ]
