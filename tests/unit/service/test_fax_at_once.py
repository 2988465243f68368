"""A fax that is handed in several times at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from charging.fax.desk import FaxSent
from tests.fakes.ami import eventually
from tests.unit.service.test_fax import PAGE, Office, office

__all__ = ["office"]  # a fixture


@pytest.mark.parametrize("other", [b"doc", b"another"])
async def test_key_that_comes_several_times_at_the_same_moment_is_one_fax(office: Office, other: bytes) -> None:
    """As of a mail that two mail servers hand over, or a signed one that somebody hands in again. Both lines are free,
    and each document was made ready before any was reserved."""
    office.ready = asyncio.Event()
    wishes = [asyncio.create_task(office.send("one", data, by_mail=True)) for data in (b"doc", other, b"doc", other)]
    await eventually(lambda: len(office.prepared) == len(wishes), "each document is being made ready")
    office.ready.set()
    answers = await asyncio.gather(*wishes)
    assert [isinstance(one, FaxSent) and one.created for one in answers].count(True) == 1
    assert (len(office.orders), len(office.removed)) == (1, len(wishes) - 1)
    assert (await office.rig.reserved())["credit"] == 3 * PAGE
