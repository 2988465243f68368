"""What is written by hand for speed is the JSON that an encoder writes; a digest that changed would make every repeated
transfer of an older ledger a different one."""

from __future__ import annotations

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from charging.ledger.codec import dump_legs, dump_text
from charging.ledger.model import AMOUNT_MAX, Kind, Leg, contents_digest

amounts = st.integers(-AMOUNT_MAX, AMOUNT_MAX)
balances = st.from_regex(r"[A-Za-z0-9:._-]{1,64}", fullmatch=True)
legs = st.lists(st.builds(Leg, balances, amounts, amounts), max_size=4).map(tuple)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(words, st.sampled_from(Kind), legs, st.none() | words, words)
def test_a_digest_is_of_the_contents_as_json(
    account: str, kind: Kind, moved: tuple[Leg, ...], session: str | None, reason: str
) -> None:
    contents = [account, kind, sorted([leg.balance, leg.posted, leg.reserved] for leg in moved), session, reason]
    text = json.dumps(contents, separators=(",", ":"))
    expected = hashlib.sha256(text.encode()).hexdigest()[:32]
    assert contents_digest(account, kind, moved, session, reason) == expected


@given(legs, st.none() | words)
def test_texts_are_compact_json(moved: tuple[Leg, ...], text: str | None) -> None:
    assert json.loads(dump_legs(moved)) == [[leg.balance, leg.posted, leg.reserved] for leg in moved]
    assert dump_text(text) == json.dumps(text, ensure_ascii=False)
    assert " " not in dump_legs(moved)
