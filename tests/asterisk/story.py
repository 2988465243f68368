"""A subscriber's life on a real Asterisk, for months: the daemon with its clocks moved, and everything around it real.

Calls, messages and faxes are SIP and RTP; mails go to a real SMTP server and are read there; the website asks and tops
up over the public HTTP interface, with a token; the operator uses the command. The prices are the shipped tariff's,
with two additions that keep stories short:

- *satellite* phones cost € 0.40 and € 9.00 for each ten seconds begun, so that € 10.00 last for ten seconds;
- free minutes are used in steps of ten seconds.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import httpx

from charging.lab import Call, CallState, Lab, mobile
from charging.lab.audio import Sound
from charging.lab.daemon import DaemonProcess
from charging.lab.folder import CALLER_TONE_HZ, MOBILE_TONE_HZ
from charging.ledger.accounts import Account, Language, Number
from charging.ledger.balances import bundle, grant
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.ledger.open import open_store
from charging.notify.notifier import SWEEP_HOUR
from charging.pricing.money import format_euro, parse_euro
from tests.asterisk.engine import NUMBER, Engine, patient
from tests.asterisk.parties import leave_message
from tests.asterisk.story_time import TENTH, StoryTime, at
from tests.fakes.documents import pdf
from tests.fakes.relay import Relay
from tests.integration.command import REPOSITORY
from tests.integration.smtp_server import Mailbox, mail_server

POLICY = {"tick_s": 2, "horizon_s": 8, "warn_before_s": 8, "setup_timeout_s": 2, "black_box_wait_s": 2, "ring_s": 2}
LEASE_S = 4
SATELLITE = mobile.answers()
ADDRESS = "anna@example.nl"
MORE_SETTINGS = """\
mail:
  host: 127.0.0.1
  port: {mail_port}
  sender_address: service@voice.example
  sender_name: Voice
  top_up_url: https://www.voice.example/top-up
