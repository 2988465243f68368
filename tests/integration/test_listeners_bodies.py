"""Bodies that cost far more to read than they have bytes, and what comes behind an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.web.listen import CHUNK_BYTES_MIN, CHUNKS_MIN
from tests.integration.test_listeners import is_cut_off, served

CHUNKED = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(params=["http", "control"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def chunks(number: int, length: int) -> bytes:
    return b"%x\r\n%b\r\n" % (length, b"x" * length) * number


@pytest.mark.parametrize(
    ("number", "length", "is_read"),
    [(CHUNKS_MIN, 1, True), (CHUNKS_MIN + 1, 1, False), (2_000, CHUNK_BYTES_MIN, True), (2_000, 255, False)],
)
async def test_a_body_of_very_many_short_chunks_is_not_read(
    kind: str, tmp_path: Path, number: int, length: int, is_read: bool
) -> None:
    """Each costs the process far more than its bytes."""
    async with served(kind, tmp_path) as place:
        reader, writer = await place.connect()
        writer.write(CHUNKED % b"/body" + chunks(number, length) + b"0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200" if is_read else b"HTTP/1.1 400")


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
        if not is_read:
            await is_cut_off(reader)
