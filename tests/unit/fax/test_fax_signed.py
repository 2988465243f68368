"""A DKIM signature proves a mail only if it leaves nothing open that decides about a fax."""

from __future__ import annotations

import base64
import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from charging.fax.dns_lookup import Unanswered
from charging.fax.mail import parts_of
from charging.fax.signed import DAYS_MAX, KEYLESS_MAX, SIGNATURES_MAX, speaks_for, why_unsigned
from tests.fakes.effort import assert_linear
from tests.fakes.letters import read_letter
from tests.fakes.names import PlayedDns
from tests.fakes.signing import COVERED, KEY_AT, key_record, private_key, signed
from tests.unit.fax.test_fax_mail import mail

NOW_US = 1_795_953_600_000_000
"""2026-11-29 12:00 UTC, an hour after the mail's Date."""
NOW_S = NOW_US // 1_000_000
RECORDED_US = 1_796_000_000_000_000
RECORDED = Path(__file__).parents[2] / "data" / "signed"


def answers(record: str = "", name: str = KEY_AT) -> PlayedDns:
    return PlayedDns({(name, "TXT"): [record or key_record()]})


def why(data: bytes, dns: PlayedDns | None = None, *, now_us: int = NOW_US) -> str:
    letter = read_letter(data, envelope_sender="anna@example.nl", recipient="fax@example.nl")
    if letter is None:
        return "dropped"
    headers, body = parts_of(data)
    lookup = dns or answers()
    return why_unsigned(headers, body, domain=letter.domain, date=letter.date, lookup=lookup, now_us=now_us)


def plain() -> bytes:
    return mail().as_bytes()


def test_mail_that_its_domain_signed_is_proven() -> None:
    assert why(signed(plain())) == ""


@pytest.mark.parametrize("file", sorted(RECORDED.glob("*.eml")), ids=lambda file: file.stem)
def test_mail_that_another_program_signed_is_proven_and_changed_is_not(file: Path) -> None:
    """By dkimpy, in each way to canonicalize, and by OpenDKIM 2.11 as a milter of Postfix, told to cover what makes
    a fax; their keys stand beside them."""
    data = file.read_bytes()
    records = {(line.split(" ", 1)[0], "TXT"): [line.split(" ", 1)[1]] for line in _keys()}
    assert why(data, PlayedDns(records), now_us=RECORDED_US) == ""
    for old, new in ((b"see attached", b"see attacked"), (b"31 20 123", b"31 20 124")):
        assert old in data
        assert (
            "of another body" in (told := why(data.replace(old, new), PlayedDns(records), now_us=RECORDED_US))
            or "forged" in told
        )


def test_mail_that_opendkim_signed_as_it_comes_is_not_proven() -> None:
    """Who gets it can have its body read as another document."""
    told = why((RECORDED / "in_part" / "opendkim.eml").read_bytes(), now_us=RECORDED_US)
    assert told == "its DKIM signature does not cover message-id, mime-version, content-type"


def _keys() -> list[str]:
    return (RECORDED / "keys").read_text().splitlines()


def headed(*lines: bytes) -> Callable[[bytes], bytes]:
    return lambda data: b"\n".join(lines) + b"\n" + data


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def replace(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new)

    return replace


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (replaced(b"Subject: +31 20 123 4567", b"Subject: +31 90 123 4567"), "forged"),
        (replaced(b"Date: Sun, 29", b"Date: Sat, 28"), "forged"),
        (replaced(b"To: fax@", b"To: fax+31900123456@"), "forged"),
        (replaced(b"Anna <Anna", b"Bob <Bob"), "forged"),
        (replaced(b"<1@example.nl>", b"<2@example.nl>"), "forged"),
        (replaced(b"see attached", b"see  attached?"), "of another body"),
        (replaced(b"multipart/mixed", b"multipart/alternative"), "forged"),
        (headed(b"Content-Transfer-Encoding: base64"), "does not cover content-transfer-encoding"),
        (headed(b"From: eve@evil.example"), "dropped"),
        (headed(b"To: fax+31900123456@example.nl"), "dropped"),
        (headed(b"Subject: +31900123456"), "dropped"),
        (headed(b"Content-Type: text/plain"), "does not cover content-type"),
        (replaced(b"Subject:", b"Subject :"), "dropped"),
        (replaced(b"From:", b"From :"), "dropped"),
        (headed(b"From eve", b" Subject: x"), ""),
        (replaced(b"Date:", b"From eve\nDate:"), "dropped"),
        (replaced(b"Date:", b"X: a\rSubject: +31900123456\nDate:"), "dropped"),
    ],
)
def test_signed_mail_that_somebody_changed_is_not_proven(change: Callable[[bytes], bytes], expected: str) -> None:
    covered = [name for name in COVERED if name != "Content-Transfer-Encoding"]
    assert expected in why(change(signed(plain(), covered=covered))) or not expected
    if not expected:
        assert why(change(signed(plain(), covered=covered))) == ""


