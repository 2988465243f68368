"""The lab: a switch with the shipped configuration, and a world that calls it.

    async with Lab() as lab:
        call = await lab.place_call("+31850000001", hang_up_after_s=3)
        await call.wait_state(CallState.ANSWERED)

The switch asks for its decisions at ``127.0.0.1:lab.agi_port``; who answers there is the test's or the demo's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from charging.lab.ami import AmiAccess, LabAmi, Message
from charging.lab.call import Call
from charging.lab.errors import LabError
from charging.lab.folder import (
    MAILBOX_OPTIONS,
    SHIPPED_CONFIG,
    SHIPPED_PROMPTS,
    LabFolder,
    copy_prompts,
    include_shipped,
    laid_down_secret,
    lay_out,
    write_mailboxes,
    write_tones,
)
from charging.lab.install import AsteriskProgram, ensure_asterisk_async
from charging.lab.ports import PortBlock, take_block
from charging.lab.process import POLL_S, AsteriskProcess
from charging.lab.world import World

NUMBERS = tuple(f"+318500000{i:02d}" for i in range(100))
"""Subscribers' numbers that have a mailbox in the lab: +31850000000 to +31850000099."""

CHARGING_USER = "charging"
LAB_USER = "lab"


class Switch(AsteriskProcess):
    """The Asterisk under test."""

    def __init__(self, program: AsteriskProgram, folder: Path, lab_ami: AmiAccess, charging_ami: AmiAccess) -> None:
        super().__init__("switch", program, folder, lab_ami)
        self.charging_ami = charging_ami
        """The login that the shipped configuration gives the daemon."""

    async def action(self, name: str, fields: Mapping[str, str] | None = None) -> Message:
        """One AMI action with the lab's own login, which may do everything."""
        async with self._session() as ami:
            return await ami.action(name, fields)

    async def listing(self, name: str, fields: Mapping[str, str] | None = None) -> list[Message]:
        """One AMI action that answers with a list."""
        async with self._session() as ami:
            return await ami.listing(name, fields)

    async def channels(self) -> list[Message]:
        """Every channel that lives, as ``CoreShowChannels`` tells, but the one that Asterisk keeps for text messages
        once it has read one."""
        return [one for one in await self.listing("CoreShowChannels") if not one["Channel"].startswith("Message/")]

    async def black_box(self) -> dict[str, str]:
        """The black box: record by key."""
        try:
            entries = await self.listing("DBGetTree", {"Family": "charging"})
        except LabError as error:
            if "not found" in str(error):
                return {}
            raise
        return {entry["Key"].removeprefix("/charging/"): entry["Val"] for entry in entries}

    async def add_mailbox(self, *mailboxes: str, options: str = MAILBOX_OPTIONS) -> None:
        """Give further numbers a mailbox; ``options`` hold for all."""
        known = {number.removeprefix("+") for number in NUMBERS}
        write_mailboxes(self.folder, sorted(known | set(mailboxes)), options)
        await self.cli("voicemail reload")

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[LabAmi]:
        ami = LabAmi(self.ami)
        try:
            await ami.connect()
            yield ami
        finally:
            await ami.close()


