"""Webhooks: what happens is posted to the operator's own programs (`charging.web.signed_post`), in the process that
does not decide calls.

An endpoint gets each account's events one after the other, and those of several accounts at the same time. The stored
place is the one up to which all accounts were served, so a process that is killed sends some events twice. While the
receiver does not answer, one event is tried and all others wait in the stream: none is lost. An event that the
receiver refuses becomes a letter, which is tried again, later each time; meanwhile the other accounts go on
(`charging.service.webhooks`).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import NoReturn, Protocol

import httpx
import structlog

from charging.clock import MICROSECONDS, Clock
from charging.errors import ChargingError, LedgerError, LedgerUnavailable
from charging.service.actor import acting
from charging.service.events import Event, Place
from charging.service.refusal import Code, Refused
from charging.service.webhooks import Endpoint, Letter, Report, Webhooks
from charging.tasks import together
from charging.web.asks import path
from charging.web.forward import PING_S
from charging.web.signed_post import Failure, Kind, Receiver, message, message_id

FIRST_WAIT_S = 5
AWAY_WAIT_S = 300
"""The waits double from the first to this, while the receiver is away."""
AWAY_TRIES = 12
"""Of one event that reaches the receiver, half an hour or so; then it becomes a letter: perhaps it is what the receiver
fails at."""
AWAY_HOLD_S = 3600
"""Of one event too, whatever the receiver asks for: so long it holds up the other accounts."""
LETTER_WAIT_S = 6 * 3600
TRIES = 16
"""Of a letter, for a day or so."""
LETTERS_MAX = 10_000
"""With so many the stream waits."""
RENEW_S = 20
"""The turn and the place are written so often, within the turn's length."""
LOOK_S = 1
LETTERS_LOOK_S = 5
PAUSE_S = 10
ROWS = 50
LANES = 8
"""Requests to one endpoint at a time, each of another account."""

log = structlog.get_logger(__name__)


def wait_s(failures: int, most_s: int, jitter: float) -> float:
    """Seconds before the next try, after so many failed; ``jitter`` from 0 to 1 takes up to a half off."""
    return min(FIRST_WAIT_S * 2.0 ** (failures - 1), most_s) * (1 - jitter / 2)


class Stream(Protocol):
    """The events of all accounts (`charging.service.events.Events`)."""

    async def of_all(
        self, after: Place, limit: int, *, over_gaps: bool = False
    ) -> tuple[list[Event], Place] | Refused: ...


class Book(Protocol):
    """What is remembered (`charging.service.webhooks.Webhooks`, which the daemon writes)."""

    async def take(self, name: str) -> Endpoint | Refused: ...
    async def move(self, name: str, place: str, report: Report, *, off: bool = False) -> Endpoint | Refused: ...
    async def bury(self, name: str, letter: Letter) -> None: ...
    async def failed(self, name: str, letter: Letter) -> None: ...
    async def taken(self, name: str, event: str) -> None: ...
    def letters(self, name: str) -> AsyncIterator[Letter]: ...


class DaemonsBook:
    """The book of a process that only reads: the daemon writes."""

    def __init__(self, here: Webhooks, daemon: httpx.AsyncClient) -> None:
        self._here = here
        self._daemon = daemon

    async def take(self, name: str) -> Endpoint | Refused:
        return _endpoint(await self._order("POST", path("webhooks", name, "turns"), {}))

    async def move(self, name: str, place: str, report: Report, *, off: bool = False) -> Endpoint | Refused:
        body = {"place": place, "off": off, "report": asdict(report)}
        return _endpoint(await self._order("POST", path("webhooks", name, "places"), body))

    async def bury(self, name: str, letter: Letter) -> None:
        await self._order("POST", path("webhooks", name, "letters"), asdict(letter))

    async def failed(self, name: str, letter: Letter) -> None:
        await self._order("PUT", path("webhooks", name, "letters"), asdict(letter))

    async def taken(self, name: str, event: str) -> None:
        await self._order("POST", path("webhooks", name, "deliveries"), {"event": event})

    def letters(self, name: str) -> AsyncIterator[Letter]:
        return self._here.letters(name)

    async def _order(self, method: str, place: str, body: Mapping[str, object]) -> httpx.Response:
        """The answer; whatever the daemon did not do is said to have failed, and is done again. Raises
        LedgerUnavailable."""
        try:
            answer = await self._daemon.request(method, f"http://daemon{place}", json=body, timeout=PING_S)
        except httpx.HTTPError as error:
            raise LedgerUnavailable(f"the daemon did not answer: {type(error).__name__}") from error
        if answer.is_error and answer.status_code not in (404, 409):
            raise LedgerUnavailable(f"the daemon answered {answer.status_code}")
        return answer


