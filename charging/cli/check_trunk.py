"""``check --live``: the endpoint by which forwards leave, setting by setting, and what a stranger can do with each."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from charging.asterisk import variables
from charging.asterisk.numbers import whole
from charging.cli.check_look import PART, Look, is_denied
from charging.cli.check_results import CheckResult, ok, problem, unknown, warning
from charging.errors import ActionRefused

PREFIX, SUFFIX = variables.DIAL_PREFIXES[0], variables.DIAL_SUFFIXES[0]
SESSION_S = 90
"""The shortest session that SIP's timers know (RFC 4028)."""
RTP_TIMEOUT_S = 40
"""Less than half of such a session, at which it is refreshed."""
ENDS_THEM = ((20, 21), (22, 11), (23, 5))
"""The first releases whose Asterisk ends a leg though its own re-INVITE is unanswered, half a minute after the call."""
STAYS = (
    "has Asterisk ask the far end of a forward again (re-INVITE), which need not answer: it gets no BYE then, and your "
    "carrier bills its leg on after the call, unseen (docs/security.md)"
)
_YES = ("true", "yes")
Settings = Mapping[str, str]


@dataclass(frozen=True)
class Wrong:
    """A setting of the endpoint that should be another."""

    fields: tuple[str, ...]
    """What is looked at."""
    is_so: Callable[[Settings], bool]
    """Not asked where this Asterisk does not know one of them."""
    what: str
    cure: str
    result: Callable[[str, str], CheckResult] = warning


def _is(field: str, *values: str) -> tuple[tuple[str, ...], Callable[[Settings], bool]]:
    return (field,), lambda said: said[field] in (values or _YES)


def _asks_by_invite(said: Settings) -> bool:
    tells = said["send_connected_line"] in _YES and (said["send_pai"] in _YES or said["send_rpid"] in _YES)
    return tells and said["connected_line_method"] == "invite"


def _is_set_back(said: Settings) -> bool:
    silent_s, session_s = whole(said["rtp_timeout"]), whole(said["timers_sess_expires"])
    return said["timers"] != "no" and bool(silent_s and session_s) and 2 * (silent_s or 0) >= (session_s or 0)


def _no_session_ends(said: Settings) -> bool:
    seconds = whole(said["timers_sess_expires"])
    return said["timers"] not in ("always", "required") or seconds is None or seconds > SESSION_S


WRONG = (
    Wrong(
        *_is("allow_transfer"),
        "the trunk allows transfers: a transferred call leaves its paid deadline behind",
        "allow_transfer = no",
        problem,
    ),
    Wrong(
        *_is("redirect_method", "uri_pjsip"),
        "Asterisk follows a phone's diversion (SIP 302) below the dialplan, whatever the other number costs",
        "redirect_method = user",
        problem,
    ),
    Wrong(
        *_is("direct_media"),
        "the trunk has direct media: what does not pass through Asterisk gets no warning (R17) and no rtp_timeout",
        "direct_media = no",
    ),
    Wrong(
        *_is("rtp_timeout", "0"),
        "the trunk has no rtp_timeout: a leg whose network died stays up until its money is gone",
        f"rtp_timeout = {RTP_TIMEOUT_S}",
    ),
    Wrong(
        ("rtp_timeout", "timers", "timers_sess_expires"),
        _is_set_back,
        "where the carrier allows no UPDATE, each refresh of the session (re-INVITE, at half of timers_sess_expires) "
        "sets rtp_timeout back, so that it is never due: a leg whose network died stays up until its money is gone",
        f"rtp_timeout = {RTP_TIMEOUT_S}",
    ),
    Wrong(
        *_is("trust_connected_line"),
        "the trunk trusts what an answering phone says of itself: callers are told the subscriber's mobile",
        "trust_connected_line = no",
    ),
    Wrong(
        *_is("t38_udptl_nat"),
        "the trunk's faxes (T.38) go to whoever wrote to their port last",
        "t38_udptl_nat = no",
    ),
    Wrong(*_is("t38_udptl"), f"a caller who asks for T.38 {STAYS}", "t38_udptl = no (faxes then go by sound)"),
    Wrong(*_is("moh_passthrough"), f"a caller who holds the call {STAYS}", "moh_passthrough = no"),
    Wrong(
        ("send_connected_line", "send_pai", "send_rpid", "connected_line_method"),
        _asks_by_invite,
        f"telling a phone who it talks to now {STAYS}",
        "connected_line_method = update",
    ),
)
"""What each endpoint is looked at for."""
SESSIONS = Wrong(
    ("timers", "timers_sess_expires"),
    _no_session_ends,
    f"this Asterisk has no end for a re-INVITE that is not answered, and a caller who reorders what he offers {STAYS}",
    f"timers = always, timers_sess_expires = {SESSION_S} and timers_min_se = {SESSION_S}, which end such a leg "
    f"{SESSION_S} s later (20.21.0, 22.11.0, 23.5.0 and later releases do by themselves, in half a minute): do so",
)
"""What it is looked at for where Asterisk's own version ends no such leg."""
DIVERSION = Wrong(
    *_is("send_diversion", "false"),
    "the trunk sends no Diversion: a forward that its phone diverts back is known by its caller alone",
    "send_diversion = yes",
)


