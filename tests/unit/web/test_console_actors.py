"""Who did what, as the console tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.service.actor import acting
from charging.service.operators import Role
from charging.service.refusal import Refused
from charging.service.tokens import NewToken, Scope, Token, Tokens
from tests.unit.service.conftest import Shop, shop
from tests.unit.web.test_console import Place

__all__ = ["shop"]


@pytest.fixture
async def place(shop: Shop, tmp_path: Path) -> Place:
    await shop.anna()
    made = Place(shop, tmp_path)
    await made.let_in("ada", Role.ADMIN)
    return made


async def test_who_changed_a_balance_by_a_token_is_told_by_the_tokens_name(place: Place) -> None:
    """Support does not know tokens by their ids. What is not a token's, or of one that was revoked, has its actor."""
    tokens = Tokens(place.shop.store, place.shop.clock)
    made, gone = [await tokens.add(name, [Scope.CREDIT]) for name in ("the <website>", "the one before")]
    assert isinstance(made, NewToken)
    assert isinstance(gone, NewToken)
    for number, who in enumerate((f"token:{made.token.id}", f"token:{gone.token.id}", "token:x", "cli:root")):
        with acting(who):
            given = await place.shop.service.money.correct("anna", number + 1, "a reason", f"key-{number}")
            assert not isinstance(given, Refused)
    assert isinstance(await tokens.revoke(gone.token.id), Token)
    page = await (await place.visitor()).get("/accounts/anna")
    assert f"token:{made.token.id}<br><small>the &lt;website&gt;</small>" in page
    assert all(f"<td>{who}</td>" in page for who in (f"token:{gone.token.id}", "token:x", "cli:root"))