@pytest.mark.parametrize("missing", ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"])
def test_signature_that_leaves_a_header_open_proves_no_fax(missing: str) -> None:
    covered = [name for name in COVERED if name != missing]
    assert f"does not cover {missing.lower()}" in why(signed(plain(), covered=covered))


@pytest.mark.parametrize("name", ["Subject", "Date", "To"])
def test_header_that_is_not_there_and_not_covered_could_be_added(name: str) -> None:
    bare = re.sub(rb"^%s:.*\n" % name.encode(), b"", plain(), flags=re.MULTILINE)
    covered = [one for one in COVERED if one != name]
    assert f"does not cover {name.lower()}" in why(signed(bare, covered=covered))


def test_of_two_headers_the_lower_is_what_one_that_is_covered_once_means() -> None:
    """RFC 6376, 5.4.2: what servers put on top on its way takes nothing from the mail."""
    data = signed(b"Comments: mine\n" + plain(), covered=[*COVERED, "Comments"])
    above = data.replace(b"DKIM-Signature:", b"Comments: a server's\nDKIM-Signature:")
    assert why(above) == ""
    assert "forged" in why(above.replace(b"Comments: mine", b"Comments: ours"))
    below = data.replace(b"Comments: mine", b"Comments: mine\nComments: a server's")
    assert "forged" in why(below)


def test_header_covered_more_often_than_it_is_there_stays_good() -> None:
    assert why(signed(plain(), covered=[*COVERED, *COVERED, "Cc", "Reply-To"])) == ""


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"l": "5"}, "covers a part of the body"),
        ({"a": "rsa-sha1"}, "is made by 'rsa-sha1'"),
        ({"a": "ed25519-sha256"}, "is of another kind"),
        ({"v": "2"}, "of another version"),
        ({"v": ""}, "of another version"),
        ({"q": "dns/http"}, "of another version"),
        ({"c": "nowsp"}, "unknown way"),
        ({"i": "@evil.example"}, "another's identity"),
        ({"i": "@notexample.nl"}, "another's identity"),
        ({"i": "a=3B=20dkim=3Dpass=20header.d=3Dexample.nl=20header.i=3Dy@evil.example"}, "another's identity"),
        ({"i": "anna@below.example.nl"}, ""),
        ({"x": str(NOW_S)}, "has expired"),
        ({"x": str(NOW_S + 1)}, ""),
        ({"x": str(NOW_S + 5), "t": str(NOW_S + 6)}, "has expired"),
        ({"x": "never"}, "no times"),
        ({"t": str(NOW_S + 3_600)}, ""),
        ({"t": str(NOW_S + 3_601)}, "of the future"),
        ({"t": "9" * 13}, "no times"),
        ({"s": "a b"}, "names no key"),
        ({"s": "x" * 64}, "names no key"),
        ({"s": ""}, "names no key"),
        ({"bh": "!"}, "of another body"),
        ({"D": "evil.example"}, ""),
    ],
)
def test_signature_of_its_own_words(tags: dict[str, str], expected: str) -> None:
    told = why(signed(plain(), tags=tags))
    assert expected in told
    assert (told == "") is (expected == "")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (key_record(head="v=DKIM1; t=y"), "only tested"),
        (key_record(head="v=DKIM1; t=s:y"), "only tested"),
        (key_record(head="v=DKIM1; t=s"), ""),
        (key_record(head="v=DKIM1; s=tlsrpt"), "not for mail"),
        (key_record(head="v=DKIM1; s=other:email"), ""),
        (key_record(head="v=DKIM1; s=*"), ""),
        (key_record(head="v=DKIM1; h=sha1"), "not for SHA-256"),
        (key_record(head="v=DKIM1; h=sha1:sha256"), ""),
        (key_record(head="v=DKIM2"), "another version"),
        (key_record(head="k=rsa; v=DKIM1"), "another version"),
        (key_record(head="n=no version"), ""),
        (key_record(head="k=ed25519"), "another kind"),
        ("v=DKIM1; p=", "revoked"),
        ("v=DKIM1", "revoked"),
        ("v=DKIM1; p=AAAA", "a key that is none"),
        ("v=DKIM1; p=!", "no base64"),
        ("v=DKIM1; p=a; p=b", "cannot be read"),
        ("v=DKIM1; n=" + "x" * 4_000 + "; p=AAAA", "cannot be read"),
        (key_record(2_048), "forged"),
    ],
)
def test_key_that_proves_mails(record: str, expected: str) -> None:
    told = why(signed(plain()), answers(record))
    assert expected in told
    assert (told == "") is (expected == "")


