"""Someone edits the tariff while a call runs on the real Asterisk."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.lab import CallState, Lab
from tests.asterisk.engine import Engine, engine, tariff

pytestmark = pytest.mark.asterisk


async def _edited(live: Engine, text: str, event: str) -> None:
    """Save as editors do: another file, renamed over the old one."""
    before = len(live.daemon.events(event))
    draft = live.daemon.tariff.with_suffix(".new")
    draft.write_text(text)
    draft.rename(live.daemon.tariff)
    await live.heard(event, times=before + 1, deadline_s=30)


async def test_running_call_keeps_its_price_and_the_next_one_has_the_new(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, price="0.06") as live:
        first = await live.call()
        await live.heard("tick_posted")
        await _edited(live, tariff(price="0.60", revision=2), "tariff_replaced")
        await live.heard("tick_posted", times=4, deadline_s=20)
        await first.hang_up()
        await first.wait_end()
        second = await live.call(hang_up_after_s=1.5)
        await second.wait_end(15)
        old, new = await live.cdrs(2)
        assert (old["tariff_revision"], new["tariff_revision"]) == ("test-1", "test-2")
        assert old["tariff_digest"] != new["tariff_digest"]
        assert float(old["cost"]) == pytest.approx(old["billed_s"] * 0.001)
        assert new["cost"] == "0.02"


async def test_running_call_keeps_its_price_over_a_restart_of_the_daemon(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, price="0.06", policy={"horizon_s": 45}) as live:
        call = await live.call()
        await live.heard("tick_posted")
        await live.daemon.kill()
        live.daemon.tariff.write_text(tariff(price="0.60", revision=2))
        await live.daemon.start()
        ticks = len(live.daemon.events("tick_posted"))
        await live.heard("tick_posted", times=ticks + 1, deadline_s=20)
        await call.hang_up()
        await call.wait_end()
        cdr = await live.cdr()
        assert cdr["tariff_revision"] == "test-1"
        assert float(cdr["cost"]) == pytest.approx(cdr["billed_s"] * 0.001)


async def test_broken_edit_is_refused_and_both_calls_go_on(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        first = await live.call()
        await live.heard("tick_posted")
        await _edited(live, tariff().replace("increments: 1/1", "increment: 1/1"), "tariff_edit_refused")
        told = live.daemon.events("tariff_edit_refused")[0]["problem"]
        assert "tariff.yaml:" in told
        assert "increments" in told
        second = await live.call(hang_up_after_s=1.5)
        await second.wait_end(15)
        assert first.state is CallState.ANSWERED
        await first.hang_up()
        await first.wait_end()
        assert {cdr["tariff_revision"] for cdr in await live.cdrs(2)} == {"test-1"}
        await _edited(live, tariff(), "tariff_replaced")
