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
        self._cuts_left: dict[Direction, int | None] = {}
        self._bandwidth = 0.0
        self._slice = 0
        self.port = free_port()
        self.connections = 0
        """How many were accepted so far."""
        self.cuts = 0
        """How many were ended by `cut_after` so far."""
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

    def bandwidth(self, bytes_per_second: float) -> None:
        """Lets no more than so much pass, each way and of each connection."""
        self._bandwidth = bytes_per_second

    def slice(self, size: int) -> None:
        """Passes everything on in pieces of at most ``size`` bytes, each in a packet of its own."""
        self._slice = size

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
        self._bandwidth = 0.0
        self._slice = 0
        self._cuts.clear()
        self._cuts_left.clear()
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

    def cut_after(self, what: int | bytes, direction: Direction = "up", *, times: int | None = None) -> None:
        """Ends a connection once ``what`` has passed: so many bytes from now on, or the first match of a pattern.

        What matched is forwarded, nothing after it comes back: ``cut_after(b"COMMIT")`` commits and does not tell.
        ``times`` connections end so, then no more; without it, all until `heal`.
        """
        self._cuts[direction] = re.compile(what, re.DOTALL) if isinstance(what, bytes) else what
        self._cuts_left[direction] = times

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, server_writer}
        for end in pair:
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
                await self._write(writer, data)
                if self._is_cut(data, direction):
                    self.cuts += 1
                    return

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        size = self._slice or CHUNK
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            if self._bandwidth:
                await self._delay(len(piece) / self._bandwidth)
            writer.write(piece)
            await writer.drain()
            if self._slice:
                await self._delay(0.0)

    @staticmethod
    async def _delay(seconds: float) -> None:
        passed = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
        await passed

    def _is_cut(self, data: bytes, direction: Direction) -> bool:
        cut = self._cuts.get(direction)
        if isinstance(cut, int):
            self._cuts[direction] = cut - len(data)
            found = cut <= len(data)
        else:
            found = cut is not None and cut.search(data) is not None
        left = self._cuts_left.get(direction)
        if found and left is not None:
            self._cuts_left[direction] = left - 1
            if left <= 1:
                del self._cuts[direction]
        return found
