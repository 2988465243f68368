"""The head of a request, in whatever pieces it comes."""

from __future__ import annotations

import h11
import pytest

from charging.web.listen import HEAD_BYTES_MAX, HEAD_LINES_MAX, _BeyondLimits, _Connection
from tests.fuzz.target import check_growth

PIECES = (1, 2, 3, 1_000_000)
"""Bytes that come at a time."""


def head(lines: int, length: int, end: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:%b\r\n" % (b"b" * length) * (lines - 2) + end


def read(data: bytes, piece: int, connection: _Connection | None = None) -> list[str]:
    """What is read of it."""
    connection, found = connection or _Connection(takes_bodies=True), list[str]()
    for at in range(0, len(data), piece):
        connection.receive_data(data[at : at + piece])
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            found.append(type(event).__name__)
    return found


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize(
    ("lines", "length", "is_read"),
    [(HEAD_LINES_MAX, 1, True), (HEAD_LINES_MAX + 1, 1, False), (3, HEAD_BYTES_MAX - 60, True), (3, 25_000, False)],
)
def test_limits_of_a_head_hold_in_whatever_pieces_it_comes(
    piece: int, end: bytes, lines: int, length: int, is_read: bool
) -> None:
    whole = head(lines, length, end)
    if is_read:
        assert read(whole, piece) == ["Request", "EndOfMessage"]
    else:
        with pytest.raises(_BeyondLimits):
            read(whole, piece)


@pytest.mark.parametrize("piece", PIECES)
def test_limits_of_what_follows_a_body_begin_anew(piece: int) -> None:
    chunked = head(HEAD_LINES_MAX, 1, b"\r\n").replace(b"a:b", b"Transfer-Encoding: chunked", 1)
    trailer = b"a:b\r\n" * (HEAD_LINES_MAX - 1)
    assert read(chunked + b"0\r\n" + trailer + b"\r\n", piece) == ["Request", "EndOfMessage"]
    with pytest.raises(_BeyondLimits):
        read(chunked + b"0\r\n" + trailer + b"a:b\r\na:b\r\n\r\n", piece)


def test_a_head_that_comes_byte_by_byte_costs_twice_as_much_for_twice_the_bytes() -> None:
    """Forty-five clients who sent 23 kB and then byte by byte took half of the process that decides calls."""

    def drip(data: bytes) -> None:
        read(b"GET / HTTP/1.1\r\nHost: x\r\na:" + data, 1)

    check_growth(drip, b"b", first_bytes=5_000)
