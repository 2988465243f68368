"""Orders to the switch about one call, and questions about all of them.

Channels are named by their unique id, which survives masquerades. Everything raises the link's errors (LinkDown,
ActionTimeout, ActionRefused); "that channel is gone" is an expected outcome and therefore a value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial

import structlog

from charging.asterisk import variables
from charging.asterisk.black_box import BlackBoxRecord, is_key, packed, parse_record
from charging.asterisk.message import AmiMessage, assigned, known
from charging.asterisk.numbers import scaled, whole
from charging.asterisk.prompts import Prompter, PromptOutcome, PromptSettings
from charging.asterisk.reply import Order, Orders, Reply
from charging.asterisk.rights import MissingRights, missing_rights
from charging.call.switch_events import SwitchEvent
from charging.clock import Clock, Instant
from charging.errors import ActionRefused, SwitchError
from charging.records import dataclass, replace
from charging.tasks import in_turns

CAUSE_NORMAL = 16
MAX_DEADLINE_TRIES = 3
REPEATED_MAX = 2
"""Late orders that are repeated at the same time: as many as a call has."""
LATE_ANSWER_MS = 50
"""A deadline is counted by the switch from when it reads the order; an answer later than this, and it is told again."""
MAINTENANCE_TIMEOUT_MS = 10_000
TOLD_AT_ONCE_MAX = 1_000
"""Records in one list."""
KEY_ENDS = "0123456789abcdefghijklmnopqrstuvwxyz.-"
"""What a record's key can end with (capitals count as small letters). Session ids end with sixteen of them, the unique
ids of calls without a session with ten: a part is a sixteenth of all, or a tenth."""
NO_KEY = ""
"""An older dialplan wrote so for a leg whose session someone had taken off: no call can be named by it."""
NO_KEY_ADVICE = (
    "it is deleted; compare it with the CDRs of that time, and charge what is missing with `charging account correct`"
)
STATUS_VARIABLES = f"{variables.SESSION},{variables.LEG},{variables.SWITCH},TIMEOUT(absolute)"
ALONE_VARIABLES = f"{STATUS_VARIABLES},{variables.ANSWERED},{variables.ANSWERED_UP},{variables.NOW}"

log = structlog.get_logger(__name__)


class DeadlineOutcome(Enum):
    """What became of an order to cut a channel at an instant."""

    SET = "set"
    SET_LATE = "set_late"
    """Set, but each answer came late: the cut may be late by as much."""
    HUNG_UP = "hung_up"
    """The instant had passed: the channel was hung up at once."""
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """One channel, as it is now."""

    uid: str
    channel: str
    session: str
    """Empty for a channel that is not ours."""
    leg: str
    switch: str
    """The ``switch.id`` whose call it is; empty where the dialplan does not say."""
    state: str
    """Asterisk's word: ``Up``, ``Ringing``, ``Ring``, ``Down``…"""
    bridge_id: str
    """Empty where it is in no bridge."""
    time_left_ms: int | None
    """Until the switch cuts it; ``None`` where it has no deadline."""
    seconds_since_creation: int
    """Not since answer."""
    since_answer_ms: int | None = None
    """Of a forwarded leg that was asked about alone, by the switch's clock; ``None``: not known."""
    answered: Instant | None = None
    """When that leg was answered, as the dialplan read the time of day and how long the machine had been up (to some
    10 ms); ``None``: not known."""
    is_doubtful: bool = False
    """A stranger has written into what the switch says of this channel: only the session is known, and that it is."""


