"""Every type that has a codec is filled and read back, whoever adds it; and of every stored type there is a golden
record of the version that ships, which later versions read for ever."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

import charging
from charging.call.decided import Decided, bodies, body
from charging.call.fax import Fax
from charging.call.model import Session
from charging.call.voicemail import Voicemail
from charging.engine import findings, one_switch
from charging.fax import mailed
from charging.ledger import codec as ledger
from charging.ledger.accounts import Account, Number
from charging.ledger.documents import Document
from charging.ledger.model import Leg
from charging.notify import outbox
from charging.notify.missed import Missed
from charging.notify.model import FACTS, Notice
from charging.notify.record import Record as NoticeRecord
from charging.pricing.packs import PackTerms
from charging.records import Codec
from charging.service import (
    changes,
    events,
    fax_address,
    operators,
    page_tokens,
    payments,
    proven_time,
    tokens,
    webhooks,
)
from charging.tariff import accepted
from tests.unit.test_stored import GOLDEN, Maker, reaches

VERSION = "0.1"
"""The one that ships. Its records are never changed; a type that is new gets one beside them."""


@dataclass(frozen=True)
class Kind:
    """How one stored type is written and read."""

    dump: Callable[[Any], str]
    load: Callable[[str], Any]


def of(codec: Codec[Any]) -> Kind:
    return Kind(codec.dump, codec.load)


def dump_token(token: tokens.Token) -> str:
    return tokens._body(token, "secret")


def load_token(text: str) -> tokens.Token:
    return tokens._stored(Document("collection", "id", text))[0]


KINDS = {
    "account": Kind(ledger.dump_account, lambda text: ledger.load_account(text, 1)),
    "number": Kind(ledger.dump_number, ledger.load_number),
    "legs": Kind(ledger.dump_legs, ledger.load_legs),
    **{f"notice_{kind}": Kind(Notice.to_json, Notice.from_json) for kind in FACTS},
    "notice_record": Kind(NoticeRecord.to_json, NoticeRecord.from_json),
    "missed": Kind(Missed.to_json, Missed.from_json),
    "payment": of(payments._CODEC),
    "change": of(changes.CODEC),
    "operator": of(operators._CODEC),
    "endpoint": of(webhooks._ENDPOINT),
    "letter": of(webhooks._LETTER),
    "failing": of(webhooks._FAILING),
    "token": Kind(dump_token, load_token),
    "decided": Kind(lambda one: body([one]), lambda text: bodies(text)[0]),
    "outbox_entry": of(outbox._CODEC),
    "result_of_notice": of(events.NOTICE_RESULT),
    "finding": of(findings.CODEC),
    "finding_open": of(findings.CODEC),
    "page_token": of(page_tokens._CODEC),
    "fax_owner": of(fax_address._CODEC),
    "mailed_fax": of(mailed._CODEC),
    "note_of_time": of(proven_time._CODEC),
    "mark_of_switch": of(one_switch._CODEC),
    "accepted_tariff": of(accepted._CODEC),
    "pack_terms": Kind(PackTerms.text, lambda text: PackTerms.read("addon.abcdef", text)),
}
"""All but open sessions, which `tests.unit.test_stored` revives; by the name of their golden records."""

TYPES: dict[str, type] = {
    "account": Account,
    "number": Number,
    "notice_record": NoticeRecord,
    "missed": Missed,
    "payment": payments.Payment,
    "change": changes.Change,
    "operator": operators.Operator,
    "endpoint": webhooks.Endpoint,
    "letter": webhooks.Letter,
    "failing": webhooks.Failing,
    "token": tokens.Token,
    "decided": Decided,
    "outbox_entry": outbox.Stored,
    "result_of_notice": events.NoticeResult,
    "finding": findings.Finding,
    "finding_open": findings.Finding,
    "page_token": page_tokens.PageToken,
    "fax_owner": fax_address.Owner,
    "mailed_fax": mailed.Mailed,
    "note_of_time": proven_time.Note,
    "mark_of_switch": one_switch.Mark,
    "accepted_tariff": accepted.Record,
    "pack_terms": PackTerms,
}


def made(name: str) -> Any:
    """A record of which no field has its default."""
    maker = Maker()
    if name == "legs":
        return (Leg("credit", -1, -2), Leg("bundle:2026-11", 3, 4))
    if name.startswith("notice_") and name != "notice_record":
        kind = next(kind for kind in FACTS if name == f"notice_{kind}")
        return replace(maker.whole(Notice), kind=kind, facts=maker.whole(FACTS[kind]))
    record = maker.whole(TYPES[name])
    given: dict[str, Any] = {
        "account": {"version": 1, "newer": {}},
        "number": {"newer": {}},
        "token": {"id": "id"},
        "pack_terms": {"name": "addon"},
    }
    return replace(record, **given.get(name, {}))


@pytest.mark.parametrize("name", KINDS)
def test_every_field_of_a_stored_type_comes_back(name: str) -> None:
    record = made(name)
    assert KINDS[name].load(KINDS[name].dump(record)) == record


def test_every_codec_of_the_program_is_of_a_type_that_is_filled_here() -> None:
    found = set()
    for module in pkgutil.walk_packages(charging.__path__, "charging."):
        if not module.name.endswith("__main__"):
            for one in vars(importlib.import_module(module.name)).values():
                found |= {each.record for each in (one.values() if isinstance(one, dict) else [one]) if is_codec(each)}
    assert found >= {Session, payments.Payment, webhooks.Letter}, "the search finds them"
    assert found <= {Session, Voicemail, Fax, *TYPES.values()}, "fill it here, and add a golden record of it"


def is_codec(one: object) -> bool:
    return isinstance(one, Codec)


@pytest.mark.parametrize("name", KINDS)
def test_golden_record_of_a_stored_type_is_read_and_written_whole(name: str) -> None:
    text = (GOLDEN / VERSION / "kinds" / f"{name}.json").read_text(encoding="utf-8")
    record = KINDS[name].load(text)
    written = json.loads(KINDS[name].dump(record))
    if name == "token":  # its secret is known to no one
        written["sha256"] = json.loads(text)["sha256"]
    assert reaches(written, json.loads(text))
