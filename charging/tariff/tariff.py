"""A tariff in force: number → destination → rate, for every plan; and the VAT of each day.

A number belongs to the destination with its longest prefix, among the prefixes of *all* destinations. If that
destination is refused, it is refused in every plan, even if a deck has longer prefixes within it. The price comes from
the table's rate for the destination or from the table's decks, whichever matches more digits. If the table has no price
for the destination, the number is not covered: the price of a shorter prefix of another destination is not used, and a
number without a price is never dialled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from datetime import date
from enum import StrEnum
from typing import Generic, TypeVar
from zoneinfo import ZoneInfo

import phonenumbers

from charging.clock import local_reading, month_name
from charging.errors import Problem
from charging.pricing.money import CENT, format_euro
from charging.pricing.packs import MONTH_ORDER, PAGES, PackRules, PackTerms, PieceRules, monthly
from charging.pricing.rate import Band, Rate, Rounding, Step, gross_price, round_div
from charging.records import dataclass
from charging.tariff.deck import PER_MINUTE_S, Deck, DeckRow
from charging.tariff.numbering import NUMBER_CHARACTERS, e164, is_certain
from charging.tariff.plans import Pack, Plan

DECK_RATES_MAX = 1_024
"""So many rates by decks are kept made; a deck may have 100,000 rows."""

T = TypeVar("T")


class Refusal(StrEnum):
    """Why a number has no rate."""

    UNKNOWN_PLAN = "unknown_plan"
    """The account's plan is not in the tariff (any more)."""
    NOT_COVERED = "not_covered"
    """No destination or price of the plan's rate table covers the number."""
    BLOCKED = "blocked"
    """The number belongs to a destination that the operator blocks."""
    PREMIUM = "premium"
    """The number belongs to a premium service, whose price nobody controls."""
    LOOP = "loop"
    """The number is one of the operator's own: the call would come back."""
    NOT_A_NUMBER = "not_a_number"
    """It is not written as :meth:`Tariff.normalise` writes it, or is no certain number: what would be dialled might be
    another number than what is priced."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A named set of numbers."""

    name: str
    prefixes: tuple[str, ...] = ()
    """With ``+``."""
    short_codes: tuple[str, ...] = ()
    """Whole numbers without country code, such as ``1233``."""
    title: str = ""
    refuse: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one destination in one rate table, as the file says it."""

    steps: tuple[Step, ...]
    bands: tuple[Band, ...] = ()
    connect_fee: int = 0
    min_charge: int = 0
    max_cost: int | None = None
    ends_at_max: bool = False
    fax_page: int | None = None
    """Of one page; ``None``: the table's."""


@dataclass(frozen=True, slots=True)
class RateTable:
    """Prices by destination, and decks for all else."""

    name: str
    prices: Mapping[str, Price]
    decks: tuple[Deck, ...] = ()
    fax_page: int | None = None
    """Of one page to a destination of the table that does not say; ``None``: faxes are not offered there."""
    deck_fax_page: int | None = None
    """Of one page to what a deck prices and gives no page's price for, if a minute of a call costs no more; ``None``:
    faxes are not offered there. A page may take a minute, and a deck holds the dearest numbers of the world."""
    fee_with_call: bool = False
    """Whether connect fees are due also inside free minutes."""


