"""A plan: what a subscriber has bought, and the limits that come with it."""

from __future__ import annotations

from charging.pricing.packs import MESSAGES, MONTH_ORDER, PACK, PAGES
from charging.pricing.rate import MAX_CALL_S
from charging.records import dataclass


@dataclass(frozen=True, slots=True)
class Pack:
    """Seconds, or pieces, that an operator gives or sells beside those of each month, with an end of their own."""

    name: str
    """The key in the tariff, which the balances of accounts carry."""
    title: str
    amount: int
    """How many seconds, or pieces, one has."""
    days: int
    """How long one lasts; the day on which it is given is the first."""
    destinations: frozenset[str] | None = None
    """Names of the destinations that it pays for; ``None``: all."""
    increment_s: int | None = None
    """Of seconds that it pays; ``None``: that of the rate."""
    order: int = MONTH_ORDER
    """Lower pays earlier."""
    sort: str = ""
    """Of its pieces: PAGES or MESSAGES; empty: it has seconds."""

    @property
    def kind(self) -> str:
        """What its balances begin with."""
        return f"{self.sort}:" if self.sort else PACK

    @property
    def seconds(self) -> int:
        """How many one has; 0: it has pieces."""
        return 0 if self.sort else self.amount

    @property
    def fax_pages(self) -> int:
        """How many pages one has."""
        return self.amount if self.sort == PAGES else 0

    @property
    def messages(self) -> int:
        """How many messages one has."""
        return self.amount if self.sort == MESSAGES else 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts in micro-euro, times in seconds."""

    name: str
    """The key in the tariff, which accounts carry."""
    rates: str
    """The name of the rate table that prices its calls."""
    title: str = ""
    """What customers call it."""
    is_paid: bool = False
    """Whether it is a paid subscription: credit does not expire while one is paid (R18)."""
    free_seconds: int = 0
    """The bundle of each calendar month (R11)."""
    free_destinations: frozenset[str] | None = None
    """Names of the destinations that free seconds may pay for; ``None``: all."""
    free_increment_s: int | None = None
    """Increment of seconds paid by the bundle; ``None``: that of the rate."""
    free_pages: int = 0
    """Fax pages of each calendar month."""
    free_pages_to: frozenset[str] | None = None
    """Names of the destinations that these pages may go to; ``None``: all."""
    free_messages: int = 0
    """Voicemail messages of each calendar month, on numbers with paid voicemail."""
    voicemail_paid: bool = False
    """The default of this plan's numbers (R6, R13)."""
    voicemail_price: int = 0
    """Of one message, on numbers with paid voicemail, as the file says it: `Tariff.message_price` adds VAT."""
    max_calls: int = 2
    """Calls of one account at the same time."""
    max_credit_per_day: int | None = None
    """Credit that calls, paid messages and faxes by mail may use in a local day; ``None``: as much as there is."""
    max_call_s: int = MAX_CALL_S
    """Length of one call."""
    low_credit: int = 0
    """Available credit below this is nearly gone (R15)."""
    low_free_seconds: int = 0
    """Fewer free seconds than this are nearly gone (R16)."""

    def frees(self, destination: str | None) -> bool:
        """Whether its free seconds may pay for a destination of this name; ``None``: one that has none."""
        return self.free_destinations is None or destination in self.free_destinations

    def includes(self, sort: str) -> int:
        """Pieces of a sort that it gives each month."""
        return {PAGES: self.free_pages, MESSAGES: self.free_messages}[sort]

    def frees_piece(self, sort: str, destination: str | None) -> bool:
        """Whether its pieces may pay for a destination of this name; ``None``: one that has none."""
        return sort == MESSAGES or self.free_pages_to is None or destination in self.free_pages_to

    def charges_voicemail(self, own: bool | None) -> bool:
        """Whether messages are paid on a number whose own setting is ``own`` (``None``: as the plan). What the plan has
        no price for costs nothing."""
        return self.voicemail_price > 0 and (self.voicemail_paid if own is None else own)
