"""Expected refusals, as values: why a request cannot be carried out, and what to do instead."""

from __future__ import annotations

from enum import StrEnum

from charging.records import dataclass


class Code(StrEnum):
    """Every kind of refusal."""

    NOT_FOUND = "not_found"
    """There is no such account, number, call…"""
    EXISTS = "exists"
    """It is there already, or belongs to someone else."""
    INVALID = "invalid"
    """What was given can never be right."""
    NOT_ALLOWED = "not_allowed"
    """What was given is well formed and against the tariff or a rule of the service."""
    ARCHIVED = "archived"
    """It was taken out of the ledger, into the archive's files."""
    REWOUND = "rewound"
    """It was in the ledger, which was restored from an older copy since."""
    CLOSED = "closed"
    """The account is closed, for good."""
    KEY_REUSED = "key_reused"
    """The idempotency key was used before, for something else."""
    INSUFFICIENT = "insufficient"
    """The balance would fall below zero."""
    CONFLICT = "conflict"
    """Gave up after repeated concurrent edits; retry."""
    UNAVAILABLE = "unavailable"
    """It cannot be done just now; the same may be asked again, with the same key."""


class Obstacle(StrEnum):
    """Why a fax cannot be sent, in more detail than the code, so that the customer can read it in his own language."""

    SUSPENDED = "suspended"
    """The account is suspended."""
    NO_OWN_NUMBER = "no_own_number"
    """The account has no number to send from."""
    INVALID_NUMBER = "invalid_number"
    """What it should go to is no telephone number."""
    PREMIUM_NUMBER = "premium_number"
    BLOCKED_NUMBER = "blocked_number"
    OPERATORS_NUMBER = "operators_number"
    NOT_COVERED = "not_covered"
    """The tariff has no fax price for where it should go."""
    UNREADABLE = "unreadable"
    """The document is no PDF or TIFF, is damaged, or has no page."""
    PROTECTED = "protected"
    """The document only opens with a password."""
    TOO_MANY_PAGES = "too_many_pages"
    TOO_LARGE = "too_large"
    """The document has too many bytes."""
    UNPAID_LINE = "unpaid_line"
    """Faxes of the account have held lines today for as long as they may, and no page was delivered for it."""
    DAY_LIMIT = "day_limit"
    """It came by mail, and would cost more than is left of what the plan lets a day cost."""
    PRICE = "price"
    """It would cost more than its sender has agreed to."""
    TROUBLE = "trouble"
    """The operator must mend something."""


class Dropped(StrEnum):
    """Why a mail for a fax was neither faxed nor answered."""

    AUTOMATIC = "automatic"
    """A program has sent it, or it is malformed or too large."""
    NOT_SET_UP = "not_set_up"
    """The settings name no mail server that proves the From of a mail."""
    UNPROVEN = "unproven"
    SLOW_DNS = "slow_dns"
    """The name servers of its domain did not say who sent it, for a day, or too many such mails wait already."""
    STRANGER = "stranger"
    UNKNOWN_ADDRESS = "unknown_address"
    """It was sent to a secret fax address that belongs to no account (any more)."""
    FAULT = "fault"
    """To read it met a fault of ours."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was changed."""

    code: Code
    message: str
    """What is the matter: found and expected, in one line."""
    advice: str = ""
    """What to do next, in one line."""
    obstacle: Obstacle | None = None
    """Of a fax that would meet it again; ``None`` where the code says it all."""
    at: str = ""
    """Which member of the request is wrong, as a JSON Pointer in a URI fragment such as ``#/email``, or a header's
    name; empty: not one alone, or none."""
    after: str = ""
    """Of a cursor: the one to go on from instead."""


def unknown_account(account: str) -> Refused:
    """There is no account of this id."""
    return Refused(Code.NOT_FOUND, f"there is no account {account!r}", "`charging account list` shows those there are")


def closed_account(account: str) -> Refused:
    """The account takes part in nothing any more."""
    return Refused(Code.CLOSED, f"account {account!r} is closed", "closing is for good: make another account")
