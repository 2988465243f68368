"""What was given keeps the rules under which it was given, whatever the tariff says of its name since; in calls,
limits, quotes, faxes, messages, notices and what is priced again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date

import pytest

from charging.call.pieces import allowance
from charging.errors import LedgerUnavailable
from charging.ledger.documents import Put
from charging.ledger.given_packs import COLLECTION, GivenPacks
from charging.ledger.memory import MemoryDocuments
from charging.ledger.model import CREDIT, Balance, Kind, Leg, Transfer
from charging.ledger.remembered import remember
from charging.pricing.packs import MESSAGES, PAGES, PackTerms, edition_of, last_day_of, name_of, pack_of, shown_pack
from charging.pricing.rate import Step
from charging.service.balance import BalanceView
from charging.service.gifts import Gifts, PackGiven, PackWish
from charging.service.ledger_contents import LedgerContents
from charging.service.quotes import Asked, FaxQuote, Quotes
from charging.service.refusal import Code
from charging.service.trail import Sought, Trail
from charging.tariff.plans import Pack
from charging.tariff.tariff import Destination, Price, RateTable, Tariff
from charging.whatif.past import past_of
from charging.whatif.quote import Limit, Quote
from charging.whatif.rerate import rerate
from tests.contract.scenario import assert_sound
from tests.fakes.rig import EURO, TARGET, Rig, make_rig, make_tariff, plan
from tests.unit.call.test_promotional import SECOND, talk
from tests.unit.service.conftest import Shop, refused
from tests.unit.service.test_fax import PAGE, Office

LAST = date(2026, 12, 31)
DAY = "2026-12-31"
MOBILE = Pack("mobile", "Mobile", 600, 30, frozenset({"nl_mobile"}))
ADDON = Pack("addon", "Add-on", 600, 30)
FAX10 = Pack("fax10", "Ten pages", 10, 30, frozenset({"nl_mobile"}), sort=PAGES)
NOTES = Pack("notes", "Notes", 3, 30, sort=MESSAGES)
PREMIUM = frozenset({"nl_premium"})


def with_packs(tariff: Tariff, *packs: Pack) -> Tariff:
    return replace(tariff, packs={one.name: one for one in packs})


def tariff_of(*packs: Pack) -> Tariff:
    tables = {"table": RateTable("table", {"nl_mobile": Price((Step(0, SECOND * 60, 60, 1),), fax_page=PAGE)})}
    made = plan(replace(make_tariff(), tables=tables), "light", free_seconds=20)
    return with_packs(plan(made, "free", max_credit_per_day=EURO), *packs)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(tariff=tariff_of(MOBILE, ADDON, FAX10, NOTES)) as one:
        await one.subscriber(credit=EURO)
        yield one


def gifts_of(rig: Rig) -> Gifts:
    return Gifts(rig.store, lambda: rig.tariff, rig.clock, rig.registry.funds_changed)


async def give(rig: Rig, pack: str, key: str = "p1", **wish: int) -> PackGiven:
    given = await gifts_of(rig).give_pack("anna", PackWish(pack, LAST, **wish), "bought", key)
    assert isinstance(given, PackGiven), given
    return given


async def left(rig: Rig) -> dict[str, int]:
    """By what people call it; an edition besides that of today's tariff is marked."""
    found: dict[str, int] = {}
    for name, one in (await rig.store.balances("anna")).items():
        if name.startswith(("pack:", "pages:2026-12", "vmail:2026-12")):
            today = rig.tariff.terms.get(name_of(name))
            old = "" if today is not None and today.edition == edition_of(name) else "old "
            found[old + name_of(name)] = one.posted
    return found


async def limit_of(rig: Rig) -> Limit:
    told = await Quotes(rig.store, lambda: rig.tariff, rig.clock).limit(Asked(TARGET, account="anna"), 0)
    assert isinstance(told, Limit)
    return told


