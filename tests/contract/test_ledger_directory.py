"""Every store keeps accounts, numbers and leases alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from charging.ledger.accounts import Account, Language, Number, Payment, Status
from charging.ledger.model import CREDIT, Balance, Called, Kind, Leg, Transfer
from charging.ledger.open import open_store
from charging.ledger.port import Store
from tests.contract.scenario import add_account
from tests.integration.redis_servers import RedisServer

PAID = (Payment("invoice-6", "2027-01-31"), Payment("invoice-7", ""))
FULL = Account(
    "a", "voice_pro", Language.EN, "é@example.nl", Status.SUSPENDED, "unpaid", 1_700_000_000_000_000, 5, PAID
)


async def test_an_account_reads_back_as_it_was_put(store: Store) -> None:
    assert await store.directory.account("a") is None
    assert await store.directory.put_account(FULL)
    assert await store.directory.account("a") == replace(FULL, version=1)


async def test_an_edit_of_an_older_version_is_refused(store: Store) -> None:
    assert await store.directory.put_account(FULL)
    assert not await store.directory.put_account(FULL)
    assert not await store.directory.put_account(replace(FULL, version=2))
    assert await store.directory.put_account(replace(FULL, version=1, plan="voice_light"))
    assert not await store.directory.put_account(replace(FULL, version=1, plan="voice_free"))
    stored = await store.directory.account("a")
    assert stored is not None
    assert (stored.plan, stored.version) == ("voice_light", 2)


async def test_an_unknown_account_is_not_edited(store: Store) -> None:
    assert not await store.directory.put_account(replace(FULL, version=1))
    assert await store.directory.account("a") is None


async def test_of_edits_at_once_one_wins(store: Store) -> None:
    await store.directory.put_account(FULL)
    edits = [store.directory.put_account(replace(FULL, version=1, email=f"{n}@example.nl")) for n in range(10)]
    assert (await asyncio.gather(*edits)).count(True) == 1


async def test_accounts_are_listed_by_id(store: Store) -> None:
    for account in ("b", "a", "a.1", "0"):
        await add_account(store, account)
    assert [account.id async for account in store.directory.accounts()] == ["0", "a", "a.1", "b"]


async def test_a_page_of_accounts_begins_after_an_id_and_a_short_one_is_the_last(store: Store) -> None:
    for account in ("b", "a", "a.1", "0"):
        await add_account(store, account)

    async def page(after: str, limit: int) -> list[str]:
        return [account.id for account in await store.directory.accounts_page(after, limit)]

    assert await page("", 3) == ["0", "a", "a.1"]
    assert await page("a.1", 3) == ["b"]
    assert await page("b", 3) == []
    assert await page("", 4) == ["0", "a", "a.1", "b"]
    assert await page("a.0", 1) == ["a.1"], "an id that is no account's"


async def found(store: Store, address: str, limit: int = 10) -> list[str]:
    return [account.id for account in await store.directory.accounts_of_mail(address, limit)]


async def test_accounts_are_found_by_the_mail_address_that_they_have_now(store: Store) -> None:
    for account in ("b", "a", "c"):
        assert await store.directory.put_account(Account(account, "voice_pro", email="Anna@Example.nl"))
    assert await store.directory.put_account(Account("d", "voice_pro", email="anna@example.nlx"))
    assert await store.directory.put_account(Account("e", "voice_pro"))
    assert await found(store, "anna@example.NL") == ["a", "b", "c"]
    assert await found(store, "anna@example.nl", 2) == ["a", "b"]
    assert await found(store, "anna@example.n") == await found(store, "") == []
    edits = [
        Account("a", "voice_pro", email="other@example.nl", version=1),
        Account("b", "voice_pro", email="Anna@Example.nl", status=Status.CLOSED, version=1),
        Account("c", "voice_pro", email="anna@example.nl", status=Status.SUSPENDED, version=1),
    ]
    for edit in edits:
        assert await store.directory.put_account(edit)
    assert await found(store, "anna@example.nl") == ["c"]
    assert await found(store, "other@example.nl") == ["a"]
    assert await store.directory.put_account(Account("c", "voice_pro", version=2)), "erased"
    assert await found(store, "anna@example.nl") == []
    assert await store.directory.put_account(Account("a", "voice_pro", email="anna@example.nl", version=2)), "and back"
    assert await found(store, "anna@example.nl") == ["a"]
    assert await found(store, "other@example.nl") == []
    assert await store.self_check() == []


async def test_an_edit_that_is_refused_leads_no_mail_address_elsewhere(store: Store) -> None:
    assert await store.directory.put_account(Account("a", "voice_pro", email="a@example.nl"))
    assert not await store.directory.put_account(Account("a", "voice_pro", email="b@example.nl", version=7))
    assert (await found(store, "a@example.nl"), await found(store, "b@example.nl")) == (["a"], [])


async def test_a_restored_account_is_found_by_its_mail_address(store: Store) -> None:
    await store.directory.restore_account(Account("a", "voice_pro", email="a@example.nl", version=3))
    await store.directory.restore_account(
        Account("b", "voice_pro", email="a@example.nl", status=Status.CLOSED, version=3)
    )
    assert await found(store, "a@example.nl") == ["a"]
    assert await store.directory.put_account(Account("a", "voice_pro", email="b@example.nl", version=3))
    assert (await found(store, "a@example.nl"), await found(store, "b@example.nl")) == ([], ["a"])


async def test_edits_at_once_leave_a_mail_address_leading_to_who_has_it(store: Store) -> None:
    assert await store.directory.put_account(Account("a", "voice_pro", email="0@example.nl"))

    async def moves(address: str) -> None:
        moved = False
        while not moved:
            stored = await store.directory.account("a")
            assert stored is not None
            moved = await store.directory.put_account(replace(stored, email=address))

    await asyncio.gather(*(moves(f"{n % 2}@example.nl") for n in range(20)))
    stored = await store.directory.account("a")
    assert stored is not None
    assert await found(store, stored.email) == ["a"]
    assert await store.self_check() == []


async def test_a_page_of_numbers_begins_after_a_number_and_is_filled_past_those_removed(store: Store) -> None:
    await add_account(store, "a")
    await add_account(store, "b")
    for number, account in [("+313", "a"), ("+312", "b"), ("+311", "a"), ("+314", "b")]:
        assert await store.directory.put_number(Number(number, account))
    assert await store.directory.remove_number(Number("+312", "b"))

    async def page(after: str, limit: int, account: str | None = None) -> list[str]:
        return [number.number for number in await store.directory.numbers_page(after, limit, account)]

    assert await page("", 1, "a") == ["+311"]
    assert await page("", 2, "a") == ["+311", "+313"]
    assert await page("+311", 2, "a") == ["+313"]
    assert await page("+313", 2, "a") == []
    assert await page("", 1, "b") == ["+314"]
    assert await page("", 1, "c") == []
    assert await page("", 2) == ["+311", "+313"]
    assert await page("+311", 2) == ["+313", "+314"]
    assert await page("+313", 2) == ["+314"]
    assert await page("+314", 2) == []


async def test_a_number_belongs_to_one_account(store: Store) -> None:
    await add_account(store, "a")
    await add_account(store, "b")
    number = Number("+31201234567", "a", "+31612345678", True, "box")
    assert await store.directory.number(number.number) is None
    assert await store.directory.put_number(number)
    assert await store.directory.number(number.number) == number
    edited = replace(number, paid_voicemail=None, forward_to="")
    assert await store.directory.put_number(edited, number)
    assert not await store.directory.put_number(replace(edited, account="b"), edited)
    assert not await store.directory.put_number(replace(edited, account="b"))
    assert await store.directory.number(number.number) == edited


async def test_a_number_is_edited_by_whoever_has_seen_what_is_stored(store: Store) -> None:
    await add_account(store, "a")
    first = Number("+31201234567", "a", "+31612345678", True, "b\u00f8x")
    assert not await store.directory.put_number(replace(first, mailbox=""), first), "there was none"
    assert await store.directory.number(first.number) is None
    assert await store.directory.put_number(first)
    second = replace(first, forward_to="+31687654321")
    assert not await store.directory.put_number(second), "there is one"
    assert not await store.directory.put_number(second, replace(first, paid_voicemail=None))
    assert await store.directory.put_number(second, first)
    assert not await store.directory.put_number(replace(first, paid_voicemail=False), first), "it was edited since"
    assert await store.directory.number(first.number) == second
    assert await store.directory.remove_number(second)
    assert not await store.directory.put_number(replace(second, mailbox=""), second), (
        "a number that was removed stays so"
    )
    assert await store.directory.number(first.number) is None
    assert await store.directory.numbers() == []


async def test_of_edits_of_a_number_at_the_same_time_one_is_taken(store: Store) -> None:
    await add_account(store, "a")
    number = Number("+31201234567", "a")
    made = await asyncio.gather(*(store.directory.put_number(replace(number, mailbox=str(one))) for one in range(5)))
    assert sorted(made) == [False] * 4 + [True]
    seen = await store.directory.number(number.number)
    assert seen == replace(number, mailbox=str(made.index(True)))
    edits = [replace(seen, forward_to=f"+3161234567{one}") for one in range(5)]
    taken = await asyncio.gather(*(store.directory.put_number(one, seen) for one in edits))
    assert sorted(taken) == [False] * 4 + [True]
    assert await store.directory.number(number.number) == edits[taken.index(True)]


async def test_a_number_needs_an_account(store: Store) -> None:
    assert not await store.directory.put_number(Number("+31201234567", "a"))
    assert await store.directory.number("+31201234567") is None


async def test_a_removed_number_may_go_to_another_account(store: Store) -> None:
    await add_account(store, "a")
    await add_account(store, "b")
    assert await store.directory.put_number(Number("+31201234567", "a"))
    number = Number("+31201234567", "a")
    assert await store.directory.remove_number(number)
    assert not await store.directory.remove_number(number)
    assert await store.directory.numbers("a") == []
    assert await store.directory.put_number(Number("+31201234567", "b"))
    assert [number.account for number in await store.directory.numbers()] == ["b"]


async def test_a_number_is_removed_by_whoever_has_seen_what_is_stored(store: Store) -> None:
    """Else who reads it just before it becomes another's takes it from that one."""
    await add_account(store, "a")
    await add_account(store, "b")
    seen = Number("+31201234567", "a", "+31612345678", True, "b\u00f8x")
    assert not await store.directory.remove_number(seen), "there is none"
    assert await store.directory.put_number(seen)
    edited = replace(seen, forward_to="")
    assert await store.directory.put_number(edited, seen)
    assert not await store.directory.remove_number(seen), "it was edited since"
    assert await store.directory.number(seen.number) == edited
    assert await store.directory.remove_number(edited)
    anothers = replace(edited, account="b")
    assert await store.directory.put_number(anothers)
    assert not await store.directory.remove_number(edited), "it is another's by now"
    assert await store.directory.number(seen.number) == anothers
    assert await store.directory.numbers("b") == [anothers]


