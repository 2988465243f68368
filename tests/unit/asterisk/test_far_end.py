"""Whose the other end of a connection within this machine is."""

from __future__ import annotations

import os
import socket

import pytest

from charging.asterisk.far_end import FarEnd, user_of

OURS, THEIRS = ("127.0.0.1", 40_000), ("127.0.0.1", 5038)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_program_that_has_taken_a_connection_has_a_user(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, 0), family=family)
    with server, socket.create_connection(server.getsockname()[:2]) as us:
        ours, theirs = us.getsockname()[:2], us.getpeername()[:2]
        assert user_of(ours, theirs) is None, "nobody has taken it yet"
        accepted, _ = server.accept()
        with accepted:
            assert user_of(ours, theirs) == os.getuid()


def test_program_that_takes_both_kinds_of_address_has_a_user_too() -> None:
    """Whoever plays Asterisk chooses where he listens: IPv4 is not in its own table then."""
    server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with server, socket.create_connection(("127.0.0.1", server.getsockname()[1])) as us:
        accepted, _ = server.accept()
        with accepted:
            assert user_of(us.getsockname(), us.getpeername()) == os.getuid()


def test_of_another_machine_nothing_is_known() -> None:
    assert user_of(("192.0.2.1", 40_000), ("192.0.2.2", 5038)) is None


def test_whoever_was_there_first_is_trusted_and_root_always() -> None:
    found: list[int | None] = [None, 4711, None, 0, 65_534, 4711]
    far_end = FarEnd(lambda _ours, _theirs: found.pop(0))
    assert [far_end.stranger(OURS, THEIRS) for _ in range(6)] == ["", "", "", "", "nobody", ""]


def test_where_root_was_there_first_nobody_else_takes_its_place() -> None:
    found: list[int | None] = [0, 65_534, 0]
    far_end = FarEnd(lambda _ours, _theirs: found.pop(0))
    assert [far_end.stranger(OURS, THEIRS) for _ in range(3)] == ["", "nobody", ""]
