"""Which time a comparison with past calls takes by default."""

from __future__ import annotations

from datetime import date

import pytest

from charging.cli.tariff_diff import last_month


@pytest.mark.parametrize(
    ("today", "time"),
    [
        (date(2026, 11, 22), ("2026-10-01", "2026-11-01")),
        (date(2026, 11, 1), ("2026-10-01", "2026-11-01")),
        (date(2026, 10, 31), ("2026-09-01", "2026-10-01")),
        (date(2027, 1, 15), ("2026-12-01", "2027-01-01")),
    ],
)
def test_last_month_is_the_calendar_month_before(today: date, time: tuple[str, str]) -> None:
    assert last_month(today) == time