async def test_of_those_who_remove_a_number_at_the_same_time_one_has(store: Store) -> None:
    await add_account(store, "a")
    number = Number("+31201234567", "a")
    assert await store.directory.put_number(number)
    gone = await asyncio.gather(*(store.directory.remove_number(number) for _ in range(5)))
    assert sorted(gone) == [False] * 4 + [True]
    assert await store.directory.number(number.number) is None


async def test_numbers_are_listed_in_order_of_one_account_or_all(store: Store) -> None:
    await add_account(store, "a")
    await add_account(store, "b")
    for number, account in [("+313", "a"), ("+312", "b"), ("+311", "a")]:
        assert await store.directory.put_number(Number(number, account))
    assert [number.number for number in await store.directory.numbers()] == ["+311", "+312", "+313"]
    assert [number.number for number in await store.directory.numbers("a")] == ["+311", "+313"]
    assert await store.directory.numbers("c") == []


async def test_a_lease_has_one_owner_and_an_epoch_that_only_grows(store: Store) -> None:
    first = await store.leases.acquire_lease("switch-1", "daemon-1", 60)
    assert first is not None
    assert await store.leases.acquire_lease("switch-1", "daemon-2", 60) is None
    assert await store.leases.renew_lease("switch-1", "daemon-1", first, 60)
    assert not await store.leases.renew_lease("switch-1", "daemon-2", first, 60)
    assert not await store.leases.renew_lease("switch-1", "daemon-1", first - 1, 60)
    await store.leases.release_lease("switch-1", "daemon-2", first)
    assert await store.leases.acquire_lease("switch-1", "daemon-2", 60) is None
    await store.leases.release_lease("switch-1", "daemon-1", first)
    assert not await store.leases.renew_lease("switch-1", "daemon-1", first, 60)
    second = await store.leases.acquire_lease("switch-1", "daemon-2", 60)
    assert second is not None
    assert second > first


