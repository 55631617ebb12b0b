"""One request, spoken to the application in ASGI itself: for bodies that stall and answers that do not end."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from tests.api.fakes import API_KEY

PATIENCE = 5.0
AUTHORIZED = (b"authorization", f"Bearer {API_KEY}".encode())


class Exchange:
    """Sends ``chunks`` as the body (and then stays silent where ``stalls``); what comes back is read as it comes."""

    def __init__(
        self,
        app: FastAPI,
        method: str,
        path: str,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        chunks: Sequence[bytes] = (b"",),
        stalls: bool = False,
        raw_path: bytes | None = None,
    ) -> None:
        self._chunks = list(chunks)
        self._stalls = stalls
        self._gone = asyncio.Event()
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": target,
            "raw_path": raw_path if raw_path is not None else target.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [AUTHORIZED, *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self._task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._chunks:
            body = self._chunks.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._chunks) or self._stalls}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self._sent.put_nowait(dict(message))

    async def status(self) -> int:
        message = await self._next()
        status: int = message["status"]
        self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        return status

    async def chunk(self) -> bytes:
        body: bytes = (await self._next())["body"]
        return body

    async def event(self) -> str:
        """The next event, without its end."""
        return (await self.chunk()).decode().removesuffix("\n\n")

    async def rest(self) -> bytes:
        """All that comes until the application is done with this request."""
        await asyncio.wait_for(self._task, PATIENCE)
        return b"".join(self._sent.get_nowait()["body"] for _ in range(self._sent.qsize()))

    async def leave(self) -> None:
        """The caller goes away; returns when the application has let go of the request."""
        self._gone.set()
        await asyncio.wait_for(self._task, PATIENCE)

    async def _next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._sent.get(), PATIENCE)
