"""A TCP proxy between a client and a real server that breaks the connection the way networks do."""

import asyncio
import contextlib
import re
import socket
import struct
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from tests.support.private_servers import free_port

CHUNK = 64 * 1024

Direction = Literal["up", "down"]
"""``up`` is from the client to the server."""


class TcpProxy:
    """Passes everything on until it is told otherwise; faults hold for connections that exist and for new ones.

    Use as ``async with TcpProxy.to(url) as proxy`` and give the client ``proxy.url``.
    """

    def __init__(self, host: str, port: int, url: str = "") -> None:
        self._target = (host, port)
        self._upstream_url = url
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._latency: dict[Direction, float] = {}
        self._flowing = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._cuts: dict[Direction, int | re.Pattern[bytes]] = {}
        self.port = free_port()
        self.connections = 0
        """How many were accepted so far."""
        self.heal()

    @classmethod
    def to(cls, url: str) -> Self:
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise ValueError("the URL needs a host and a port")
        return cls(parts.hostname, parts.port, url)

    @property
    def url(self) -> str:
        parts = urlsplit(self._upstream_url)
        credentials, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{self.port}"))

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def latency(self, seconds: float, *directions: Direction) -> None:
        """Holds everything up by ``seconds``: each way, or only in ``directions``."""
        self._latency = dict.fromkeys(directions or ("up", "down"), seconds)

    def blackhole(self) -> None:
        """Accepts and forwards nothing, either way, and says nothing about it."""
        self.half_open("up")
        self.half_open("down")

    def half_open(self, direction: Direction) -> None:
        """Drops one direction: ``down`` is a server that does what it is asked and cannot say so."""
        self._flowing[direction].clear()

    def heal(self) -> None:
        """Forwards again, what was held up first."""
        self._latency = {}
        self._cuts.clear()
        for flowing in self._flowing.values():
            flowing.set()

    def reset(self) -> None:
        """Ends every connection with RST, as a crashed machine that is back does."""
        for writer in list(self._writers):
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def refuse(self) -> None:
        """Listens no more and ends what there is, until `accept`."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.reset()

    async def accept(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def cut_after(self, what: int | bytes, direction: Direction = "up") -> None:
        """Ends a connection once ``what`` has passed: so many bytes from now on, or the first match of a pattern.

        What matched is forwarded, nothing after it comes back: ``cut_after(b"COMMIT")`` commits and does not tell.
        """
        self._cuts[direction] = re.compile(what) if isinstance(what, bytes) else what

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, server_writer}
        self._writers |= pair
        pumps = {
            asyncio.create_task(self._pump(reader, server_writer, "up")),
            asyncio.create_task(self._pump(server_reader, writer, "down")),
        }
        self._tasks |= pumps
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._tasks -= pumps
            for end in pair:
                end.transport.abort()
            self._writers -= pair

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._latency.get(direction):
                    await self._delay(self._latency[direction])
                await self._flowing[direction].wait()
                writer.write(data)
                await writer.drain()
                if self._is_cut(data, direction):
                    return

    @staticmethod
    async def _delay(seconds: float) -> None:
        passed = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
        await passed

    def _is_cut(self, data: bytes, direction: Direction) -> bool:
        cut = self._cuts.get(direction)
        if isinstance(cut, int):
            self._cuts[direction] = cut - len(data)
            return cut <= len(data)
        return cut is not None and cut.search(data) is not None
