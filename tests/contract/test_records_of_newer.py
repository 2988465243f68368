"""What a newer version has added to a record, an older one keeps and writes back, in every store: so one can go back by
one version with calls open, and forward again. The engine is here this version, the one that goes back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charging.call.storage import revive
from charging.clock import Instant
from charging.ledger.accounts import Account, Number
from charging.ledger.codec import dump_account, dump_number, load_account, load_number
from charging.ledger.model import CREDIT, Kept, Kind, Leg, Opened, Transfer
from charging.ledger.port import Store
from charging.records import newer_members
from tests.contract.scenario import add_account

RECORDS = Path(__file__).parents[1] / "data" / "records" / "0.1"
NOW = Instant(7_000_000_000, 1_795_262_400_000_000)
ADDED: dict[str, Any] = {"discount": {"percent": 10, "of": ["credit", None]}, "amount": 2**53 + 1, "name": "é\u2028"}


def of_newer(name: str) -> dict[str, Any]:
    """A record as the next version may write it: members at every level, values at the end of rows."""
    members: dict[str, Any] = json.loads(revive((RECORDS / f"{name}.json").read_text(), NOW, 0).to_json())
    members |= ADDED
    if "rate" in members:
        rate = members["rate"]
        rate["promotion"] = ADDED
        rate["steps"][0].append([1])
        for band in rate.get("bands", ()):
            band[1][0].append("eve")
            band.append({"more": True})
    if members.get("duration"):
        members["duration"].append("guessed")
    return members


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDS.glob("*.json")))
async def test_an_open_session_of_a_newer_version_goes_on_and_keeps_what_is_unknown(store: Store, name: str) -> None:
    written = of_newer(name)
    await add_account(store, "anna")
    await store.apply(Transfer("top-up", "anna", Kind.TOP_UP, 1, (Leg(CREDIT, 10_000_000),)))
    opened = Opened("ams", json.dumps(written), 0, 0)
    assert await store.apply(Transfer("open", "anna", Kind.RESERVE, 2, (Leg(CREDIT, 0, 100),), "s-1", opened))

    (stored,) = await store.sessions()
    record = revive(stored.state, NOW, stored.epoch)
    kept = replace(record, sequence=record.sequence + 1).to_json()
    await store.keep_session("anna", "s-1", Kept(kept, follows=stored.sequence))

    (again,) = await store.sessions()
    assert keeps(json.loads(again.state), written | {"sequence": record.sequence + 1})


def keeps(found: Any, written: Any) -> bool:
    """Whether everything is there that was written, at every level; rows may have got ends since 0.1."""
    if isinstance(written, dict):
        return all(name in found and keeps(found[name], value) for name, value in written.items())
    if isinstance(written, list):
        return len(found) >= len(written) and all(map(keeps, found, written))
    return bool(found == written)


async def test_an_edited_account_and_number_keep_what_is_unknown(store: Store) -> None:
    newer_account = load_account(json.dumps(json.loads(dump_account(Account("anna", "pro"))) | ADDED), 0)
    newer_number = load_number(json.dumps(json.loads(dump_number(Number("+31850001001", "anna"))) | ADDED))
    assert await store.directory.put_account(newer_account)
    await store.directory.put_number(newer_number, None)

    account, number = await store.directory.account("anna"), await store.directory.number("+31850001001")
    assert account is not None
    assert number is not None
    assert await store.directory.put_account(replace(account, plan="light"))
    await store.directory.put_number(replace(number, forward_to="+31612345678"), number)

    account, number = await store.directory.account("anna"), await store.directory.number("+31850001001")
    assert account is not None
    assert number is not None
    assert (account.plan, account.newer) == ("light", ADDED)
    assert (number.forward_to, number.newer) == ("+31612345678", ADDED)
    assert json.loads(dump_account(account)).items() >= ADDED.items()


def test_what_is_unknown_is_named() -> None:
    record = revive(json.dumps(of_newer("session_whole")), NOW, 0)
    assert set(newer_members(record)) == {
        *ADDED,
        "rate.promotion",
        "rate.steps.5",
        "rate.bands.windows.3",
        "rate.bands.4",
        "duration.5",
    }
    assert not list(newer_members(revive((RECORDS / "session_whole.json").read_text(), NOW, 0)))


@pytest.mark.parametrize(
    "changed", [{"short": "promise"}, {"funding": [[0, 60, "credit", "piece-7"]]}, {"fixed_s": "60"}, {"version": 2}]
)
def test_a_value_that_only_a_newer_version_knows_is_refused_and_named(changed: dict[str, Any]) -> None:
    """What it means for the money would be a guess. A newer version whose records must not be read raises theirs."""
    members = json.loads((RECORDS / "session_whole.json").read_text()) | changed
    with pytest.raises(ValueError, match=next(iter(changed))):
        revive(json.dumps(members), NOW, 0)
