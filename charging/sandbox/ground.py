"""What keeps a test mode and real money apart: a ledger says in itself which of the two it is for."""

from __future__ import annotations

from charging.errors import ChargingError
from charging.ledger.documents import Documents

COLLECTION = "sandbox"
ID = "sandbox"


async def mark(documents: Documents) -> None:
    """This new ledger is a sandbox's, for ever. Raises LedgerUnavailable."""
    await documents.put_document(COLLECTION, ID, "{}")


async def check(documents: Documents, *, is_sandbox: bool) -> None:
    """Raises ChargingError where a daemon would play telephones on a ledger that was not made for it, or would take
    such a ledger's money for real; LedgerUnavailable."""
    is_marked = await documents.get_document(COLLECTION, ID) is not None
    if is_sandbox and not is_marked:
        raise ChargingError(
            "the ledger was not made by a sandbox, so no calls are played on it; let `charging run --sandbox` "
            "make one: name a folder that is not there yet with --config FOLDER/charging.yaml"
        )
    if is_marked and not is_sandbox:
        raise ChargingError("the ledger is a sandbox's: its money was never paid; name another one as ledger.url")
