"""What a website asks for its customer, by `charging-client` (`make client` builds it): his balance, credit that he has
bought, where his number forwards to.

    python website.py http://127.0.0.1:9479 TOKEN alice +31201234567
"""

from __future__ import annotations

import asyncio
import sys

from charging_client.api.accounts import show_balance, top_up
from charging_client.api.numbers import edit_number
from charging_client.client import AuthenticatedClient
from charging_client.models import BalanceOut, CreditedOut, NumberEdit, NumberOut, TopUp


async def main(client: AuthenticatedClient, account: str, number: str) -> None:
    """Each answer is what is wanted, or a problem that says what is wrong."""
    bought = await top_up.asyncio(account, client=client, body=TopUp(amount="25.00"), idempotency_key="order-1")
    assert isinstance(bought, CreditedOut), bought
    # Only what is named changes: nothing else of the number is sent.
    forwarded = await edit_number.asyncio(number, client=client, body=NumberEdit(forward_to="+31612345678"))
    assert isinstance(forwarded, NumberOut), forwarded
    balance = await show_balance.asyncio(account, client=client)
    assert isinstance(balance, BalanceOut), balance
    print(f"{account} has {balance.credit.now} euro; {number} forwards to {forwarded.forward_to}")


if __name__ == "__main__":
    url, token, *customer = sys.argv[1:]
    asyncio.run(main(AuthenticatedClient(f"{url}/v1", token), *customer))