def ends_legs(version: str) -> bool:
    """Whether this version of Asterisk ends a leg whose far end leaves a re-INVITE unanswered."""
    found = re.search(r"\b([0-9]+)\.([0-9]+)\.", version)
    if found is None:
        return "GIT" in version
    major, minor = int(found[1]), int(found[2])
    return major > ENDS_THEM[-1][0] or any(major == first and minor >= since for first, since in ENDS_THEM)


async def endpoint(look: Look, name: str) -> AsyncIterator[CheckResult]:
    """The endpoint of a trunk. The function that reads it may be missing, and the endpoint: an OPTIONS to it tells
    them apart."""

    async def setting(field: str) -> str:
        return await look.value(f"PJSIP_ENDPOINT({name},{field})")

    if not await setting("allow_transfer"):
        yield await _unseen(look, name)
        return
    asked = list(WRONG)
    if await look.value("CHARGING_DIVERSION") != "no":
        asked.append(DIVERSION)
    if not ends_legs(look.version):
        asked.append(SESSIONS)
    fine = True
    for one in asked:
        said = {field: await setting(field) for field in one.fields}
        if all(said.values()) and one.is_so(said):
            fine = False
            where = f"in pjsip.conf, endpoint {name}, then `asterisk -rx 'pjsip reload'`"
            yield one.result(PART, f"{one.what}; set {one.cure} {where}")
    if fine:
        yield ok(PART, f"forwards leave by the endpoint {name}: no transfer, no direct media, rtp_timeout")


async def _unseen(look: Look, name: str) -> CheckResult:
    try:
        await look.link.action("PJSIPQualify", {"Endpoint": name})
    except ActionRefused as error:
        if not is_denied(error):
            cure = f"set {PREFIX} and {SUFFIX} in charging-globals.conf, then `asterisk -rx 'dialplan reload'`"
            return problem(PART, f"Asterisk has no PJSIP endpoint {name}: no forward succeeds; {cure}")
    see = f"`asterisk -rx 'pjsip show endpoint {name}' | grep -E 'allow_transfer|direct_media|rtp_timeout'`"
    load = "`asterisk -rx 'module load func_pjsip_endpoint'` shows it here"
    return unknown(PART, f"the trunk's endpoint {name}: {see} must say false, false and more than 0; {load}")


@dataclass(frozen=True)
class Unwanted:
    """A module of Asterisk that serves strangers."""

    module: str
    who: str
    can: str
    """What they can do with it."""
    unless: str
    """Who needs it."""


UNWANTED = (
    Unwanted(
        "res_pjsip_refer",
        "whoever may send INVITE",
        "take the place of a party of a call (Replaces, REFER)",
        "phones of yours transfer by SIP",
    ),
    Unwanted(
        "chan_iax2",
        "whoever reaches UDP port 4569",
        "call without a trunk of yours (IAX2; Debian's iax.conf has a guest without password)",
        "you have IAX2 trunks, and iax.conf has no [guest]",
    ),
)


async def unwanted_modules(look: Look) -> AsyncIterator[CheckResult]:
    """Whether Asterisk has modules by which strangers come in, or take a party's place."""
    for one in UNWANTED:
        try:
            loaded = await look.value(f"IFMODULE({one.module}.so)")
        except ActionRefused:
            loaded = ""  # the right is missing, as is told where rights are
        if loaded == "1":
            cure = f"`noload => {one.module}.so` in modules.conf and a restart, unless {one.unless}"
            yield warning(PART, f"module {one.module} is loaded: {one.who} can {one.can}; {cure} (docs/security.md)")
        elif loaded == "0":
            yield ok(PART, f"nobody can {one.can}: {one.module} is not loaded")
        else:
            see = f"`asterisk -rx 'module show like {one.module}'` must not show it, unless {one.unless}"
            yield unknown(PART, f"whether {one.who} can {one.can}: {see} (docs/security.md)")
