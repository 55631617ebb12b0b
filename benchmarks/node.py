"""`orrery up` on SQLite for one benchmark: everything in one process, watched from outside."""

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import psutil

from benchmarks.stack import CODE, START_SECONDS, STOP_SECONDS

BATCH = 100
CLIENTS = 4
COMMAND = ("-m", "orrery", "up")


@dataclass(frozen=True, slots=True)
class Node:
    """What a benchmark talks to: the API, and the file behind it for exact times."""

    http: httpx2.AsyncClient
    rows: sqlite3.Connection
    process: psutil.Process

    async def deploy(self, name: str, tasks: Mapping[str, Any]) -> None:
        answer = await self.http.post("/workflows?deploy=true", json={"workflow": name, "tasks": dict(tasks)})
        answer.raise_for_status()

    async def start(self, workflow: str, runs: int) -> None:
        """Enters runs by `/runs:batch`, 100 a call, from four clients."""
        left = [BATCH] * (runs // BATCH)

        async def client() -> None:
            while left:
                items = [{"workflow": workflow}] * left.pop()
                answer = await self.http.post("/runs:batch", json={"items": items})
                answer.raise_for_status()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def finished(self, *, often: bool = False) -> None:
        """Returns when no run is open; raises `TimeoutError` after two minutes without it."""
        query = "select 1 from runs where finished_at is null limit 1"
        async with asyncio.timeout(120):
            while self.rows.execute(query).fetchone():
                await asyncio.sleep(0.005 if often else 0.1)

    def last_end(self) -> float:
        """Seconds since the epoch."""
        return moment(self.rows.execute("select max(finished_at) from runs").fetchone()[0])

    def processor_seconds(self) -> dict[str, float]:
        """Since their starts, of the node itself and of what it has started and still runs."""
        children = 0.0
        for child in self.process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                children += sum(child.cpu_times()[:4])  # With those that it had and has reaped.
        return {"node": sum(self.process.cpu_times()[:2]), "children": children}


@asynccontextmanager
async def running_node(**settings: str) -> AsyncIterator[Node]:
    """`orrery up` as people get it, in a folder of its own; gone afterwards. ``settings`` are variables."""
    with tempfile.TemporaryDirectory() as folder:
        port = 20_000 + os.getpid() % 10_000
        process = _started(Path(folder), port, settings)
        try:
            key = await _admin_key(Path(folder))
            base, headers = f"http://127.0.0.1:{port}/api/v1", {"Authorization": f"Bearer {key}"}
            async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=60) as http:
                await _serving(http)
                with contextlib.closing(sqlite3.connect(f"file:{folder}/orrery.db?mode=ro", uri=True)) as rows:
                    yield Node(http, rows, psutil.Process(process.pid))
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()
            process.wait()


def _started(folder: Path, port: int, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORRERY_")}
    own = {"ORRERY_DATA_DIR": str(folder), "ORRERY_API_PORT": str(port), "ORRERY_CODE_PATH": str(CODE)}
    environment = {**kept, **own, "ORRERY_LOG_LEVEL": "warning", **settings}
    with (folder / "up.log").open("ab") as log:
        return subprocess.Popen([sys.executable, *COMMAND], env=environment, stdout=log, stderr=log)


async def _admin_key(folder: Path) -> str:
    path = folder / "admin.json"
    async with asyncio.timeout(START_SECONDS):
        while not path.exists():
            await asyncio.sleep(0.05)
    key: str = json.loads(path.read_text())["api_key"]
    return key


async def _serving(http: httpx2.AsyncClient) -> None:
    """Returns when the API answers and a worker is there."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                answer = await http.get("/workers")
                if answer.is_success and answer.json()["items"]:
                    return
            await asyncio.sleep(0.05)


def moment(instant: str) -> float:
    """Seconds since the epoch of an instant as SQLite keeps it."""
    return datetime.fromisoformat(instant).timestamp()