def test_key_for_the_domain_alone_is_no_key_of_an_identity_below() -> None:
    assert "t=s" in why(signed(plain(), tags={"i": "@a.example.nl"}), answers(key_record(head="t=s")))


@pytest.mark.parametrize(
    ("bits", "told"), [(1_023, "1024 to 4096 bits"), (1_024, "forged"), (4_096, "forged"), (4_097, "1024 to 4096 bits")]
)
def test_key_is_of_a_size_that_counts(bits: int, told: str) -> None:
    """Another key than the mail is signed with, so that none need be made of such a size."""
    key = RSAPublicNumbers(65_537, 2 ** (bits - 1) + 1).public_key()
    public = base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    assert told in why(signed(plain()), answers(f"v=DKIM1; p={public}"))


@pytest.mark.parametrize(("days", "proves"), [(DAYS_MAX, True), (DAYS_MAX + 1, False), (-DAYS_MAX - 1, False)])
def test_mail_is_of_these_weeks(days: int, proves: bool) -> None:
    told = why(signed(plain()), now_us=NOW_US + (days * 86_400 - 3_600) * 1_000_000)
    assert (told == "") is proves
    assert proves or "Date is not within" in told


@pytest.mark.parametrize("date", ["yesterday", "Mon, 99 Foo 2026", "Sun, 29 Nov 99999 12:00:00 +0100"])
def test_mail_of_no_date_is_not_proven(date: str) -> None:
    assert "Date is not within" in why(signed(mail(headers={"Date": date}).as_bytes()))


@pytest.mark.parametrize(
    ("signer", "domain", "speaks"),
    [
        ("example.nl", "Example.nl", True),
        ("example.nl", "mail.example.nl", True),
        ("mail.example.nl", "example.nl", False),
        ("evil.eu.org", "eu.org", False),
        ("eu.org", "evil.eu.org", False),
        ("co.uk", "shop.co.uk", False),
        ("uk", "shop.co.uk", False),
        ("nl", "example.nl", False),
        ("", "example.nl", False),
        ("le.nl", "example.nl", False),
        ("xample.nl", "example.nl", False),
        ("eu.org", "eu.org", True),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", True),
        ("amazonaws.com", "shop.s3.amazonaws.com", False),
        ("amazonaws.com", "mail.amazonaws.com", True),
        ("shop.s3.amazonaws.com", "mail.shop.s3.amazonaws.com", True),
        ("kawasaki.jp", "mail.city.kawasaki.jp", False),
        ("city.kawasaki.jp", "mail.city.kawasaki.jp", True),
        ("xn--55qx5d.cn", "shop.xn--55qx5d.cn", False),
        ("example.nl.", "mail.example.nl", False),
    ],
)
def test_who_may_speak_for_a_domain(signer: str, domain: str, speaks: bool) -> None:
    assert speaks_for(signer, domain) is speaks


