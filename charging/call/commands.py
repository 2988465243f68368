"""What the core wants done. The runner does it, in order, and feeds the answer back before the next event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charging.call.told import Told
from charging.clock import Instant
from charging.ledger.model import Transfer

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
    """Store the session's record as it is now. Answered by KeptAnswer."""


@dataclass(frozen=True, slots=True)
class AskSwitch:
    """Ask about the session's channels, each alone. Answered by SwitchSaid or SwitchSilent."""

    everywhere: bool = False
    """Look for channels of the session that we do not know, too."""


@dataclass(frozen=True, slots=True)
class ReadBlackBox:
    """Answered by BlackBoxRead or SwitchSilent."""


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """Have the switch cut the call at ``at``, and the caller's leg at ``backstop`` should it live on alone.
    Answered by DeadlineSet or SwitchSilent."""

    covered_s: int
    at: Instant
    backstop: Instant
    callee_uid: str
    caller_uid: str

    @property
    def deadlines(self) -> tuple[tuple[str, Instant], ...]:
        """Of each channel, by unique id."""
        return (self.callee_uid, self.at), (self.caller_uid, self.backstop)


@dataclass(frozen=True, slots=True)
class PlayPrompt:
    """Play a prompt into the subscriber's ear. Answered by PromptPlayed, some time later."""

    prompt: str
    """A name in `prompts/script.yaml`."""
    language: str
    callee_uid: str
    sequence: int
    """Counts up within the session: the same prompt is never started twice for one crossing."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """End a channel; no answer is awaited, the channel's end will tell."""

    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete the call's black-box record, now that it is booked; or first look at it again (``look_again``), for it
    has a voicemail message that is not booked yet. A record that has not been read (``recorded`` is
    ``False``) is compared with what was booked when it comes."""

    look_again: bool = False
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class Find:
    """Keep something that contradicts what is booked, for a person to look at."""

    kind: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Our copy disagrees with the ledger. Drop it; the next audit reloads the session if this switch still owns it."""


@dataclass(frozen=True, slots=True)
class Become:
    """The session goes on as another record: a forward that failed, as a paid voicemail."""

    voicemail: Voicemail


@dataclass(frozen=True, slots=True)
class Tell:
    """Log and count something that happened."""

    what: Told


LedgerCommand = ReadBalances | Post | Keep
SwitchCommand = AskSwitch | ReadBlackBox | SetDeadline | HangUp
Command = LedgerCommand | SwitchCommand | PlayPrompt | Forget | Find | Doubt | Become | Tell
