"""An auditor of a simulated city who shares nothing with the engine: he reads the journal, the CDRs and the open
sessions as they are stored, does his own sums, and holds them to what the switches and the people know."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from charging.ledger.model import JournalLine, Kind, Leg
from charging.service.balance import BalanceView
from tests.simulation import ends
from tests.simulation.callers import Caller
from tests.simulation.city import City
from tests.simulation.faxes import Sent, first_attempt
from tests.simulation.letters import MICRO, check_mail, is_money, local_day, told_by_kind
from tests.simulation.setting import FAX_PAGE, MESSAGE_PRICE, PACK_OF

TOLERANCE_MS = 200
OVERSHOOT_MS = 50
LATE_S = 2
"""So late may an answer be heard of, and its deadline be set, until the next look at the switch."""
EURO = re.compile(r"€([0-9]+\.[0-9]+)")
DEAREST_MINUTE = 200_000
"""More than a minute with its fee costs in any edition."""


def micro(euro: str) -> int:
    """A decimal amount of euro in micro-euro."""
    return int(Decimal(euro) * MICRO)


def is_value(balance: str) -> bool:
    """What nobody may have less than nothing of."""
    return is_money(balance) or balance.startswith(("bundle:", "pack:"))


def paid_s(state: dict[str, Any]) -> float | None:
    """Seconds of talk for which a stored session holds money; ``None``: it is none that talks. Members that have their
    default are not there."""
    if state.get("state", "reserved") not in ("reserved", "ringing", "running") or "rate" not in state:
        return None
    return max((end for _, end, _ in state.get("funding", ())), default=0)


@dataclass
class Account:
    """What an account's journal adds up to."""

    lines: list[JournalLine] = field(default_factory=list)
    posted: Counter[str] = field(default_factory=Counter)
    reserved: Counter[str] = field(default_factory=Counter)
    by_people: int = 0
    packs: int = 0
    """Seconds of packs that people gave or took."""
    expired: int = 0
    freed: list[int] = field(default_factory=list)
    """Wall clock: when some credit was added, or given back."""
    begun: dict[str, int] = field(default_factory=dict)
    """When a session's first line was posted, wall clock."""
    first: dict[str, int] = field(default_factory=dict)
    """The number of a session's first line, and of a month's first grant by a plan."""
    of_session: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


