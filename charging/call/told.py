"""What is told about a call: each kind is logged, under its own name in snake case, and some are counted. Pure.

The three unions give a kind its level. `charging.engine.told` has what the daemon tells besides.
"""

from __future__ import annotations

from collections.abc import Mapping

from charging.call.model import Proof, Short
from charging.call.switch_events import TransferKind
from charging.ledger.model import Outcome
from charging.records import dataclass

# --- routine ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """The paid time has begun."""

    quota_s: int


@dataclass(frozen=True, slots=True)
class BridgeJoined:
    """The parties hear each other."""

    technology: str


@dataclass(frozen=True, slots=True)
class AnswerInferred:
    """The answer was missed; the switch's countdown told when it was."""

    past_ms: int


@dataclass(frozen=True, slots=True)
class TickPosted:
    """A tick's transfer is in the journal."""

    settled: Mapping[str, int]
    covered_s: int
    short: Short


@dataclass(frozen=True, slots=True)
class TickPostponed:
    """Nothing is charged over a link that is silent."""

    silent: bool


@dataclass(frozen=True, slots=True)
class DeadlineMoved:
    """The switch cuts later now."""

    covered_s: int


@dataclass(frozen=True, slots=True)
class WarningDue:
    """The end of the money is near, and the subscriber is told (R17)."""

    prompt: str
    left_s: int


@dataclass(frozen=True, slots=True)
class WarningRearmed:
    """The end is far again: the next one is warned of again (R22)."""

    left_ms: int


@dataclass(frozen=True, slots=True)
class PromptPlayed:
    """A prompt was played, or could not be."""

    prompt: str
    result: str


@dataclass(frozen=True, slots=True)
class HangupOrdered:
    """An operator ends the call."""

    reason: str


@dataclass(frozen=True, slots=True)
class CallSettled:
    """A call's end is booked."""

    billed_s: int
    proof: Proof
    settled: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CallCut:
    """We ended the call."""

    reason: str
    late_ms: int


@dataclass(frozen=True, slots=True)
class VoicemailReserved:
    """A forward that failed goes on as a paid voicemail."""

    price: int


@dataclass(frozen=True, slots=True)
class VoicemailSettled:
    """A paid voicemail's end is booked."""

    settled: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FaxSettled:
    """A fax's end is booked."""

    settled: Mapping[str, int]


Routine = (
    CallAnswered
    | BridgeJoined
    | AnswerInferred
    | TickPosted
    | TickPostponed
    | DeadlineMoved
    | WarningDue
    | WarningRearmed
    | PromptPlayed
    | HangupOrdered
    | CallSettled
    | CallCut
    | VoicemailReserved
    | VoicemailSettled
    | FaxSettled
)

# --- warnings: something is not as it should be, and mends itself or costs the operator little -----------------


@dataclass(frozen=True, slots=True)
class AnswerDeliveryDoubted:
    """The connection was lost while a decision was being delivered."""


@dataclass(frozen=True, slots=True)
class LedgerNotReached:
    """The ledger's answer is missing; the same is asked again."""


@dataclass(frozen=True, slots=True)
class ExtensionRefused:
    """Other calls of the account were faster, again and again."""


@dataclass(frozen=True, slots=True)
class AnswerMoved:
    """The switch's countdown says that the call was answered at another moment."""

    by_ms: int


@dataclass(frozen=True, slots=True)
class TransferFollowed:
    """The forwarded leg talks to someone else now, and is charged on."""

    kind: TransferKind


@dataclass(frozen=True, slots=True)
class TransferCut:
    """A transfer would take the call to where nobody pays for it."""

    kind: TransferKind


@dataclass(frozen=True, slots=True)
class MovedCallCut:
    """The forwarded leg was taken out of the conversation."""


@dataclass(frozen=True, slots=True)
class LegReplaced:
    """An INVITE has taken the forwarded leg's place: its call is over."""


@dataclass(frozen=True, slots=True)
class OverdueCallCut:
    """The switch did not cut at the deadline."""

    covered_s: int


@dataclass(frozen=True, slots=True)
class UnpaidChannelSeen:
    """A channel of the call talks that nobody pays for."""

    uid: str


@dataclass(frozen=True, slots=True)
class EndUnproven:
    """Neither a record nor an event proves when the call ended."""

    used_ms: int


@dataclass(frozen=True, slots=True)
class ClocksDisagreed:
    """The wall and monotonic clocks differ; the smaller duration is billed."""

    used_ms: int


Warnings = (
    AnswerDeliveryDoubted
    | LedgerNotReached
    | ExtensionRefused
    | AnswerMoved
    | TransferFollowed
    | TransferCut
    | MovedCallCut
    | LegReplaced
    | OverdueCallCut
    | UnpaidChannelSeen
    | EndUnproven
    | ClocksDisagreed
)

# --- errors: a person should look ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QuotaOverrun:
    """The call lasted longer than was paid for; the rest is the operator's cost."""

    seconds: int


@dataclass(frozen=True, slots=True)
class EventContradicted:
    """The switch denies what one of its events said: an ``answer``, or an ``end``."""

    denied: str


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The ledger holds another state of the session than we do."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class SessionReasserted:
    """A fail-over lost what was booked; it is booked again."""


@dataclass(frozen=True, slots=True)
class SessionReassertedShort:
    """The same, and the money for so many seconds has gone to other calls."""

    seconds: int


Errors = QuotaOverrun | EventContradicted | SessionLost | SessionReasserted | SessionReassertedShort

CallTold = Routine | Warnings | Errors
