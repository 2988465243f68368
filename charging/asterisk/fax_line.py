"""Faxes that the switch is ordered to send: a line as `engine.ports.FaxLine`."""

from __future__ import annotations

from collections.abc import Container

from charging.asterisk import variables
from charging.asterisk.link import AmiLink
from charging.asterisk.numbers import whole
from charging.asterisk.reply import Orders
from charging.engine.ports import FaxOrder


class AsteriskFaxLine:
    """The lines of one Asterisk, as the port `FaxLine`."""

    def __init__(self, link: AmiLink) -> None:
        self._link = link

    @property
    def proven_mono_us(self) -> int | None:
        return self._link.proven_mono_us

    async def send_fax(self, order: FaxOrder) -> None:
        """Have a fax dialled and sent. The channel's id is made from the session's, so a second order of it fails."""
        uid = f"f-{order.session}"
        await self._link.action(
            "Originate",
            {
                "ActionID": uid,
                "Channel": variables.FAX_CHANNEL,
                "Context": variables.FAX_CONTEXT,
                "Exten": variables.FAX_IDLE_EXTENSION,
                "Priority": "1",
                "Async": "true",
                "Timeout": str((order.ring_s + 10) * 1000),
                "ChannelId": uid,
                "OtherChannelId": f"{uid}-2",
                "Variable": [f"{variables.inherited(name)}={value}" for name, value in _fax_variables(order)],
            },
        )

    async def is_sending(self, session: str) -> bool:
        """Whether a leg is dialled, or sends, for this fax. What it costs does not grow with the calls that run. (A leg
        whose place was taken by INVITE with Replaces is in no group any more.)"""
        reply = await self._link.action("Getvar", {"Variable": f"GROUP_COUNT({session}@{variables.FAX_GROUP})"})
        return (whole(reply.headers.get("Value")) or 0) > 0


def _fax_variables(order: FaxOrder) -> tuple[tuple[str, str], ...]:
    return (
        (variables.SESSION, order.session),
        (variables.SWITCH, order.switch),
        (variables.NUMBER, order.number),
        (variables.TARGET, order.target),
        (variables.FAX_FILE, order.file),
        (variables.FAX_HEADER, order.header),
        (variables.FAX_BEFORE, str(order.dial_by_us // 1_000_000)),
        (variables.FAX_RING_S, str(order.ring_s)),
        (variables.FAX_S, str(order.send_s)),
    )


async def pages_confirmed(link: Orders, channels: Container[str]) -> int | None:
    """Return how many pages have been confirmed of the fax that one of these channels, by name, sends; ``None`` if none
    of them sends one. A switch without faxes refuses the question."""
    listed = await link.action("FAXSessions", list_end="FAXSessionsComplete")
    sessions = [entry.get("SessionNumber") for entry in listed.events if entry.get("Channel") in channels]
    for number in sessions:
        reply = await link.action("FAXSession", {"SessionNumber": number}, list_end="FAXSession")
        if reply.end is not None:
            return whole(reply.end.get("PagesTransmitted"))
    return None