class Inspector:
    """See the module. Raises AssertionError for the first thing that is not as it must be."""

    def __init__(self, city: City) -> None:
        self._city = city
        self._lines = hashlib.sha256()
        self._due: set[ends.Due] = set()
        """What had to be told of the end of credit, on mornings when everything ran."""
        self._paid: dict[str, tuple[str, float | None]] = {}
        """By session: its record as it was stored when it was looked at last, and what `paid_s` makes of it."""

    @property
    def _long_over(self) -> str:
        """A day of which nothing can be repeated any more, nor is there a month of it that is counted."""
        return local_day(self._city.clock.now().wall_us - 100 * 86_400 * MICRO)

    async def look(self) -> None:
        """What must hold at every moment."""
        for account in self._city.people.credited:
            for name, balance in (await self._city.store.balances(account)).items():
                if is_value(name):
                    assert balance.posted >= balance.reserved >= 0, (account, name, balance)
        await self._check_deadlines()
        if not self._city.setting.is_slow:
            await self._check_shown()
        if self._city.is_morning:
            for account in self._city.people.credited:
                due = ends.check_morning(self._city, account, await self._lines_of(account))
                self._due |= {due} if due is not None else set()

    async def _check_deadlines(self) -> None:
        """Money first, then time: nobody's deadline on the switch lies beyond what is reserved for him."""
        before, self._paid = self._paid, {}
        for stored in await self._city.store.sessions():
            known, until_s = before.get(stored.id, ("", None))
            if known != stored.state:
                until_s = paid_s(json.loads(stored.state))
            self._paid[stored.id] = stored.state, until_s
            call = self._city.switches[int(stored.switch.removeprefix("s"))].calls.get(stored.id)
            if until_s is None or call is None or call.answered is None or call.deadline_mono_us is None:
                continue
            if not call.caller_alive:
                continue
            # By so much an answer may be reckoned wrong while its call lasts: by the steps that a machine which takes
            # it over has not seen, and those that came nobody knows when, for the dialplan does not say when it was.
            caller, setting = self._city.of_session[stored.id], self._city.setting
            unknown_s = caller.stepped_s if setting.apart or setting.is_old else 0
            if self._city.clock.now().mono_us <= self._city.trouble_until_us[caller.switch]:
                unknown_s = caller.stepped_s  # a step moves what the switch counts down, until somebody sets it right
            if caller.forgotten:
                continue
            allowed_us = round((until_s + 1 + LATE_S + unknown_s) * MICRO) + OVERSHOOT_MS * 1000
            held_us = call.deadline_mono_us - call.answered.mono_us
            assert held_us <= allowed_us, (stored.id, "may talk unpaid", until_s)
            if self._city.clock.now().mono_us > self._city.trouble_until_us[caller.switch] and not unknown_s:
                early = stored.id, "is cut after", held_us / MICRO, "and has paid for", until_s
                assert held_us >= (until_s - LATE_S) * MICRO, early

    async def _check_shown(self) -> None:
        """R5: what people see that they have while a call runs is what they have if it ends now. Looked at where one
        call of an account runs, all of it paid by credit, and nothing has been wrong since before its answer."""
        if self._city.is_troubled:
            return
        callers = {session: self._city.of_session.get(session) for session in self._paid}
        talking = Counter("" if one is None else one.account for one in callers.values())
        for session, caller in callers.items():
            if caller is None or not caller.account or talking[caller.account] > 1 or talking[""]:
                continue
            call = caller.talked
            if call is None or call.answered is None or not call.caller_alive:
                continue
            was_wrong = self._city.trouble_until_us[caller.switch] >= call.answered.mono_us
            stored = json.loads(self._paid[session][0])
            if not was_wrong and not caller.forgotten and all(one[2] == "credit" for one in stored["funding"]):
                talked_ms = (self._city.clock.now().mono_us - call.answered.mono_us) // 1000
                await self._check_shown_of(caller, talked_ms, stored)

    async def _check_shown_of(self, caller: Caller, talked_ms: int, stored: dict[str, Any]) -> None:
        daemon = next(iter(self._city.of(caller.switch)))
        view = await daemon.service.balances.view(caller.account)
        assert isinstance(view, BalanceView)
        billed_s = max(min(1, talked_ms), -(-(talked_ms - TOLERANCE_MS) // 1000))
        cost = self._cost(stored["rate"].get("tariff_revision", ""), billed_s, 0)
        balances = (await self._city.store.balances(caller.account)).items()
        today = local_day(self._city.clock.now().wall_us)
        if any(name.startswith("promo:") and name[6:] < today for name, _ in balances):
            return  # what has ended is not shown, and may be held by a call that began before
        before = sum(one.posted for name, one in balances if is_money(name))
        before += sum(amount for name, amount in stored.get("posted", {}).items() if is_money(name))
        shown = view.credit.now + sum(one.now for one in view.promotions)
        assert shown == before - cost, (caller.session, "is shown to leave", shown, "of", before, cost)
        self._city.counts["balance shown in a call"] += 1

    async def close(self) -> str:
        """What must hold when all is over; a digest of every journal line."""
        assert await self._city.store.sessions() == [], "every session closes"
        cdrs = await self._cdrs()
        accounts = {account: await self._read(account) for account in self._city.people.credited}
        for account, books in accounts.items():
            await self._check_balances(account, books)
            self._check_money(account, books, [one for one in cdrs.values() if one["account"] == account])
        for caller in self._city.callers:
            self._check_call(caller, cdrs, accounts)
        self._check_messages(cdrs)
        self._check_faxes(cdrs)
        told, journals = told_by_kind(self._city), {account: books.lines for account, books in accounts.items()}
        check_mail(self._city, told, journals, await self._active())
        for account, lines in journals.items():
            ends.check_expiry(self._city, account, lines)
            mails = [mail for kind in ends.KINDS for mail in told[account, kind]]
            ends.check_mails(self._city, account, lines, mails, {one for one in self._due if one.account == account})
        return self._lines.hexdigest()

    async def _active(self) -> dict[str, str]:
        """The plans of accounts that are neither suspended nor closed."""
        found = [await self._city.store.directory.account(account) for account in self._city.people.credited]
        return {one.id: one.plan for one in found if one is not None and str(one.status) == "active"}

    def _archived(self, what: str) -> Iterator[tuple[str, list[Any]]]:
        """The records of the files, each with its account, oldest month first."""
        for path in sorted(self._city.archives.glob(f"{what}-*.jsonl")):
            for text in path.read_text().splitlines():
                account, _, record = text.partition("\t")
                yield account, json.loads(record)

    async def _cdrs(self) -> dict[str, dict[str, Any]]:
        found = {session: json.loads(document) for _, (_, session, _, document) in self._archived("cdrs")}
        rows = await self._city.store.cdrs(limit=1_000_000)
        for row in rows:
            assert row.session not in found, (row.session, "has two CDRs")
            found[row.session] = json.loads(row.document)
        return found

    async def _lines_of(self, account: str) -> list[JournalLine]:
        """Archived and not, without the line that stands for those that are archived."""
        lines = []
        for whose, (_, number, id, kind, at_us, legs, session, reason, digest, *_) in self._archived("journal"):
            if whose == account:
                moved = tuple(Leg(*leg) for leg in legs)
                lines.append(JournalLine(number, id, account, Kind(kind), at_us, moved, session, reason, digest))
        lines.sort(key=lambda one: one.number)
        async for line in self._city.store.journal(account):
            if line.kind is Kind.OPENING:
                posted: Counter[str] = Counter()
                for leg in (leg for before in lines for leg in before.legs):
                    posted[leg.balance] += leg.posted
                opened = {leg.balance: leg.posted for leg in line.legs}
                assert opened == {name: amount for name, amount in posted.items() if amount}, (account, "lost a line")
            else:
                lines.append(line)
        return lines

    async def _read(self, account: str) -> Account:
        books = Account(await self._lines_of(account))
        number = 0
        for line in books.lines:
            assert line.number == number + 1, (account, "a gap in the journal", line.number)
            number = line.number
            self._lines.update(f"{account} {line.id} {line.digest} {line.at_us}\n".encode())
            books.first.setdefault(line.session or line.id, number)
            self._check_expiry(line.id, str(line.kind), {leg.balance for leg in line.legs})
            for leg in line.legs:
                books.posted[leg.balance] += leg.posted
                books.reserved[leg.balance] += leg.reserved
                if line.session is not None:
                    books.begun.setdefault(line.session, line.at_us)
                    books.of_session[line.session][leg.balance] += leg.posted
                    if leg.balance.startswith(("promo:", "pack:")) and leg.posted:
                        assert local_day(books.begun[line.session]) <= leg.balance.split(":")[1], (
                            line.id,
                            "takes what has ended",
                        )
                if leg.balance.startswith("pack:"):
                    books.packs += leg.posted if str(line.kind) == "correct" else 0
                if is_money(leg.balance) and leg.posted > leg.reserved:
                    books.freed.append(line.at_us)
                if is_money(leg.balance):
                    books.by_people += leg.posted if str(line.kind) in ("top_up", "correct") else 0
                    books.expired -= leg.posted if str(line.kind) == "expire" else 0
            self._city.counts["value expired"] += str(line.kind) == "expire"
        return books

    def _check_expiry(self, id: str, kind: str, balances: set[str]) -> None:
        """Whatever the clocks say, no month ends before its end."""
        today = local_day(self._city.clock.now().wall_us - round(self._city.steps.ahead_s * MICRO))
        for month in (name.removeprefix("bundle:") for name in balances if name.startswith("bundle:")):
            assert kind != "expire" or month < today[:7], (id, "minutes have expired in their month")

    async def _check_balances(self, account: str, books: Account) -> None:
        for name, balance in (await self._city.store.balances(account)).items():
            assert name[4:] > self._long_over or not name.startswith("day:"), (account, name, "is kept for ever")
            assert balance.posted == books.posted[name], (account, name, "is not what the journal adds up to")
            assert balance.reserved == books.reserved[name] == 0, (account, name, "something is still reserved")

    def _check_money(self, account: str, books: Account, cdrs: list[dict[str, Any]]) -> None:
        assert books.by_people == self._city.people.credited[account], (account, "top-ups and corrections, once each")
        assert books.packs == self._city.people.packs[account], (account, "packs, once each")
        cost = sum(micro(one["cost"]) for one in cdrs)
        money = sum(amount for name, amount in books.posted.items() if is_money(name))
        assert money == books.by_people - cost - books.expired, (account, "money is conserved")
        for cdr in cdrs:
            of_it = books.of_session[cdr["session"]]
            booked = -sum(amount for name, amount in of_it.items() if is_money(name))
            for last_day, part in cdr.get("promotional", {}).items():
                assert -of_it[f"promo:{last_day}"] == micro(part), (cdr["session"], "the gift's part differs", part)
            assert booked == micro(cdr["cost"]), (cdr["session"], "journal and CDR differ", booked, cdr["cost"])
            packs = {name[5:]: -amount for name, amount in of_it.items() if name.startswith("pack:") and amount}
            assert packs == cdr.get("packs", {}), (cdr["session"], "packs of journal and CDR differ", packs)
            for name in packs:
                pays = PACK_OF[name.split(":")[1].partition(".")[0]]
                assert pays is None or cdr["destination"] in pays, (cdr["session"], name, "pays elsewhere")
            for month, seconds in cdr.get("free_seconds", {}).items():
                of_pro = books.first.get(f"grant/{month}", MICRO) < books.first[cdr["session"]]
                assert not (of_pro and cdr["destination"] == "us"), (cdr["session"], "Pro's minutes pay abroad")
                used = -books.of_session[cdr["session"]][f"bundle:{month}"]
                assert used == seconds, (cdr["session"], "free seconds of journal and CDR differ")

    def _check_call(self, caller: Caller, cdrs: dict[str, Any], accounts: dict[str, Account]) -> None:
        call = caller.talked
        if call is None or call.answered is None:
            return
        due_s = max(1, -(-(call.true_ms - TOLERANCE_MS) // 1000))
        cdr = cdrs.get(call.session)
        if cdr is None and caller.forgotten:
            self._city.counts["call lost by the ledger"] += 1
            return
        assert cdr is not None, (call.session, "nobody has charged this call", call.true_ms)
        assert cdr["account"] in caller.owners, (call.session, "another has paid", cdr["account"], caller.owners)
        # A step that nobody saw while the call lasted makes its record longer, and that is told; nobody pays for it.
        if (
            caller.forgotten and cdr["overrun_s"]
        ):  # others have had what it had reserved, and it is not charged for that
            cdr |= {"overrun_s": 0}
        # An answer heard of late has its deadline as late, where the dialplan does not say how long ago it was.
        unknown_s = caller.stepped_s + (LATE_S if self._city.setting.is_old else 0)
        assert cdr["overrun_s"] <= unknown_s, (call.session, "talked longer than it had paid for")
        billed_s = cdr["billed_s"]
        # Whatever the clocks on the wall said.
        if caller.settled_us is not None:
            lasted_s = max(1, -(-(caller.settled_us - caller.began_us) // MICRO))  # an answer costs its first second
            assert billed_s <= lasted_s, (call.session, "billed", billed_s, "and was over", lasted_s, "after it came")
        if caller.lost or caller.forgotten:
            assert billed_s <= due_s + caller.stepped_s, (call.session, "billed more than it lasted", billed_s, due_s)
        else:
            least_s = due_s - caller.stepped_s - min(cdr["overrun_s"], unknown_s - caller.stepped_s)
            # Of steps that one another take back before anybody reads the clocks, an older dialplan's record alone
            # tells, and not how many there were: it may be believed, and where it cannot be, nothing is known but what
            # was proven.
            hidden_s = 0 if self._city.setting.apart else caller.hidden_s
            if hidden_s and cdr["proof"] == "clock_jump":
                least_s = 0
            assert least_s <= billed_s <= due_s + hidden_s, (call.session, "billed", billed_s, "of", due_s, cdr)
        self._check_price(cdr)
        if caller.was_cut:
            self._check_cut(caller, cdr, accounts[cdr["account"]])

    def _cost(self, revision: str, billed_s: int, free_s: int) -> int:
        """Micro-euro of a call of so many seconds, of which so many are free."""
        rates = self._city.setting.rates[int(revision.removeprefix("edition-"))]
        paid_s = -(-billed_s // rates.increment_s) * rates.increment_s - free_s
        exact = rates.fee + Decimal(paid_s * rates.a_minute) / 60 if paid_s > 0 else Decimal(0)
        return int(exact.to_integral_value(rounding="ROUND_CEILING"))

    def _check_price(self, cdr: dict[str, Any]) -> None:
        free_s = sum(cdr["free_seconds"].values()) + sum(cdr.get("packs", {}).values())
        expected = self._cost(cdr["tariff_revision"], cdr["billed_s"], free_s)
        assert micro(cdr["cost"]) == expected, (cdr["session"], "costs", cdr["cost"], "and not", expected, cdr)

    def _check_cut(self, caller: Caller, cdr: dict[str, Any], books: Account) -> None:
        """Who has money talks on, as long as nothing is broken. What comes by way of another daemon is seen by the next
        look at the balance, within a second; where calls last hours it comes seldom."""
        if not caller.calm or caller.stepped_s or caller.forgotten:
            return
        why = cdr["cut"]
        assert why in ("money", "day_limit", "max_call", "max_cost"), (
            caller.session,
            "was cut though all was well",
            why,
        )
        setting, at_us = self._city.setting, caller.cut_wall_us
        since_us, others = at_us - setting.pace * MICRO, setting.switches * setting.daemons > 1
        if why == "money" and not (
            (setting.is_slow or others) and any(since_us <= one <= at_us for one in books.freed)
        ):
            assert caller.available < DEAREST_MINUTE, (caller.session, "was cut with money left", caller.available)

    def _check_messages(self, cdrs: dict[str, Any]) -> None:
        """Each message that was sold is charged once, and to whose number it was left on; what was free, or left by
        nobody, costs nothing."""
        stored = {word.split()[1]: word.split()[0] for one in self._city.callers for word in one.messages}
        owners = {word.split()[1]: one.owners | one.later for one in self._city.callers for word in one.messages}
        charged: Counter[str] = Counter()
        for session, cdr in cdrs.items():
            if cdr["service"] != "voicemail" or not cdr["messages"]:
                continue
            key = session.removeprefix("message-")
            assert key in stored, (session, "a message is charged that nobody left")
            assert stored[key] != "free", (session, "a free message is charged")
            assert micro(cdr["cost"]) <= MESSAGE_PRICE, (session, cdr["cost"])
            assert cdr["account"] in owners[key], (session, "another has paid", cdr["account"], owners[key])
            charged[key] += 1
        assert all(times == 1 for times in charged.values()), ("charged twice", charged)
        lost = {word.split()[1] for one in self._city.callers if one.lost or one.forgotten for word in one.messages}
        for key, why in stored.items():
            assert why != "sold" or key in lost or charged[key], (key, "a message was sold and never charged")

    def _check_mailed_faxes(self, sent: Mapping[str, Sent], forgotten: set[str]) -> None:
        """R14: a fax that was handed in by mail is sent, or there is a reply that says what it costs and what there is.
        However often its mail is delivered, all replies are one mail."""
        attempts = {first_attempt(session) for session in sent}
        for mailed in (one for one in self._city.office.mailed if one.session not in forgotten):
            assert mailed.is_open or mailed.session in attempts or mailed.replies, (
                mailed,
                "is neither sent nor answered",
            )
            assert len({one["Message-ID"] for one in mailed.replies}) <= 1, (mailed, "is answered by two mails")
            for cost, credit in (
                map(micro, found) for one in mailed.replies if (found := EURO.findall(one.get_content()))
            ):
                # Of whom cannot pay one page the document is not looked at: the page is what is named.
                assert cost in (FAX_PAGE, mailed.pages * FAX_PAGE), (mailed, "is said to cost", cost)
                assert cost > credit, (mailed, "is refused though there is enough", cost, credit)

    def _check_faxes(self, cdrs: dict[str, Any]) -> None:
        """R3: of each document that was handed in one fax is dialled at most, and the pages that its receiver has are
        charged, no others."""
        forgotten = self._city.office.forgotten
        sent = {
            session: fax for session, fax in self._city.office.sent.items() if first_attempt(session) not in forgotten
        }
        cdrs = {session: cdr for session, cdr in cdrs.items() if first_attempt(session) not in forgotten}
        for session, cdr in cdrs.items():
            if cdr["service"] != "fax":
                continue
            assert session in sent or not cdr["pages"], (session, "pages are charged that nobody has sent")
            assert micro(cdr["cost"]) == cdr["pages"] * FAX_PAGE, (session, cdr["pages"], "pages cost", cdr["cost"])
        for session, fax in sent.items():
            assert session in cdrs, (session, "nobody has charged this fax", fax)
            got = 0 if fax.lost or not fax.dialled else fax.confirmed
            assert cdrs[session]["pages"] == got, (session, "pages charged", cdrs[session]["pages"], "of", fax)
        for session in (one for one in self._city.office.promised if first_attempt(one) not in forgotten):
            assert session in sent, (session, "is said to be on its way, and no switch was ordered to send it")
        self._check_mailed_faxes(sent, forgotten)
        dialled = Counter(first_attempt(session) for session, fax in sent.items() if fax.dialled)
        assert all(times == 1 for times in dialled.values()), ("a document was sent twice", dialled)
