"""The events of a session: frozen, and handled one at a time by the core. Pure.

There are three groups: events of the switch (`switch_events.py`), answers to the core's commands, and events that come
from time and from people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from charging.call.pieces import Allowance
from charging.call.switch_events import (
    BridgeEntered,
    BridgeLeft,
    ChannelEnded,
    ChannelReplaced,
    DialEnded,
    DialStarted,
    TransferSeen,
)
from charging.clock import Instant
from charging.ledger.model import Applied, Balance, Outcome, Transfer
from charging.records import dataclass

# --- answers to commands --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Leg:
    """One channel of the session as the switch describes it when asked."""

    uid: str
    bridged: bool
    up: bool
    """Answered."""
    time_left_ms: int | None
    """Until the switch cuts the channel; ``None``: no deadline."""
    since_answer_ms: int | None = None
    """Of the forwarded leg, asked about alone: by the switch's wall clock, as its record will; ``None``: not known."""
    answered: Instant | None = None
    """When it was answered, by the clocks of the switch's machine, read together; ``None``: not known."""


@dataclass(frozen=True, slots=True)
class SwitchSaid:
    """The answer to AskSwitch: what the switch knows of the session's channels. ``asked_mono_us`` is when the question
    was sent: all that is reported was true at that moment or later."""

    asked_mono_us: int
    caller: Leg | None
    callee: Leg | None
    others: tuple[Leg, ...] = ()
    """Channels that bear the session's name and are neither: someone has moved the call."""
    alone: bool = True
    """Whether the switch was asked about each of these channels by itself. In a list of all channels a stranger's
    caller id can stand beside ours: such an answer confirms a call that runs, and changes nothing else."""
    caller_asked: bool = True
    """Whether the question was about the caller's channel, too; else nothing is said of it."""
    nameless: bool = False
    """Whether one of the channels that were asked about by themselves is there without the session's name: it may be
    told just now."""

    @property
    def uids(self) -> tuple[str, ...]:
        """The unique ids of all these channels."""
        return tuple([leg.uid for leg in (self.callee, self.caller, *self.others) if leg is not None])


@dataclass(frozen=True, slots=True)
class PagesConfirmed:
    """The answer to AskPages."""

    uids: tuple[str, ...]
    """Those that were asked about."""
    pages: int | None
    """``None``: none of them sends a fax."""


@dataclass(frozen=True, slots=True)
class SwitchSilent:
    """The switch could not be asked, or did not obey."""

    what: str


@dataclass(frozen=True, slots=True)
class BalancesRead:
    """The account's balances now; ``None`` if the ledger could not answer."""

    balances: Mapping[str, Balance] | None
    looks: bool = False
    """As it was asked."""


@dataclass(frozen=True, slots=True)
class Posted:
    """The ledger's answer to a transfer; ``None`` if it could not answer: the outcome is unknown."""

    transfer: Transfer
    applied: Applied | None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The ledger's answer to Keep; ``None`` if it could not answer."""

    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class BlackBoxRead:
    """What the switch's own record of the call says; ``found`` is ``False`` if there is none (yet)."""

    found: bool
    dial_status: str = ""
    answered_ms: int = 0
    lasted_ms: int | None = None
    """The same, by a clock of the switch's machine that nobody can step; ``None``: its dialplan does not say."""
    by_leg: bool = False
    """Whether this is the forwarded leg's own time, and not its caller's."""
    message_stored: bool = False
    """The caller left a voicemail message, and it was stored (ASTERISK.md §7)."""
    no_room: bool = False
    """He could leave none, because the switch's disk is nearly full."""
    fallback: bool = False
    """The dialplan acted without a decision of ours."""
    undecided: bool = False
    """No decision of any daemon had reached the dialplan when the call ended, or its fallback took it."""
    number: str = ""
    caller: str = ""
    withheld: bool = False
    """He withholds his number, which stands in ``caller`` all the same."""
    cause: int | None = None
    """Q.850, of the caller's end."""
    ended_us: int | None = None
    fax_status: str = ""
    fax_pages: int = 0
    """Pages that the receiving machine has confirmed."""
    undialled: bool = False
    """The order of a fax came too late, or was none: the dialplan has dialled nobody."""
    switch: str = ""
    """The ``switch.id`` of the daemon that decided over the call; empty where none did."""
    turned: str = ""
    """Why the switch turned the caller away by itself, and asked nobody: ``no_number``, or how too many came."""


@dataclass(frozen=True, slots=True)
class DeadlineSet:
    """The switch has accepted a deadline, in seconds after the answer."""

    covered_s: int


@dataclass(frozen=True, slots=True)
class PromptPlayed:
    """A prompt was started to the subscriber, or could not be: ``result`` is a `ports.PromptResult`."""

    prompt: str
    result: str


# --- from time and from people --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Woke:
    """A moment has come that the session asked to be woken at. ``proven_mono_us`` is the moment up to which the switch
    has reported everything (when the last answered Ping was sent); ``None`` if it never has."""

    proven_mono_us: int | None


@dataclass(frozen=True, slots=True)
class FundsChanged:
    """The account can spend more: a top-up (R22), or what another call gave back at its end."""


@dataclass(frozen=True, slots=True)
class Draining:
    """The switch will soon be restarted (`drain`): the policy now reaches further ahead."""


@dataclass(frozen=True, slots=True)
class HangupOrdered:
    """An operator ends the call."""

    reason: str


@dataclass(frozen=True, slots=True)
class FaxOrdered:
    """The switch has taken the order to dial a fax."""


@dataclass(frozen=True, slots=True)
class SwitchRestarted:
    """Asterisk was, since a fax was opened: what it had dialled may have left nothing behind."""


@dataclass(frozen=True, slots=True)
class ForwardFailed:
    """The forward was not answered, and the dialplan asks what to do with the caller."""

    status: str
    voicemail_price: int | None = None
    """Micro-euro, where voicemail is to be paid: its price is reserved as the forward's money goes back."""
    balances: Mapping[str, Balance] = field(default_factory=dict)
    """Of the account, where it is: they say how much promotional credit there is, and how many included messages."""
    allowance: Allowance | None = None
    """Which included messages may pay for it."""


@dataclass(frozen=True, slots=True)
class AnswerDoubtful:
    """The AGI connection was lost while the decision was being delivered."""

    undelivered: bool = False
    """Before any part of it was sent, or in the switch's own words: no call comes of it."""


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """The wall clock and the monotonic clock have parted by ``by_us``; the switch's deadlines have moved."""

    by_us: int
    since_mono_us: int
    """The last reading of before: the daemon may have been frozen since, and learn of it late."""


SessionSwitchEvent = DialStarted | DialEnded | BridgeEntered | BridgeLeft | ChannelEnded | TransferSeen

Event = (
    SessionSwitchEvent
    | ChannelReplaced
    | SwitchSaid
    | SwitchSilent
    | PagesConfirmed
    | BalancesRead
    | Posted
    | KeptAnswer
    | BlackBoxRead
    | DeadlineSet
    | PromptPlayed
    | Woke
    | FundsChanged
    | Draining
    | HangupOrdered
    | FaxOrdered
    | SwitchRestarted
    | ForwardFailed
    | AnswerDoubtful
    | ClockJumped
)