"""
SPEECH_DB = -35.0
LEAK_DB = -45.0
PATIENCE_S = 90
"""For anything, on a busy machine: a daemon that could not reach its ledger looks again after a minute."""


ADDITIONS = {
    "  nl_fixed:\n    title": f'  satellite:\n    prefixes: ["{SATELLITE[:9]}"]\n',
    "      nl_fixed:\n        price": "      satellite: {price: 54.00, increments: 10/10, connect_fee: 0.40}\n",
    "      minutes: 250\n": "      increment: 10\n",
}
"""To the shipped tariff: what goes before which lines."""


def story_tariff() -> str:
    """The shipped one, with the additions."""
    text = (REPOSITORY / "config" / "tariff.yaml").read_text()
    for before, added in ADDITIONS.items():
        assert text.count(before) == 1, before
        text = text.replace(before, added + before)
    return text


@dataclass(frozen=True)
class Letter:
    """A mail as its reader sees it, every space an ordinary one."""

    subject: str
    text: str


def _one_line(text: str) -> str:
    return " ".join(text.split())


@dataclass
class Story(Engine):
    """The daemon, its subscriber, and who else has a part."""

    time: StoryTime
    website: httpx.AsyncClient
    mailbox: Mailbox
    _known: set[str] = field(default_factory=set)
    _read: int = 0
    _replies: int = 0
    _keys: itertools.count[int] = field(default_factory=itertools.count)
    _moves: int = 0
    _looked_after: set[date] = field(default_factory=lambda: {TENTH})
    _swept: set[date] = field(default_factory=lambda: {TENTH})

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str, deadline_s: float = PATIENCE_S) -> None:
        await super().until(condition, what, max(deadline_s, PATIENCE_S))

    # --- the website ------------------------------------------------------------------------------------------

    async def shown(self) -> dict[str, Any]:
        """The balance as the website shows it, through the public interface."""
        balance: dict[str, Any] = (await self.website.get("/accounts/anna/balance")).raise_for_status().json()
        return balance

    async def credit(self) -> str:
        """Euro; nothing of it is set aside, and CDRs and journal tell where the rest went."""
        credit = (await self.shown())["credit"]
        assert credit["posted"] == credit["now"] == credit["available"]
        cdrs = (await self.website.get("/cdrs", params={"account": "anna", "limit": 1000})).json()["items"]
        spent = sum(parse_euro(one["cost"]) for one in cdrs)
        assert spent == -sum(await self._moved("reserve", "extend", "settle"))
        left = sum(await self._moved("top_up", "expire")) - spent
        assert credit["available"] == format_euro(left)
        return str(credit["available"])

    async def _moved(self, *kinds: str) -> list[int]:
        """What the journal's lines of these kinds put to the credit, in micro-euro."""
        lines = [line for line in await self.journal() if line["kind"] in kinds]
        legs = (leg for line in lines for leg in line["legs"] if leg["balance"] == CREDIT)
        return [parse_euro(leg["posted"].lstrip("-")) * (-1 if leg["posted"].startswith("-") else 1) for leg in legs]

    async def free_s(self) -> int:
        """Free seconds left this month."""
        return int((await self.shown())["free_seconds"]["left"])

    async def buys(self, amount: str) -> httpx.Response:
        """Tops up on the website."""
        key = {"Idempotency-Key": f"order-{next(self._keys)}"}
        return await self.website.post("/accounts/anna/top-ups", json={"amount": amount}, headers=key)

    async def pays_subscription(self, until: date) -> None:
        body, key = {"until": until.isoformat()}, {"Idempotency-Key": f"payment-{until}"}
        (await self.website.post("/accounts/anna/subscription-payments", json=body, headers=key)).raise_for_status()

    async def forwards_to(self, target: str) -> None:
        """Anna chooses another phone."""
        (await self.website.patch(f"/numbers/{NUMBER}", json={"forward_to": target})).raise_for_status()

    async def faxes(self, target: str, pages: int) -> httpx.Response:
        """Uploads a document."""
        key = {"Idempotency-Key": f"fax-{next(self._keys)}"}
        to = {"target": target, "name": "offer.pdf"}
        return await self.website.post("/accounts/anna/faxes", params=to, content=pdf(pages), headers=key)

    async def fax_over(self, answer: httpx.Response) -> dict[str, Any]:
        """The fax of that answer, once it is over."""
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = {}

        async def ended() -> bool:
            found.update((await self.website.get(f"/accounts/anna/faxes/{answer.json()['session']}")).json())
            return bool(found["state"] != "sending")

        await self.until(ended, "the fax's end")
        return found

    async def statement(self, month: str) -> dict[str, Any]:
        asked = await self.website.get(f"/accounts/anna/statements/{month}")
        statement: dict[str, Any] = asked.raise_for_status().json()
        return statement

    # --- the operator -----------------------------------------------------------------------------------------

    async def verified(self) -> None:
        """Nothing is under way, the books add up, and all that was told is said in the story."""
        self.no_mail()
        await self.nothing_reserved()
        assert "the books are exact" in await self.charging("ledger", "verify")

    # --- callers and phones -----------------------------------------------------------------------------------

    async def booked(self, service: str, how_many: int = 1) -> list[dict[str, Any]]:
        """The CDRs of this service that are new since the last time, once there are so many."""
        new: list[dict[str, Any]] = []

        async def there() -> bool:
            page = await self.website.get("/cdrs", params={"account": "anna", "limit": 1000})
            if page.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # a busy machine's ledger
                return False
            found = (one for one in page.json()["items"] if one["service"] == service)
            new[:] = [one for one in found if one["session"] not in self._known]
            return len(new) >= how_many

        await self.until(there, f"{how_many} new CDRs of {service}")
        assert len(new) == how_many
        self._known |= {one["session"] for one in new}
        return new

    async def talks(self, seconds: float) -> dict[str, Any]:
        """Someone rings, Anna answers, the caller hangs up after so long: the CDR."""
        call = await self.call(hang_up_after_s=seconds)
        await call.wait_end(PATIENCE_S)
        assert call.mobile.was_answered
        (cdr,) = await self.booked("forward")
        return cdr

    async def leaves_message(self, call: Call) -> None:
        """The caller is with voicemail, talks to it and hangs up."""
        await call.wait_state(CallState.ANSWERED, PATIENCE_S)
        await leave_message(self.lab, call, seconds=4)

    # --- the mailbox ------------------------------------------------------------------------------------------

    async def mail(self) -> Letter:
        """The next mail that Anna reads."""

        async def come() -> bool:
            return len(self.mailbox.got) > self._read

        await self.until(come, "a mail")
        message, to = self.mailbox.got[self._read], self.mailbox.recipients[self._read]
        self._read += 1
        body = message.get_body(("plain",))
        assert body is not None
        letter = Letter(_one_line(str(message["Subject"])), _one_line(str(body.get_content())))
        assert (to, str(message["To"])) == (ADDRESS, ADDRESS)
        assert "https://www.voice.example/top-up" in letter.text
        return letter

    async def reply(self) -> Letter:
        """The same, where it is no notice of the daemon's but the command's answer to a mail of hers."""
        self._replies += 1
        return await self.mail()

    def no_mail(self) -> None:
        """Anna has read all there is, and nothing is on its way to her."""
        assert [str(one["Subject"]) for one in self.mailbox.got[self._read :]] == []
        assert len(self.daemon.events("notice_put")) == self._read - self._replies

    # --- time -------------------------------------------------------------------------------------------------

    async def comes(self, moment: datetime) -> None:
        """Time passes without a call, until ``moment``. When this returns, old value has expired, and (from nine
        o'clock on) notices were looked for on that day."""
        self._moves += 1
        self._looked_after.add(moment.date())
        if moment.hour >= SWEEP_HOUR:
            self._swept.add(moment.date())
        self.time.move(moment)
        self.daemon.send(signal.SIGUSR1)
        await self.heard("clocks_moved", times=self._moves)
        await self.heard("round_made", times=len(self._looked_after))
        await self.heard("accounts_swept", times=len(self._swept))


