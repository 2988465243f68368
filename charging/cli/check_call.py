"""``charging check --call NUMBER``: a call on the running switch and daemon that rings nobody and is charged to nobody.

The daemon gives NUMBER and the money of one short call to an account of its own (`charging.service.rehearsals`); the
call is made, and what became of it is looked at from the switch and from the books. Then both are taken away again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import phonenumbers

from charging.app_surroundings import tariff_that_counts
from charging.asterisk.rehearsal import Rehearsal, Seen, late_ms, seconds
from charging.call.decided import Fallback
from charging.cli.check_files import Wanted
from charging.cli.check_live import while_logged_in
from charging.cli.check_look import MANAGER_RELOAD, Look, is_denied
from charging.cli.check_results import CheckResult, ok, problem, unknown, warning
from charging.cli.client import Client, Document, connected, daemon_answers
from charging.clock import MICROSECONDS, SystemClock
from charging.errors import ActionRefused, ConfigError
from charging.ledger.accounts import REHEARSAL
from charging.pricing.money import AMOUNT_MAX, format_euro, parse_euro
from charging.pricing.rate import Rate
from charging.safe_text import hidden
from charging.settings import Config
from charging.tariff.plans import Plan
from charging.tariff.tariff import Tariff
from charging.whatif.quote import find_rate

PART = "rehearsal"
TALK_S = 8
"""The money is for so long a call, at the rehearsal's own price: time for the answer, the warning and the cut."""
CALL_LIMIT_S = 300
BOOKED_S = 30.0
KEPT_S = 5.0
LOOK_S = 0.25
LATE_MS, EARLY_MS = 1000, 50
"""Of a cut: what is more is told as a problem."""
APART_MS = 300
"""Between the length that is billed and the one that we saw."""
DIGITS = range(8, 16)
"""Of a number in E.164."""
SHIPPED = "copy this version's extensions_charging.conf to Asterisk's charging/, then `asterisk -rx 'dialplan reload'`"


@dataclass(frozen=True, slots=True)
class Scene:
    """What the rehearsed call costs and how long it lasts."""

    plan: str
    target: str
    seconds: int
    amount: int
    """Micro-euro."""


