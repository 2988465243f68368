"""A mail of very many or very deep parts, lines or headers costs no more than its size; beyond a limit it is none."""

from __future__ import annotations

import tracemalloc
from email.message import Message
from email.parser import BytesParser

import pytest

from charging.fax.mail import (
    HEAD_LINES_MAX,
    HOLDERS_MAX,
    LINES_MAX,
    LOOKED_AT_MAX,
    MAIL_BYTES_MAX,
    PARTS_MAX,
    Wrong,
    read_head,
    with_document,
)
from tests.fakes.effort import lines_run
from tests.fakes.letters import read_letter

FROM = b"From: anna@example.nl\n"
HOLDER = b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n"
PART = b"Content-Type: application/pdf\n\n%PDF\n"


def test_mail_of_very_many_parts_has_no_document() -> None:
    for empty, document in ((PARTS_MAX - 2, b"%PDF"), (PARTS_MAX - 1, Wrong.NO_DOCUMENT)):
        found = read_letter(FROM + HOLDER % (0, 0) + b"\n\n--0\n" * empty + PART)
        assert found is not None
        assert found.document == document


def test_of_very_many_parts_that_might_be_documents_none_is_one() -> None:
    maybe = b"Content-Type: image/png; name*=utf-8''%%41.png\n\nx\n--0\n"
    for others, document in ((LOOKED_AT_MAX - 1, b"%PDF"), (LOOKED_AT_MAX, Wrong.NO_DOCUMENT)):
        found = read_letter(FROM + HOLDER % (0, 0) + maybe * others + PART)
        assert found is not None
        assert found.document == document
    found = read_letter(FROM + HOLDER % (0, 0) + (PART + b"--0\n") * (LOOKED_AT_MAX + 1))
    assert found is not None
    assert found.document == Wrong.MANY_DOCUMENTS


@pytest.mark.parametrize("sign", [b"", b"pdf"], ids=["no document by its header", "perhaps one"])
@pytest.mark.parametrize("header", [b";" * 300, b'; a="' + b'""' * 150])
def test_headers_made_to_be_read_slowly_are_read_for_few_parts(header: bytes, sign: bytes) -> None:
    """199 such parts, in 0.4 MB, took three seconds of a processor, for each of the mail's recipients."""
    part = b"Content-Type: text/plain" + sign + header + b"\n\nx\n--0\n"
    few, many = (
        lines_run(lambda: read_letter(FROM + HOLDER % (0, 0) + part * count))  # noqa: B023  called at once
        for count in (LOOKED_AT_MAX, 3 * LOOKED_AT_MAX)
    )
    assert many < 2 * few + 40_000, (few, many)


def test_mail_of_parts_very_deep_within_parts_has_no_document() -> None:
    for depth, document in ((HOLDERS_MAX, b"%PDF"), (HOLDERS_MAX + 1, Wrong.NO_DOCUMENT)):
        found = read_letter(FROM + b"".join(HOLDER % (one, one) for one in range(depth)) + PART)
        assert found is not None
        assert found.document == document


@pytest.mark.parametrize(
    ("head", "piece"),
    [(HOLDER % (0, 0), b"\n\n--0\n"), (b"Content-Type: message/delivery-status\n\n", b"a\n\n")],
    ids=["parts", "reports"],
)
def test_parts_of_a_few_bytes_fill_no_memory(head: bytes, piece: bytes) -> None:
    """20 MB of them, which a mail server lets in, took 4 GB of a machine that decides calls."""
    mail = FROM + head + piece * (100_000 // len(piece))
    tracemalloc.start()
    try:
        assert read_letter(mail) is not None
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 30 * len(mail), most / len(mail)


def test_mail_of_more_lines_than_any_document_has_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 MB of headers of three bytes took 47 s and a gigabyte."""
    assert LINES_MAX * 60 > MAIL_BYTES_MAX, "in base64 a line has 76 characters"
    monkeypatch.setattr("charging.fax.mail.LINES_MAX", 100)
    found = [read_letter(FROM + b"a:\n" * (count - 2) + b"\n") for count in (100, 101)]
    assert [one is None for one in found] == [False, True]


def test_mail_of_more_headers_than_any_has_is_dropped() -> None:
    """A million, in 3 MB, took five seconds."""
    found = [read_letter(FROM + b"a:\n" * (count - 2) + b"\nx\n") for count in (HEAD_LINES_MAX, HEAD_LINES_MAX + 1)]
    assert [one is None for one in found] == [False, True]


def test_time_does_not_grow_with_the_depth_of_parts() -> None:
    """20 MB of short lines, 400 parts deep, took 8 minutes."""
    lines = b"--\n" * 10_000
    holders = b"".join(HOLDER % (one, one) for one in range(400))
    flat = lines_run(lambda: read_letter(FROM + HOLDER % (0, 0) + lines))
    assert lines_run(lambda: read_letter(FROM + holders + lines)) < 5 * flat


@pytest.mark.parametrize("reading", [1, 2])
def test_where_memory_ends_the_mail_is_read_by_nobody(monkeypatch: pytest.MonkeyPatch, reading: int) -> None:
    """The customer was told that it has no document, or one that was altered was faxed."""
    mail = FROM + HOLDER % (0, 0) + PART + b" \n--0--\n"
    letter = read_head(mail)
    assert letter is not None
    parsed, readings = BytesParser.parsebytes, 0

    def ends(parser: BytesParser, data: bytes, headersonly: bool = False) -> Message:
        nonlocal readings
        readings += 1
        if readings == reading:
            raise MemoryError
        return parsed(parser, data, headersonly)

    monkeypatch.setattr(BytesParser, "parsebytes", ends)
    with pytest.raises(MemoryError):
        with_document(letter, mail)


def test_white_space_behind_a_soft_line_break_alters_no_document() -> None:
    head = FROM + b"Content-Type: application/pdf\nContent-Transfer-Encoding: quoted-printable\n\n"
    signed = head + b"%PDF-1.4 one line=\n goes on=3D\n"
    before = read_letter(signed)
    assert before is not None
    assert before.document == b"%PDF-1.4 one line goes on=\n"
    assert read_letter(signed.replace(b"line=\n", b"line= \t\n")) == before
