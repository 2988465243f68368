"""A PDF that is put together object by object, without any program."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

A4 = "0 0 595 842"
BAR = b"0 g 50 400 495 100 re f"


def stream(data: bytes, head: str = "") -> bytes:
    return f"<< /Length {len(data)} {head} >>\nstream\n".encode() + data + b"\nendstream"


class Pdf:
    """A PDF that is put together object by object."""

    def __init__(self, box: str = A4) -> None:
        self.bodies: list[bytes] = [b"", b""]
        self.kids: list[int] = []
        self.box = box
        self.catalog = ""
        self.tree = ""

    def add(self, body: bytes | str) -> int:
        """Its number."""
        self.bodies.append(body.encode() if isinstance(body, str) else body)
        return len(self.bodies)

    def page(self, content: bytes | str = BAR, more: str = "", *, box: str | None = None, resources: str = "") -> Pdf:
        """``content``: of its stream, or what the key says."""
        key = f"{self.add(stream(content))} 0 R" if isinstance(content, bytes) else content
        box = self.box if box is None else box
        media = f"/MediaBox [{box}]" if box else ""
        entries = f"/Type /Page /Parent 2 0 R {media} /Resources << {resources} >> {more}"
        self.kids.append(self.add(f"<< {entries} /Contents {key} >>" if key else f"<< {entries} >>"))
        return self

    def pages(self, number: int) -> Pdf:
        for _ in range(number):
            self.page()
        return self

    def made(
        self, head: bytes = b"%PDF-1.4\n", *, table: bool = True, trailer: str = "", count: int | None = None
    ) -> bytes:
        """The file."""
        kids = " ".join(f"{one} 0 R" for one in self.kids)
        total = len(self.kids) if count is None else count
        self.bodies[0] = f"<< /Type /Catalog /Pages 2 0 R {self.catalog} >>".encode()
        self.bodies[1] = f"<< /Type /Pages /Kids [{kids}] /Count {total} {self.tree} >>".encode()
        made, places = head, []
        for number, body in enumerate(self.bodies, 1):
            places.append(len(made))
            made += b"%d 0 obj\n%s\nendobj\n" % (number, body)
        size = len(self.bodies) + 1
        end = f"trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\n"
        if not table:
            return made + end.encode() + b"%%EOF\n"
        rows = "".join(f"{place:010d} 00000 n \n" for place in places)
        return made + f"xref\n0 {size}\n0000000000 65535 f \n{rows}{end}startxref\n{len(made)}\n%%EOF\n".encode()


def plain(pages: int = 2) -> bytes:
    return Pdf().pages(pages).made()


def one(
    content: bytes | str = BAR, more: str = "", *, resources: str = "", objects: Sequence[bytes | str] = ()
) -> bytes:
    """One page; its ``objects`` have the numbers 3 and up."""
    pdf = Pdf()
    for body in objects:
        pdf.add(body)
    return pdf.page(content, more, resources=resources).made()


def updated(number: int, body: bytes) -> bytes:
    """Two pages, and an update of one object behind them."""
    before = plain()
    place = len(before)
    made = before + b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"xref\n%d 1\n%010d 00000 n \n" % (number, place)
    old = before[before.rfind(b"startxref") :].split()[1]
    trailer = b"trailer\n<< /Size 20 /Root 1 0 R /Prev %s >>\nstartxref\n%d\n%%%%EOF\n" % (old, len(made))
    return made + table + trailer


def packed_page(more: str, content: bytes) -> bytes:
    """A page whose dictionary is in an object stream, as most programs write it by now."""
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [{A4}] /Contents 4 0 R /Resources << >> {more} >>".encode()
    inner = (b"<< /Type /Catalog /Pages 2 0 R >> ", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >> ", page)
    starts = (0, len(inner[0]), len(inner[0]) + len(inner[1]))
    index = b"".join(b"%d %d " % (number, start) for number, start in enumerate(starts, 1))
    objects = zlib.compress(index + b"".join(inner))
    made, places = b"%PDF-1.5\n", []
    for body in (
        stream(content),
        stream(objects, f"/Type /ObjStm /N 3 /First {len(index)} /Filter /FlateDecode"),
    ):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (3 + len(places), body)
    rows = b"\0" * 5 + b"".join(b"\2" + (5).to_bytes(3, "big") + bytes([at]) for at in range(3))
    rows += b"".join(b"\1" + place.to_bytes(3, "big") + b"\0" for place in (*places, len(made)))
    table = stream(zlib.compress(rows), "/Type /XRef /Size 7 /W [1 3 1] /Root 1 0 R /Filter /FlateDecode")
    return made + b"6 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n" % (table, len(made))
