"""The effect server: what the outside world saw of the tasks.

A process of its own with its own SQLite file and its own clocks, and no link to the system under test. An effect is
accepted only if its fence is at least the largest seen of that task run; whatever happened is written down either way.

`EffectServer` starts it and reads its file; ``python -m faults.effects PORT FILE`` is the process.
"""

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

import httpx2

from tests.support.private_servers import free_port

KINDS = ("effect", "enter", "exit")
START_SECONDS = 20.0

_SCHEMA = """
create table if not exists effects (
    id integer primary key, kind text not null, run_id text not null, task text not null, item integer not null,
    attempt integer, fence integer, held text not null, accepted integer not null, wall real not null,
    mono real not null);
create index if not exists effects_of on effects (run_id, task, item)
"""


@dataclass(frozen=True, slots=True)
class Effect:
    """One row. ``fence`` and ``attempt`` are ``None`` for an `http` task, which is only known by its key.

    ``wall`` is epoch seconds, ``mono`` seconds of this server's monotonic clock; ``id`` is the order of arrival.
    """

    id: int
    kind: str
    run_id: str
    task: str
    item: int
    attempt: int | None
    fence: int | None
    held: str
    accepted: bool
    wall: float
    mono: float


class EffectServer:
    """The handle of the process; also a context manager."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "effects.db"
        self.port = free_port()
        self._log = folder / "effects.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "faults.effects", str(self.port), str(self.file)]
        root = Path(__file__).parent.parent
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx2.TransportError):
                httpx2.get(self.url, timeout=1.0)
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"the effect server did not start:\n{self._log.read_text()}")
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def rows(self) -> list[Effect]:
        """Everything seen so far, in the order of arrival."""
        return read_effects(self.file)


def read_effects(file: Path) -> list[Effect]:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("select * from effects order by id").fetchall()
    return [Effect(**{**dict(row), "accepted": bool(row["accepted"])}) for row in rows]


class EffectBook:
    """The file. Its methods may be called from any thread."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.executescript(_SCHEMA)

    def note(self, kind: str, who: Mapping[str, Any]) -> bool:
        """Writes down what ``who`` did; answers whether it was accepted."""
        place = (who["run_id"], who["task"], who.get("item", -1))
        fence = who.get("fence")
        with self._lock:
            query = "select max(fence) from effects where run_id = ? and task = ? and item = ?"
            (largest,) = self._connection.execute(query, place).fetchone()
            accepted = fence is None or largest is None or fence >= largest
            row = (kind, *place, who.get("attempt"), fence, who.get("group", ""), accepted)
            self._connection.execute(
                "insert into effects (kind, run_id, task, item, attempt, fence, held, accepted, wall, mono)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, time.time(), time.monotonic()),
            )
        return accepted

    def close(self) -> None:
        self._connection.close()


class _Handler(BaseHTTPRequestHandler):
    book: ClassVar[EffectBook]
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        text = self.rfile.read(length)
        if len(text) < length:
            return  # Who spoke was killed in the midst of it, and has not said anything.
        body = json.loads(text or b"{}")
        # ``/effect?hold=3`` answers three seconds later: for an `http` task that takes a while.
        address = urlsplit(self.path)
        kind = address.path.strip("/")
        # An `http` task cannot say its fence; its idempotency key names the run, the task and the item.
        run_id, task, *item = (self.headers.get("Idempotency-Key") or "//").split("/")
        named = {"run_id": run_id, "task": task, "item": int(item[0]) if item and item[0] else -1}
        accepted = kind in KINDS and self.book.note(kind, named | body)
        time.sleep(float(parse_qs(address.query).get("hold", ["0"])[0]))
        self._answer(200 if accepted else 409, {"accepted": accepted})

    def do_GET(self) -> None:
        self._answer(200, {"serves": "effects"})

    def _answer(self, status: int, content: Mapping[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Nothing: the file says more."""


def main(port: int, file: Path) -> None:
    _Handler.book = EffectBook(file)
    with ThreadingHTTPServer(("127.0.0.1", port), _Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
