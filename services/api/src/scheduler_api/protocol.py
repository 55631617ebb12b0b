"""The HTTP connection, with the bounds that the server lacks before it has read a request's head."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
HEAD_BYTES = 128 * 1024
"""Read for one head before the connection is given up; what the application takes is less and gets a proper answer."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose next request's head comes too slowly or does not end."""

    head_seconds = HEAD_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_open = False
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._open_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._close_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_open:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_open and self._head_bytes > HEAD_BYTES:
            self._give_up(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._open_head()

    def on_headers_complete(self) -> None:
        self._close_head()
        super().on_headers_complete()

    def _open_head(self) -> None:
        if not self._head_open:
            self._head_open = True
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self.head_seconds, self._give_up, b"408 Request Timeout")

    def _close_head(self) -> None:
        self._head_open = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self, status: bytes) -> None:
        self._close_head()
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()