def _endpoint(answer: httpx.Response) -> Endpoint | Refused:
    told = answer.json()
    if answer.is_error:
        return Refused(Code(told["code"]), told["detail"])
    return Endpoint(told["place"], off=told["off"])


class TurnLostError(ChargingError):
    """Another process sends to this endpoint now, or it was switched off."""


class _Read:
    """The events that were read last, some of them told."""

    def __init__(self, place: Place, told_us: int) -> None:
        self.place = place
        """Behind all that was told from the first on."""
        self.told_us = told_us
        """Wall clock: all that happened before was told."""
        self._untold: deque[Event] = deque()
        """From the first on that is not told yet."""
        self._told: set[str] = set()
        """Of these, by id: what was told before the first was."""

    def begin(self, found: Sequence[Event]) -> None:
        """These come next."""
        self._untold, self._told = deque(found), set()
        self._go_on()

    def told(self, event: Event) -> None:
        """This one was delivered, or has become a letter."""
        self._told.add(event.id)
        self._go_on()

    def _go_on(self) -> None:
        while self._untold and self._untold[0].id in self._told:
            event = self._untold.popleft()
            self.place = Place(event.number, event.part)
        if self._untold:
            self.told_us = self._untold[0].at_us


class Sender:
    """Sends to one endpoint."""

    def __init__(
        self,
        receiver: Receiver,
        stream: Stream,
        book: Book,
        clock: Clock,
        *,
        sandbox: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._name, self._receiver = receiver.hook.name, receiver
        self._stream, self._book, self._clock = stream, book, clock
        self._sandbox = sandbox
        self._jitter = jitter
        self._read = _Read(Place(), 0)
        self._alone = asyncio.Lock()
        """Held by who tries alone, while the receiver is away."""
        self._writing = asyncio.Lock()
        self._answers = 0
        """That the receiver has given, since it was away last."""
        self._written_us = self._looked_us = 0
        """Monotonic."""
        self._held: set[str] = set()
        """Accounts with letters."""
        self._seen = Report(0)

    async def keep_sending(self) -> NoReturn:
        """For ever. A ledger or a daemon that does not answer, and a turn that is another's, are waited for."""
        while True:
            try:
                with acting(f"token:webhook-{self._name}"):  # as a program's that may not see who did what
                    await self._turn()
            except TurnLostError as lost:
                log.debug("webhook_turn_elsewhere", webhook=self._name, why=str(lost))
            except LedgerError as error:
                log.warning("webhook_waits", webhook=self._name, why=str(error))
            await _sleep(self._clock, PAUSE_S)

    async def _turn(self) -> NoReturn:
        """Send for as long as the turn is ours. Raises TurnLostError, LedgerError."""
        endpoint = _mine(await self._book.take(self._name))
        log.info("webhook_turn_taken", webhook=self._name, place=endpoint.place)
        now, place = self._clock.now(), endpoint.begins
        self._read, self._written_us = (
            _Read(place, min(place.place, now.wall_us)),
            now.mono_us,
        )  # it is at least its time
        self._seen = Report(0)
        await self._send_letters()
        while True:
            if self._clock.now().mono_us - self._looked_us >= LETTERS_LOOK_S * MICROSECONDS:
                await self._send_letters()
            found, following = await self._next()
            await self._tell_all(found)
            if following == self._read.place and not found:
                await self._write_if_old()
                await _sleep(self._clock, LOOK_S)
            else:
                self._read.place = following
                await self._write()

    async def _next(self) -> tuple[Sequence[Event], Place]:
        """The next events, and the place behind them."""
        if self._seen.waiting + self._seen.dead >= LETTERS_MAX:
            return (), self._read.place
        answer = await self._stream.of_all(self._read.place, ROWS)
        if isinstance(answer, Refused):
            log.error("webhook_gap", webhook=self._name, place=str(self._read.place), why=answer.message)
            answer = await self._stream.of_all(self._read.place, ROWS, over_gaps=True)
        if isinstance(answer, Refused):
            raise TurnLostError(answer.message)
        if answer[1] == self._read.place:
            self._read.told_us = self._clock.now().wall_us
        return answer

    async def _send_letters(self) -> None:
        """Letters that are due, each account's in order; and count the others."""
        self._looked_us = self._clock.now().mono_us
        held: set[str] = set()
        waiting = dead = 0
        is_away = False
        async for letter in self._book.letters(self._name):
            if letter.account not in held and not is_away and _is_due(letter, self._clock.now().wall_us):
                failure = await self._send_letter(letter)
                await self._write_if_old()
                if failure is None:
                    continue
                is_away = failure.kind is not Kind.REFUSED
                if failure.kind is not Kind.UNREACHED:
                    letter = _tried(self._name, letter, failure, self._clock.now().wall_us, self._jitter())
                    await self._book.failed(self._name, letter)
            held.add(letter.account)
            waiting, dead = waiting + (letter.next_us is not None), dead + (letter.next_us is None)
        self._held = held
        self._seen = replace(self._seen, waiting=waiting, dead=dead)

    async def _send_letter(self, letter: Letter) -> Failure | None:
        """``None``: it was taken, or is in the ledger no more."""
        place, _, part = letter.event.partition(".")
        before = Place(int(place), int(part) - 1) if int(part or 0) > 1 else Place(int(place) - 1)
        answer = await self._stream.of_all(before, 1, over_gaps=True)
        found = [] if isinstance(answer, Refused) else [one for one in answer[0] if one.id == letter.event]
        if not found:
            log.error("webhook_letter_gone", webhook=self._name, event_id=letter.event)
        elif failure := await self._post(found[0]):
            return failure
        await self._book.taken(self._name, letter.event)
        return None

    async def _tell_all(self, found: Sequence[Event]) -> None:
        """Tell these, each account's in their order, some accounts at a time."""
        of_accounts: dict[str, list[Event]] = {}
        for event in found:
            of_accounts.setdefault(event.account, []).append(event)
        self._read.begin(found)
        waiting = iter(of_accounts.values())
        await together((self._lane(waiting) for _ in range(min(LANES, len(of_accounts)))), "webhook-lane")

    async def _lane(self, waiting: Iterator[Sequence[Event]]) -> None:
        """Tell one account's after another's."""
        for events in waiting:
            for event in events:
                await self._tell(event)
                self._read.told(event)
                await self._write_if_old()

    async def _tell(self, event: Event) -> None:
        """Deliver an event, however long it takes; or make a letter of it."""
        if not self._receiver.hook.wants(event.what.value):
            return
        letter = Letter(event.id, event.account, event.what.value, event.at_us, "one before it was not taken")
        if event.account not in self._held:
            failure = await self._deliver(event)
            if failure is None:
                return
            letter = _tried(self._name, letter, failure, self._clock.now().wall_us, self._jitter())
        await self._book.bury(self._name, letter)
        self._held.add(event.account)
        self._seen = replace(self._seen, waiting=self._seen.waiting + 1)

    async def _deliver(self, event: Event) -> Failure | None:
        """However long it takes; or why it is to become a letter. While the receiver is away one event is tried, for
        all."""
        async with self._alone:
            before = self._answers
        failure = await self._post(event)
        if failure is None or failure.kind is Kind.REFUSED:
            return failure
        async with self._alone:
            return await self._try_alone(event, failure, is_back=self._answers != before)

    async def _try_alone(self, event: Event, failure: Failure, *, is_back: bool) -> Failure | None:
        """Until the receiver says something to it, or for half an hour if it can be reached; for an hour if it asks for
        time. ``is_back``: it has answered to another meanwhile."""
        failures, held_s = 1, 0.0
        while failure.kind is Kind.UNREACHED or (
            failure.kind is Kind.AWAY and failures < AWAY_TRIES and held_s < AWAY_HOLD_S
        ):
            if not is_back:
                pause_s = max(wait_s(failures, AWAY_WAIT_S, self._jitter()), failure.after_s)
                self._seen = replace(self._seen, next_us=self._clock.now().plus(pause_s).wall_us)
                await self._wait(pause_s)
                failures, held_s = failures + 1, held_s + pause_s
            is_back = False
            if (again := await self._post(event)) is None:
                return None
            failure = again
        return failure

    async def _post(self, event: Event) -> Failure | None:
        """Try once. Raises TurnLostError where the endpoint is gone."""
        await self._write_if_old()  # whoever was frozen for so long may have lost the turn
        failure = await self._receiver.post(message_id(event), message(event, sandbox=self._sandbox))
        self._answers += failure is None or failure.kind is Kind.REFUSED
        if failure is None:
            self._seen = replace(self._seen, taken=self._seen.taken + 1, why="", next_us=None)
            return None
        self._seen = replace(self._seen, failed=self._seen.failed + 1, why=failure.why, next_us=None)
        log.warning("webhook_failed", webhook=self._name, event_id=event.id, why=failure.why)
        if failure.kind is Kind.GONE:
            log.error("webhook_off", webhook=self._name, why="the receiver answered 410 Gone")
            await self._write(off=True)
        return failure

    async def _wait(self, seconds: float) -> None:
        """The turn is kept meanwhile."""
        end_us = self._clock.now().plus(seconds).mono_us
        while (now := self._clock.now()).mono_us < end_us:
            await self._write()
            await self._clock.sleep_until(min(end_us, now.plus(RENEW_S).mono_us))

    async def _write_if_old(self) -> None:
        if _is_old(self._clock, self._written_us):
            await self._write(only_if_old=True)

    async def _write(self, *, off: bool = False, only_if_old: bool = False) -> None:
        """Remember the place. ``only_if_old``: unless another lane has written it meanwhile."""
        async with self._writing:
            if only_if_old and not _is_old(self._clock, self._written_us):
                return
            report = replace(self._seen, told_us=self._read.told_us)
            self._seen = replace(self._seen, taken=0, failed=0)
            _mine(await self._book.move(self._name, str(self._read.place), report, off=off))
            self._written_us = self._clock.now().mono_us


def _is_old(clock: Clock, written_us: int) -> bool:
    return clock.now().mono_us - written_us >= RENEW_S * MICROSECONDS


def _mine(answer: Endpoint | Refused) -> Endpoint:
    """What is remembered, if we may send. Raises TurnLostError."""
    if isinstance(answer, Refused):
        raise TurnLostError(answer.message)
    if answer.off:
        raise TurnLostError("it is switched off")
    return answer


def _tried(name: str, letter: Letter, failure: Failure, now_us: int, jitter: float) -> Letter:
    """A letter after one more try in vain."""
    tries = letter.tries + 1
    if tries >= TRIES:
        log.error("webhook_dead_letter", webhook=name, event_id=letter.event, why=failure.why)
        return replace(letter, tries=tries, why=failure.why, next_us=None)
    wait_us = round(max(wait_s(tries, LETTER_WAIT_S, jitter), failure.after_s) * MICROSECONDS)
    return replace(letter, tries=tries, why=failure.why, next_us=now_us + wait_us)


def _is_due(letter: Letter, now_us: int) -> bool:
    """One that is due later than any can be was written before a clock was set back."""
    if letter.next_us is None:
        return False
    return not 0 < letter.next_us - now_us <= LETTER_WAIT_S * MICROSECONDS


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep_until(clock.now().plus(seconds).mono_us)
