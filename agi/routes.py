"""The dialplan's two requests, their arguments, and how their answers are delivered.

``agi://…/incoming`` reports a new call; ``agi://…/unanswered`` reports a forward that was not answered. If the answer
cannot be delivered, the desk is told, which has the switch asked what became of the call. Arguments come from the
network: each is checked and bounded.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from functools import partial

from agi.port import Answer, CallDesk, IncomingCall
from agi.protocol import Request
from agi.server import CallerLeft, Conversation, Route
from charging.asterisk import variables
from charging.errors import RemoteProtocolError

_SESSION = variables.inherited(variables.SESSION)

MAX_TEXT_CHARACTERS = 80
MAX_CHANNEL_CHARACTERS = 160

_NUMBER = re.compile(r"\+?[0-9]{1,32}", re.ASCII)
_SESSION_ID = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_PRESENTATION = re.compile(r"allowed|withheld", re.ASCII)
_WORD = re.compile(r"[A-Z_]{0,32}", re.ASCII)
DIVERTED_MAX_CHARACTERS = 1000
"""As many as the dialplan gives, and of Diversion so many; the last may be in the middle of a number."""
DIVERSION_MAX_CHARACTERS = 500
_HISTORY = "|"
_PASSED = re.compile(r":((?:\+|%2[Bb])?[0-9]{3,32})(?=[@;>])", re.ASCII)


def routes_for(desk: CallDesk) -> dict[str, Route]:
    """Return every route, answered by this desk."""
    return {
        variables.ROUTE_INCOMING: partial(incoming, desk),
        variables.ROUTE_UNANSWERED: partial(unanswered, desk),
    }


async def incoming(desk: CallDesk, request: Request, conversation: Conversation) -> None:
    """Answer for a new call. Arguments: called number, caller's number, unique id, channel, presentation, what the call
    was diverted from."""
    dialled, caller, unique_id, channel, presentation, passed = exactly(request, 6)
    call = IncomingCall(
        number=number(dialled),
        caller=printable(caller),
        unique_id=printable(same(unique_id, request.unique_id, "the unique id"), MAX_CHANNEL_CHARACTERS),
        channel=printable(same(channel, request.channel, "the channel"), MAX_CHANNEL_CHARACTERS),
        is_withheld=is_withheld(presentation),
        diverted=diverted(passed),
        is_diverted_further=is_cut(passed),
        proof=conversation.secret,
    )
    await deliver(conversation, desk, await desk.incoming(call))


async def unanswered(desk: CallDesk, request: Request, conversation: Conversation) -> None:
    """Answer for a forward that was not answered. Arguments: session, how the dialling ended."""
    charged, status = exactly(request, 2)
    answer = await desk.unanswered(session_id(charged), dial_status(status))
    await deliver(conversation, desk, answer)


async def deliver(conversation: Conversation, desk: CallDesk, answer: Answer) -> None:
    """Set every variable of the answer. If that fails in any way, the desk is told that its decision was abandoned, and
    the error is raised; CallerLeft if the caller hung up meanwhile.

    One command sets them, and the switch carries it out as a whole or not at all. The decision comes last all the same:
    a dialplan that got only a part would see none, and take its fallback.
    """
    try:
        await conversation.set_variables(assignments(answer))
        if conversation.hung_up:
            raise CallerLeft("the caller hung up")
    except BaseException:  # also when the deadline passes or the daemon stops: the money must be given back
        if answer.session is not None:
            await asyncio.shield(
                desk.abandoned(answer.session, undelivered=conversation.hung_up or not conversation.has_answered)
            )
        raise


def assignments(answer: Answer) -> Iterator[tuple[str, str]]:
    """Yield channel variables in the order in which they are set. The forwarded leg inherits the session.

    The dialplan clears all of them before it asks, so nothing of an earlier answer is left.
    """
    if answer.switch:
        yield variables.SWITCH, answer.switch
    if answer.session is not None:
        yield _SESSION, answer.session
    yield variables.REASON, answer.reason
    if answer.quota_s is not None:
        yield variables.QUOTA, str(answer.quota_s)
    if answer.target is not None:
        yield variables.TARGET, answer.target
    if answer.ring_s:
        yield variables.RING_S, str(answer.ring_s)
    if answer.wait_s:
        yield variables.WAIT_S, str(answer.wait_s)
    if answer.language:
        yield variables.LANGUAGE, answer.language
    if answer.mailbox:
        yield variables.MAILBOX, answer.mailbox
    yield variables.DECISION, answer.decision


# --- arguments, checked ---------------------------------------------------------------------------------------


def exactly(request: Request, count: int) -> tuple[str, ...]:
    """Return the ``count`` arguments. Raises RemoteProtocolError if there are more or fewer: a comma in one shifts the
    others."""
    if len(request.arguments) != count:
        raise RemoteProtocolError(f"found {len(request.arguments)} arguments, expected {count}")
    return request.arguments


def same(text: str, said: str, what: str) -> str:
    """Return an argument that repeats a line of the header. Raises RemoteProtocolError if the two differ."""
    if text != said:
        raise RemoteProtocolError(f"found {what} {text[:80]!r} in the arguments and {said[:80]!r} in the header")
    return text


def number(text: str) -> str:
    """Read a dialled number: digits, with or without a leading ``+``. Raises RemoteProtocolError."""
    return _matching(_NUMBER, text, "a number")


def session_id(text: str) -> str:
    """Read a session's id, as the daemon makes them. Raises RemoteProtocolError."""
    return _matching(_SESSION_ID, text, "a session's id")


def dial_status(text: str) -> str:
    """Read how the dialling ended: ``BUSY``, ``NOANSWER``…; may be empty. Raises RemoteProtocolError."""
    return _matching(_WORD, text, "a dial status")


def is_withheld(text: str) -> bool:
    """Whether the caller withholds his number: ``withheld`` or ``allowed``. Raises RemoteProtocolError."""
    return _matching(_PRESENTATION, text, "a presentation: is extensions_charging.conf this version's?") == "withheld"


def diverted(text: str) -> tuple[str, ...]:
    """Read the numbers that the call was diverted from: those of Diversion (RFC 5806) and, after a ``|``, those of
    History-Info (RFC 7044). The last number of History-Info is left out, with its repetitions: it is the number that is
    called now, and each proxy on the way may have added it again. Values that are no numbers are left out. A ``+`` may
    be written ``%2B``."""
    if _PASSED.search(text) is None:  # nearly always
        return ()
    diversion, _, history = text[:DIVERTED_MAX_CHARACTERS].partition(_HISTORY)
    passed = _numbers(history)
    while len(passed) > 1 and passed[-2] == passed[-1]:
        del passed[-1]
    return (*_numbers(diversion), *passed[:-1])


def _numbers(said: str) -> list[str]:
    return [f"+{one[3:]}" if one[0] == "%" else one for one in _PASSED.findall(said)]


def is_cut(text: str) -> bool:
    """Whether the argument may have been cut: the network may have named more numbers than it holds."""
    diversion = text.partition(_HISTORY)[0]
    return len(text) >= DIVERTED_MAX_CHARACTERS or len(diversion) >= DIVERSION_MAX_CHARACTERS


def printable(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Return the text without unprintable characters, cut to ``limit`` characters."""
    if not text.isprintable():
        text = "".join(character for character in text if character.isprintable())
    return text[:limit]


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise RemoteProtocolError(f"not {what}: {text[:80]!r}")
    return text