def rehearse(config: Config, wanted: Wanted) -> Iterator[CheckResult]:
    """Make the call and report what was seen. Raises ChargingError if the daemon refuses the preparations."""
    settings = config.settings
    if not daemon_answers(settings.control.socket):
        how = f"nothing answers at {settings.control.socket}: start it (`systemctl start charging`), then check again"
        yield problem(PART, f"no daemon runs that could decide a call; {how}")
        return
    try:
        scene = find_scene(tariff_that_counts(settings, SystemClock()), wanted.target, SystemClock().now().wall_us)
    except ConfigError:
        return  # the tariff's own problems are told
    if scene is None:
        what = "no plan of the tariff has a price for a number by which nobody could be rung"
        yield problem(PART, f"{what}: name a number of your own with --target, one that the tariff covers")
        return
    with _alone(settings.control.socket.parent) as alone, connected(settings) as client:
        if alone:
            yield from _on_stage(client, config, wanted, scene)
        else:
            yield problem(PART, "another rehearsal runs: wait until it has ended, then check again")


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other rehearsal is running. Two would share one account's money, and each would see the other's call
    cut. The lock ends with its process, even a killed one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def _on_stage(client: Client, config: Config, wanted: Wanted, scene: Scene) -> Iterator[CheckResult]:
    began = datetime.fromtimestamp(SystemClock().now().wall_us // MICROSECONDS, UTC).isoformat()
    wish = {"plan": scene.plan, "target": scene.target, "amount": format_euro(scene.amount)}
    client.send("PUT", "/rehearsal", {"number": wanted.number, **wish})
    try:
        seen, found = asyncio.run(_call(config, wanted, scene))
        yield from found
        if not found:
            yield from _judged(client, wanted, scene, seen, began)
    finally:
        cleared = _struck(client)
    yield _cleared(cleared)


def _struck(client: Client) -> Document:
    """The number is out of service at once; the money is taken back when the call is booked, which one that was broken
    off is soon."""
    cleared = client.send("DELETE", "/rehearsal")
    for _ in range(round(KEPT_S / LOOK_S)):
        if not parse_euro(cleared["reserved"]):
            break
        client.pause(LOOK_S)
        cleared = client.send("DELETE", "/rehearsal")
    return cleared


# --- the stage ------------------------------------------------------------------------------------------------


def find_scene(tariff: Tariff, target: str | None, at_us: int) -> Scene | None:
    """Choose a plan and a target that it has a price for; of several plans the one with the most credit a day.

    Without a ``target``: a number of a priced destination that has a possible length and belongs to no subscriber, by
    the numbering plans of `phonenumbers`, so that no phone would ring even if it were dialled.
    """
    targets = [target] if target is not None else list(_nobodys(tariff))
    for plan in sorted(tariff.plans.values(), key=_credit_a_day, reverse=True):
        for each in targets:
            rate = find_rate(tariff, plan.name, each, at_us)
            if isinstance(rate, Rate):
                price = rate.rehearsed().steps[0].price
                return Scene(plan.name, tariff.normalise(each) or each, TALK_S, TALK_S * price)
    return None


def _credit_a_day(plan: Plan) -> int:
    return AMOUNT_MAX if plan.max_credit_per_day is None else plan.max_credit_per_day


def _nobodys(tariff: Tariff) -> Iterator[str]:
    for destination in tariff.destinations.values():
        for prefix in destination.prefixes if destination.refuse is None else ():
            padded = (prefix.ljust(1 + digits, "0") for digits in DIGITS)
            yield from [number for number in padded if len(number) > len(prefix) and _is_nobodys(tariff, number)][:1]


def _is_nobodys(tariff: Tariff, number: str) -> bool:
    return tariff.normalise(number) == number and not phonenumbers.is_valid_number(phonenumbers.parse(number))


# --- the call -------------------------------------------------------------------------------------------------


async def _call(config: Config, wanted: Wanted, scene: Scene) -> tuple[Seen, list[CheckResult]]:
    """Make the call. Raises nothing: a failed login is a finding."""
    look = Look(config, {})
    rehearsal = Rehearsal(look.link, look.clock)
    look.observers.append(rehearsal.observe)

    async def made(_look: Look) -> AsyncIterator[CheckResult]:
        try:
            await rehearsal.run(wanted.number, wanted.context, scene.target, scene.seconds)
        except ActionRefused as error:
            cure = f"give it `write = call,reporting,originate` in manager.conf, {MANAGER_RELOAD}"
            why = f"this login may not begin a call ({error}); {cure}" if is_denied(error) else str(error)
            yield problem(PART, f"the call could not be made: {why}")

    return rehearsal.seen, await while_logged_in(look, CALL_LIMIT_S, made)


# --- what was seen --------------------------------------------------------------------------------------------


def _judged(client: Client, wanted: Wanted, scene: Scene, seen: Seen, began: str) -> Iterator[CheckResult]:
    arrived = bool(seen.dialled or seen.decision or seen.strayed)
    decision, others = decision_of(client, wanted, scene, began, KEPT_S if arrived else KEPT_S / 2)
    if decision is None or decision["reason"] == Fallback.UNDECIDED:  # noted from the switch's record: nobody was asked
        yield _not_arrived(wanted, seen, others)
        return
    yield ok(PART, f"{wanted.number}@{wanted.context} leads to charging-incoming, and the daemon was asked")
    yield _decided(decision)
    if seen.strayed:
        what = f"the call left as {seen.strayed}, past CHARGING_DIAL_PREFIX and _SUFFIX, and was ended"
        yield problem(PART, f"{what}; a rehearsal needs a dialplan that dials as the shipped one does")
    elif seen.dialled:
        yield _limited(seen, decision)
        if seen.answered_us is None:
            yield problem(
                PART, "the far end's answer was not told: mend what `--live` says of events, then check again"
            )
            return
        yield _heard(seen)
        yield _cut(seen, scene)
        yield from _booked(client, seen, decision["session"], began)


def _not_arrived(wanted: Wanted, seen: Seen, others: int) -> CheckResult:
    where = f"{wanted.number}@{wanted.context}"
    if seen.decision or seen.dialled:
        what = f"{where}: the call was decided ({seen.decision or 'forward'}), but that decision is not kept"
        return problem(PART, f"{what}, only {others} of other callers; look for decisions_lost in the daemon's log")
    if seen.entered:
        what = f"{where} leads to charging-incoming, but no daemon gave a decision there"
        return problem(PART, f"{what}: is CHARGING_AGI the address that `agi` in charging.yaml says, and reached?")
    why = (
        "the context has no such extension, or ended the call"
        if seen.refused
        else "it did not lead to charging-incoming"
    )
    line = f"`exten => {wanted.number},1,Goto(charging-incoming,${{EXTEN}},1)` in [{wanted.context}]"
    return problem(
        PART, f"{where}: {why}, and no daemon was asked; put {line}, or name your own context with --context"
    )


def _decided(decision: Document) -> CheckResult:
    if (decision["outcome"], decision["reason"]) == ("forward", "credit"):
        took = f"in {decision['took_ms']} ms by {decision['daemon'] or 'a daemon'}"
        return ok(PART, f"decided: forward (credit), {decision['quota_s']} s reserved, {took}")
    what = f"decided: {decision['outcome']} ({decision['reason']}): {decision['explanation']}"
    return problem(PART, f"{what}; {decision['advice'] or 'it should have been forwarded for credit'}")


def decision_of(
    client: Client, wanted: Wanted, scene: Scene, began: str, deadline_s: float
) -> tuple[Document | None, int]:
    """Return the rehearsal's own decision when it is kept, and how many decisions over other callers the number had: a
    stranger may call it meanwhile. Raises ChargingError if the daemon cannot be asked."""
    others = 0

    def look() -> Document | None:
        nonlocal others
        found = client.items("/decisions", {"number": wanted.number, "since": began})
        incoming = [one for one in found if one["turn"] == "incoming"]
        own = [one for one in incoming if _is_own(one, scene)]
        others = len(incoming) - len(own)
        return max(own, key=lambda one: (one["account"] == REHEARSAL, one["at"]), default=None)

    return _once_there(client, look, deadline_s), others


def _is_own(decision: Document, scene: Scene) -> bool:
    """The daemon gives the account to a call that it knows for the rehearsal's, and to no other. Where it did not come
    so far as to look whose the number is, the caller tells: the rehearsal's is its own target, which is nobody's."""
    if decision["account"]:
        return bool(decision["account"] == REHEARSAL)
    return bool(decision["caller"] == hidden(scene.target))


def _once_there(client: Client, look: Callable[[], Document | None], deadline_s: float) -> Document | None:
    for _ in range(round(deadline_s / LOOK_S)):
        if (found := look()) is not None:
            return found
        client.pause(LOOK_S)
    return look()


def _limited(seen: Seen, decision: Document) -> CheckResult:
    told = seconds(seen.quota)
    if told is None:
        return problem(PART, f"Dial has no S(quota): ASTERISK DOES NOT END A CALL WHEN ITS MONEY ENDS; {SHIPPED}")
    if told != decision["quota_s"]:
        what = f"the switch was told S({told}), but {decision['quota_s']} s are paid"
        return problem(PART, f"{what}: something sets CHARGING_QUOTA; {SHIPPED}")
    return ok(PART, f"the switch itself ends it after {told} s, if nobody extends that; dialled as {seen.dialled}")


def _heard(seen: Seen) -> CheckResult:
    if seen.heard == "NOISE":
        return ok(PART, f"the warning was heard at the far end, {seen.heard_ms / 1000:.1f} s after the answer")
    if seen.heard == "unmeasured":
        return unknown(PART, "whether the warning is heard: `asterisk -rx 'module load app_waitforsilence'`")
    cure = "see what `--live` says of prompts, of the feature chgkeep, and of the right `originate`"
    return problem(PART, f"the subscriber does NOT hear the warning (R17): nothing sounded at the far end; {cure}")


def _cut(seen: Seen, scene: Scene) -> CheckResult:
    late = late_ms(seen, scene.seconds)
    if late is None or not seen.cut:
        return problem(PART, "the call DOES NOT END when its money ends: it went on and was ended by the rehearsal")
    if late > LATE_MS:
        return problem(PART, f"it was cut {late} ms after the end of its money: is the machine overloaded?")
    if late < -EARLY_MS:
        what = f"it ended {-late} ms before its money did, and not by us"
        return problem(PART, f"{what}: does your dialplan set a timeout, or is app_playtones not loaded?")
    return ok(PART, f"hung up by the switch at the end of the paid time, {max(late, 0)} ms late")


def _booked(client: Client, seen: Seen, session: str, began: str) -> Iterator[CheckResult]:
    def look() -> Document | None:
        found = client.items("/cdrs", {"account": REHEARSAL, "since": began})
        return next((one for one in found if one["session"] == session), None)

    cdr = _once_there(client, look, BOOKED_S)
    if cdr is None:
        yield problem(PART, f"the call is not booked {BOOKED_S:.0f} s after its end; see the daemon's log")
        return
    if cdr["proof"] == "black_box":
        yield ok(PART, "the switch's own record of the call (the black box) was written, and read by the daemon")
    else:
        what = (
            f"the call was booked by {cdr['proof']}: THE BLACK BOX IS NOT WRITTEN, so a call that ends while no daemon"
        )
        yield problem(PART, f"{what} runs has no proof of its length; {SHIPPED}")
    apart = abs(cdr["used_ms"] - (seen.talked_ms or 0))
    lengths = f"talked {(seen.talked_ms or 0) / 1000:.2f} s, measured {cdr['used_ms'] / 1000:.2f} s"
    line = f"{lengths}, billed {cdr['billed_s']} s, € {cdr['cost']}"
    yield ok(PART, line) if apart <= APART_MS else problem(PART, f"{line}: {apart} ms apart; which clock is wrong?")
    if not cdr["warnings"]:
        yield warning(PART, "no warning was given: the daemon did not hear of the answer in time")


def _cleared(cleared: Document) -> CheckResult:
    if parse_euro(cleared["posted"]) or parse_euro(cleared["reserved"]):
        what = f"the account {REHEARSAL} has € {cleared['posted']}, € {cleared['reserved']} of it reserved"
        return problem(PART, f"{what}: its call is not booked; the next rehearsal takes the money away")
    back = f" (€ {cleared['taken_back']} taken back)" if parse_euro(cleared["taken_back"]) else ""
    return ok(PART, f"the books are at zero again{back}: account {REHEARSAL}, the number is out of service")
