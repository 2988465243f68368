"""The public interface as a process of its own, on a SQLite ledger, for tests: ``python -m … FOLDER PORT [JSON]``.

It prints one JSON line with the tokens by scope, then serves until it is told to end. ``JSON`` are settings of the
section ``api``.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from charging.clock import SystemClock
from charging.ledger.open import open_store
from charging.service.live import NoCalls
from charging.service.service import Service
from charging.service.tokens import NewToken, Scope, Tokens
from charging.web.api import serve_api
from charging.web.settings import Api
from tests.fakes.rig import make_tariff


async def main(folder: Path, settings: Api) -> None:
    store = open_store(f"sqlite:///{folder / 'ledger.db'}")
    await store.open()
    clock = SystemClock()
    tariff = make_tariff()
    service = Service(store=store, tariff=lambda: tariff, clock=clock, funds_changed=lambda one: None, live=NoCalls())
    tokens = Tokens(store, clock)
    made = {"all": await tokens.add("test", list(Scope))}
    made |= {scope.value: await tokens.add("test", [scope]) for scope in Scope}
    ready = asyncio.Event()
    serving = asyncio.create_task(serve_api(service, tokens, settings, ready))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    await asyncio.wait([serving, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    print(json.dumps({name: one.secret for name, one in made.items() if isinstance(one, NewToken)}), flush=True)
    try:
        await serving
    except asyncio.CancelledError:
        await store.close()


if __name__ == "__main__":
    given = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    asyncio.run(main(Path(sys.argv[1]), Api.model_validate(given | {"port": sys.argv[2]})))