async def test_an_owner_that_acquires_again_gets_a_newer_epoch(store: Store) -> None:
    first = await store.leases.acquire_lease("switch-1", "daemon-1", 60)
    second = await store.leases.acquire_lease("switch-1", "daemon-1", 60)
    assert first is not None
    assert second is not None
    assert second > first
    assert not await store.leases.renew_lease("switch-1", "daemon-1", first, 60)


async def _acquire_when_lapsed(store: Store, owner: str) -> int:
    async with asyncio.timeout(60):
        while True:  # the store gives no sign when a lease lapses
            if (epoch := await store.leases.acquire_lease("switch-1", owner, 60)) is not None:
                return epoch
            await asyncio.sleep(0)


async def test_a_lapsed_lease_is_taken_over_and_cannot_be_renewed(store: Store) -> None:
    first = await store.leases.acquire_lease("switch-1", "daemon-1", 0.001)
    assert first is not None
    second = await _acquire_when_lapsed(store, "daemon-2")
    assert second > first
    assert not await store.leases.renew_lease("switch-1", "daemon-1", first, 60)


async def test_switches_have_leases_of_their_own(store: Store) -> None:
    assert await store.leases.acquire_lease("switch-1", "daemon-1", 60) is not None
    assert await store.leases.acquire_lease("switch-2", "daemon-2", 60) is not None


