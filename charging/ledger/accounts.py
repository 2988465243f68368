"""Accounts, and the telephone numbers that belong to them. Pure.

People edit these records by the command line or the website. They are kept in the same store as the money, so that
several daemons share them; they hold no money themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from charging.records import dataclass

_SMALL_LETTERS = str.maketrans(ascii_uppercase, ascii_lowercase)


def folded(address: str) -> str:
    """A mail address in lower case, for comparison: only ASCII letters change, as by SQLite's ``lower``."""
    return address.translate(_SMALL_LETTERS)


class Status(StrEnum):
    """Whether an account may be charged."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    """No new call is forwarded; running ones go on while they can pay, or until they are hung up."""
    CLOSED = "closed"
    """For good, as of SUSPENDED for calls. Its history stays; credit is not refunded (R21)."""


class Language(StrEnum):
    """Customers are Dutch or English speakers."""

    NL = "nl"
    EN = "en"


REHEARSAL = "charging-rehearsal"
"""The account of `charging check --call`, never a customer's. Only the rehearsal's own call uses its money."""

PAYMENTS_REMEMBERED = 24
"""Two years of a monthly payer's."""


@dataclass(frozen=True, slots=True)
class Payment:
    """A recorded payment of the subscription. It is remembered so that repeating it changes nothing."""

    key: str
    """Made by the caller, unique among the account's."""
    until: str
    """The last paid day that was named, ``YYYY-MM-DD``; empty: a month more. ``corrected to YYYY-MM-DD``: it was no
    payment but a correction."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays."""

    id: str
    """``[a-z0-9][a-z0-9._-]{0,63}``."""
    plan: str
    """A plan's name in the tariff."""
    language: Language = Language.NL
    email: str = ""
    """Where notices go; empty: nowhere."""
    status: Status = Status.ACTIVE
    status_reason: str = ""
    paid_until_us: int | None = None
    """End of the paid subscription (R18), wall clock; ``None``: never paid."""
    paid_at_us: int | None = None
    """When a payment of the subscription was last recorded (R19), wall clock; ``None``: never."""
    payments: tuple[Payment, ...] = ()
    """The last PAYMENTS_REMEMBERED, oldest first. Kept here, as what follows from one is written in the same step."""
    created_us: int = 0
    fax_address: str = ""
    """SHA-256 of the secret in the account's own fax address; empty: it has none."""
    fax_address_us: int = 0
    """When that was made, wall clock."""
    paid_day: int = 0
    """Day of the month, 1 to 31, on which months that are paid one after the other begin, or on the last of a shorter
    month; 0: that of ``paid_until_us``."""
    change: str = field(default="", compare=False)
    """The note of the last change (`charging.service.changes`), written in the same step."""
    version: int = 0
    """Counts up at each edit; an edit names the version it has seen."""
    newer: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Members that a newer program has written: kept as they are, and written back."""

    @property
    def found_by(self) -> str:
        """The mail address under which a store lists the account; empty if it has none or is closed."""
        return "" if self.status is Status.CLOSED else folded(self.email)


@dataclass(frozen=True, slots=True)
class Number:
    """A number sold to a subscriber."""

    number: str
    """E.164 with a leading plus."""
    account: str
    forward_to: str = ""
    """E.164 with a leading plus; empty: not forwarded."""
    paid_voicemail: bool | None = None
    """R13's property of the number; ``None``: as the plan says."""
    mailbox: str = ""
    """Empty: the number's digits."""
    newer: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """As an account's."""
    change: str = field(default="", compare=False)
    """As of `Account`."""
    since_us: int = field(default=0, compare=False)
    """When it was given to this account, wall clock; 0: before that was noted."""
