"""The fax machines of the lab's world: the number that is dialled chooses how the machine behaves.

A number is ``+3120000`` + one digit for the behaviour + three digits: a time in tenths of a second, or a tag that tells
one machine from another. The other half is ``conf/world/extensions.conf``.
"""

from __future__ import annotations

from pathlib import Path

from charging.lab.lab import Lab

PREFIX = "+3120000"
SUBSCRIBER = "+31850000099"
"""The subscribers' one number that the switch's dialplan has receive faxes."""


def receives(tag: int = 0) -> str:
    """Answers at once and receives; ``tag`` is 0 to 999."""
    return _number(0, tag)


def busy() -> str:
    """Is engaged: SIP 486."""
    return _number(1, 0)


def asks_for_t38(tag: int = 0) -> str:
    """Answers at once and asks for T.38 in the place of sound, which will do, too; ``tag`` is 0 to 999."""
    return _number(3, tag)


def unplugged(after_s: float) -> str:
    """Begins to receive and is gone ``after_s`` (0 to 99.9, to a tenth) after it answered."""
    return _number(2, round(after_s * 10))


def received(lab: Lab, number: str) -> Path:
    """The TIFF that a machine has received; it is there once the first page has come."""
    return lab.world.recording_folder() / f"fax-{number.removeprefix('+')}.tif"


def received_instead(lab: Lab) -> Path:
    """The TIFF of the machine that took another's place (:meth:`charging.lab.world.World.receive_fax_instead`)."""
    return lab.world.recording_folder() / "fax-instead.tif"


def delivered(lab: Lab) -> list[Path]:
    """The TIFFs that the switch has received at :data:`SUBSCRIBER`."""
    return sorted((lab.switch.folder / "fax-in").glob(f"{SUBSCRIBER.removeprefix('+')}-*.tif"))


def _number(behaviour: int, digits: int) -> str:
    assert 0 <= digits <= 999, f"three digits, not {digits}"
    return f"{PREFIX}{behaviour}{digits:03d}"