EDITS = {
    "other destinations": (replace(MOBILE, destinations=PREMIUM),),
    "no pack any more": (),
    "pieces instead of minutes": (replace(MOBILE, sort=PAGES),),
    "other minutes, days and title": (replace(MOBILE, amount=60, days=1, title="New"),),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("restarted", [False, True])
async def test_r10_what_was_given_pays_as_it_did_and_limit_and_quote_say_so(
    rig: Rig, edit: str, restarted: bool
) -> None:
    await give(rig, "mobile")
    rig.tariff = with_packs(rig.tariff, *EDITS[edit])
    if restarted:
        await rig.kill_daemon()
        await rig.start_daemon()
    assert (await limit_of(rig)).seconds == 620
    told = await Quotes(rig.store, lambda: rig.tariff, rig.clock).quote(Asked(TARGET, account="anna"), 100)
    assert isinstance(told, Quote)
    assert told.total == 0
    await talk(rig, 100.1)
    assert sum((await left(rig)).values()) == 500
    assert (await rig.balance()).posted == EURO
    await assert_sound(rig.store, LedgerContents(rig.clock.now()))


async def test_destinations_that_are_called_otherwise_since_are_paid_as_before(rig: Rig) -> None:
    await give(rig, "mobile")
    numbers = rig.tariff.destinations["nl_mobile"].prefixes
    renamed = {**rig.tariff.destinations, "gsm": Destination("gsm", numbers)}
    del renamed["nl_mobile"]
    tables = {"table": RateTable("table", {"gsm": Price((Step(0, SECOND * 60, 60, 1),))})}
    rig.tariff = with_packs(replace(rig.tariff, destinations=renamed, tables=tables))
    await talk(rig, 30.1)
    assert await left(rig) == {"old mobile": 570}


def test_of_a_destination_that_has_gone_what_belonged_to_another_is_not_paid() -> None:
    tariff = make_tariff()
    every = {
        **tariff.destinations,
        "usa": Destination("usa", ("+1",), ("112",)),
        "islands": Destination("islands", ("+1809", "+44")),
    }
    terms = with_packs(replace(tariff, destinations=every), Pack("us", "US", 60, 1, frozenset({"usa"}))).terms["us"]
    numbers = ("+12125550100", "+18095550100", "+4420", "112", "1", "113")
    assert [terms.pays(number, "renamed") for number in numbers] == [True, False, False, True, False, False]
    assert terms.pays("+4420", "usa")
    assert PackTerms.read(terms.edition, terms.text()) == terms


class Looked(str):
    """A prefix that counts what it is compared with."""

    __slots__ = ()
    times = 0

    def startswith(self, prefix: str | tuple[str, ...], *_: object) -> bool:
        Looked.times += 1 if isinstance(prefix, str) else len(prefix)
        return super().startswith(prefix)

    def __getitem__(self, key: object) -> str:
        Looked.times += 1
        return super().__getitem__(key)  # type: ignore[index]


def test_of_very_many_prefixes_each_is_looked_up_and_not_compared_with_all_others() -> None:
    """Made anew where calls are decided, if an edit of the tariff is refused."""
    far = tuple(Looked(f"+5{number:04d}") for number in range(1000))
    near = tuple(f"+4{number:04d}" for number in range(1000))
    every = {"near": Destination("near", near), "far": Destination("far", (*far, "+400011"))}
    tariff = with_packs(replace(make_tariff(), destinations=every), Pack("eu", "EU", 60, 1, frozenset({"near"})))
    Looked.times = 0
    terms = replace(tariff, refused=()).terms["eu"]
    assert terms.numbers == dict.fromkeys(near, True) | {"+400011": False}
    assert Looked.times < 30 * len(far)


async def test_what_is_given_after_an_edit_has_the_new_rules_beside_the_old(rig: Rig) -> None:
    await give(rig, "mobile")
    rig.tariff = with_packs(rig.tariff, replace(MOBILE, destinations=PREMIUM))
    await give(rig, "mobile", "p2")
    assert (await limit_of(rig)).seconds == 620
    await talk(rig, 30.1)
    assert await left(rig) == {"old mobile": 570, "mobile": 600}


@pytest.mark.parametrize(("order", "first"), [(40, "addon"), (60, "mobile")])
async def test_the_order_is_that_of_then(rig: Rig, order: int, first: str) -> None:
    rig.tariff = with_packs(rig.tariff, MOBILE, replace(ADDON, order=order))
    await give(rig, "addon")
    await give(rig, "mobile", "p2")
    rig.tariff = with_packs(rig.tariff, MOBILE, replace(ADDON, order=100 - order))
    await talk(rig, 30.1)
    assert {name.removeprefix("old ") for name, amount in (await left(rig)).items() if amount < 600} == {first}


async def test_the_increment_is_that_of_then(rig: Rig) -> None:
    rig.tariff = with_packs(rig.tariff, replace(MOBILE, increment_s=60))
    await give(rig, "mobile")
    rig.tariff = with_packs(rig.tariff, MOBILE)
    await talk(rig, 30.1)
    assert await left(rig) == {"old mobile": 540}


async def test_r22_what_is_given_during_a_call_under_rules_since_then_pays_as_its_name_did_at_the_calls_start(
    rig: Rig,
) -> None:
    call = await rig.talking()
    rig.tariff = with_packs(rig.tariff, replace(MOBILE, order=40))
    await give(rig, "mobile")
    await rig.clock.advance(60.1)
    await rig.hang_up(call)
    await rig.clock.advance(10)
    assert (await left(rig))["mobile"] < 600


async def test_what_an_older_version_gave_follows_the_packs_name_as_it_did(rig: Rig) -> None:
    legs = (Leg(pack_of("mobile", DAY), 600),)
    transfer = Transfer("gift", "anna", Kind.CORRECT, rig.clock.now().wall_us, legs, reason="bought")
    assert (await rig.store.apply(transfer)).outcome.applied
    assert (await limit_of(rig)).seconds == 620
    rig.tariff = with_packs(rig.tariff, replace(MOBILE, destinations=PREMIUM))
    assert (await limit_of(rig)).seconds == 20


async def test_rules_that_are_lost_are_those_of_the_name(rig: Rig) -> None:
    await give(rig, "mobile")
    (document,) = await rig.store.documents.list_documents(COLLECTION)
    assert await rig.store.documents.delete_document(document)
    rig.tariff = with_packs(rig.tariff, replace(MOBILE, increment_s=60))
    assert (await limit_of(rig)).seconds == 620
    rig.tariff = with_packs(rig.tariff)
    assert (await limit_of(rig)).seconds == 20


# --- pieces ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packs", [(), (replace(FAX10, destinations=PREMIUM),)])
async def test_r9_pages_pay_as_they_were_given(rig: Rig, packs: tuple[Pack, ...]) -> None:
    await give(rig, "fax10")
    rig.tariff = with_packs(rig.tariff, *packs)
    told = await Quotes(rig.store, lambda: rig.tariff, rig.clock).fax(Asked(TARGET, account="anna"), 3)
    assert isinstance(told, FaxQuote)
    assert (told.free_pages, told.total) == (3, 0)
    office = Office(rig)
    view = await office.sent()
    await office.ends(view.session, "SUCCESS", 3)
    assert await left(rig) == {"old fax10": 7}
    assert (await rig.balance()).posted == EURO
    await assert_sound(rig.store, LedgerContents(rig.clock.now()))


async def test_r6_messages_pay_as_they_were_given(rig: Rig) -> None:
    await give(rig, "notes")
    rig.tariff = with_packs(rig.tariff)
    balances = await rig.store.balances("anna")
    held = await GivenPacks(rig.store.documents).held(rig.tariff.terms, balances)
    assert [one.sort for one in held.values()] == [MESSAGES]
    found = allowance(rig.tariff, "light", MESSAGES, rig.clock.now().wall_us, held=held)
    assert list(found.pools(balances).values()) == [3]


async def test_r6_a_message_is_paid_as_it_was_given() -> None:
    async with make_rig(tariff=tariff_of(NOTES)) as rig:
        await rig.subscriber(plan="free")
        await give(rig, "notes")
        rig.tariff = with_packs(rig.tariff)
        answer = await rig.ring()
        assert answer.decision == "voicemail"
        ((name, count),) = (await rig.reserved()).items()
        assert (name_of(name), count) == ("notes", 1)


# --- giving and taking back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("archived", [False, True])
async def test_a_gift_asked_for_again_after_an_edit_was_given_already(rig: Rig, archived: bool) -> None:
    first = await give(rig, "mobile")
    rig.tariff = with_packs(rig.tariff, replace(MOBILE, order=7))
    if archived:
        await remember(rig.store, [line async for line in rig.store.journal("anna")], rig.clock.now().wall_us)
    again = await give(rig, "mobile")
    assert (again.created, again.transfer, again.left) == (False, first.transfer, Balance(600))
    assert sum((await left(rig)).values()) == 600
    refused(await gifts_of(rig).give_pack("anna", PackWish("mobile", LAST, 7), "bought", "p1"), Code.KEY_REUSED)


async def test_minutes_are_taken_back_from_whatever_rules_they_were_given_under(rig: Rig) -> None:
    await give(rig, "mobile")
    rig.tariff = with_packs(rig.tariff, replace(MOBILE, order=7))
    await give(rig, "mobile", "p2", minutes=5)
    wish = PackWish("mobile", LAST, -16)
    refused(await gifts_of(rig).give_pack("anna", wish, "mistake", "p3"), Code.INSUFFICIENT)
    taken, again = await give(rig, "mobile", "p4", minutes=-12), await give(rig, "mobile", "p4", minutes=-12)
    assert (taken.amount, taken.left, again.created) == (-720, Balance(180), False)
    assert await left(rig) == {"mobile": 0, "old mobile": 180}
    page = await Trail(rig.store, rig.clock).page(Sought(account="anna"), None, 10)
    note = next(one.change for one in page[0] if one.change.after.get("seconds") == -720)
    assert (note.before, note.after["free_seconds"], note.after["pack"]) == (
        {"free_seconds": 900},
        180,
        "2026-12-31:mobile",
    )


async def test_of_a_pack_that_has_left_the_tariff_minutes_are_taken_back_and_none_given(rig: Rig) -> None:
    await give(rig, "mobile")
    rig.tariff = with_packs(rig.tariff)
    assert (await give(rig, "mobile", "p2", minutes=-4)).left == Balance(360)
    refused(await gifts_of(rig).give_pack("anna", PackWish("mobile", LAST, 4), "x", "p3"), Code.INVALID)


async def test_other_rules_under_the_same_edition_are_never_given(rig: Rig) -> None:
    terms = rig.tariff.terms["mobile"]
    await rig.store.documents.put_document(COLLECTION, terms.edition, replace(terms, order=1).text())
    with pytest.raises(Exception, match="another name"):
        await give(rig, "mobile")
    assert await left(rig) == {}


async def test_the_longest_names_fit_and_a_title_is_no_rule() -> None:
    longest = PackTerms("a" * 40, sort=MESSAGES)
    Leg(pack_of(longest.edition, DAY, f"{MESSAGES}:"), 1)
    assert replace(longest, title="Other").edition == longest.edition
    assert replace(longest, order=1).edition != longest.edition
    balance = pack_of(longest.edition, DAY)
    assert (name_of(balance), last_day_of(balance), shown_pack(balance)) == (longest.name, DAY, f"{DAY}:{longest.name}")


# --- what is seen of it ---------------------------------------------------------------------------------------


async def test_what_is_left_is_shown_by_the_packs_name(shop: Shop) -> None:
    shop.tariff = with_packs(shop.tariff, MOBILE)
    await shop.anna()
    assert isinstance(await shop.service.gifts.give_pack("anna", PackWish("mobile", LAST), "x", "p1"), PackGiven)
    shop.tariff = with_packs(shop.tariff)
    seen = await shop.service.balances.view("anna")
    assert isinstance(seen, BalanceView)
    assert [(one.pack, one.last_day, one.now) for one in seen.packs] == [("mobile", DAY, 600)]


async def test_what_a_pack_has_paid_is_priced_again_as_paid_by_it_whatever_the_tariff_has_now(rig: Rig) -> None:
    await give(rig, "mobile")
    await talk(rig, 30.1)
    (row,) = await rig.store.cdrs(account="anna")
    past = past_of(json.loads(row.document))
    assert past is not None
    for packs in EDITS.values():
        (total,) = rerate(with_packs(rig.tariff, *packs), [past], {})
        assert (total.would_pay, total.free_s) == (0, 30)
    assert (await rig.balance("bundle:2026-11")).posted == 0
    assert (await rig.balance(CREDIT)).posted == EURO


async def test_rules_that_a_fail_over_may_lose_are_put_before_a_pack_is_given_under_them() -> None:
    """A master that is cut off from its replicas shows what it has not acknowledged; what is put is, or raises."""
    documents = CutOff()
    terms, packs = PackTerms("world", order=7), GivenPacks(documents)
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            await packs.keep(terms)
    balance = pack_of(terms.edition, "2026-12-31")
    assert await packs.held({}, [balance]) == {terms.edition: terms}, "it can be read"
    with pytest.raises(LedgerUnavailable):
        await packs.keep(terms)
    documents.is_cut_off = False
    await packs.keep(terms)
    documents.is_cut_off = True
    await packs.keep(terms)  # what was acknowledged is not asked for again


class CutOff(MemoryDocuments):
    """Of a master without replicas: it carries out what it does not acknowledge."""

    is_cut_off = True

    async def put_document(self, collection: str, id: str, body: str, due_us: int | None = None) -> Put:
        put = await super().put_document(collection, id, body, due_us)
        if self.is_cut_off:
            raise LedgerUnavailable
        return put
