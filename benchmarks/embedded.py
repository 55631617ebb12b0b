"""`orrery up` on SQLite: everything in one process, measured from outside like the distributed one."""

import asyncio
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
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
WARM_UP = 500
LATENCIES = 200
CHAIN = 40
REPEATS = 7
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
        return _seconds(self.rows.execute("select max(finished_at) from runs").fetchone()[0])

    def processor_seconds(self) -> dict[str, float]:
        """Since their starts, of the node itself and of what it has started and still runs."""
        children = 0.0
        for child in self.process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                children += sum(child.cpu_times()[:4])  # With those that it had and has reaped.
        return {"node": sum(self.process.cpu_times()[:2]), "children": children}


async def embedded(runs: int) -> dict[str, Any]:
    """Runs of one no-op task from the first request to the last recorded result; then latency and a chain, idle."""
    async with running_node() as node:
        return {**await _throughput(node, runs), "latency_ms": await _latency(node), "chain": await _chain(node)}


async def _throughput(node: Node, runs: int) -> dict[str, Any]:
    await node.deploy("noop", {"t": {"python": {"call": "noop:nothing"}}})
    await node.start("noop", WARM_UP)
    await node.finished()
    before, began = node.processor_seconds(), time.time()
    await node.start("noop", runs)
    entered = time.time() - began
    await node.finished()
    after, seconds = node.processor_seconds(), node.last_end() - began
    processor = {f"{part}_us_per_run": (after[part] - before[part]) / runs * 1e6 for part in after}
    return {"runs": runs, "seconds": seconds, "per_second": runs / seconds, "entered_seconds": entered, **processor}


async def _latency(node: Node) -> dict[str, float]:
    """From the request to the beginning of the task's function, one run at a time."""
    await node.deploy("stamp", {"t": {"python": {"call": "noop:now"}}})
    samples = [await _stamped(node) for _ in range(20 + LATENCIES)][20:]
    cuts = statistics.quantiles(samples, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98], "max": max(samples)}


async def _stamped(node: Node) -> float:
    requested = time.time()
    answer = await node.http.post("/workflows/stamp/run", json={})
    answer.raise_for_status()
    await node.finished(often=True)
    query = "select output from task_runs where run_id = ?"
    began = node.rows.execute(query, (answer.json()["run_id"],)).fetchone()[0]
    return (float(json.loads(began)) - requested) * 1000


async def _chain(node: Node) -> dict[str, float]:
    """From the run's creation to its end, after one that warms up."""
    call = {"python": {"call": "noop:nothing"}}
    tasks = {f"t{i}": {**call, "needs": [f"t{i - 1}"]} if i else call for i in range(CHAIN)}
    await node.deploy("chain", tasks)
    for _ in range(1 + REPEATS):
        answer = await node.http.post("/workflows/chain/run", json={})
        answer.raise_for_status()
        await node.finished(often=True)
    query = "select created_at, finished_at from runs order by id desc limit ?"
    seconds = [_seconds(finished) - _seconds(created) for created, finished in node.rows.execute(query, (REPEATS,))]
    return {"tasks": CHAIN, "seconds": statistics.median(seconds)}


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


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
