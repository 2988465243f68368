"""Copies of a fax, and what comes by mail: neither holds up what reads documents."""

from __future__ import annotations

from charging.fax.desk import FaxSent
from charging.service.refusal import Code
from tests.unit.service.conftest import refused
from tests.unit.service.test_fax import Office, office

__all__ = ["office"]


async def test_copy_of_a_fax_that_was_sent_is_known_before_its_document_is_looked_at(office: Office) -> None:
    """Whoever has a copy of a mail can hand it in again and again, and a document may take a minute and a half."""
    view = await office.sent()
    await office.ends(view.session, "SUCCESS", 3)
    late = await office.send()
    assert isinstance(late, FaxSent)
    assert (late.created, late.view.state, len(office.prepared)) == (False, "sent", 1)
    refused(await office.send(data=b"other"), Code.KEY_REUSED)
    assert len(office.prepared) == 1


async def test_documents_that_come_by_mail_wait_for_seconds_at_most(office: Office) -> None:
    await office.send("a")
    await office.send("b", by_mail=True)
    assert office.patient == [True, False]
