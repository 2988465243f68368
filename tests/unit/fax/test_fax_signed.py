"""A mail that only a signature proves is a fax only if the signature covers all that makes it one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.fax.signed import DAYS_MAX, why_open
from charging.ledger.remembered import OUTSIDE_REMEMBERED_S

DATE = "Sun, 29 Nov 2026 12:00:00 +0100"
AT_US = 1_795_950_000_000_000
DAY_US = 86_400_000_000
COVERS = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.nl; s=k1; h=From:To:Subject:Date:MIME-Version; bh=a=; b=b c="


def why(*signatures: str, date: str = DATE, now_us: int = AT_US) -> str:
    return why_open(signatures, "Example.nl", date, now_us)


@pytest.mark.parametrize(
    "signature",
    [
        COVERS,
        COVERS + ";",
        COVERS.replace("From:To", " from : to\t"),
        COVERS.replace("d=example.nl", "d=mail.Example.nl"),
        COVERS.replace("h=From", "h=From:From"),
    ],
)
def test_signature_that_covers_who_where_and_when_leaves_nothing_open(signature: str) -> None:
    assert why(signature) == ""


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        (COVERS.replace(":To", ""), "does not cover To"),
        (COVERS.replace(":Date", ""), "does not cover Date"),
        (COVERS.replace(":Subject", ""), "does not cover Subject"),
        (COVERS.replace("From:To:Subject:Date", "From:Dates:Subject-To"), "does not cover To, Subject, Date"),
        (COVERS.replace("d=example.nl", "d=mail.example.nl").replace(":To", ""), "does not cover To"),
        (COVERS.replace("h=From", "x=From"), "does not cover From"),
        (COVERS.replace("example.nl", "exämple.nl").replace(":To", ""), "does not cover To"),
        (COVERS + "; l=10", "covers a part of the body"),
        (COVERS + "; l", "cannot be read"),
        (COVERS + "; h=From:To:Subject:Date", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_signature_that_leaves_something_open_proves_no_fax(signature: str, said: str) -> None:
    for signatures in ((signature,), (COVERS, signature), (signature, COVERS)):
        assert said in why(*signatures), "a stranger can add signatures that are wrong, and so nothing is gained by it"


def test_signature_of_another_domain_is_none_of_ours() -> None:
    assert why(COVERS, COVERS.replace("example.nl", "relay.example").replace(":To", "")) == ""


def test_mail_that_nobody_has_signed_was_proven_otherwise() -> None:
    assert why() == ""
    assert why(COVERS.replace("example.nl", "relay.example"), date="") == ""


@pytest.mark.parametrize("sign", [1, -1])
def test_signed_mail_is_no_fax_long_after_its_date_nor_before(sign: int) -> None:
    assert why(COVERS, now_us=AT_US + sign * DAYS_MAX * DAY_US) == ""
    assert "its Date is not within 30 days" in why(COVERS, now_us=AT_US + sign * (DAYS_MAX * DAY_US + 1))
    assert 2 * DAYS_MAX * DAY_US < OUTSIDE_REMEMBERED_S * 1_000_000, "its key is remembered for as long as it is good"


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Sun, 29 Nov 99999 12:00:00 +0100", "Sun, 29 Nov 2026 12:00 +9999999"]
)
def test_signed_mail_with_a_date_that_cannot_be_read_is_no_fax(date: str) -> None:
    assert "its Date is not within" in why(COVERS, date=date)


def test_date_without_a_zone_is_read() -> None:
    assert why(COVERS, date="Sun, 29 Nov 2026 12:00:00") == ""
    assert why(COVERS, date="Sun, 29 Nov 2026 12:00:00 -0000") == ""


@given(st.text(alphabet="=;: \tvhdlb.From:To:Subject:Date,example.nl", max_size=200), st.text(max_size=60))
def test_any_text_is_read(signature: str, date: str) -> None:
    assert isinstance(why(signature, date=date), str)
