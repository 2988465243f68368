"""Statements that their customers have not taken yet. Each is in memory until then, and its customer decides how long
that is (at `charging.web.listen.TAKEN_BYTES_S` nine minutes for 17 MB, a month of 20,000 calls); so an account has few.
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakSet

from starlette.responses import Response

from charging.service.refusal import Code, Refused

SMALL_BYTES = 1_000_000
"""What is no larger is not counted."""
UNTAKEN_MAX_EACH = 2


class Untaken:
    """All of them."""

    def __init__(self) -> None:
        self._of: dict[str, WeakSet[Response]] = {}
        """By account. Whatever becomes of an answer, it is gone from here when it is gone from memory: when all but a
        piece of it was taken (`charging.web.listen.PIECE_BYTES`), or its client has left."""

    def hindrance(self, account: str) -> Refused | None:
        """Why the account's customer is given no further one now; ``account``: empty for the operator, whom nothing
        keeps from it."""
        if len(self._of.get(account, ())) < UNTAKEN_MAX_EACH:
            return None
        message = f"{UNTAKEN_MAX_EACH} statements of account {account!r} are on their way and not taken yet"
        return Refused(Code.UNAVAILABLE, message, "take those first, or ask for one after the other")

    def answer(self, account: str, told: str | bytes, media: str, headers: Mapping[str, str]) -> Response:
        """With a statement."""
        made = Response(told, media_type=media, headers=headers)
        if account and len(made.body) > SMALL_BYTES:
            self._of = {one: held for one, held in self._of.items() if held}
            self._of.setdefault(account, WeakSet()).add(made)
        return made