def hears_the_prompt(call: Call) -> bool:
    """Of a call that is over: whether its prompt was in the subscriber's ear; it never is in the caller's (R17). Of
    its three seconds a busy machine may have recorded one: how well it sounds is `test_warning.py`'s business."""
    caller = Sound.read(call.caller_heard).seconds_of_rest(MOBILE_TONE_HZ, above_db=LEAK_DB)
    assert caller < 0.2, f"the caller heard {caller} s of something"
    return Sound.read(call.mobile_heard).seconds_of_rest(CALLER_TONE_HZ, above_db=SPEECH_DB) > 0.4


@contextlib.asynccontextmanager
async def story(
    lab: Lab, folder: Path, plan: str, language: Language, *, ledger_url: str = "", used_free_s: int = 0
) -> AsyncIterator[Story]:
    """It is ten o'clock on TENTH. Anna has no credit; ``used_free_s`` of the month's free seconds were used before."""
    calendar = StoryTime(folder / "clocks", at(TENTH, "10:00:00"))
    mailbox = Mailbox()
    with mail_server(mailbox) as mail_port:
        async with Relay(lab.switch.charging_ami.port) as switch:
            switch.rewrite = calendar.stamped
            daemon = _daemon(lab, folder, calendar, ledger_url, switch.port)
            settings = daemon.settings.read_text().replace("fax:\n", "fax:\n  keep_days: 3650\n")
            daemon.settings.write_text(settings + MORE_SETTINGS.format(mail_port=mail_port))
            await _furnish(ledger_url or f"sqlite:///{daemon.ledger}", plan, language, calendar, used_free_s)
            async with patient(lab, daemon), daemon, _website(daemon) as website:
                live = Story(lab, daemon, calendar, website, mailbox)
                await live.heard("accounts_swept")
                yield live


def _daemon(lab: Lab, folder: Path, calendar: StoryTime, ledger_url: str, ami_port: int) -> DaemonProcess:
    daemon = DaemonProcess(
        lab, folder / "daemon", story_tariff(), POLICY, ledger_url=ledger_url, ami_port=ami_port, lease_s=LEASE_S
    )
    program = Path(__file__).with_name("story_daemon.py")
    daemon.program = (sys.executable, str(program), str(daemon.settings), str(calendar.file))
    return daemon


async def _furnish(url: str, plan: str, language: Language, calendar: StoryTime, used_free_s: int) -> None:
    store = open_store(url)
    await store.open()
    try:
        await store.directory.put_account(Account("anna", plan, language, email=ADDRESS))
        await store.directory.put_number(Number(NUMBER, "anna", mobile.hangs_up(3)))
        if used_free_s:
            month, now_us = TENTH.strftime("%Y-%m"), calendar.now_us
            await store.apply(grant("anna", month, 250 * 60, now_us, "voice_pro"))
            used = (Leg(bundle(month), -used_free_s),)
            await store.apply(Transfer("earlier-calls", "anna", Kind.SETTLE, now_us, used))
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _website(daemon: DaemonProcess) -> AsyncIterator[httpx.AsyncClient]:
    scopes: Mapping[str, Any] = {"name": "website", "scopes": ["read", "credit", "operate", "fax"]}
    token = (await daemon.post("/tokens", scopes))["token"]
    url, headers = f"http://127.0.0.1:{daemon.api_port}", {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S) as website:
        yield website
