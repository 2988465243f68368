"""What the mail server says of a mail counts only if the sender could not write it: where the names that it repeats are
names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.fax.authentic import why_not
from charging.fax.echoed import why_unsafe
from charging.fax.mail import read_letter
from charging.fax.signed import SEALS

SENDER = "anna@example.nl"
SEAL = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.nl; s=k1; h=From:To; bh=a=; b=b c+/="
SERVER = "mx.voice.example"


@pytest.mark.parametrize(
    "sender",
    [
        SENDER,
        "SRS0=ab=cd=example.nl=anna@relay.example",
        "prvs=4321abc=anna@example.nl",
        "bounces+12-ab/c_d=fax.voice.example@em.example.nl",
        "o'neill@example.nl",
    ],
)
def test_sender_of_an_envelope_is_plain_also_where_programs_made_it(sender: str) -> None:
    assert why_unsafe(sender, [SEAL]) == ""


@pytest.mark.parametrize(
    "sender",
    [
        '"a) ; spf=pass smtp.mailfrom=example.nl; x=y (b"@evil.example',
        "a)b@evil.example",
        "a;b@evil.example",
        'a"b@evil.example',
        "a b@evil.example",
        "a@evil.example;spf=pass",
        "a@evil.example\r\nb",
    ],
)
def test_sender_of_an_envelope_that_is_more_than_a_name_may_have_written_what_the_server_says(sender: str) -> None:
    assert "envelope's sender is no plain address" in why_unsafe(sender, [])


@pytest.mark.parametrize(
    "seal",
    [
        SEAL,
        SEAL + ";",
        SEAL + "; i=@mail.example.nl",
        SEAL + "; i=anna=2Bfax@example.nl",
        SEAL + "; i=a=3Db@example.nl",
        SEAL.replace("example.nl", "exämple.nl"),
        SEAL + '; z=From:"Anna"=20(x)|To:b',
        "i=1; a=rsa-sha256; t=12345; cv=none; d=relay.example; s=arc; b=abc=",
    ],
)
def test_signature_of_a_plain_name_is_safe_whoever_signed(seal: str) -> None:
    assert why_unsafe(SENDER, [SEAL, seal]) == ""


@pytest.mark.parametrize(
    "seal",
    [
        SEAL + "; i=a=3B=20dkim=3Dpass@example.nl",
        SEAL + "; i=a=3b@example.nl",
        SEAL + "; i=a(b@example.nl",
        SEAL + "; i==22@example.nl",
        SEAL + "; i=a=0Ab@example.nl",
        SEAL + "; i=a header.d=victim.example header.i=b@example.nl",
        SEAL.replace("d=example.nl", "d=example.nl(.evil.example"),
        SEAL.replace("d=example.nl", "d="),
        SEAL.replace("s=k1", 's="k1'),
        SEAL.replace("b=b c", 'b=")x=y'),
        SEAL.replace("rsa-sha256", "rsa)"),
        SEAL + "; i=a@example.nl; i=b@example.nl",
        "",
    ],
)
def test_signature_that_says_more_than_a_name_may_have_written_what_the_server_says(seal: str) -> None:
    for seals in ((seal,), (SEAL, seal), (seal, SEAL)):
        assert "is not of a plain name" in why_unsafe(SENDER, seals)


@pytest.mark.parametrize("name", SEALS)
def test_every_header_that_names_a_signer_is_looked_at(name: str) -> None:
    data = f"From: anna@example.nl\n{name.upper()}: {SEAL};\n i=a=3B@example.nl\n{name}: {SEAL}\n\nx".encode()
    letter = read_letter(data, envelope_sender=SENDER)
    assert letter is not None
    assert len(letter.seals) == 2
    assert why_unsafe(letter.envelope_sender, letter.seals)


@given(st.text(alphabet='ab.@=3B28()"\\ \r\n', max_size=40))
def test_no_words_that_pass_make_a_result_of_their_own(words: str) -> None:
    """However a server writes them out: as they are, decoded, in quotes, in a comment."""
    if why_unsafe(words, []) and why_unsafe(SENDER, [f"{SEAL}; i={words}"]):
        return
    said = words.strip()
    assert not set(said) & set('()"\\ \r\n'), said
    for one in (said, said.replace("=3B", ";").replace("=28", "(")):
        text = f'{SERVER}; spf=pass (of {one} x) smtp.mailfrom={one}; dkim=pass reason="{one}" header.i={one}'
        assert why_not([text], SERVER, "victim.example")
