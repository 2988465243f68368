"""Bodies that cost far more to read than they have bytes, and what comes behind an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.web.listen import CHUNK_BYTES_MIN, CHUNKS_MIN, HEAD_BYTES_MAX, HEAD_LINES_MAX
from tests.integration.test_listeners import REQUEST, is_cut_off, served

CHUNKED = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(params=["http", "control"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def chunks(number: int, length: int) -> bytes:
    return b"%x\r\n%b\r\n" % (length, b"x" * length) * number


@pytest.mark.parametrize(
    ("number", "length", "is_read"),
    [
        (CHUNKS_MIN, 1, True),
        (CHUNKS_MIN + 1, 1, False),
        (2 * CHUNKS_MIN, CHUNK_BYTES_MIN // 2, True),
        (2 * CHUNKS_MIN + 1, CHUNK_BYTES_MIN // 2, False),
        (2_000, CHUNK_BYTES_MIN, True),
    ],
)
@pytest.mark.parametrize("before", [b"", chunks(1, 500_000)])
async def test_a_body_of_very_many_short_chunks_is_not_read(
    kind: str, tmp_path: Path, number: int, length: int, is_read: bool, before: bytes
) -> None:
    """Each costs the process far more than its bytes, also behind a long one."""
    async with served(kind, tmp_path) as place:
        reader, writer = await place.connect()
        writer.write(CHUNKED % b"/body" + before + chunks(number, length) + b"0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200" if is_read else b"HTTP/1.1 400")
        assert is_read or b"expected 256 bytes in each" in await is_cut_off(reader)


async def test_of_a_body_behind_its_answer_no_more_short_chunks_are_read(kind: str, tmp_path: Path) -> None:
    async with served(kind, tmp_path) as place:
        reader, writer = await place.connect()
        writer.write(CHUNKED % b"/hello" + chunks(1, 1))
        assert (await reader.readline()).startswith(b"HTTP/1.1 405")
        writer.write(chunks(CHUNKS_MIN, 1))
        await is_cut_off(reader)


async def test_a_wrong_chunk_behind_an_answer_is_no_fault_of_ours(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(kind, tmp_path) as place:
        reader, writer = await place.connect()
        writer.write(CHUNKED % b"/hello" + chunks(1, 1))
        assert (await reader.readline()).startswith(b"HTTP/1.1 405")
        writer.write(b"zz\r\n\r\n")
        await is_cut_off(reader)
    assert [one.getMessage() for one in caplog.records] == [f"{kind}: Invalid HTTP request received."]


LINES = [
    (HEAD_LINES_MAX, 1, True),
    (HEAD_LINES_MAX + 1, 1, False),
    (1, HEAD_BYTES_MAX - 10, True),
    (1, HEAD_BYTES_MAX, False),
]


def lines_of(number: int, length: int) -> bytes:
    return b"a:%b\r\n" % (b"b" * length) * number


@pytest.mark.parametrize("is_answered", [False, True])
@pytest.mark.parametrize(("number", "length", "is_read"), LINES)
async def test_of_what_follows_a_body_no_more_is_read_than_of_a_head(
    kind: str, tmp_path: Path, number: int, length: int, is_read: bool, is_answered: bool
) -> None:
    """Whether the body's last chunk comes with it, or long before."""
    async with served(kind, tmp_path) as place:
        reader, writer = await place.connect()
        writer.write(CHUNKED % (b"/hello" if is_answered else b"/body") + b"0\r\n")
        if is_answered:
            assert (await reader.readline()).startswith(b"HTTP/1.1 405")
        writer.write(lines_of(number, length) + b"\r\n")
        writer.write(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (b"HTTP/1.1 200 OK" in (await is_cut_off(reader)).partition(b"\r\n\r\n")[2]) is is_read


async def test_between_a_body_and_the_next_head_nothing_is_counted_twice(kind: str, tmp_path: Path) -> None:
    async with served(kind, tmp_path) as place:
        reader, writer = await place.connect()
        writer.write(CHUNKED % b"/body" + b"0\r\n\r\n")
        writer.write(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + lines_of(97, 1) + b"\r\n")
        assert (await is_cut_off(reader)).count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(("number", "length", "is_read"), [(98, 1, True), (99, 1, False)])
async def test_a_head_behind_a_body_that_nobody_asked_for_is_bounded_too(
    kind: str, tmp_path: Path, number: int, length: int, is_read: bool
) -> None:
    async with served(kind, tmp_path) as place:
        reader, writer = await place.connect()
        writer.write(b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 405")
        writer.write(b"x" + REQUEST.removesuffix(b"\r\n") + lines_of(number, length) + b"\r\n")
        if is_read:
            await reader.readuntil(b"HTTP/1.1 200")
        else:
            assert b"HTTP/1.1 200" not in await is_cut_off(reader)


@pytest.mark.parametrize(
    ("framing", "is_read"),
    [
        (b"", True),
        (b"Content-Length: 0\r\n", True),
        (b"Content-Length: 1\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", False),
    ],
)
async def test_where_no_body_is_taken_a_request_with_one_is_refused_at_its_head(
    tmp_path: Path, framing: bytes, is_read: bool
) -> None:
    async with served("http", tmp_path, takes_bodies=False) as place:
        reader, writer = await place.connect()
        writer.write(b"GET /hello HTTP/1.1\r\nHost: x\r\n%b\r\n" % framing)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200" if is_read else b"HTTP/1.1 400")
        assert is_read or b"found a body, expected none" in await is_cut_off(reader)