class CallControl:
    """Sets deadlines, hangs up, plays prompts, and reads what the switch knows."""

    def __init__(self, link: Orders, clock: Clock, prompts: PromptSettings | None = None) -> None:
        self._link = link
        self._clock = clock
        self._prompter = Prompter(link, clock, prompts)
        self._repeating = 0
        """Orders to cut that are sent again now."""
        self._many_records = True
        """Whether there were many at the last look; before the first, a daemon may have been away for long."""
        self._entries = _Entries()

    def observe(self, event: SwitchEvent) -> None:
        """Take a switch event. Every event must be given, in order: prompts learn from them what became of their
        orders."""
        self._prompter.observe(event)

    async def set_deadlines(self, deadlines: Sequence[tuple[str, Instant]]) -> list[DeadlineOutcome | SwitchError]:
        """Have the switch itself cut each of these channels, by unique id, at its instant (monotonic clock), whatever
        becomes of this daemon. All are one write. Returns for each, in their order, what became of it.

        The time left is computed at each sending, its last millisecond rounded up: no channel is cut before the paid
        second. At most two late orders at a time are repeated, as many as a call has: if many are late, the load makes
        them so, and repeating would add to it.
        """
        outcomes = await self._order_deadlines(deadlines)
        late = [place for place, one in enumerate(outcomes) if one is DeadlineOutcome.SET_LATE]
        late = late[: REPEATED_MAX - self._repeating]
        repeated = len(late)
        self._repeating += repeated
        try:
            for _ in range(MAX_DEADLINE_TRIES - 1):
                again = await self._order_deadlines([deadlines[place] for place in late])
                for place, outcome in zip(late, again, strict=True):
                    outcomes[place] = outcome
                late = [place for place in late if outcomes[place] is DeadlineOutcome.SET_LATE]
        finally:
            self._repeating -= repeated
        return outcomes

    async def _order_deadlines(self, deadlines: Sequence[tuple[str, Instant]]) -> list[DeadlineOutcome | SwitchError]:
        """Send the orders. If one answer is late, all count as late: each came no later than that one."""
        if not deadlines:
            return []
        sent = self._clock.now()
        orders = [_cut(channel_uid, milliseconds_left(sent, at)) for channel_uid, at in deadlines]
        replies = await self._link.actions(orders)
        on_time = milliseconds_left(sent, self._clock.now()) <= LATE_ANSWER_MS
        done = DeadlineOutcome.SET if on_time else DeadlineOutcome.SET_LATE
        return [_deadline_outcome(name, reply, done) for (name, _), reply in zip(orders, replies, strict=True)]

    async def hang_up(self, channel_uid: str, cause: int = CAUSE_NORMAL) -> bool:
        """Hang up. Returns ``False`` if the channel is gone already. ``cause`` is a Q.850 number."""
        try:
            await self._link.action(*_hang_up(channel_uid, cause))
        except ActionRefused as error:
            if _is_gone(error):
                return False
            raise
        return True

    async def play_prompt(self, session: str, sequence: int, spyee_uid: str, prompt: str) -> PromptOutcome:
        """Play a file to one leg of a running call; see :meth:`Prompter.play`. Never raises a SwitchError."""
        return await self._prompter.play(session, sequence, spyee_uid, prompt)

    async def delete_records(self, keys: Sequence[str]) -> None:
        """Have the dialplan delete records, since AMI may not. It does so after this returns and does not report it: a
        later look at the black box shows what is left. Raises ValueError for a text that is no key."""
        for pack in list(packed(keys)):
            await self._link.action(*_forget(pack))

    async def statuses(self, heard: Callable[[ChannelStatus], None]) -> None:
        """Report every channel of the switch, ours or not, as it comes: there may be tens of thousands, whose messages
        together take more memory than their calls. For a session with a doubtful channel, one more report comes at the
        end. All reports hold when this has returned."""
        fields = {"Variables": STATUS_VARIABLES, "AllVariables": "false"}
        each = partial(_tell_status, heard)
        reply = await self._link.action("Status", fields, timeout_s=10.0, list_end="StatusComplete", each=each)
        for status in doubtful_statuses(reply.suspects):
            heard(status)

    async def variable(self, channel_uid: str, name: str, timeout_s: float) -> str | None:
        """A channel's variable, empty if it has none; ``None`` if there is no such channel."""
        try:
            reply = await self._link.action("Getvar", {"Channel": channel_uid, "Variable": name}, timeout_s=timeout_s)
        except ActionRefused as error:
            if _is_gone(error):
                return None
            raise
        return reply.headers.get("Value")

    async def turned_away(self) -> dict[str, int]:
        """How many callers the dialplan has turned away by itself since Asterisk's start, by reason."""
        orders: list[Order] = [("Getvar", {"Variable": f"{variables.TURNED}{why}"}) for why in variables.TURNED_AWAY]
        counts: dict[str, int] = {}
        for why, reply in zip(variables.TURNED_AWAY, await self._link.actions(orders), strict=True):
            if isinstance(reply, SwitchError):
                raise reply
            counts[why] = whole(reply.headers.get("Value")) or 0
        return counts

    async def statuses_of(self, uids: Sequence[str]) -> list[ChannelStatus | SwitchError | None]:
        """Ask about channels, each alone, so that no text in another's caller id can be in its answer. All are one
        write. ``None`` for a channel that is gone; for one without an answer, the error."""
        orders = [("Status", {"Channel": uid, "Variables": ALONE_VARIABLES, "AllVariables": "false"}) for uid in uids]
        replies = await self._link.actions(orders, list_end="StatusComplete")
        return [_status_alone(uid, reply) for uid, reply in zip(uids, replies, strict=True)]

    async def black_box(self, booked: Container[str] = ()) -> dict[str, BlackBoxRecord | None]:
        """Read all records of ended calls that have not been deleted, by key; ``None`` for those in ``booked``, which
        are not taken apart once more.

        While Asterisk writes a list it lets no other request at its database, and answers none of our orders. So if
        there may be many records they are asked for in parts, by the last character of their keys, and orders go
        between. (A key that ends with another character than ours waits until there are fewer. A switch that finds no
        key by a pattern is asked for all.)
        """
        records: dict[str, BlackBoxRecord | None] = {}
        for sign in KEY_ENDS if self._many_records else ():
            await self._read_records(records, {"Key": f"%{sign}"}, booked)
        if not records:
            await self._read_records(records, {}, booked)
        self._many_records = len(records) > TOLD_AT_ONCE_MAX
        return records

    async def delete_unnamed(self) -> None:
        """Have the record deleted that has no key, if the last reading of all showed one that was not said before. Only
        for who logs what it held: nothing else remembers it."""
        if self._entries.unnamed_is_new:
            with contextlib.suppress(ActionRefused):  # a login without `originate` deletes no record
                await self._link.action(*_forget(variables.FORGET_SEPARATOR))
            self._entries.unnamed_is_new = False

    async def _read_records(
        self, records: dict[str, BlackBoxRecord | None], part: Mapping[str, str], booked: Container[str]
    ) -> None:
        fields = {"Family": variables.BLACK_BOX_FAMILY, **part}
        try:
            reply = await self._link.action("DBGetTree", fields, timeout_s=10.0, list_end="DBGetTreeComplete")
        except ActionRefused as error:
            if _is_not_found(error):  # how some versions report an empty list
                return
            raise
        async for entry in in_turns(reply.events):
            if (key := _key_of(entry)) in booked:
                records[key] = None
            elif (record := self._entries.record(key, entry)) is not None:
                records[key] = record

    async def records_of(self, sessions: Sequence[str]) -> list[BlackBoxRecord | SwitchError | None]:
        """The record of each of these sessions; ``None`` if there is none yet, or none that can be read; the error for
        one without an answer. All are one write."""
        orders = [("DBGet", {"Family": variables.BLACK_BOX_FAMILY, "Key": session}) for session in sessions]
        return [self._entries.alone(one) for one in await self._link.actions(orders, list_end="DBGetComplete")]

    async def permissions(self) -> MissingRights:
        """Return the orders that the switch would refuse this login."""
        return missing_rights(await self._link.action("ListCommands"))


