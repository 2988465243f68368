"""What the played Asterisk says: the recordings of a real one, with the names of another call in their places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.fakes.recordings import agi_bytes, ami_bytes

END = "\r\n\r\n"
ANSWERED, GIVEN_UP, STATUS = "answered_callee_hangs_up", "caller_gives_up", "answered_caller_hangs_up"
HEADER = "incoming"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The names in one recording."""

    names: Mapping[str, str]
    """What stands there → what it is."""
    blocks: tuple[str, ...]

    @classmethod
    def of(cls, name: str) -> Recorded:
        blocks = tuple(block for block in ami_bytes(name).decode().split(END) if block)
        begin = dict(line.split(": ", 1) for line in blocks[0].split("\r\n") if "Variable" not in line)
        entered = next((block for block in blocks if block.startswith("Event: BridgeEnter")), "")
        bridge = re.search("^BridgeUniqueid: (.+?)\r?$", entered, re.MULTILINE)
        names = {
            begin["Channel"]: "caller_channel",
            begin["Uniqueid"]: "uid",
            begin["CallerIDNum"]: "caller",
            begin["DestChannel"]: "callee_channel",
            begin["DestUniqueid"]: "callee_uid",
        }
        return cls(names | ({bridge[1]: "bridge"} if bridge else {}), blocks)

    def events(self) -> list[str]:
        """Templates of the events, in order; what belongs to answers is left out."""
        return [self.template(one) for one in self.blocks if one.startswith("Event: ") and "\r\nTimestamp: " in one]

    def entries(self) -> dict[str, str]:
        """Templates of the entries of a ``Status`` list, by leg, up to the variables that were asked for."""
        found = {}
        for one in self.blocks:
            if one.startswith("Event: Status\r\n"):
                leg = "callee" if "CHARGING_LEG=callee" in one else "caller"
                found[leg] = self.template(one.partition("\r\nVariable: ")[0])
        return found

    def record(self) -> str:
        """A template of the black-box record."""
        block = next(one for one in self.blocks if one.startswith("Event: DBGetResponse"))
        text = block.partition("\r\nVal: ")[2].partition("\r\n")[0].replace("%", "%%")
        for name in ("answered", "ended", "caller", "number", "switch"):
            text = re.sub(rf"\|{name}=[^|]*", f"|{name}=%({name})s", text)
        return text

    def template(self, block: str) -> str:
        return "\r\n".join(map(self._line, block.split("\r\n")))

    def _line(self, line: str) -> str:
        name, _, value = line.partition(": ")
        if name in ("Timestamp", "TimeToHangup", "Seconds"):
            return f"{name}: %({name})s"
        if value in self.names:
            return f"{name}: %({self.names[value]})s"
        return line.replace("%", "%%").replace("CHARGING_SESSION=s-rec-1", "CHARGING_SESSION=%(session)s")


def _header() -> str:
    text = agi_bytes(HEADER, "<").decode()
    head = text[: text.index("\n\n") + 2].replace("%", "%%")
    told = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    for line, name in (("agi_channel", "caller_channel"), ("agi_uniqueid", "uid"), ("agi_callerid", "caller")):
        head = re.sub(rf"(: ){re.escape(told[line])}$", rf"\1%({name})s", head, flags=re.MULTILINE)
    return re.sub(rf"(: ){re.escape(told['agi_arg_1'])}$", r"\1%(number)s", head, flags=re.MULTILINE)


AGI_HEADER = _header()
_answered, _given_up = Recorded.of(ANSWERED), Recorded.of(GIVEN_UP)
DIALLED, *_rest = (f"{event}{END}" for event in _answered.events())
_bridged = sum(event.startswith("Event: BridgeEnter") for event in _rest) + 1
ANSWER, ENDED = "".join(_rest[:_bridged]), "".join(_rest[_bridged:])
"""DialEnd and the two that enter the bridge; the two that leave it, and both channels' ends."""
LEFT = "".join(f"{event}{END}" for event in _given_up.events()[1:])
"""The caller gives up while it rings."""
GONE = f"{_given_up.events()[-1]}{END}"
"""The caller's channel ends, and nothing was dialled."""
ANSWERED_RECORD, LEFT_RECORD = _answered.record(), _given_up.record()
ENTRIES = Recorded.of(STATUS).entries()
