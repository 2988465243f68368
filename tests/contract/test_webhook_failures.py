"""Every store keeps why a webhook's last try has failed: noted, replaced, taken away, and dropped with its endpoint."""

from __future__ import annotations

from charging.ledger.documents import Put
from charging.ledger.port import Store
from charging.service.refusal import Refused
from charging.service.webhooks import FAILURES, Failing, Report, Webhooks, failing
from tests.fakes.clock import FakeClock


async def test_the_last_failure_of_a_webhook_is_kept_until_a_try_succeeds(store: Store, clock: FakeClock) -> None:
    ours = Webhooks(store, clock, ["site", "other"], "a")
    for name in ("site", "other"):
        assert not isinstance(await ours.take(name), Refused)
    shown = [await failing(store.documents, "site")]
    for why, next_us in (("503", 5), ("503", 5), ("no answer", None), ("", None), ("410", 9)):
        assert not isinstance(await ours.move("site", "0", Report(1, why=why, next_us=next_us)), Refused)
        shown.append(await failing(store.documents, "site"))
    assert shown == [None, Failing("503", 5), Failing("503", 5), Failing("no answer"), None, Failing("410", 9)]
    assert await failing(store.documents, "other") is None


async def test_a_webhook_that_left_the_settings_takes_its_failure_along(store: Store, clock: FakeClock) -> None:
    before = Webhooks(store, clock, ["site"], "a")
    assert not isinstance(await before.take("site"), Refused)
    assert not isinstance(await before.move("site", "0", Report(1, why="503")), Refused)
    assert not isinstance(await Webhooks(store, clock).forget("site", ""), Refused)
    assert await failing(store.documents, "site") is None
    assert await store.documents.put_document(FAILURES, "site", "{}") is Put.CREATED, "nothing is left of it"