@dataclass(frozen=True, slots=True)
class TopUps:
    """Which amounts may be bought (R2)."""

    minimum: int
    amounts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Vat:
    """Value added tax: which rate counts on which day. Rates are in hundredths of a percent; days are the operator's.

    Each day keeps its rate: a statement of last year shows last year's rate, whatever the rate is today.
    """

    rate: int = 0
    """Until the first change."""
    changes: tuple[tuple[date, int], ...] = ()
    """The first day of each other rate, ascending."""
    included: bool = True
    """Whether prices include it."""

    def on(self, day: date) -> int:
        """The rate that counts on a day."""
        return next((rate for first_day, rate in reversed(self.changes) if first_day <= day), self.rate)

    def during(self, first: date, last: date) -> tuple[int, ...]:
        """Every rate that counts on some day from ``first`` to ``last``, each once, in the order of the days."""
        later = (rate for first_day, rate in self.changes if first < first_day <= last)
        return tuple(dict.fromkeys((self.on(first), *later)))

    def added(self, day: date) -> int:
        """The rate that is put on top of prices on a day; 0 where they include it."""
        return 0 if self.included else self.on(day)

    def differs_before(self, other: Vat, day: date) -> bool:
        """Whether an earlier day has another rate there."""
        turns = (date.min, *(first_day for one in (self, other) for first_day, _ in one.changes))
        return any(self.on(turn) != other.on(turn) for turn in turns if turn < day)

    def __str__(self) -> str:
        changes = (f"{format_percent(rate)} from {first_day}" for first_day, rate in self.changes)
        where = "included" if self.included else "on top"
        return ", ".join((format_percent(self.rate), *changes, where))


NO_VAT = Vat()


def vat_within(gross: int, rate: int) -> int:
    """The VAT in an amount that includes it, rounded half up to whole cents; micro-euro. Of nothing, or less, it is
    0."""
    return round_div(max(0, gross) * rate, (10_000 + rate) * CENT, Rounding.HALF_UP) * CENT


def format_percent(hundredths: int) -> str:
    """``2100`` → ``21%``, ``950`` → ``9.5%``."""
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + "%"


class Prefixes(Generic[T]):
    """Longest match: one dictionary look-up for every length that occurs, longest first."""

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        self._entries = dict(entries)
        self._lengths = tuple(sorted({len(prefix) for prefix in self._entries}, reverse=True))

    def match(self, number: str) -> tuple[str, T] | None:
        """The longest prefix of ``number``, and what it stands for."""
        entries = self._entries
        for length in self._lengths:
            prefix = number[:length]
            if prefix in entries:
                return prefix, entries[prefix]
        return None


