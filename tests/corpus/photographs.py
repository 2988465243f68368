"""Pictures as cameras and scanners code them, for PDFs."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping
from random import Random

from PIL import Image

from tests.corpus.odd import Answer

SENT, REFUSED = Answer.SENT, Answer.REFUSED


def photographs() -> Iterator[tuple[str, bytes, str, Answer]]:
    """Pictures of 64 by 64 dots as they come out of a camera or a scanner: what they are, bytes, coding, answer. Those
    that must be sent are black. Of noise whatever is lost is lost."""
    grain, wide = Image.frombytes("L", (64, 64), Random(7).randbytes(64 * 64)), "/BitsPerComponent 8 /Filter"
    inks: Mapping[str, int | tuple[int, ...]] = {"L": 0, "RGB": (0, 0, 0), "CMYK": (0, 0, 0, 255)}
    spaces = {"L": "/DeviceGray", "RGB": "/DeviceRGB", "CMYK": "/DeviceCMYK"}
    for mode, steps in (("L", False), ("RGB", True), ("CMYK", False)):
        coding = f"/ColorSpace {spaces[mode]} {wide} /DCTDecode"
        black = Image.new(mode, (64, 64), inks[mode])
        whole, noise = _coded(black, progressive=steps), _coded(grain.convert(mode), progressive=steps)
        kind = f"JPEG in {mode}{', in steps' if steps else ''}"
        yield kind, whole, coding, SENT
        yield f"{kind}, with noise behind", whole + bytes(range(1, 99)), coding, SENT
        for part in (30, 60, 95):
            yield f"{kind}, cut off after {part} of 100", noise[: len(noise) * part // 100], coding, REFUSED
        middle = len(noise) // 2
        yield f"{kind}, damaged in the middle", noise[:middle] + bytes(20) + noise[middle + 20 :], coding, REFUSED
    stepped = _coded(Image.new("L", (64, 64), 0), "JPEG2000")
    yield "JPEG 2000", stepped, "/Filter /JPXDecode", SENT
    yield "JPEG 2000, cut off", _coded(grain, "JPEG2000")[:2000], "/Filter /JPXDecode", REFUSED
    packed = bytearray(zlib.compress(grain.tobytes()))
    packed[len(packed) // 2] ^= 0xFF
    yield "deflate with a wrong byte", bytes(packed), f"/ColorSpace /DeviceGray {wide} /FlateDecode", REFUSED


def _coded(picture: Image.Image, kind: str = "JPEG", **how: object) -> bytes:
    held = io.BytesIO()
    picture.save(held, kind, **how)
    return held.getvalue()
