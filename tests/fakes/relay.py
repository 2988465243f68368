"""A TCP relay in front of a server: to cut its clients off, make their links half-open, or stop in mid-answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

CHUNK = 65_536


class Relay:
    """Passes bytes on from its own ``port`` to another one of this machine."""

    def __init__(self, to_port: int, port: int = 0) -> None:
        self.to_port = to_port
        self.port = port
        self.refusing = False
        """Connections are closed at once."""
        self.on_answer: Callable[[bytes], None] = lambda _chunk: None
        """Called with each chunk from behind, before it is passed on."""
        self.rewrite: Callable[[bytes], bytes] | None = None
        """What becomes of each line from behind."""
        self.rewrite_asked: Callable[[bytes], bytes] | None = None
        """What becomes of each line to behind."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Half-open: connections stay and nothing passes; new ones are accepted and silent as well."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let everything pass again, what was held back too."""
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, behind_writer}
        for source, target, answers in ((reader, behind_writer, False), (behind_reader, writer, True)):
            task = asyncio.create_task(self._pass_on(source, target, answers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, answers: bool) -> None:
        try:
            while chunk := await (source.readline() if self._rewrites(answers) else source.read(CHUNK)):
                if answers:
                    self.on_answer(chunk)
                rewrite = self._rewrites(answers)
                chunk = rewrite(chunk) if rewrite else chunk
                await self._flowing.wait()
                target.write(chunk)
                await target.drain()
        except OSError:
            pass  # one end has gone: so goes the other
        finally:
            target.close()

    def _rewrites(self, answers: bool) -> Callable[[bytes], bytes] | None:
        return self.rewrite if answers else self.rewrite_asked
