"""The client's journal: every request and every answer, on disk before the next step.

A line is written and synced before a request leaves and after its answer came, so that what was promised is known
whatever happens to the suite itself. Lines are JSON; `read_journal` puts them together again.
"""

import asyncio
import itertools
import json
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx2


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what became of it.

    ``status`` is ``None`` where no answer came, and ``problem`` says why: the request may have been done or not.
    ``at`` is epoch seconds of the sending, ``seconds`` how long the answer (or its absence) took.
    """

    number: int
    at: float
    method: str
    path: str
    key: str | None
    body: Any
    status: int | None = None
    answer: Any = None
    retry_after: str | None = None
    seconds: float | None = None
    problem: str | None = None

    @property
    def run_id(self) -> str | None:
        """The run that was promised."""
        if self.status == 202 and isinstance(self.answer, dict):
            run_id = self.answer.get("run_id")
            return str(run_id) if run_id else None
        return None


class Journal:
    """Appends to ``file``; also a context manager. One journal may be used by many tasks at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._numbers = itertools.count(1)
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._disk = ThreadPoolExecutor(1, "journal")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.shutdown()
        os.close(self._descriptor)

    async def ask(
        self, client: httpx2.AsyncClient, method: str, path: str, *, key: str | None = None, body: Any = None
    ) -> Exchange:
        """Sends one request and keeps what came of it; raises nothing that a broken connection raises."""
        number, at = next(self._numbers), time.time()
        asked = {"number": number, "at": at, "method": method, "path": path, "key": key, "body": body}
        await self._write(asked)
        headers = {"Idempotency-Key": key} if key else {}
        started = time.monotonic()
        found: dict[str, Any]
        try:
            response = await client.request(method, path, json=body, headers=headers)
            found = {"status": response.status_code, "answer": _content(response)}
            found["retry_after"] = response.headers.get("Retry-After")
        except httpx2.TransportError as error:
            found = {"problem": f"{type(error).__name__}: {error}"}
        found["seconds"] = time.monotonic() - started
        await self._write({"number": number, **found})
        return Exchange(**asked, **found)

    async def _write(self, line: Mapping[str, Any]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, self._append, json.dumps(line) + "\n")

    def _append(self, line: str) -> None:
        os.write(self._descriptor, line.encode())
        os.fsync(self._descriptor)


def read_journal(file: Path) -> list[Exchange]:
    """In the order of asking; a request whose answer is not in the file has neither status nor problem."""
    entries: dict[int, dict[str, Any]] = {}
    for line in file.read_text().splitlines():
        entry = json.loads(line)
        entries.setdefault(entry["number"], {}).update(entry)
    return [Exchange(**entry) for entry in entries.values()]


def _content(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text[:500]
