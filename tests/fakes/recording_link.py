"""A link that answers what it was told to, and remembers every order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from charging.asterisk.control import CallControl, ChannelStatus
from charging.asterisk.message import AmiMessage
from charging.asterisk.prompts import RECEIVED, SENT
from charging.asterisk.reply import Each, Fields, Order, Reply
from charging.asterisk.variables import PROMPT_UID
from charging.errors import ActionRefused, SwitchError

UID = "1795305157.1"


async def statuses(control: CallControl) -> list[ChannelStatus]:
    """Every channel that call control tells of."""
    found: list[ChannelStatus] = []
    await control.statuses(found.append)
    return found


def gone(name: str) -> ActionRefused:
    return ActionRefused(f"{name}: No such channel")


@dataclass
class RecordingLink:
    """A link that answers what it was told to, and remembers every order."""

    orders: list[tuple[str, Fields]] = field(default_factory=list)
    refuse: dict[str, Exception] = field(default_factory=dict)
    replies: dict[str, Reply] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    """What is answered to who counts packets."""
    values: dict[str, str] = field(default_factory=dict)
    """Of variables."""
    playing: set[str] = field(default_factory=set)
    """The prompts' channels that there are."""
    asides: list[str] = field(default_factory=list)
    """Which of the orders went over a connection of their own."""
    meanwhile: Callable[[], None] = lambda: None

    async def action(
        self,
        name: str,
        fields: Fields | None = None,
        *,
        timeout_s: float = 3.0,
        list_end: str | None = None,
        each: Each | None = None,
        aside: bool = False,
    ) -> Reply:
        self.orders.append((name, fields or {}))
        if aside:
            self.asides.append(name)
        self.meanwhile()
        channel = (fields or {}).get("Channel")
        for key in (name, f"{name} {channel}"):
            if key in self.refuse:
                raise self.refuse[key]
        if name == "Status" and str(channel).startswith(PROMPT_UID) and channel not in self.playing:
            raise gone(name)
        variable = str((fields or {}).get("Variable"))
        if variable in (RECEIVED, SENT):
            return Reply(AmiMessage.of(Response="Success", Value=self.received.pop(0)))
        if name == "Getvar" and variable in self.values:
            return Reply(AmiMessage.of(Response="Success", Value=self.values[variable]))
        reply = self.replies.get(name, Reply(AmiMessage.of(Response="Success")))
        if each is None:
            return reply
        for entry in reply.events:
            each(entry)
        return replace(reply, events=())

    async def actions(self, orders: Sequence[Order], *, list_end: str | None = None) -> list[Reply | SwitchError]:
        return [await self._answer_of(*order) for order in orders]

    async def _answer_of(self, name: str, fields: Fields) -> Reply | SwitchError:
        try:
            return await self.action(name, fields)
        except SwitchError as error:
            return error

    def names(self) -> list[str]:
        return [name for name, _ in self.orders]

    def bridged(self, technology: str, others: Sequence[str] = (), names: Mapping[str, str] | None = None) -> None:
        """Every channel is in a bridge of this technology, with these others. ``names``: that are no unique ids."""
        named = {uid: (names or {}).get(uid, uid) for uid in (UID, *others)}
        there = tuple(
            AmiMessage.of(Event="BridgeInfoChannel", Channel=name, Uniqueid=uid) for uid, name in named.items()
        )
        entry = AmiMessage.of(Event="Status", BridgeID="b-1")
        self.replies["Status"] = Reply(AmiMessage.of(Response="Success"), (entry,))
        end = AmiMessage.of(Event="BridgeInfoComplete", BridgeTechnology=technology)
        self.replies["BridgeInfo"] = Reply(AmiMessage.of(Response="Success"), there, end=end)
