"""What a step of the core returns: the session, and commands. Pure.

The runner carries out the commands in order, and handles each answer before the next event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from charging.call import told
from charging.call.events import HangupOrdered, SwitchSaid
from charging.call.model import Context, Session
from charging.clock import Instant
from charging.ledger.model import Transfer
from charging.records import dataclass, replace

if TYPE_CHECKING:
    from charging.call.voicemail import Voicemail


@dataclass(frozen=True, slots=True)
class ReadBalances:
    """Answered by BalancesRead."""

    looks: bool = False
    """Only to see whether there is more than what is reserved; else nothing is booked."""


@dataclass(frozen=True, slots=True)
class Post:
    """Apply a transfer, with the grants that may be due before it. Answered by Posted."""

    transfer: Transfer
    grants: tuple[Transfer, ...] = ()


@dataclass(frozen=True, slots=True)
class Keep:
    """Store the session's record as it is now, without moving money. Answered by KeptAnswer."""


@dataclass(frozen=True, slots=True)
class AskSwitch:
    """Ask about the session's channels, each alone. Answered by SwitchSaid or SwitchSilent."""

    everywhere: bool = False
    """Look for channels of the session that we do not know, too."""
    listed: tuple[str, ...] = ()
    """Unique ids of channels that a list of all has just named for it: asked about, too."""
    leg_only: bool = False
    """Ask about the forwarded leg alone, if it is there. After a start thousands ask at once, and what has become of
    their callers is seen by the next audit."""


@dataclass(frozen=True, slots=True)
class ReadBlackBox:
    """Answered by BlackBoxRead or SwitchSilent."""


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """Have the switch cut the call at ``at``, and the caller's leg at ``backstop`` in case it lives on alone. Answered
    by DeadlineSet or SwitchSilent."""

    covered_s: int
    at: Instant
    backstop: Instant
    callee_uid: str
    caller_uid: str


@dataclass(frozen=True, slots=True)
class PlayPrompt:
    """Play a prompt to the subscriber. Answered by PromptPlayed, some seconds later."""

    prompt: str
    """A name in `prompts/script.yaml`."""
    language: str
    callee_uid: str
    sequence: int
    """Counts up within the session: the same prompt is never started twice for one crossing."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """End a channel. Answered by SwitchSilent if it cannot be ordered; the channel's end is an event of its own."""

    uid: str
    reason: str
    if_nobodys: bool = False
    """Only if the switch, asked about it alone, says that it talks and bears no session: an event alone names it."""


@dataclass(frozen=True, slots=True)
class AskPages:
    """Ask how many pages have been confirmed of the fax that one of these channels sends. Answered by PagesConfirmed or
    SwitchSilent."""

    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete the call's black-box record, now that it is booked; or first look at it again (``look_again``), for it
    has a voicemail message that is not booked yet. A record that has not been read (``recorded`` is
    ``False``) is compared with what was booked when it comes."""

    look_again: bool = False
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class Find:
    """Keep a finding, which contradicts what is booked, for a person to look at."""

    kind: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Our copy disagrees with the ledger. Drop it; the next audit reloads the session if this switch still owns it."""


@dataclass(frozen=True, slots=True)
class Become:
    """Go on as another record: a forward that failed, as a paid voicemail."""

    voicemail: Voicemail


@dataclass(frozen=True, slots=True)
class Tell:
    """Log and count what happened."""

    what: told.CallTold


LedgerCommand = ReadBalances | Post | Keep
SwitchCommand = AskSwitch | AskPages | ReadBlackBox | SetDeadline | HangUp
Command = LedgerCommand | SwitchCommand | PlayPrompt | Forget | Find | Doubt | Become | Tell


class Step(NamedTuple):
    """The session after an event, and the commands to carry out now."""

    session: Session
    commands: tuple[Command, ...] = ()


def stay(session: Session, _event: object, _context: Context) -> Step:
    """Change nothing: for rows of the table whose event means nothing."""
    return Step(session)


def hang_up(session: Session, event: HangupOrdered, _context: Context) -> Step:
    """An operator ends the call."""
    return order_end(session, event.reason, "operator", told.HangupOrdered(event.reason))


def order_end(session: Session, reason: str, cut_by: str, why: told.CallTold) -> Step:
    """End the call: hang up the caller's channel, and each channel that the switch, asked again, counts to the session.
    The caller's channel may be gone (a Local channel that was optimised away), and a channel that only an event named
    need not be the session's."""
    ordered = replace(session, hangup_reason=reason, cut_by=cut_by)
    return Step(ordered, (Tell(why), HangUp(session.caller_uid, reason), AskSwitch(everywhere=True)))


def hang_up_all(session: Session, event: SwitchSaid, context: Context) -> Step:
    """Hang up each channel of the call that is left, until none is."""
    legs = [leg for leg in (event.callee, event.caller, *event.others) if leg is not None]
    waiting = replace(session, check_mono_us=context.in_s(context.policy.retry_s))
    return Step(waiting, tuple(HangUp(leg.uid, session.hangup_reason) for leg in legs))
