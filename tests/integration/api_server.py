"""The public interface as a process of its own, on a SQLite ledger, for tests: ``python -m … FOLDER PORT [JSON]``.

It prints one JSON line with the tokens by scope, then serves until it is told to end. ``JSON`` are settings of the
section ``api``.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

from charging.call.model import Policy
from charging.clock import Clock, SystemClock
from charging.engine.findings import Findings
from charging.engine.sessions import Registry
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.service.live import RegistryCalls
from charging.service.service import Service
from charging.service.tokens import NewToken, Scope, Tokens
from charging.web.api import api_app
from charging.web.listen import Front, serve_port
from charging.web.settings import Api
from tests.fakes.fax_line import FAX_TABLES, MAX_BYTES, TakesAll, fax_desk
from tests.fakes.rig import make_tariff
from tests.fakes.switch import FakeSwitch

FAXES_AT_ONCE = 1_000_000


def _registry(store: Store, switch: FakeSwitch, clock: Clock) -> Registry:
    def observe(what: object, session: object = None) -> None:
        return

    return Registry(
        ledger=store,
        switch=switch,
        clock=clock,
        policy=Policy(),
        switch_id="test",
        observe=observe,
        findings=Findings(store, clock, observe),
    )


async def main(folder: Path, settings: Api) -> None:
    store = open_store(f"sqlite:///{folder / 'ledger.db'}")
    await store.open()
    clock = SystemClock()
    tariff = replace(make_tariff(), tables=FAX_TABLES)
    switch = FakeSwitch(clock)  # type: ignore[arg-type]  # what it asks of a clock, each has
    registry = _registry(store, switch, clock)
    service = Service(
        store=store,
        tariff=lambda: tariff,
        clock=clock,
        funds_changed=registry.funds_changed,
        live=RegistryCalls(registry),
        fax=fax_desk(registry, TakesAll(switch), at_once=FAXES_AT_ONCE),
    )
    tokens = Tokens(store, clock)
    made = {"all": await tokens.add("test", list(Scope))}
    made |= {scope.value: await tokens.add("test", [scope]) for scope in Scope}
    running = asyncio.create_task(registry.run())
    ready = asyncio.Event()
    app = api_app(service, tokens, settings, fax_bytes_max=MAX_BYTES)
    serving = asyncio.create_task(serve_port(app, settings.host, settings.port, ready, front=Front("api")))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    await asyncio.wait([serving, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    print(json.dumps({name: one.secret for name, one in made.items() if isinstance(one, NewToken)}), flush=True)
    try:
        await serving
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([running])
        await store.close()


if __name__ == "__main__":
    given = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    asyncio.run(main(Path(sys.argv[1]), Api.model_validate(given | {"port": sys.argv[2]})))