class _Entries:
    """The AstDB's entries, read one by one; those that are no call's records are said once."""

    def __init__(self) -> None:
        self.unnamed_is_new = False
        """Whether a record without a key was said and is still to be ordered deleted."""
        self._unnamed = ""
        """What stood in the last one."""
        self._unreadable: set[str] = set()
        """Keys that were said to be, each once. As bounded as AstDB itself."""

    def alone(self, reply: Reply | SwitchError) -> BlackBoxRecord | SwitchError | None:
        """The one entry that was asked for; ``None`` if there is none, or none that can be read."""
        if isinstance(reply, SwitchError):
            return None if _is_not_found(reply) else reply
        return next((self.record(_key_of(entry), entry) for entry in reply.events), None)

    def record(self, key: str, entry: AmiMessage) -> BlackBoxRecord | None:
        """One entry, and its key."""
        record = parse_record(key, entry.get("Val")) if is_key(key) else None
        found = entry.get("Val")[:200]
        if key == NO_KEY:
            if found != self._unnamed:  # the next call of that kind writes another in its place
                self._unnamed, self.unnamed_is_new = found, True
                log.warning("black_box_record_without_key", found=found, advice=NO_KEY_ADVICE)
        elif record is None and key not in self._unreadable:
            self._unreadable.add(key)
            log.warning("black_box_record_unreadable", key=key, found=found)
        return record


def _key_of(entry: AmiMessage) -> str:
    """The key comes with its family in a tree, and without it alone."""
    return entry.get("Key").removeprefix(f"/{variables.BLACK_BOX_FAMILY}/")


def _is_gone(error: Exception) -> bool:
    """Whether the switch says that there is no such channel."""
    return isinstance(error, ActionRefused) and "no such channel" in str(error).lower()


