"""Webhooks: what happens is posted to the operator's own programs (`charging.web.signed_post`), in the process that
does not decide calls.

An endpoint gets each account's events one after the other, and those of several accounts at the same time, in turns
(`charging.web.webhook_lanes`). The stored place is the one up to which all accounts were served, so a process that is
killed sends some events twice. While the receiver does not answer, one event is tried and all others wait in the
stream: none is lost. An event that the receiver refuses becomes a letter, which is tried again, later each time;
meanwhile the other accounts go on (`charging.service.webhooks`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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
from charging.web.webhook_lanes import LANE_EVENTS_MAX, Lane, Lanes, are_crowded, is_the_rest, place_of, reaches

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
        self, after: Place, limit: int, *, over_gaps: bool = False, account: str | None = None
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


class _Turn:
    """Kept for as long as it is written; and how far the events were told meanwhile."""

    def __init__(self, name: str, book: Book, clock: Clock) -> None:
        self.name, self.book, self._clock = name, book, clock
        self.lanes = Lanes(Place(), 0)
        self.seen = Report(0)
        self._unwritten = 0
        """So many were told since the place was written."""
        self._writing = asyncio.Lock()
        self._written_us = 0
        """Monotonic."""

    async def take(self) -> None:
        """Raises TurnLostError, LedgerError."""
        endpoint = _mine(await self.book.take(self.name))
        log.info("webhook_turn_taken", webhook=self.name, place=endpoint.place)
        now, place = self._clock.now(), endpoint.begins
        self.lanes = Lanes(place, min(place.place, now.wall_us))  # it is at least its time
        self.seen, self._written_us, self._unwritten = Report(0), now.mono_us, 0

    async def write_if_old(self) -> None:
        """Whoever was frozen for so long may have lost the turn. Raises TurnLostError, LedgerError."""
        if _is_old(self._clock, self._written_us):
            await self.write(only_if_old=True)

    async def told(self, count: int) -> None:
        """So many more were told: write it, if they are many, or all."""
        self._unwritten += count
        if self._unwritten >= ROWS or (self._unwritten and self.lanes.is_empty):
            self._unwritten = 0
            await self.write()
        else:
            await self.write_if_old()

    async def write(self, *, off: bool = False, only_if_old: bool = False) -> None:
        """Remember the place. ``only_if_old``: unless another has written it meanwhile."""
        async with self._writing:
            if only_if_old and not _is_old(self._clock, self._written_us):
                return
            dead = self.lanes.dead_letters()
            report = replace(self.seen, told_us=self.lanes.told_us(), waiting=self.lanes.letters - dead, dead=dead)
            self.seen = replace(self.seen, taken=0, failed=0)
            _mine(await self.book.move(self.name, str(self.lanes.place), report, off=off))
            self._written_us = self._clock.now().mono_us

    async def wait(self, seconds: float) -> None:
        """It is kept meanwhile."""
        end_us = self._clock.now().plus(seconds).mono_us
        while (now := self._clock.now()).mono_us < end_us:
            await self.write()
            await self._clock.sleep_until(min(end_us, now.plus(RENEW_S).mono_us))


class _Post:
    """Posts events, however long it takes."""

    def __init__(
        self, receiver: Receiver, turn: _Turn, clock: Clock, jitter: Callable[[], float], *, sandbox: bool
    ) -> None:
        self._receiver, self._turn, self._clock = receiver, turn, clock
        self._jitter, self._sandbox = jitter, sandbox
        self._alone = asyncio.Lock()
        """Held by who tries alone, while the receiver is away."""
        self._answers = 0
        """That the receiver has given, since it was away last."""

    async def deliver(self, event: Event) -> Failure | None:
        """However long it takes; or why it is to become a letter. While the receiver is away one event is tried, for
        all."""
        async with self._alone:
            before = self._answers
        failure = await self._post(event)
        if failure is None or failure.kind is Kind.REFUSED:
            return failure
        async with self._alone:
            return await self._try_alone(event, failure, is_back=self._answers != before)

    async def once(self, event: Event) -> Failure | None:
        """Try once, when nobody tries alone."""
        async with self._alone:
            pass
        return await self._post(event)

    async def _try_alone(self, event: Event, failure: Failure, *, is_back: bool) -> Failure | None:
        """Until the receiver says something to it, or for half an hour if it can be reached; for an hour if it asks for
        time. ``is_back``: it has answered to another meanwhile."""
        failures, held_s = 1, 0.0
        while failure.kind is Kind.UNREACHED or (
            failure.kind is Kind.AWAY and failures < AWAY_TRIES and held_s < AWAY_HOLD_S
        ):
            if not is_back:
                pause_s = max(wait_s(failures, AWAY_WAIT_S, self._jitter()), failure.after_s)
                self._turn.seen = replace(self._turn.seen, next_us=self._clock.now().plus(pause_s).wall_us)
                await self._turn.wait(pause_s)
                failures, held_s = failures + 1, held_s + pause_s
            is_back = False
            if (again := await self._post(event)) is None:
                return None
            failure = again
        return failure

    async def _post(self, event: Event) -> Failure | None:
        """Try once. Raises TurnLostError if the endpoint is gone."""
        turn = self._turn
        await turn.write_if_old()
        failure = await self._receiver.post(message_id(event), message(event, sandbox=self._sandbox))
        self._answers += failure is None or failure.kind is Kind.REFUSED
        if failure is None:
            turn.seen = replace(turn.seen, taken=turn.seen.taken + 1, why="", next_us=None)
            return None
        turn.seen = replace(turn.seen, failed=turn.seen.failed + 1, why=failure.why, next_us=None)
        log.warning("webhook_failed", webhook=turn.name, event_id=event.id, why=failure.why)
        if failure.kind is Kind.GONE:
            log.error("webhook_off", webhook=turn.name, why="the receiver answered 410 Gone")
            await turn.write(off=True)
        return failure


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
        self._name, self._hook = receiver.hook.name, receiver.hook
        self._stream, self._book, self._clock = stream, book, clock
        self._jitter = jitter
        self._turn = _Turn(self._name, book, clock)
        self._post = _Post(receiver, self._turn, clock, jitter, sandbox=sandbox)
        self._letters = asyncio.Lock()
        """Held while they are written, or all are read."""
        self._changed = asyncio.Event()
        """Set for whoever waits for something in the lanes to change."""

    async def keep_sending(self) -> NoReturn:
        """For ever. A ledger or a daemon that does not answer, and a turn that is another's, are waited for."""
        while True:
            try:
                with acting(f"token:webhook-{self._name}"):  # as a program's that may not see who did what
                    await self._send()
            except TurnLostError as lost:
                log.debug("webhook_turn_elsewhere", webhook=self._name, why=str(lost))
            except LedgerError as error:
                log.warning("webhook_waits", webhook=self._name, why=str(error))
            await _sleep(self._clock, PAUSE_S)

    async def _send(self) -> None:
        """For as long as the turn is ours. Raises TurnLostError, LedgerError."""
        await self._turn.take()
        await self._look_at_letters()
        works = (self._keep_reading(), self._keep_looking(), *(self._keep_telling() for _ in range(LANES)))
        await together(works, "webhook")

    async def _keep_reading(self) -> NoReturn:
        """The stream, for as long as the lanes have room."""
        while True:
            lanes = self._turn.lanes
            if lanes.is_full:
                await _next(self._changed)
                await self._turn.write_if_old()
            elif are_crowded(lanes) or not await self._read_on(lanes):
                await self._turn.write_if_old()
                await _sleep(self._clock, LOOK_S)

    async def _read_on(self, lanes: Lanes) -> bool:
        """Read a page; is there more?"""
        found, following = await self._read(lanes.read)
        if following == lanes.read:
            lanes.ends(self._clock.now().wall_us)
            return False
        wanted = self._wanted(found)
        lanes.add(wanted, following)
        self._changed.set()
        await self._turn.told(max(1, len(found)) - len(wanted))
        return True

    async def _read(self, after: Place, limit: int = ROWS, account: str | None = None) -> tuple[list[Event], Place]:
        """The next events, of all accounts or of one, and the place behind them."""
        answer = await self._stream.of_all(after, limit, account=account)
        if isinstance(answer, Refused):
            log.error("webhook_gap", webhook=self._name, place=str(after), why=answer.message)
            answer = await self._stream.of_all(after, limit, over_gaps=True, account=account)
        if isinstance(answer, Refused):
            raise TurnLostError(answer.message)
        return answer

    def _wanted(self, found: Sequence[Event]) -> list[Event]:
        return [one for one in found if self._hook.wants(one.what.value)]

    async def _keep_looking(self) -> NoReturn:
        """At the letters: which are due, and what someone has said of them."""
        while True:
            await _sleep(self._clock, LETTERS_LOOK_S)
            await self._look_at_letters()

    async def _look_at_letters(self) -> None:
        async with self._letters:
            found = [one async for one in self._book.letters(self._name)]
            self._turn.lanes.hold(found, self._is_due)
        self._changed.set()

    def _is_due(self, letter: Letter) -> bool:
        """One that is due later than any can be was written before a clock was set back."""
        if letter.next_us is None:
            return False
        return not 0 < letter.next_us - self._clock.now().wall_us <= LETTER_WAIT_S * MICROSECONDS

    async def _keep_telling(self) -> NoReturn:
        """The lanes in turns. Several of these run."""
        while True:
            lanes = self._turn.lanes
            lane = lanes.take(over=not are_crowded(lanes))
            if lane is None:
                await _next(self._changed)
                continue
            told = await self._serve(lane)
            lanes.give_back(lane)
            self._changed.set()
            await self._turn.told(told)

    async def _serve(self, lane: Lane) -> int:
        """Tell its next letter or event, or read for it; how many events were told?"""
        if lane.is_due:
            await self._send_letter(lane, lane.letters[0])
            return 0
        if lane.events:
            await self._tell(lane, lane.events[0][1])
            return 1
        assert lane.passed is not None, "else it has nothing to do"
        found, following = await self._read(lane.passed, LANE_EVENTS_MAX, lane.account)
        its_own = [one for one in found if one.account == lane.account]  # without those that are told to all
        self._turn.lanes.refill(lane, self._wanted(its_own), following)
        return 0

    async def _send_letter(self, lane: Lane, letter: Letter) -> None:
        """One that is in the ledger no more is dropped."""
        place, _, part = letter.event.partition(".")
        before = Place(int(place), int(part) - 1) if int(part or 0) > 1 else Place(int(place) - 1)
        answer = await self._stream.of_all(before, 1, over_gaps=True)
        found = [] if isinstance(answer, Refused) else [one for one in answer[0] if one.id == letter.event]
        failure = await self._post.once(found[0]) if found and not letter.skipped else None
        if not found:
            log.error("webhook_letter_gone", webhook=self._name, event_id=letter.event)
        if failure is None and letter.rest:
            await self._go_on(lane, letter)
            return
        async with self._letters:
            if failure is None:
                await self._book.taken(self._name, letter.event)
                lane.remove(letter, self._is_due)
            elif failure.kind is not Kind.UNREACHED:
                letter = _tried(self._name, letter, failure, self._clock.now().wall_us, self._jitter())
                await self._book.failed(self._name, letter)
                lane.change(letter)
        if failure is not None and failure.kind is not Kind.REFUSED:
            self._turn.lanes.put_off()

    async def _go_on(self, lane: Lane, letter: Letter) -> None:
        """A letter that stands for the rest was taken: have one for the next event take its place, or none if all that
        was read of the stream was told. It is there until then: a sender that is killed leaves nothing out."""
        place = place_of(letter)
        while True:
            was_read = self._turn.lanes.read
            found, following = await self._read(place, LANE_EVENTS_MAX, lane.account)
            its_own = self._wanted([one for one in found if one.account == lane.account])
            async with self._letters:
                read = self._turn.lanes.read
                is_end = following == place and read == was_read  # also before it: a copy of the ledger was restored
                if not lane.has_rest():  # someone has dropped it meanwhile
                    return
                left = lane.without_letters(its_own)
                if left or is_end or reaches(following, read):
                    lane.remove(letter, self._is_due)
                    if left and not lane.has_rest():
                        rest = replace(_untried(left[0]), rest=True)
                        await self._book.bury(self._name, rest)
                        lane.put(rest)
                        lane.is_due = self._is_due(lane.letters[0])
                    await self._book.taken(self._name, letter.event)
                    return
            place = following
            await self._turn.write_if_old()

    async def _tell(self, lane: Lane, event: Event) -> None:
        """Deliver it, however long that takes; or make a letter of it."""
        letter = _untried(event)
        if not lane.letters:
            failure = await self._post.deliver(event)
            if failure is None:
                lane.told()
                return
            letter = _tried(self._name, letter, failure, self._clock.now().wall_us, self._jitter())
        async with self._letters:
            letter = replace(letter, rest=is_the_rest(self._turn.lanes, lane))
            await self._book.bury(self._name, letter)
            lane.told()
            lane.put(letter)


