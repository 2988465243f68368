"""A Redis and Sentinels beyond this machine ask for a password, or the check says so."""

from __future__ import annotations

import pytest

from charging.ledger.redis.servers import open_doors
from charging.ledger.redis.url import parse


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://127.0.0.1/0", []),
        ("redis://localhost/0", []),
        ("redis://[::1]/0", []),
        ("redis://10.0.0.11/0", ["Redis 10.0.0.11:6379"]),
        ("redis://:secret@10.0.0.11/0", []),
        ("redis+cluster://10.0.0.11,10.0.0.12", ["Redis 10.0.0.11:6379, 10.0.0.12:6379"]),
        ("redis+sentinel://127.0.0.1,127.0.0.2/charging", []),
        ("redis+sentinel://u:secret@10.0.0.11,localhost/charging", ["Sentinels 10.0.0.11:26379"]),
        ("redis+sentinel://10.0.0.11/charging", ["Sentinels 10.0.0.11:26379", "Redis 10.0.0.11:26379"]),
    ],
)
def test_who_asks_for_no_password_beyond_this_machine_is_told(url: str, told: list[str]) -> None:
    found = open_doors(parse(url))
    assert [one.partition(": ")[0] for one in found] == told
