"""The customers' page over the console's scene, and the operator's own site with the balance widget in it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from charging.service.page_tokens import NewPageToken, PagePlace, PageTokens, Use
from charging.web.asks import Asks
from charging.web.customers.app import PRIVATE, customers_app
from charging.web.customers.till import till_of
from charging.web.listen import Front, serve_on
from charging.web.settings import CustomerPage
from tests.fakes.fax_line import MAX_BYTES
from tests.fakes.providers import KEY, Double, Mollie
from tests.integration.console_scene import Scene, bound, console_scene

SITE_PAGE = """<!doctype html><html lang="en"><head><title>Voice</title></head><body><main><h1>Voice</h1>
<p>Welcome back. <script src="{script}" data-token="{token}" data-language="en" data-link="{page}" defer></script></p>
</main></body></html>"""


@dataclass
class Customers:
    """What a test plays in."""

    scene: Scene
    tokens: PageTokens
    url: str
    site: str
    """The operator's, whose page has the widget of anna."""
    strange_site: str
    """The same page at another address, which is not in the list."""
    double: Double
    """The payment provider."""

    async def link(self, account: str = "anna") -> str:
        """As the operator's website asks for it."""
        return (await self.token(Use.PAGE, account)).url

    async def token(self, use: Use, account: str = "anna") -> NewPageToken:
        made = await self.tokens.make(account, use)
        assert isinstance(made, NewPageToken)
        return made


@asynccontextmanager
async def customer_scene(folder: Path) -> AsyncIterator[Customers]:
    """Served on ports of their own, over plain HTTP on loopback."""
    listeners = [bound() for _ in range(4)]
    urls = [f"http://localhost:{one.getsockname()[1]}" for one in listeners]
    async with console_scene(folder) as scene:
        service, place = scene.service, PagePlace(urls[0], 120, 3600)
        tokens = service.page_tokens = PageTokens(scene.rig.store, scene.rig.clock, place)
        made = Customers(scene, tokens, urls[0], urls[1], urls[2], Mollie(url=urls[3]))
        sells = {"payment_provider": "mollie", "payment_key_env": "KEY", "payment_url": urls[3]}
        settings = CustomerPage.model_validate(
            {"url": urls[0], "sign_in_url": f"{urls[1]}/login", "widget_origins": [urls[1]], **sells}
        )
        async with httpx.AsyncClient() as to_provider:
            asks = Asks(service, private=PRIVATE)
            till = till_of(settings, asks, to_provider, SecretStr(KEY), None)
            page = customers_app(asks, settings, till, fax_bytes_max=MAX_BYTES)
            apps: list[ASGIApp] = [page, _site(made), _site(made), made.double.app()]
            async with _served(apps, listeners):
                yield made


@asynccontextmanager
async def _served(apps: list[ASGIApp], listeners: list[socket.socket]) -> AsyncIterator[None]:
    serving = [
        asyncio.create_task(serve_on(app, [listener], Front("page")))
        for app, listener in zip(apps, listeners, strict=True)
    ]
    try:
        yield
    finally:
        for one in serving:
            one.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def _site(made: Customers) -> Starlette:
    """Its one page, with the widget's script tag."""

    async def page(_request: Request) -> Response:
        token = await made.token(Use.WIDGET)
        return HTMLResponse(SITE_PAGE.format(script=token.url, token=token.secret, page=made.url))

    serve: Callable[[Request], Awaitable[Response]] = page
    return Starlette(routes=[Route("/", serve)])
