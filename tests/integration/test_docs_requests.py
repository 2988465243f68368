"""The requests of docs/integrate.md, sent to a real daemon, beside the shop of docs/first-hour.md."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from charging.lab.ports import free_port
from tests.fakes.ami import eventually
from tests.integration.command import Command, Place
from tests.integration.test_api_daemon import is_served
from tests.integration.test_cli_run import daemon
from tests.pages import DOCS, text_of

pytestmark = pytest.mark.timeout(180)

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
NO_SWITCH = 503
"""No Asterisk runs here: no call can be forwarded, and no fax be dialled now. Ask again, it says."""
NO_NUMBER = 422
"""Alice has no number to send from."""
NO_PAGE = 422
"""No `customer_page` is served: the rules of this shop do not allow it."""
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
PDF += b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj\ntrailer<</Root 1 0 R>>\n"


@dataclass
class Curl:
    """What a line with ``curl`` asks for."""

    url: str = ""
    socket: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    form: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    @classmethod
    def of(cls, line: str, folder: Path) -> Curl:
        words = iter(shlex.split(line, comments=True)[1:])
        asked = cls()
        for word in words:
            if word == "-H":
                name, _, value = next(words).partition(": ")
                asked.headers[name] = value
            elif word == "--json":
                asked.headers["Content-Type"] = "application/json"
                asked.body = next(words).encode()
            elif word == "-F":
                name, _, value = next(words).partition("=")
                if value.startswith("@"):
                    asked.files[name] = (value[1:], (folder / value[1:]).read_bytes())
                else:
                    asked.form[name] = value
            elif word == "--data-binary":
                asked.body = (folder / next(words).removeprefix("@")).read_bytes()
            elif word == "--unix-socket":
                asked.socket = next(words)
            else:
                assert not word.startswith("-"), f"{word} is not known here"
                asked.url = word
        return asked

    async def answer(self) -> httpx.Response:
        transport = httpx.AsyncHTTPTransport(uds=self.socket or None)
        async with httpx.AsyncClient(transport=transport, timeout=200) as client:
            if self.files:
                return await client.post(self.url, headers=self.headers, data=self.form, files=self.files)
            method = "GET" if self.body is None else "POST"
            return await client.request(method, self.url, headers=self.headers, content=self.body)


async def test_every_request_of_the_page_is_answered_as_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the page's order: the tokens that it makes are those that it uses."""
    place = Place(tmp_path / "shop")
    charging = Command(place, capsys).beside
    assert (await charging("init", str(place.folder))).code == 0
    ports = {name: free_port() for name in ("9478", "9479", "4573")}
    settings = place.config.read_text()
    for section, port in (("http", "9478"), ("api", "9479"), ("agi", "4573")):
        settings = settings.replace(f"\n{section}:\n", f"\n{section}:\n  port: {ports[port]}\n")
    place.config.write_text(settings)
    (tmp_path / "offer.pdf").write_bytes(PDF)
    for words in ("account add alice --plan voice_light", "top-up alice 25 --id order-1"):
        assert (await charging(*words.split())).code == 0
    answers: dict[str, int] = {}
    token = ""
    socket = place.folder / "var/charging.sock"
    async with daemon(place, socket=socket):
        await eventually(lambda: is_served(ports["9479"]), "the public interface is served")
        for line in "".join(BLOCK.findall(text_of(DOCS / "integrate.md"))).splitlines():
            if line.startswith("charging "):
                made = await charging(*shlex.split(line)[1:], "--json")
                assert made.code == 0, line
                token = made.json["token"] if line.startswith("charging token add ") else token
                continue
            for port, own in ports.items():
                line = line.replace(f":{port}", f":{own}")
            line = line.replace("$TOKEN", token).replace("shop/", f"{place.folder}/")
            answer = await Curl.of(line, tmp_path).answer()
            answers[re.sub(r"^\w+://[^/]*|\?.*", "", str(answer.url))] = answer.status_code
    assert answers == {
        "/v1/accounts/alice/balance": 200,
        "/v1/accounts/alice/top-ups": 201,
        **dict.fromkeys(("/v1/numbers", "/v1/calls", "/v1/cdrs", "/v1/decisions"), 200),
        "/v1/accounts/alice/page-tokens": NO_PAGE,
        "/v1/changes": 200,
        "/v1/events": 200,
        "/accounts/alice/balance": 200,
        "/health": NO_SWITCH,
        "/metrics": 200,
        "/v1/accounts/alice/faxes": NO_SWITCH,
        "/v1/accounts/alice/fax-checks": NO_NUMBER,
    }
