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
        SEAL + "; I=a=3B@example.nl",
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


@pytest.mark.parametrize(
    "received",
    [
        "",
        "from mail_1.example.nl (mail.example.nl [192.0.2.1]) by mx.voice.example (Postfix) with ESMTPS id 1",
        "from [192.0.2.1] (unknown [192.0.2.1]) by mx.voice.example",
        "from [IPv6:2001:db8::1] (unknown [2001:db8::1]) by mx.voice.example",
        "from mail.example.nl ([192.0.2.1] helo=mail.example.nl) by mx.voice.example with esmtps (Exim 4.96)",
        "from unknown (HELO mail.example.nl) (192.0.2.1) by mx.voice.example",
        "by mx.voice.example (Postfix, from userid 0) id 1",
    ],
)
def test_machine_that_calls_itself_by_a_name_or_an_address_is_safe(received: str) -> None:
    assert why_unsafe(SENDER, [SEAL], received) == ""


@pytest.mark.parametrize(
    "received",
    [
        "from a????dkim=pass?header.d=victim.example??x=y??b (unknown [192.0.2.1]) by mx.voice.example (Postfix)",
        "from a)b (unknown [192.0.2.1]) by mx.voice.example",
        "from mail.example.nl ([192.0.2.1] helo=a;b) by mx.voice.example with esmtps (Exim 4.96)",
        'from unknown (HELO a"b) (192.0.2.1) by mx.voice.example',
    ],
)
def test_machine_that_calls_itself_more_than_a_name_may_have_written_what_the_server_says(received: str) -> None:
    """Postfix writes a question mark for each sign that is none of a name's; a milter gets the sign itself."""
    assert "its HELO is no plain name" in why_unsafe(SENDER, [SEAL], received)


@pytest.mark.parametrize("above", [True, False])
def test_received_spf_counts_against_a_mail_unless_the_receiving_server_stamped_it(above: bool) -> None:
    heads = ["Received: from mail.example.nl by mx.voice.example", "RECEIVED-SPF: pass"]
    data = "\n".join([*(reversed(heads) if above else heads), "From: anna@example.nl", "", "x"]).encode()
    letter = read_letter(data, envelope_sender=SENDER)
    assert letter is not None
    why = why_unsafe(SENDER, letter.seals, letter.received, letter.claims)
    assert ("it came with a Received-SPF" in why) is not above


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