@dataclass(frozen=True)
class Tariff:
    """Everything that a tariff file and its decks say. Never changed: an edit makes another one."""

    revision: str
    digest: str
    """Of the file and its decks, as read."""
    zone: str
    region: str
    """ISO country code by which national numbers are read."""
    plans: Mapping[str, Plan]
    destinations: Mapping[str, Destination]
    tables: Mapping[str, RateTable]
    top_ups: TopUps
    packs: Mapping[str, Pack] = field(default_factory=dict)
    rounding: Rounding = Rounding.UP
    decimals: int = 6
    vat: Vat = NO_VAT
    holidays: frozenset[date] = frozenset()
    expiry_notices_days: tuple[int, ...] = ()
    """How many days before credit expires its owner is told, each once (R20)."""
    warnings: tuple[Problem, ...] = ()
    """What is odd in the files, and no reason to refuse them."""
    refused: tuple[Problem, ...] = field(default=(), compare=False)
    """Why the files do not count as they stand now, and this tariff goes on."""
    waiting: str = field(default="", compare=False)
    """The digest of what stands there, where it counts once someone accepts it."""
    _prefixes: Prefixes[Destination] = field(init=False, repr=False, compare=False)
    _short_codes: dict[str, Destination] = field(init=False, repr=False, compare=False)
    terms: Mapping[str, PackTerms] = field(init=False, repr=False, compare=False)
    """The rules of its packs, by their names; and of its plans' bundles, as ``plan:pro``, ``plan-pages:pro``."""
    _bundles: dict[tuple[str, str], PackTerms] = field(init=False, repr=False, compare=False)
    """Those of the plans' bundles, by plan and sort."""
    _made: dict[tuple[str, str, str, int], Rate] = field(init=False, repr=False, compare=False)
    _of_decks: dict[tuple[str, str | None, DeckRow, int], Rate] = field(init=False, repr=False, compare=False)
    """Some of those by a deck, of which there may be very many."""
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        every = self.destinations.values()
        put = object.__setattr__
        put(self, "_prefixes", Prefixes((prefix, one) for one in every for prefix in one.prefixes))
        put(self, "_short_codes", {code: one for one in every for code in one.short_codes})
        packs = {one.name: _terms_of(one, self.destinations) for one in self.packs.values()}
        bundles = list(_bundles_of(self.plans.values(), self.destinations))
        put(self, "terms", packs | {f"{one.sort}:{one.name}": one for _, one in bundles})
        put(self, "_bundles", {(one.name, sort): one for sort, one in bundles})
        put(self, "_made", {})
        put(self, "_of_decks", {})
        put(self, "_zone", ZoneInfo(self.zone))

    def plan(self, name: str) -> Plan | None:
        """The plan, or ``None`` when this tariff has none of that name."""
        return self.plans.get(name)

    def month_of(self, wall_us: int) -> str:
        """The calendar month in the operator's zone, as ``2026-11``."""
        return month_name(self._zone, wall_us)

    def day_of(self, wall_us: int) -> date:
        """The calendar day in the operator's zone."""
        return local_reading(self._zone, wall_us).date()

    def normalise(self, text: str) -> str | None:
        """A number as typed or dialled, as ``+31612345678``; a short code as its digits; ``None`` if neither, or if it
        is not certain which number is meant (`charging.tariff.numbering.expected` says why).

        National forms are read in the tariff's region. The result is one that this leaves as it is:
        what is stored, priced, refused and dialled is the same number.
        """
        if len(text) > NUMBER_CHARACTERS:
            return None
        if text.strip() in self._short_codes:
            return text.strip()
        return e164(text, self.region)

    def exists(self, number: str) -> bool:
        """Whether a normalised number is one that its country assigns. Short codes are not checked. A number that is
        too long or too short is no number at all (:meth:`normalise`)."""
        return not number.startswith("+") or phonenumbers.is_valid_number(phonenumbers.parse(number))

    def destination_of(self, number: str) -> tuple[str, Destination] | None:
        """The matched prefix (or short code) and destination of a normalised number."""
        if not number.startswith("+"):
            short = self._short_codes.get(number)
            return (number, short) if short else None
        return self._prefixes.match(number)

    def rate_for(
        self, plan_name: str, number: str, at_us: int, held: Mapping[str, PackTerms] = {}, *, is_prefix: bool = False
    ) -> Rate | Refusal:
        """The rate of a normalised number for a call that begins at ``at_us`` (wall clock, µs), or why there is none.
        ``held``: the rules of the packs that the payer has, by edition. ``is_prefix``: of all numbers that begin so."""
        if not (is_prefix or is_certain(number)):
            return Refusal.NOT_A_NUMBER
        found = self._find(plan_name, number, at_us)
        if isinstance(found, Refusal):
            return found
        if not held:
            return found[0]
        known = self.destination_of(number)
        name = None if known is None else known[1].name
        others = {one: terms for one, terms in held.items() if terms.sort == monthly() and one != found[0].granted_as}
        granted = {one: (terms.pays(number, name), terms.increment_s) for one, terms in others.items()}
        return found[0].with_given(*_paying("", number, name, held), granted)

    def fax_page_for(self, plan_name: str, number: str, at_us: int, *, is_prefix: bool = False) -> int | Refusal:
        """Micro-euro of one sent page to a normalised number, VAT included, or why there is no price. ``is_prefix``: to
        all numbers that begin so."""
        if not (is_prefix or is_certain(number)):
            return Refusal.NOT_A_NUMBER
        found = self._find(plan_name, number, at_us)
        if isinstance(found, Refusal):
            return found
        return Refusal.NOT_COVERED if found[1] is None else found[0].flat(found[1])

    def message_price(self, plan: Plan, at_us: int) -> int:
        """Micro-euro of a voicemail message taken at ``at_us`` on a number with paid voicemail, VAT included."""
        return gross_price(plan.voicemail_price, self.vat.added(self.day_of(at_us)), self.rounding, self.decimals)

    def piece_rules(self, sort: str, number: str, held: Mapping[str, PackTerms] = {}) -> PieceRules:
        """What may pay for pieces of a sort; ``number``: of pages, where they go, normalised; ``held`` as for
        :meth:`rate_for`."""
        found = self.destination_of(number)
        name = None if found is None else found[1].name
        known = {**self.terms, **{one.edition: one for one in self.terms.values()}, **held}
        paying, _ = _paying(sort, number, name, known)
        plans = {plan.name: plan.frees_piece(sort, name) for plan in self.plans.values() if plan.includes(sort)}
        granted = {one: terms.pays(number, name) for one, terms in known.items() if terms.sort == monthly(sort)}
        packs = {edition: (rules.order, rules.is_general) for edition, rules in paying.items()}
        return PieceRules(plans | granted, packs)

    def granted_as(self, plan: str, sort: str = "") -> str:
        """The edition under which a plan's bundle of seconds, or of pieces of a ``sort``, is granted now. If the bundle
        has no rules, the plan's name."""
        terms = self.monthly_terms(plan, sort)
        return plan if terms is None else terms.edition

    def monthly_terms(self, plan: str, sort: str = "") -> PackTerms | None:
        """The rules of a plan's bundle, which are kept before a month is granted under them; ``None``: it has none."""
        return self._bundles.get((plan, sort))

    def _find(self, plan_name: str, number: str, at_us: int) -> tuple[Rate, int | None] | Refusal:
        plan = self.plans.get(plan_name)
        if plan is None:
            return Refusal.UNKNOWN_PLAN
        matched, destination = self.destination_of(number) or ("", None)
        if destination is not None and destination.refuse is not None:
            return destination.refuse
        table = self.tables[plan.rates]
        vat_added = self.vat.added(self.day_of(at_us))
        own = table.prices.get(destination.name) if destination is not None else None
        row = self._deck_row(table, number, at_us)
        if row is not None and (own is None or len(row.prefix) > len(matched)):
            eligible = destination.name if destination is not None else None
            of_row = (plan_name, eligible, row, vat_added)
            if (rate := self._of_decks.get(of_row)) is None:
                if len(self._of_decks) >= DECK_RATES_MAX:
                    self._of_decks.clear()
                rate = self._rate(plan, eligible, row.name, row.prefix, _price_of(row), vat_added)
                self._of_decks[of_row] = rate
            return rate, _deck_page(table, own, row)
        if own is None or destination is None:
            return Refusal.NOT_COVERED
        key = (plan_name, destination.name, matched, vat_added)
        if key not in self._made:
            self._made[key] = self._rate(plan, destination.name, destination.name, matched, own, vat_added)
        return self._made[key], table.fax_page if own.fax_page is None else own.fax_page

    def _deck_row(self, table: RateTable, number: str, at_us: int) -> DeckRow | None:
        if not table.decks or not number.startswith("+"):
            return None
        today = self.day_of(at_us)
        found = [row for deck in table.decks if (row := deck.match(number, today))]
        return max(found, key=lambda one: len(one.prefix), default=None)

    def _rate(self, plan: Plan, eligible: str | None, name: str, prefix: str, price: Price, vat_added: int) -> Rate:
        """``eligible`` is the destination's name that decides whether free minutes may pay."""
        return Rate(
            plan=plan.name,
            destination=name,
            prefix=prefix,
            steps=price.steps,
            connect_fee=price.connect_fee,
            bands=price.bands,
            holidays=self.holidays if price.bands else frozenset(),
            zone=self.zone,
            min_charge=price.min_charge,
            max_cost=price.max_cost,
            ends_at_max=price.ends_at_max,
            fee_with_call=self.tables[plan.rates].fee_with_call,
            rounding=self.rounding,
            decimals=self.decimals,
            vat_added=vat_added,
            free_minutes=plan.frees(eligible),
            free_increment_s=plan.free_increment_s,
            other_bundles={
                other.name: (other.frees(eligible), other.free_increment_s)
                for other in self.plans.values()
                if other.free_seconds and other.name != plan.name
            },
            granted_as=self.granted_as(plan.name),
            packs=_packs_for(eligible, self.packs, self.terms),
            max_call_s=plan.max_call_s,
            tariff_revision=self.revision,
            tariff_digest=self.digest,
        )

    def top_up_refusal(self, amount: int) -> str | None:
        """What is expected instead of ``amount``, or ``None`` when it may be bought (R2)."""
        if amount < self.top_ups.minimum:
            return f"at least {format_euro(self.top_ups.minimum)}"
        if self.top_ups.amounts and amount not in self.top_ups.amounts:
            return "one of " + ", ".join(format_euro(one) for one in self.top_ups.amounts)
        return None