def _is_not_found(error: Exception) -> bool:
    """Whether the switch says that its database has no such entry."""
    return isinstance(error, ActionRefused) and "not found" in str(error).lower()


def _hang_up(channel_uid: str, cause: int = CAUSE_NORMAL) -> Order:
    return "Hangup", {"Channel": channel_uid, "Cause": str(cause)}


def _forget(pack: str) -> Order:
    """Have the dialplan delete the records of these keys; between two separators, or before the first, stands the
    empty one."""
    return "Originate", {
        "Channel": variables.MAINTENANCE_CHANNEL,
        "Context": variables.MAINTENANCE_CONTEXT,
        "Exten": variables.MAINTENANCE_IDLE_EXTENSION,
        "Priority": "1",
        "Async": "true",
        "Timeout": str(MAINTENANCE_TIMEOUT_MS),
        "Variable": [f"{variables.inherited(variables.FORGET)}={pack}", variables.NO_CDR],
    }


def _cut(channel_uid: str, left_ms: int) -> Order:
    """Have the switch cut a channel at that instant, or now if it has passed."""
    if left_ms <= 0:
        return _hang_up(channel_uid)
    return "AbsoluteTimeout", {"Channel": channel_uid, "Timeout": f"{left_ms // 1000}.{left_ms % 1000:03d}"}


def _deadline_outcome(name: str, reply: Reply | SwitchError, done: DeadlineOutcome) -> DeadlineOutcome | SwitchError:
    if isinstance(reply, SwitchError):
        return DeadlineOutcome.GONE if _is_gone(reply) else reply
    return DeadlineOutcome.HUNG_UP if name == "Hangup" else done


def milliseconds_left(now: Instant, at: Instant) -> int:
    """Milliseconds from ``now`` until ``at`` by the monotonic clock, rounded up; zero or less if it has passed."""
    return -((now.mono_us - at.mono_us) // 1000)


def _status_alone(uid: str, reply: Reply | SwitchError) -> ChannelStatus | SwitchError | None:
    if isinstance(reply, SwitchError):
        return None if _is_gone(reply) else reply
    if reply.suspects:
        return ActionRefused("a stranger has written into what the switch says of this channel")
    found = next((entry for entry in reply.events if entry.get("Uniqueid") == uid), None)
    if found is None:
        return None
    asked = found.assignments("variable")
    return replace(channel_status(found), since_answer_ms=_since_answer_ms(asked), answered=_answered(asked))


def _tell_status(heard: Callable[[ChannelStatus], None], entry: AmiMessage) -> None:
    heard(channel_status(entry))


def doubtful_statuses(suspects: Iterable[AmiMessage]) -> Iterator[ChannelStatus]:
    """For every session that is named in what is left of an entry. A stranger may name any session that he knows; the
    true one stands at the end of the entry, so it is always among them."""
    sessions = (assigned([each], variables.SESSION) for one in suspects for each in one.all("Variable"))
    for session in dict.fromkeys(filter(None, sessions)):
        yield ChannelStatus("", "", session, "", "", "", "", None, 0, is_doubtful=True)


def _since_answer_ms(asked: Mapping[str, str]) -> int | None:
    answered_ms, now_ms = (scaled(known(asked.get(name, "")), 3) for name in (variables.ANSWERED, variables.NOW))
    return None if answered_ms is None or now_ms is None else max(0, now_ms - answered_ms)


def _answered(asked: Mapping[str, str]) -> Instant | None:
    up_us, wall_us = (scaled(known(asked.get(name, "")), 6) for name in (variables.ANSWERED_UP, variables.ANSWERED))
    return None if up_us is None or wall_us is None else Instant(up_us, wall_us)


def channel_status(entry: AmiMessage) -> ChannelStatus:
    """Read one event of a ``Status`` list."""
    asked = entry.assignments("variable")  # none is there twice (`shape`)
    return ChannelStatus(
        uid=entry.get("Uniqueid"),
        channel=entry.get("Channel"),
        session=known(asked.get(variables.SESSION, "")),
        leg=known(asked.get(variables.LEG, "")),
        switch=known(asked.get(variables.SWITCH, "")),
        state=entry.get("ChannelStateDesc"),
        bridge_id=entry.get("BridgeID"),
        time_left_ms=scaled(known(asked.get("TIMEOUT(absolute)", "")), 3) or None,
        seconds_since_creation=whole(entry.get("Seconds")) or 0,
    )