def test_good_signature_of_another_domain_proves_nothing_and_nobody_is_asked() -> None:
    dns = answers(name="k1._domainkey.evil.example")
    assert why(signed(plain(), domain="evil.example"), dns) == "no DKIM signature of Example.nl"
    assert dns.asked == []


@pytest.mark.parametrize("d", ["bücher.example", "example.nl; d=example.nl", "example.nl\t", "EXAMPLE.NL"])
def test_signer_is_written_in_ascii_and_once(d: str) -> None:
    told = why(signed(plain(), tags={"d": d}))
    assert (told == "") is (d in ("EXAMPLE.NL", "example.nl\t"))


def test_one_good_signature_among_others_is_enough_and_not_all_are_looked_at() -> None:
    bad = signed(plain(), tags={"s": "other"}).partition(b"\n")[0] + b"\n"
    for count, proves in ((SIGNATURES_MAX - 1, True), (SIGNATURES_MAX, False), (1_000, False)):
        dns = PlayedDns({**answers().records, ("other._domainkey.example.nl", "TXT"): [key_record(2_048)]})
        assert (why(bad * count + signed(plain()), dns) == "") is proves
        assert len(dns.asked) <= SIGNATURES_MAX


def test_a_stranger_has_few_keys_asked_for_that_are_not_there() -> None:
    """Names that nobody asked for before: each takes its time, and he may write any number."""
    bad = b"".join(signed(plain(), tags={"s": f"s{n}"}).partition(b"\n")[0] + b"\n" for n in range(SIGNATURES_MAX))
    one, dns = bad.splitlines(keepends=True)[0], answers()
    assert why(one * (KEYLESS_MAX - 1) + signed(plain()), dns) == ""
    dns = answers()
    assert "no key" in why(bad + signed(plain()), dns)
    assert len(dns.asked) == KEYLESS_MAX


def test_what_a_signature_leaves_open_asks_the_dns_nothing() -> None:
    for tags in ({"l": "5"}, {"bh": "AAAA"}, {"x": "1"}, {"h": "From:To"}):
        dns = answers()
        assert why(signed(plain(), tags=tags), dns)
        assert dns.asked == []


def test_key_that_is_not_there_is_told_from_a_dns_that_does_not_answer() -> None:
    assert "no key at k1._domainkey.example.nl" in why(signed(plain()), PlayedDns())
    assert "several keys" in why(signed(plain()), PlayedDns({(KEY_AT, "TXT"): [key_record(), key_record()]}))
    with pytest.raises(Unanswered):
        why(signed(plain()), PlayedDns(silent={(KEY_AT, "TXT")}))
    other = signed(plain(), tags={"s": "dead"}).partition(b"\n")[0] + b"\n"
    dns = PlayedDns({(KEY_AT, "TXT"): [key_record()]}, silent={("dead._domainkey.example.nl", "TXT")})
    assert why(other + signed(plain()), dns) == "", "what the good one proves needs no other"


def test_key_of_a_size_that_would_take_long_is_not_used() -> None:
    """An exponent of 4,096 bits: by the sender's own DNS."""

    def number(value: bytes) -> bytes:
        return b"\x02\x82" + struct.pack("!H", len(value)) + value

    inner = number(b"\x00" + b"\xff" * 512) + number(b"\x00" + b"\x7f" * 511 + b"\xff")
    key = b"\x30\x82" + struct.pack("!H", len(inner)) + inner
    assert why(signed(plain()), answers(f"v=DKIM1; p={base64.b64encode(key).decode()}"))


