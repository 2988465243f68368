"""The ledger's benchmarks go round: their raw statements and bare scripts keep up with what the stores do."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from charging.ledger.model import Kept
from tests.benchmarks import ledger_redis, ledger_sqlite


@pytest.mark.parametrize("side", [ledger_sqlite, ledger_redis], ids=["sqlite", "redis"])
async def test_the_benchmark_of_a_ledger_goes_round(
    side: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await side.bench(tmp_path, [10, 20], seconds=0.05, rounds=1)
    told = capsys.readouterr().out
    assert "20 accounts, 200 tasks" in told
    assert "cost at 20 against 10" in told


async def test_a_bare_script_that_is_not_like_the_ledgers_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ledger_redis.SCRIPTS[Kept]
    monkeypatch.setattr(script, "text", script.text.replace('redis.call("HGET"', 'redis.call("HEXISTS"'))
    monkeypatch.setattr(script, "digest", ledger_redis.digest(script.text))
    with pytest.raises(SystemExit, match="make them alike again"):
        await ledger_redis.bench(tmp_path, [10], seconds=0.05, rounds=1)
