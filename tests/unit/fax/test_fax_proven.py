"""A mail is its From's by a signature, or by SPF of the machine that brought it."""

from __future__ import annotations

import pytest

from charging.fax.mail import Envelope
from charging.fax.proven import why_unproven
from tests.fakes.letters import read_letter
from tests.fakes.names import PlayedDns
from tests.fakes.signing import DOMAIN
from tests.unit.fax.test_fax_mail import mail
from tests.unit.fax.test_fax_signed import NOW_US

CLIENT = "198.41.0.4"
SENDER = f"anna@{DOMAIN}"


def why(record: str, envelope: Envelope | None) -> str:
    data = mail().as_bytes()
    letter = read_letter(data, envelope_sender=SENDER, recipient="fax@example.nl")
    assert letter is not None
    return why_unproven(data, letter, envelope, PlayedDns({(DOMAIN, "TXT"): [record]}), NOW_US)


@pytest.mark.parametrize(
    ("record", "envelope", "why_not"),
    [
        (f"v=spf1 ip4:{CLIENT} -all", Envelope(SENDER, CLIENT), ""),
        (f"v=spf1 ip4:{CLIENT} -all", Envelope(SENDER, f"::ffff:{CLIENT}"), ""),
        (f"v=spf1 ip4:{CLIENT} -all", Envelope(SENDER, "198.41.0.5"), "is fail"),
        (f"v=spf1 ip4:{CLIENT} -all", None, "SPF is not looked at"),
        ("v=spf1 ip4:10.0.0.0/8 -all", Envelope(SENDER, "10.0.0.1"), "no address of the internet"),
        ("v=spf1 ip4:10.0.0.0/8 -all", Envelope(SENDER, "::ffff:10.0.0.1"), "no address of the internet"),
        (f"v=spf1 ip4:{CLIENT} -all", Envelope(f"<{SENDER}>", CLIENT), ""),
        (f"v=spf1 ip4:{CLIENT} -all", Envelope(SENDER.upper(), CLIENT), ""),
        (f"v=spf1 ip4:{CLIENT} -all", Envelope(f"eve@{DOMAIN}", CLIENT), "sender is not its From"),
        (f"v=spf1 ip4:{CLIENT} -all", Envelope(f"SRS0=a=b=evil.nl=eve@{DOMAIN}", CLIENT), "sender is not its From"),
        (f"v=spf1 ip4:{CLIENT} -all", Envelope(f"eve+anna@{DOMAIN}", CLIENT), "sender is not its From"),
        ("v=spf1 +all", Envelope("eve@evil.nl", CLIENT), "sender is not its From"),
        ("v=spf1 +all", Envelope("", CLIENT), "sender is not its From"),
        ("v=spf1 +all", Envelope(SENDER, CLIENT), "lets every machine send"),
    ],
)
def test_machine_that_brought_a_mail_proves_it(record: str, envelope: Envelope | None, why_not: str) -> None:
    """Of the one whom the envelope names: many servers look at nothing else of what their users write, and what they
    pass on from anyone has a name of theirs there."""
    told = why(record, envelope)
    assert why_not in told
    assert (told == "") is (why_not == "")
