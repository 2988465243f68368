"""The faxes of an account as they are listed: those that are under way, from their open sessions, and those that are
over, from their CDRs.

The open ones are read first wherever both are: one that ends meanwhile is then seen in either place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import count

from charging.call.fax import Fax
from charging.call.storage import revive
from charging.clock import Clock
from charging.fax.desk import FaxPage, Place
from charging.fax.views import FaxView, view_of, view_of_cdr
from charging.ledger.accounts import Account
from charging.ledger.port import Store
from charging.service import text
from charging.service.actor import is_for_customer
from charging.service.refusal import Code, Refused, unknown_account

CDR_PAGE = 1000
CDRS_MAX = 5_000
"""That are looked through for one page: strangers can make any number of calls that are not answered, and each leaves
one."""
SENDERS_MAX = 10
"""Accounts of one mail address that are looked at: with a second one it is a guess already who sends."""
SHARED = (
    "with fax.mail_from_counts, faxes that are mailed from it are sent for neither; give one of them another, or each "
    "a fax address of its own (`charging fax address new`)"
)
"""What comes of a mail address that two accounts have."""


class ListedFaxes:
    """Those of all accounts."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def get(self, account: str, session: str) -> FaxView | Refused:
        """One fax."""
        opened = {view.session: view for view in await self.under_way(account)}
        if (found := await self._ended(account, session) or opened.get(session)) is not None:
            return found
        if await self._store.directory.account(account) is None:
            return unknown_account(account)
        return Refused(Code.NOT_FOUND, f"account {account!r} has no fax {session[:80]!r}")

    async def page(
        self, account: str, after: Place | None, limit: int, *, backwards: bool = False
    ) -> FaxPage | Refused:
        """Up to ``limit`` of the account's faxes that are over, by their end, from the one behind ``after`` on. The
        last page goes on with those under way. ``backwards``: the first page begins with those under way, and what is
        over comes newest first. A page may have fewer than ``limit`` though more follow: only ``next`` tells that."""
        if await self._store.directory.account(account) is None:
            return unknown_account(account)
        opened = await self.under_way(account)
        shown: list[FaxView] = []
        last, following = after, None
        async for place, view in self._over(account, after, backwards=backwards):
            if view is None:
                following = place
            elif len(shown) == limit:
                following = last
                break
            else:
                shown.append(view)
                last = place
        ended = {view.session for view in shown}
        under_way = [view for view in opened if view.session not in ended]
        if backwards:
            return FaxPage([*(reversed(under_way) if after is None else ()), *shown], following)
        return FaxPage([*shown, *(under_way if following is None else ())], following)

    async def senders(self, address: str) -> Sequence[Account]:
        """The accounts, SENDERS_MAX at most, that have this mail address, in whatever case it is written; who closed
        one and opened another has one."""
        return await self._store.directory.accounts_of_mail(address, SENDERS_MAX)

    async def sender_warnings(self, account: str, email: str) -> list[str]:
        """What is odd about a mail address for the account: another one has it. A customer is not told: he could ask
        whose an address is. Raises LedgerUnavailable."""
        if is_for_customer() or text.email(email) is not None:
            return []
        found = await self._store.directory.accounts_of_mail(email, 2)
        return [f"account {one.id!r} has this mail address too: {SHARED}" for one in found if one.id != account][:1]

    async def _ended(self, account: str, session: str) -> FaxView | None:
        """One that is over, at a cost that does not grow with all that the account has had."""
        row = await self._store.cdr(account, session)
        return None if row is None else view_of_cdr(row)

    async def _over(
        self, account: str, after: Place | None, *, backwards: bool = False
    ) -> AsyncIterator[tuple[Place, FaxView | None]]:
        """Faxes and their places, and where CDRS_MAX were looked through the last place, without a fax."""
        for _ in range(CDRS_MAX // CDR_PAGE):
            rows = await self._store.cdrs(account=account, after=after, limit=CDR_PAGE, backwards=backwards)
            for row in rows:
                if (view := view_of_cdr(row)) is not None:
                    yield (row.ended_us, row.session), view
            if len(rows) < CDR_PAGE:
                return
            after = rows[-1].ended_us, rows[-1].session
        assert after is not None
        yield after, None

    async def under_way(self, account: str) -> list[FaxView]:
        """Those that are not over. What is damaged is left out: `charging ledger verify` names it. Raises
        LedgerUnavailable."""
        found = []
        for stored in await self._store.sessions(account=account):
            try:
                record = revive(stored.state, self._clock.now(), stored.epoch)
            except ValueError:
                continue
            if isinstance(record, Fax):
                found.append(view_of(record))
        return found

    async def last_attempt(self, account: str, first: str) -> FaxView | None:
        """The newest fax that was opened under the key of ``first``, the session of its first attempt."""
        opened = {view.session: view for view in await self.under_way(account)}
        last: FaxView | None = None
        for number in count(1):  # each was opened once the one before was over
            session = first if number == 1 else f"{first}-{number}"
            if (found := await self._ended(account, session) or opened.get(session)) is None:
                break
            last = found
        return last