def _paying(
    sort: str, number: str, destination: str | None, held: Mapping[str, PackTerms]
) -> tuple[dict[str, PackRules], tuple[str, ...]]:
    """Of packs, how those pay that do for a number in this destination; and which do not."""
    packs = {one: terms for one, terms in held.items() if terms.sort == sort}
    paying = {one: terms.rules for one, terms in packs.items() if terms.pays(number, destination)}
    return paying, tuple(one for one in packs if one not in paying)


def _packs_for(eligible: str | None, packs: Mapping[str, Pack], terms: Mapping[str, PackTerms]) -> dict[str, PackRules]:
    """How the tariff's packs of minutes pay, those that do for a destination."""
    minutes = (one for one in packs.values() if not one.sort)
    pay = (one for one in minutes if one.destinations is None or eligible in one.destinations)
    return {one.name: terms[one.name].rules for one in pay}


def _terms_of(pack: Pack, destinations: Mapping[str, Destination]) -> PackTerms:
    """The rules of a pack as it is given today."""
    numbers = _numbers(pack.destinations, destinations)
    return PackTerms(pack.name, pack.title, pack.sort, pack.order, pack.increment_s, pack.destinations, numbers)


def _bundles_of(plans: Iterable[Plan], destinations: Mapping[str, Destination]) -> Iterator[tuple[str, PackTerms]]:
    """The rules of the plans' bundles, each with the sort of its pieces (empty: seconds). Free messages have none."""
    for one in plans:
        if one.free_seconds:
            numbers, step = _numbers(one.free_destinations, destinations), one.free_increment_s
            yield "", PackTerms(one.name, one.title, monthly(), MONTH_ORDER, step, one.free_destinations, numbers)
        if one.free_pages:
            numbers = _numbers(one.free_pages_to, destinations)
            yield PAGES, PackTerms(one.name, one.title, monthly(PAGES), MONTH_ORDER, None, one.free_pages_to, numbers)


def _numbers(paid_for: frozenset[str] | None, destinations: Mapping[str, Destination]) -> dict[str, bool]:
    """As `PackTerms.numbers` has them, of destinations of these names."""
    if paid_for is None:
        return {}
    paid = [one for name, one in destinations.items() if name in paid_for]
    numbers = {number: True for one in paid for number in (*one.prefixes, *one.short_codes)}
    others = (one for name, one in destinations.items() if name not in paid_for)
    within = (prefix for one in others for prefix in one.prefixes)
    return numbers | {one: False for one in within if any(one[:end] in numbers for end in range(2, len(one) + 1))}


def _price_of(row: DeckRow) -> Price:
    return Price(row.steps(), connect_fee=row.connect_fee, min_charge=row.min_charge)


def _deck_page(table: RateTable, own: Price | None, row: DeckRow) -> int | None:
    """The price of a page to what a deck prices; ``None``: faxes are not offered there. ``own``: of the destination
    that the number belongs to. What the row itself does not say holds only if a call costs no more: of a minute where
    the operator has named the destination, of the longest that a page may take where the price is the whole world's."""
    if own is None or own.fax_page is None:
        return row.page(table.deck_fax_page)
    return row.page(own.fax_page, PER_MINUTE_S)
