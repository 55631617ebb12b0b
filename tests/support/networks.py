"""A network that only pretends, and remembers who was called."""

from collections.abc import Iterable, Sequence

import httpcore2


class PretendedNetwork(httpcore2.AsyncNetworkBackend):
    """Every connection gets the same ``answer``; `dialled` are the addresses, in order."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") -> None:
        self.dialled: list[str] = []
        self._answer = answer

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.dialled.append(host)
        return httpcore2.AsyncMockStream([self._answer])


class PretendedNames:
    """A resolver: each answer of a name in turn, the last one for ever. Texts that are addresses resolve to
    themselves, as with a real one."""

    def __init__(self, names: dict[str, Sequence[Sequence[str]]]) -> None:
        self._names = {name: list(answers) for name, answers in names.items()}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        answers = self._names.get(host)
        if answers is None:
            return _numeric(host)
        return answers.pop(0) if len(answers) > 1 else answers[0]


def _numeric(host: str) -> Sequence[str]:
    import socket

    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(address[0]) for *_, address in found]
