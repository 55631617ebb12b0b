"""A real HTTP server with answers that a test gives it, so that the commands are tested through their whole stack."""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class CannedServer:
    """``answers`` maps ``"GET /path"`` (without ``/api/v1``) to a list of (status, body); the last one stays.

    A body that is bytes goes out as an event stream, all else as JSON.
    """

    url: str = ""
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    def on(self, call: str, *answers: tuple[int, Any]) -> None:
        self.answers[call] = list(answers)

    def take(self, request: Received) -> tuple[int, Any]:
        self.received.append(request)
        canned = self.answers.get(f"{request.method} {request.path}")
        if canned is None:
            return 404, {"code": "not_found", "detail": f"there is nothing at {request.method} {request.path}"}
        return canned.pop(0) if len(canned) > 1 else canned[0]


@contextmanager
def canned_server() -> Iterator[CannedServer]:
    canned = CannedServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = parts.path.removeprefix("/api/v1")
            status, content = canned.take(Received(self.command, path, dict(parse_qsl(parts.query)), headers, body))
            payload = content if isinstance(content, bytes) else json.dumps(content).encode()
            kind = "text/event-stream" if isinstance(content, bytes) else "application/json"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_POST = do_DELETE = do_GET  # noqa: N815 - as above

        def log_message(self, *_: Any) -> None:
            """Keeps the test's output for the test."""

    server = _listen(Handler)
    canned.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield canned
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listen(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    for port in random.sample(range(20_000, 32_000), 50):
        try:
            return ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError:
            continue
    raise RuntimeError("no free port between 20000 and 32000")
