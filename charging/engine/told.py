"""Everything that is told: of calls by the core (`charging.call.told`), and what the engine tells besides.

The unions give a kind its level in the log; its name there is the class's in snake case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, get_args

from charging.call import told as call
from charging.call.decide import Decision, Unsold
from charging.call.model import State
from charging.records import dataclass

# --- routine ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallDecided:
    """What the dialplan was told to do with a call."""

    decision: Decision
    reason: str
    quota_s: int | None = None
    price: int | None = None
    number: str | None = None


@dataclass(frozen=True, slots=True)
class CallerNotLookedUp:
    """The switch did not say whether it has the caller's channel."""

    error: str


@dataclass(frozen=True, slots=True)
class SessionRestored:
    """A stored session acts again."""

    state: State


@dataclass(frozen=True, slots=True)
class CallsTicked:
    """The ticks of some seconds, of all calls together, and what they took."""

    ticks: int
    short: int
    """Those after which a call is not reserved to its horizon."""
    charged_micro_euro: int
    free_seconds: int


@dataclass(frozen=True, slots=True)
class SessionsRestored:
    """Stored sessions are looked after again."""

    sessions: int


@dataclass(frozen=True, slots=True)
class LeaseGained:
    """This daemon ticks the switch from now on."""

    switch: str
    epoch: int


@dataclass(frozen=True, slots=True)
class LeftMessageCharged:
    """A message that the dialplan's fallback took is charged."""

    account: str
    charged_micro_euro: int
    price: int


@dataclass(frozen=True, slots=True)
class MessageNotSold:
    """A caller was not answered because no paid message could be reserved for him."""

    account: str
    reason: Unsold


Routine = (
    call.Routine
    | CallDecided
    | MessageNotSold
    | CallerNotLookedUp
    | SessionRestored
    | SessionsRestored
    | CallsTicked
    | LeaseGained
    | LeftMessageCharged
)

Details = call.TickPosted | call.TickPostponed | call.DeadlineMoved | SessionRestored
"""Routine of which each running call has its own: told together in the log (:class:`CallsTicked`,
:class:`TicksPostponed`), each by itself only to who looks closely."""

# --- warnings: something is not as it should be, and mends itself or costs the operator little -----------------


@dataclass(frozen=True, slots=True)
class NewerVersionRead:
    """A newer version wrote an open session: ``members`` of it are unknown here. They are kept and written back, and
    the session goes on without them. Said once for each that is met."""

    session: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TicksPostponed:
    """The switch was silent in some seconds, so that so many ticks charged nothing. They are tried again."""

    ticks: int


@dataclass(frozen=True, slots=True)
class AuditPostponed:
    """The switch could not be asked for its channels."""

    error: str


@dataclass(frozen=True, slots=True)
class MaintenancePostponed:
    """The switch could not be asked for its records, or to delete some."""

    error: str


@dataclass(frozen=True, slots=True)
class TargetUncertain:
    """A call was not forwarded: the stored target is no certain number, and might be dialled as another than priced."""

    account: str


@dataclass(frozen=True, slots=True)
class SwitchFailed:
    """The switch could not be asked, or did not obey."""

    error: str
    kind: str


@dataclass(frozen=True, slots=True)
class RecordsNotDeleted:
    """The switch keeps records that it was told to delete."""

    records: int


@dataclass(frozen=True, slots=True)
class RecordsOfAnotherSwitch:
    """The black box has records of daemons with another `switch.id`."""

    switches: Sequence[str]


@dataclass(frozen=True, slots=True)
class LeftMessageTooOld:
    """A message was taken so long ago that it might be charged twice."""

    account: str
    record: str
    ended_us: int | None


@dataclass(frozen=True, slots=True)
class DrainBegun:
    """The switch is about to be restarted."""

    calls: int


@dataclass(frozen=True, slots=True)
class DrainEnded:
    """It was, or is not to be any more."""

    calls: int


@dataclass(frozen=True, slots=True)
class OverloadBegun:
    """The event loop runs late: new calls are turned away."""

    late_ms: int


@dataclass(frozen=True, slots=True)
class OverloadEnded:
    """It keeps time again."""

    late_ms: int


@dataclass(frozen=True, slots=True)
class CallersTurnedAway:
    """The switch itself found so many callers one too many since the last look, by why."""

    evidence: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SpoolHasRoom:
    """Messages are taken again."""

    free_mb: int


