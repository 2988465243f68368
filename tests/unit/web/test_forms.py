"""What the OpenAPI document tells of texts is what the service takes; and what is taken as an address can be mailed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.notify.render import Rendered, message_of
from charging.service import text
from charging.web import forms
from tests.unit.notify.factories import make_mail, make_notice

TOLD = re.compile(forms.EMAIL)
WORDS = Rendered("x", "x", "x")
NEAR = st.text(
    "aZ0.@-+=?'\"`{|}~^[](),:;<>\\ \n\x00\x85\xa0\xad\xe9\u0376\u0378\u1680\u200b\u202e\u2028\ufeff\ud800\U0001f4e0"
)
"""Of what decides whether something is an address."""


def takes(address: str) -> bool:
    return text.email(address) is None


@given(st.from_regex(TOLD, fullmatch=True).filter(lambda one: 0 < len(one) <= text.EMAIL_LENGTH_MAX))
def test_every_mail_address_that_is_told_is_taken_and_can_be_mailed(address: str) -> None:
    assert takes(address)
    message = message_of(make_notice(address=address), WORDS, make_mail())
    (to,) = message["To"].addresses
    assert to.addr_spec == address


@given(st.one_of(NEAR, st.builds("{}@example.nl".format, NEAR), st.text()))
def test_mail_address_is_taken_just_where_it_is_told(address: str) -> None:
    assert takes(address) == bool(TOLD.fullmatch(address) and len(address) <= text.EMAIL_LENGTH_MAX)


@pytest.mark.parametrize(
    "address",
    [
        *("jan..jansen@ziggo.nl", "jan.@ziggo.nl", ".jan@ziggo.nl", "j[an]@ziggo.nl", "=?utf-8?q?jan?=@ziggo.nl"),
        *("jan\u00adsen@ziggo.nl", "jan\u200bsen@ziggo.nl", "jan\u202esen@ziggo.nl", "jan\u00a0sen@ziggo.nl"),
        *("jan\ud800sen@ziggo.nl", "jan\ue000sen@ziggo.nl", "x" * 65 + "@ziggo.nl", "jan@zig..go.nl", "jan@.nl"),
    ],
)
def test_mail_address_that_cannot_be_mailed_is_not_taken(address: str) -> None:
    assert not takes(address)
    assert not TOLD.fullmatch(address)


@pytest.mark.parametrize(
    "address",
    [
        *("j.p.jansen@ziggo.nl", "jan+fax@ziggo.nl", "jan_1-2@mail.ziggo.nl", "prvs=1234=jan@ziggo.nl", "a@b.c"),
        *("zo\u00eb@ziggo.nl", "\u0438\u0432\u0430\u043d@ziggo.nl", "\u6797@ziggo.nl", "x" * 64 + "@ziggo.nl"),
    ],
)
def test_mail_address_of_usual_form_is_taken(address: str) -> None:
    assert takes(address)
