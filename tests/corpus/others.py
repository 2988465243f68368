"""What is neither PDF nor TIFF, whatever it is called: refused."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator

from tests.corpus.odd import Answer, Odd


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = (8).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(72))) + chunk(b"IEND", b"")


def _zip(name: str, content: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return held.getvalue()


def strangers() -> Iterator[Odd]:
    """All of them."""
    kinds = {
        "nothing": b"",
        "one byte": b"%",
        "PNG": _png(),
        "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9",
        "WebP": b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0",
        "GIF": b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
        "BMP": b"BM:\0\0\0\0\0\0\0" + bytes(48),
        "HEIC": b"\0\0\0\x18ftypheic" + bytes(12),
        "Word of today": _zip("word/document.xml", b"<w:document/>"),
        "Word of long ago": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
        "OpenDocument": _zip("mimetype", b"application/vnd.oasis.opendocument.text"),
        "zip of 100 MB of zeros": _zip("bomb", bytes(100_000_000)),
        "RTF": rb"{\rtf1 hello}",
        "HTML": b"<!DOCTYPE html><p>hello",
        "text": b"hello, this is a fax\n",
        "PostScript": b"%!PS-Adobe-3.0\n/Helvetica 12 selectfont 72 72 moveto (x) show showpage\n",
        "PostScript that deletes": b"%!PS\n(/tmp/x) deletefile\n",
        "SVG": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
        "mail": b"From: a@example.nl\nContent-Type: application/pdf\n\nJVBERi0xLjQK\n",
        "PDF in base 64": b"JVBERi0xLjQKMSAwIG9iago8PCAvVHlwZSAvQ2F0YWxvZyA+Pgo=",
        "PDF in words of two bytes": "%PDF-1.4 1 0 obj".encode("utf-16"),
        "PDF head alone": b"%PDF-1.4\n",
        "PDF and noise": b"%PDF-1.4\n" + bytes(range(256)) * 8,
    }
    for name, data in kinds.items():
        yield Odd(name, data, Answer.REFUSED)
