"""What people may write into accounts and numbers. Pure."""

from __future__ import annotations

import re

from charging.ledger.accounts import REHEARSAL
from charging.ledger.model import REASON_LENGTH_MAX
from charging.service.refusal import Code, Refused

EMAIL_LENGTH_MAX = 254
KEY_LENGTH_MAX = 128

_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
UNSEEN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff"
"""Invisible characters, including those that Python and JavaScript classify differently; `web.forms` publishes them."""
_ABROAD = (
    r"\u00a1-\u00ac\u00ae-\u05ff\u0606-\u061b\u061d-\u06dc\u06de-\u070e\u0710-\u088f\u0892-\u08e1\u08e3-\u167f"
    r"\u1681-\u180d\u180f-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\u2fff\u3001-\ud7ff\uf900-\ufefe\uff00-\ufff8"
)
"""Outside ASCII what can be seen: no spaces, no characters that only format (soft hyphens, marks of direction), no
private ones. What lies beyond U+FFFF is two characters to some engines of patterns, and left out."""
_IN_NAME = rf"[-A-Za-z0-9!#$%&*+/=^_`{{|}}~{_ABROAD}]"
"""What the parts of a name between its dots are made of, as a mail library takes them unquoted; but for the apostrophe,
and for the question mark: with it an encoded word would begin."""
EMAIL = rf"{_IN_NAME}(\.?{_IN_NAME}){{0,63}}@[A-Za-z0-9-]{{1,63}}(\.[A-Za-z0-9-]{{1,63}})+"
"""A mail address, in words that Python and ECMA-262 read alike. Up to 64 characters and the dots between them: to count
them together takes looking ahead, which many engines of patterns cannot."""
_EMAIL = re.compile(EMAIL)
_KEY = re.compile(rf"[!-~]{{1,{KEY_LENGTH_MAX}}}")
_MAILBOX = re.compile(r"[A-Za-z0-9_-]{0,40}")
_CONTROL = re.compile(rf"[{UNSEEN}\ud800-\udfff]")


def _check(good: bool, found: str, expected: str, at: str) -> Refused | None:
    return None if good else Refused(Code.INVALID, f"found {found[:80]!r}, expected {expected}", at=at)


def account_id(text: str) -> Refused | None:
    """What is wrong with a customer's account's id; ``None`` where nothing is."""
    if text == REHEARSAL:
        return _check(False, text, "another id: `charging check --call` takes that account's numbers and money", "#/id")
    expected = "an account id: up to 64 small letters, digits, dots, dashes and underscores, a letter or digit first"
    return _check(bool(_ACCOUNT.fullmatch(text)), text, expected, "#/id")


def email(text: str) -> Refused | None:
    """What is wrong with a mail address (empty: none)."""
    good = not text or (len(text) <= EMAIL_LENGTH_MAX and bool(_EMAIL.fullmatch(text)))
    return _check(good, text, "a mail address such as name@example.nl, or nothing", "#/email")


def idempotency_key(text: str) -> Refused | None:
    """What is wrong with a caller's key for one act."""
    expected = f"a key of 1 to {KEY_LENGTH_MAX} printable characters, no spaces"
    return _check(bool(_KEY.fullmatch(text)), text, expected, "Idempotency-Key")


def mailbox(text: str) -> Refused | None:
    """What is wrong with a voicemail box's name, which goes into the dialplan (empty: the number's digits)."""
    expected = "a mailbox: up to 40 letters, digits, dashes and underscores"
    return _check(bool(_MAILBOX.fullmatch(text)), text, expected, "#/mailbox")


def reason(text: str) -> Refused | None:
    """What is wrong with the reason that a person gives: it must say something, in one line."""
    good = bool(text.strip()) and len(text) <= REASON_LENGTH_MAX and not _CONTROL.search(text)
    return _check(good, text, f"a reason: one line of 1 to {REASON_LENGTH_MAX} characters", "#/reason")
