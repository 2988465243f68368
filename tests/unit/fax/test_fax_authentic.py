"""A From is believed if the topmost header of the server that is trusted says that it is genuine, and else never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.fax.authentic import HEADER_MAX, came_from_its_server, why_not

SERVER = "mx.voice.example"


def is_proven(*headers: str) -> bool:
    return not why_not(headers, SERVER, "Example.nl")


@pytest.mark.parametrize(
    "results",
    [
        "dmarc=pass header.from=example.nl",
        "dmarc=pass (p=none dis=none) header.from=Example.NL",
        "spf=fail smtp.mailfrom=other.nl; dkim=none; dmarc=pass header.from=example.nl",
        'dmarc/1=pass reason="good; very" policy.dmarc=none header.from=example.nl;',
        'dkim=pass header.d=example.nl header.s=k1 header.b="abc="',
        "dkim=fail header.d=other.nl; dkim=pass header.i=@example.nl header.d=example.nl",
        "spf=pass smtp.mailfrom=anna@example.nl",
        "spf=pass smtp.mailfrom=prvs=4321abcdef=anna@example.nl",
        "spf=pass smtp.mailfrom=SRS0=HHH=TT=b.nl=anna@relay.nl; dmarc=pass header.from=example.nl",
        "dkim=pass header.i=a=b@example.nl header.d=example.nl",
        "spf=pass smtp.mailfrom=example.nl; dmarc=none header.from=example.nl",
        "arc=none;\r\n\tdmarc=pass header.from = example.nl",
    ],
)
def test_mail_that_the_server_vouches_for_is_genuine(results: str) -> None:
    assert is_proven(f"{SERVER}; {results}")
    assert is_proven(f"(x (y) \\)) MX.voice.example 1 ; {results}")


@pytest.mark.parametrize(
    "results",
    [
        "dmarc=fail header.from=example.nl",
        "dmarc=fail header.from=example.nl; dkim=pass header.d=example.nl",
        "dmarc=temperror header.from=example.nl; spf=pass smtp.mailfrom=example.nl",
        "dmarc=pass header.from=evil.nl",
        "dmarc=pass header.from=evil.nl; dmarc=pass header.from=example.nl",
        "dmarc=none header.from=example.nl; dmarc=pass header.from=example.nl",
        "dmarc=none header.from=example.nl; dmarc=none; spf=pass smtp.mailfrom=example.nl",
        "dmarc=pass header.from=notexample.nl",
        "dmarc=pass header.from=example.nl.evil.nl",
        "dmarc=pass",
        "dmarc=pass (header.from=example.nl)",
        "dmarc=pass header.from=evil.nl header.from=example.nl",
        "spf=pass smtp.mailfrom=a=b@evil.nl",
        "spf=pass smtp.mailfrom=header.d=example.nl@evil.nl",
        "spf=pass smtp.mailfrom=a=example.nl",
        "spf=pass smtp.mailfrom=a= b@example.nl",
        "dkim=pass header.i=dkim=pass@evil.nl",
        "dkim=pass=a@evil.nl header.d=example.nl",
        'x="dmarc=pass header.from=example.nl"',
        "spf=pass smtp.helo=example.nl",
        "spf=softfail smtp.mailfrom=example.nl",
        "dkim=pass header.i=@example.nl header.d=evil.nl",
        "dkim=pass header.d=mail.example.nl",
        "auth=pass smtp.auth=anna@example.nl",
        "none",
        "",
        "dmarc=pass header.from=example.nl (",
        'dmarc=pass header.from=example.nl "',
        "dmarc=pass header.from",
        "dmarc header.from=example.nl",
    ],
)
def test_mail_that_the_server_does_not_vouch_for_is_not(results: str) -> None:
    assert not is_proven(f"{SERVER}; {results}")


GOOD = f"{SERVER}; dmarc=pass header.from=example.nl"


@pytest.mark.parametrize(
    "above",
    [
        f"{SERVER}; dmarc=fail header.from=example.nl",
        SERVER,
        f"{SERVER}; none",
        f"{SERVER}; (",
        f"{SERVER};" + "x " * HEADER_MAX,
        "",
        "; dmarc=pass header.from=example.nl",
    ],
)
def test_header_below_the_servers_topmost_is_not_read(above: str) -> None:
    assert not is_proven(above, GOOD)
    assert is_proven(GOOD, above)


def test_header_of_another_server_is_passed_over() -> None:
    assert is_proven("another.example; dmarc=fail header.from=example.nl", GOOD)
    assert not is_proven("another.example; dmarc=pass header.from=example.nl")
    assert not is_proven(f"x{SERVER}; dmarc=pass header.from=example.nl")
    assert not is_proven()


@pytest.mark.parametrize(
    "said",
    [
        "smtp.mailfrom=example.nl,@x:me@evil.example",
        'smtp.mailfrom=example.nl"@evil.example',
        "smtp.mailfrom=evil.example(x)",
        'smtp.mailfrom="a b@evil.example"',
        'smtp.helo="a) ; dkim=pass header.d=example.nl; x=y (b"',
        "(client-ip=192.0.2.1; helo=a|b)",
    ],
)
def test_where_the_server_repeats_more_than_a_name_in_any_header_nothing_that_it_says_counts(said: str) -> None:
    assert not is_proven(GOOD, f"{SERVER}; spf=pass {said}")
    assert not is_proven(f"{SERVER}; spf=pass {said}", GOOD)
    assert is_proven(GOOD, f"another.example; spf=pass {said}")


@pytest.mark.parametrize(
    "said",
    [
        "smtp.mailfrom=anna@example.nl",
        'smtp.mailfrom="SRS0=ab=cd=example.nl=anna@relay.example"',
        'smtp.helo="[192.0.2.1]"',
        "smtp.mailfrom=a@example.nl (client-ip=192.0.2.1; helo=mail.example.nl; receiver=x)",
        "(x: domain of a@example.nl designates it) smtp.mailfrom=a@example.nl; spf=none smtp.helo=a.example.nl",
    ],
)
def test_names_that_the_server_repeats_take_nothing_from_what_it_says(said: str) -> None:
    assert is_proven(GOOD, f"{SERVER}; spf=pass {said}")


@given(st.text(alphabet=' ;="()\\\r\n\tabc=@.1', max_size=300))
def test_any_text_is_read_and_proves_nothing(noise: str) -> None:
    assert not is_proven(noise)
    assert not is_proven(f"{SERVER}; {noise}")


@pytest.mark.parametrize(
    ("stamped", "came"),
    [
        (["dmarc=pass header.from=example.nl; spf=pass smtp.mailfrom=anna@example.nl"], True),
        (["dmarc=pass header.from=example.nl", "spf=pass smtp.mailfrom=bounces.Example.nl"], True),
        (["dmarc=pass header.from=example.nl", "spf=pass smtp.mailfrom=evil.nl"], False),
        (["dmarc=pass header.from=example.nl", "spf=softfail smtp.mailfrom=example.nl"], False),
        (["spf=pass smtp.helo=example.nl"], False),
        (["spf=none smtp.helo=mail.example.nl; spf=pass smtp.mailfrom=example.nl"], True),
        (["spf=pass smtp.mailfrom=anna@example.nl", "spf=pass smtp.mailfrom=example.nl"], True),
        (["spf=none smtp.mailfrom=evil.example; spf=pass smtp.mailfrom=example.nl"], False),
        (["spf=fail smtp.mailfrom=example.nl; spf=pass smtp.mailfrom=example.nl"], False),
        (["spf=pass smtp.mailfrom=nl"], False),
        (["spf=pass smtp.mailfrom=notexample.nl"], False),
        (["spf=pass"], False),
        ([], False),
    ],
)
def test_mail_came_from_its_domains_machine_where_the_server_says_so(stamped: list[str], came: bool) -> None:
    headers = [f"{SERVER}; {one}" for one in stamped]
    assert came_from_its_server(headers, SERVER, "Example.nl") is came
    assert not came_from_its_server([f"other.example; {one}" for one in stamped], SERVER, "Example.nl")


def test_mail_came_from_a_machine_of_the_domain_above_its_own() -> None:
    headers = [f"{SERVER}; spf=pass smtp.mailfrom=example.nl"]
    assert came_from_its_server(headers, SERVER, "sales.example.nl")