@dataclass(frozen=True, slots=True)
class LedgerHasRoom:
    """The disk of the ledger has room again."""

    free_mb: int


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Another daemon ticks the switch, or may."""

    switch: str


@dataclass(frozen=True, slots=True)
class LeaseNotRenewed:
    """The ledger could not be asked."""

    error: str


@dataclass(frozen=True, slots=True)
class LeaseNotReleased:
    """The same; the lease runs out by itself."""

    error: str


@dataclass(frozen=True, slots=True)
class ForwardsInVain:
    """Far more forwards of an account are dialled and cost nothing than people make: a carrier may bill them all the
    same."""

    account: str


Warnings = (
    call.Warnings
    | ForwardsInVain
    | NewerVersionRead
    | TicksPostponed
    | AuditPostponed
    | MaintenancePostponed
    | TargetUncertain
    | SwitchFailed
    | RecordsNotDeleted
    | RecordsOfAnotherSwitch
    | LeftMessageTooOld
    | DrainBegun
    | DrainEnded
    | OverloadBegun
    | OverloadEnded
    | CallersTurnedAway
    | SpoolHasRoom
    | LedgerHasRoom
    | LeaseLost
    | LeaseNotRenewed
    | LeaseNotReleased
)

# --- errors: a person should look ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SwitchIdTaken:
    """The daemon of another switch holds the lease by our ``switch.id``: no call is decided here."""

    switch: str


@dataclass(frozen=True, slots=True)
class SessionsLeftOpen:
    """Sessions of switches that no daemon leads are open, and nobody ends them: what they hold is locked away."""

    switches: Mapping[str, int]
    """How many of each ``switch.id``."""


@dataclass(frozen=True, slots=True)
class SpoolFull:
    """The disk for voicemail is nearly full: no message is taken."""

    free_mb: int


@dataclass(frozen=True, slots=True)
class LedgerRoomLow:
    """The disk of the ledger is full, or nearly: it lives on what it has kept for itself."""

    free_mb: int


@dataclass(frozen=True, slots=True)
class LedgerOutOfRoom:
    """Of that so little is left that new calls are turned away."""

    free_mb: int


@dataclass(frozen=True, slots=True)
class RecordingsEnded:
    """The disk for voicemail is so nearly full that who left messages or faxes was hung up."""

    calls: int
    free_mb: int


@dataclass(frozen=True, slots=True)
class FaxesEnded:
    """So little memory of the switch's machine was free that who sent faxes to it was hung up."""

    calls: int
    free_mb: int


@dataclass(frozen=True, slots=True)
class SwitchHadNoRoom:
    """The switch itself found its disk nearly full, and took no message of a caller who was sent to voicemail."""


@dataclass(frozen=True, slots=True)
class UnexpectedEventMet:
    """A pair of state and event that the transition table does not have."""

    pair: str


@dataclass(frozen=True, slots=True)
class MailboxOverflowed:
    """A session's oldest event was dropped."""


@dataclass(frozen=True, slots=True)
class SessionUnreadable:
    """An open session's record cannot be read; its money stays reserved."""

    session: str
    error: str


@dataclass(frozen=True, slots=True)
class SessionsNotRestored:
    """The ledger could not be asked for the open sessions."""

    error: str


@dataclass(frozen=True, slots=True)
class LegWithoutSession:
    """A channel talks and nobody charges it: it is hung up."""

    session: str
    uid: str


@dataclass(frozen=True, slots=True)
class BookingContradicted:
    """Something contradicts what was booked, and is kept for a person to look at."""

    session: str
    kind: str
    evidence: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class LedgerFailed:
    """The ledger could not be asked."""

    error: str
    kind: str


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """The wall clock was stepped."""

    by_ms: int


Errors = (
    call.Errors
    | UnexpectedEventMet
    | MailboxOverflowed
    | SessionUnreadable
    | SessionsNotRestored
    | LegWithoutSession
    | BookingContradicted
    | LedgerFailed
    | ClockJumped
    | SwitchIdTaken
    | SessionsLeftOpen
    | SpoolFull
    | LedgerRoomLow
    | LedgerOutOfRoom
    | RecordingsEnded
    | FaxesEnded
    | SwitchHadNoRoom
)


Told = Routine | Warnings | Errors


def name_of(kind: type[Told]) -> str:
    """As operators see it: ``TickPosted`` is ``tick_posted``."""
    return _in_snake_case(kind.__name__)


@cache
def _in_snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in get_args(Told)}


def fields_of(told: Told) -> dict[str, Any]:
    """As operators see them; what is ``None`` is left out."""
    found = {name: getattr(told, name) for name in _NAMES[type(told)]}
    evidence = found.pop("evidence", {})
    return {**{name: value for name, value in found.items() if value is not None}, **evidence}
