"""Orrery's processes for one benchmark, over a database of their own."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import httpx2
import psutil

from benchmarks.broker import virtual_host

POSTGRES_URL = os.environ.get("ORRERY_BENCH_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
RABBITMQ_URL = os.environ.get("ORRERY_BENCH_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/")
START_SECONDS = 30.0
STOP_SECONDS = 20.0
CODE = Path(__file__).parent / "code"


@dataclass(frozen=True, slots=True)
class Stack:
    """What a benchmark talks to: the API, and the database behind it for exact times."""

    http: httpx2.AsyncClient
    database: asyncpg.Connection
    database_url: str
    queue: str
    workers: int
    slots: int
    dispatcher: psutil.Process

    async def deploy(self, document: Mapping[str, Any]) -> None:
        answer = await self.http.post("/workflows?deploy=true", json=document)
        answer.raise_for_status()

    async def finished(self, runs: int) -> None:
        """Returns when ``runs`` runs are final; raises `TimeoutError` after two minutes without it."""
        async with asyncio.timeout(120):
            while await self.database.fetchval("select count(*) from runs where finished_at is not null") < runs:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running_stack(*, workers: int = 1, slots: int = 4, others: Sequence[str] = ()) -> AsyncIterator[Stack]:
    """A migrated database, one API, one dispatcher and ``workers`` workers; all gone afterwards.

    Each queue of ``others`` is served by one more worker of its own.
    """
    name = f"orrery_bench_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(POSTGRES_URL)
    await admin.execute(f"create database {name}")
    with tempfile.TemporaryDirectory() as folder, virtual_host(RABBITMQ_URL, name) as broker_url:
        url = urlsplit(POSTGRES_URL)._replace(path=f"/{name}").geturl()
        port = 20_000 + os.getpid() % 5_000
        environment = _environment(Path(folder), url, broker_url, port)
        queues = [*[name.replace("_", "-")] * workers, *others]
        processes: list[subprocess.Popen[bytes]] = []
        try:
            await _run(["migrate"], environment)
            processes += [_start(command, environment, Path(folder)) for command in ("api", "dispatcher")]
            dispatcher = psutil.Process(processes[1].pid)
            for queue in queues:
                own = {"ORRERY_WORKER_QUEUES": queue, "ORRERY_WORKER_SLOTS": str(slots)}
                processes.append(_start("worker", environment | own, Path(folder)))
            key = json.loads((Path(folder) / "admin.json").read_text())["api_key"]
            base = f"http://127.0.0.1:{port}/api/v1"
            headers = {"Authorization": f"Bearer {key}"}
            database = await asyncpg.connect(url)
            async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=60) as http:
                await _serving(http, database, len(queues))
                yield Stack(http, database, url, name, workers, slots, dispatcher)
            await database.close()
        finally:
            _stop(processes)
            await admin.execute(f"drop database {name} with (force)")
            await admin.close()


def _environment(folder: Path, database_url: str, broker_url: str, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORRERY_")}
    return kept | {
        "ORRERY_DATABASE_URL": database_url,
        "ORRERY_BROKER_URL": broker_url,
        "ORRERY_DATA_DIR": str(folder),
        "ORRERY_API_PORT": str(port),
        "ORRERY_CODE_PATH": str(CODE),
        "ORRERY_LOG_LEVEL": "warning",
    }


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "orrery", *arguments]


async def _run(arguments: list[str], environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *_command(*arguments), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(process.communicate(), START_SECONDS)
    if process.returncode:
        raise RuntimeError(f"orrery {' '.join(arguments)} failed: {errors.decode()[-2000:]}")


def _start(command: str, environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / f"{command}.log").open("ab") as log:
        return subprocess.Popen(_command(command), env=environment, stdout=log, stderr=log)


async def _serving(http: httpx2.AsyncClient, database: asyncpg.Connection, workers: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            with contextlib.suppress(httpx2.TransportError):
                live = await database.fetchval("select count(*) from workers where state = 'active'")
                if live == workers and (await http.get("/workflows")).is_success:
                    return
            await asyncio.sleep(0.1)


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
