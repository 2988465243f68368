"""Documents to be faxed, made without any program."""

from __future__ import annotations

from collections.abc import Sequence


def pdf(pages: int = 1) -> bytes:
    """A PDF of A4 pages, each with a line of text."""
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(pages))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for page in range(pages):
        text = f"BT /F1 40 Tf 72 700 Td (Page {page + 1} of {pages}) Tj ET"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {5 + 2 * page} 0 R >>",
            f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        ]
    made = "%PDF-1.4\n"
    places = []
    for number, one in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    made += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return f"{made}startxref\n{made.index('xref')}\n%%EOF\n".encode()


def tiff(pages: int = 1, *, order: str = "little", kinds: Sequence[int] = ()) -> bytes:
    """A TIFF of white pages, 16 by 16 dots, one bit each, uncompressed; ``kinds``: the NewSubfileType of each."""

    def whole(value: int, length: int) -> bytes:
        return value.to_bytes(length, "big" if order == "big" else "little")

    def entry(tag: int, kind: int, value: int) -> bytes:
        piece = whole(value, 2) + bytes(2) if kind == 3 else whole(value, 4)
        return whole(tag, 2) + whole(kind, 2) + whole(1, 4) + piece

    made = (b"MM" if order == "big" else b"II") + whole(42, 2)
    for page in range(pages):
        start = len(made) + 4
        made += whole(start + 32, 4) + bytes(32)
        tags = ((256, 3, 16), (257, 3, 16), (258, 3, 1), (259, 3, 1), (262, 3, 0), (273, 4, start), (277, 3, 1))
        kind = [(254, 4, kinds[page])] if kinds else []
        entries = [entry(*one) for one in (*kind, *tags, (278, 3, 16), (279, 4, 32))]
        made += whole(len(entries), 2) + b"".join(entries)
        if page == pages - 1:
            made += whole(0, 4)
    return made