async def test_who_is_called_is_read_with_all_that_a_decision_looks_at(store: Store) -> None:
    await store.directory.put_account(FULL)
    number = Number("+31850000001", "a", "+31612345678")
    await store.directory.put_number(number)
    assert await store.directory.called(["+31850000001"]) == Called(
        number, replace(FULL, version=1), {}, target_is_ours=False
    )
    await store.apply(Transfer("top-up", "a", Kind.TOP_UP, 1, (Leg(CREDIT, 10_000_000),)))
    called = await store.directory.called(["+31850000001"])
    assert called is not None
    assert called.balances == {CREDIT: Balance(10_000_000, 0)}


async def test_of_several_readings_of_what_was_dialled_the_first_that_is_someones_is_called(store: Store) -> None:
    await store.directory.put_account(FULL)
    for number in ("+31850000002", "+31850000003"):
        await store.directory.put_number(Number(number, "a"))
    called = await store.directory.called(["+31850000001", "+31850000003", "+31850000002"])
    assert called is not None
    assert called.number.number == "+31850000003"
    assert await store.directory.called(["+31850000001"]) is None
    assert await store.directory.called([]) is None


async def test_a_target_that_is_a_number_of_the_directory_is_told(store: Store) -> None:
    await store.directory.put_account(FULL)
    numbers = [Number("+31850000001", "a", "+31850000002"), Number("+31850000002", "a", "+31612345678")]
    for number in (*numbers, Number("+31850000003", "a")):
        await store.directory.put_number(number)
    found = [await store.directory.called([f"+3185000000{digit}"]) for digit in (1, 2, 3)]
    assert [one.target_is_ours for one in found if one is not None] == [True, False, False]


async def test_redis_gives_no_epoch_out_again_though_a_fail_over_has_lost_the_last_ones(
    redis_server: RedisServer,
) -> None:
    """Else a daemon that was taken over would not be fenced."""
    redis_server.cli("flushall")
    store = open_store(redis_server.url)
    await store.open()
    try:
        first = await store.leases.acquire_lease("lost", "one", 60)
        for key in redis_server.cli("keys", "*lost*").split():
            redis_server.cli("del", key)
        again = await store.leases.acquire_lease("lost", "another", 60)
    finally:
        await store.close()
    assert first is not None
    assert again is not None
    assert again > first
