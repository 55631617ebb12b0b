"""Connections that go only where the address policy allows: a name is resolved once, all of its addresses are
checked, and the connection goes to one that was checked, so that a second answer of the name server changes nothing."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore2
from httpcore2 import SOCKET_OPTION

from scheduler_infrastructure.execution.outbound.addresses import AddressPolicy

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to the texts of its addresses; raises `OSError`."""

_RESOLVE_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_MAX_TRIED = 3


class NameNotResolved(Exception):
    """The name has no address, or its name server does not answer."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses that the machine's resolver has for ``host``, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """``network`` makes the connections, to addresses that were checked."""

    def __init__(
        self, policy: AddressPolicy, resolver: Resolver, network: httpcore2.AsyncNetworkBackend | None = None
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._network = network or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises `AddressNotAllowed` when any address of the name is refused, `NameNotResolved`, or httpcore2's
        errors."""
        addresses = [str(self._policy.check(text)) for text in await self._addresses(host, port)]
        failure: Exception = httpcore2.ConnectError("no address")
        for address in addresses[:_MAX_TRIED]:
            try:
                return await self._network.connect_tcp(
                    address, port, min(timeout or _CONNECT_SECONDS, _CONNECT_SECONDS), local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SOCKET_OPTION] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise httpcore2.UnsupportedProtocol("unix sockets are not reached")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                found = await self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise NameNotResolved(f"the name {host[:100]!r} cannot be resolved: {error}") from None
        if not found:
            raise NameNotResolved(f"the name {host[:100]!r} has no address")
        return list(dict.fromkeys(found))