RFC_6376 = b"""\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
"""
RFC_6376_KEY = (
    "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYf"
    "cTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)
RFC_6376_US = 1_057_982_514_000_000


def test_rsa_by_the_example_of_rfc_6376() -> None:
    """Each space counts (simple), and a domain above the From's has signed."""
    dns = answers(RFC_6376_KEY, "brisbane._domainkey.example.com")
    assert why(RFC_6376, dns, now_us=RFC_6376_US) == ""
    assert "forged" in why(RFC_6376.replace(b"example.com  [", b"example.com ["), dns, now_us=RFC_6376_US)
    assert "of another body" in why(RFC_6376.replace(b"game. Are", b"game.  Are"), dns, now_us=RFC_6376_US)


RFC_8463 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""
RFC_8463_US = 1_528_637_909_000_000


RFC_8463_RSA = b"""\
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
"""
RFC_8463_RSA_KEY = (
    "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi"
    "0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QI"
    "DAQAB"
)


def test_mail_of_two_signatures_by_the_example_of_rfc_8463() -> None:
    """The key of either is enough."""
    mail = RFC_8463_RSA + RFC_8463
    dns = answers(RFC_8463_RSA_KEY, "test._domainkey.football.example.com")
    assert "Date is not within" in why(mail, dns, now_us=RFC_8463_US)
    assert "forged" in why(mail.replace(b"b=F45d", b"b=F45e"), dns, now_us=RFC_8463_US)


def test_ed25519_by_the_example_of_rfc_8463() -> None:
    """Its signature is good; what is left is that the mail was fifteen years old when it was signed."""
    record = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    dns = answers(record, "brisbane._domainkey.football.example.com")
    assert "Date is not within" in why(RFC_8463, dns, now_us=RFC_8463_US)
    assert "forged" in why(RFC_8463.replace(b"b=/gCr", b"b=/gCs"), dns, now_us=RFC_8463_US)
    assert "forged" in why(RFC_8463.replace(b"Is dinner", b"Was dinner"), dns, now_us=RFC_8463_US)
    assert "of another body" in why(RFC_8463.replace(b"the game.  Are", b"the game.Are"), dns, now_us=RFC_8463_US)


def test_key_may_stand_without_its_algorithm() -> None:
    """As RFC 6376, 3.6.1, has it, and its examples have not."""
    key = private_key(1_024).public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    assert why(signed(plain()), answers(f"v=DKIM1; p={base64.b64encode(key).decode()}")) == ""


@pytest.mark.parametrize("what", [b"ab ", b"a\t"])
@pytest.mark.parametrize("where", ["body", "header"])
def test_mail_of_many_words_takes_little_memory(what: bytes, where: str) -> None:
    """20 MB of them took 1.5 GB, and four are read at a time: of whoever knows a customer's address and where his key
    is."""
    size = 2_000_000
    words = what * (size // len(what))
    data = plain() + words if where == "body" else b"Comments: " + words + b"\n" + plain()
    data = signed(data, covered=[*COVERED, "Comments"])
    headers, body = parts_of(data)
    tracemalloc.start()
    try:
        told = why_unsigned(
            headers, body, domain="example.nl", date="", lookup=answers(key_record(2_048)), now_us=NOW_US
        )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "forged" in told
    assert most < 5 * size


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "names": lambda n: signed(plain(), tags={"h": ":".join(["from"] * n)}),
    "white space": lambda n: signed(plain(), tags={"b": "A" + " \t" * n + "!"}),
    "tags": lambda n: signed(plain(), tags={f"x{i}": "y" for i in range(n)}),
    "signatures": lambda n: (signed(plain()).partition(b"\n")[0] + b"\n") * n + plain(),
    "headers": lambda n: signed(b"X: y\n" * n + plain(), covered=[*COVERED, *["X"] * 500]),
    "folds": lambda n: signed(plain()).replace(b"; d=", b";\n" + b" \n" * n + b" d="),
    "body": lambda n: signed(plain() + b" \n" * n + b"x"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_time_grows_with_the_mail_alone(kind: str) -> None:
    assert_linear(lambda n: why(HOSTILE[kind](n)), 200)