class Lab:
    """A switch and a world on ports and in folders of their own; several labs may run side by side."""

    def __init__(
        self,
        *,
        program: AsteriskProgram | None = None,
        config: Path = SHIPPED_CONFIG,
        prompts: Path = SHIPPED_PROMPTS,
    ) -> None:
        self._program = program
        self._config = config
        self._prompts = prompts
        self._folder: LabFolder | None = None
        self._ports: PortBlock | None = None
        self.version = ""
        self.switch: Switch
        self.world: World
        self.agi_port: int
        self.sip_port: int
        self.world_sip_port: int
        """Where the switch listens for SIP; whatever comes from this machine is the trunk's."""
        self.prompts_dir: Path
        """The prompts as the switch sees them: the daemon's ``prompts_dir_on_switch``."""

    async def __aenter__(self) -> Self:
        try:
            program = await ensure_asterisk_async() if self._program is None else self._program
            self.version = program.version
            self._prepare(program)
            await asyncio.gather(self.switch.start(), self.world.start())
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def place_call(
        self,
        number: str,
        caller: str | None = None,
        hang_up_after_s: float | None = None,
        *,
        talks: bool = True,
        pausing: bool = False,
    ) -> Call:
        """An outside caller dials ``number``; returns at once.

        ``caller`` is the number shown, by default one that no other call of this lab has. ``hang_up_after_s`` counts
        from the answer; ``None``: talks until the other side hangs up or :meth:`Call.hang_up`. ``talks=False``: sends
        no audio; ``pausing``: falls silent for 3.5 s after each second.
        """
        voice = "mute" if not talks else "pausing" if pausing else "caller"
        return await self.world.place_call(number, caller, hang_up_after_s, voice=voice)

    async def reset(self, deadline_s: float = 30.0) -> None:
        """End every call and forget every black-box record and every mobile that no call asked for, for the next test.

        Raises:
            LabError: a channel or a record is still there after ``deadline_s``.
        """
        await self.world.hang_up_everything()
        await self.switch.cli("channel request hangup all")
        try:
            async with asyncio.timeout(deadline_s):
                while await self.switch.channels():  # noqa: ASYNC110 - another process has no Event for us
                    await asyncio.sleep(POLL_S)
                while await self.switch.black_box():  # one was left twice: what was ordered is looked at
                    await self.switch.cli("database deltree charging")
        except TimeoutError as error:
            raise LabError(f"channels or records do not end: {await self.switch.channels()}") from error
        self.world.stray_mobiles.clear()

    def _prepare(self, program: AsteriskProgram) -> None:
        self._folder = LabFolder(program.root)
        self._ports = ports = take_block()
        self.agi_port = ports.agi
        self.sip_port, self.world_sip_port = ports.switch_sip, ports.world_sip
        folder = self._folder.path
        lab_secret, charging_secret = secrets.token_hex(16), laid_down_secret(self._config) or secrets.token_hex(16)
        switch_ami = AmiAccess("127.0.0.1", ports.switch_ami, LAB_USER, lab_secret)
        charging_ami = AmiAccess("127.0.0.1", ports.switch_ami, CHARGING_USER, charging_secret)
        world_ami = AmiAccess("127.0.0.1", ports.world_ami, LAB_USER, lab_secret)
        self.switch = Switch(program, folder / "switch", switch_ami, charging_ami)
        self.world = World(AsteriskProcess("world", program, folder / "world", world_ami))
        lay_out(self.switch.folder, "switch", _values(switch_ami, ports.switch_sip, ports.world_sip, ports.switch_rtp))
        lay_out(
            self.world.process.folder, "world", _values(world_ami, ports.world_sip, ports.switch_sip, ports.world_rtp)
        )
        write_tones(self.world.process.folder)
        write_mailboxes(self.switch.folder, [number.removeprefix("+") for number in NUMBERS])
        self.prompts_dir = copy_prompts(self.switch.folder, self._prompts)
        fax_in = self.switch.folder / "fax-in"
        fax_in.mkdir()
        settings = {"CHARGING_AGI": f"127.0.0.1:{ports.agi}", "CHARGING_DIAL_SUFFIX": "@world"}
        settings["CHARGING_FAX_IN"] = str(fax_in)
        settings["CHARGING_FAX_IN_HERE"] = "yes"
        if not program.sees_proc:
            settings["CHARGING_UPTIME"] = "no"
        settings["CHARGING_VOICEMAIL_DIR"] = str(self.switch.folder / "spool")
        include_shipped(self.switch.folder, self._config, settings, charging_secret)

    async def _end(self) -> None:
        if hasattr(self, "world"):
            await self.world.stop()
        if hasattr(self, "switch"):
            await self.switch.kill()
        if self._folder is not None:
            self._folder.remove()
        if self._ports is not None:
            self._ports.give_back()
        self._folder = self._ports = None


def _values(ami: AmiAccess, sip_port: int, peer_sip_port: int, rtp: tuple[int, int]) -> dict[str, object]:
    return {
        "AMI_PORT": ami.port,
        "LAB_SECRET": ami.secret,
        "SIP_PORT": sip_port,
        "PEER_SIP_PORT": peer_sip_port,
        "RTP_FIRST": rtp[0],
        "RTP_LAST": rtp[1],
    }