async def _next(change: asyncio.Event) -> None:
    """Return when it has come again."""
    change.clear()
    await change.wait()


def _is_old(clock: Clock, written_us: int) -> bool:
    return clock.now().mono_us - written_us >= RENEW_S * MICROSECONDS


def _mine(answer: Endpoint | Refused) -> Endpoint:
    """What is remembered, if we may send. Raises TurnLostError."""
    if isinstance(answer, Refused):
        raise TurnLostError(answer.message)
    if answer.off:
        raise TurnLostError("it is switched off")
    return answer


def _untried(event: Event) -> Letter:
    return Letter(event.id, event.account, event.what.value, event.at_us, "one before it was not taken")


def _tried(name: str, letter: Letter, failure: Failure, now_us: int, jitter: float) -> Letter:
    """A letter after one more try in vain."""
    tries = letter.tries + 1
    if tries >= TRIES:
        log.error("webhook_dead_letter", webhook=name, event_id=letter.event, why=failure.why)
        return replace(letter, tries=tries, why=failure.why, next_us=None)
    wait_us = round(max(wait_s(tries, LETTER_WAIT_S, jitter), failure.after_s) * MICROSECONDS)
    return replace(letter, tries=tries, why=failure.why, next_us=now_us + wait_us)


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep_until(clock.now().plus(seconds).mono_us)
