"""A peer's worker over servers of its own corner, and its client, which gives it work."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import psutil
import redis

from benchmarks.broker import virtual_host
from benchmarks.processor import MACHINE, Parts, between
from benchmarks.servers import server_process, server_processes, servers

CODE = Path(__file__).parent / "peer_code"
CONCURRENCY = 2
"""As many processes as this machine has cores was the fastest."""
DRIVE_SECONDS = 600
STOP_SECONDS = 20.0
REDIS_DATABASES = range(15, 0, -1)
Environment = dict[str, str]


@dataclass(frozen=True, slots=True)
class Peer:
    """``kind`` names its client. What it keeps where is in ``environment``."""

    kind: str
    python: Path
    environment: Mapping[str, str]

    async def throughput(self, tasks: int, worker: psutil.Process) -> dict[str, Any]:
        """With the processor time of each task: worker, client and servers."""
        parts = Parts({"worker": [worker]}, server_processes() | _redis_process())
        before = parts.spent()
        found = await self.drive("throughput", tasks)
        spent = between(before, parts.spent())
        ours = [spent[name] for name in spent if name not in {MACHINE, "load_generator"}]
        return found | {"cpu_us_per_task": (sum(ours) + found["client_cpu_seconds"]) / tasks * 1e6}

    async def drive(self, measure: str, size: int) -> dict[str, Any]:
        """What its client prints."""
        process = await asyncio.create_subprocess_exec(
            self.python,
            *(CODE / "drive.py", self.kind, measure, str(size)),
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, errors = await asyncio.wait_for(process.communicate(), DRIVE_SECONDS)
        if process.returncode:
            raise RuntimeError(f"{self.kind} {measure} failed: {errors.decode()[-2000:]}")
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found

    @contextlib.contextmanager
    def worker(self) -> Iterator[psutil.Process]:
        """Its worker, given time to come up by the first task that a client waits for."""
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                [self.python, *_worker_arguments(self.kind)],
                env=dict(self.environment),
                cwd=CODE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield psutil.Process(process.pid)
            finally:
                process.send_signal(signal.SIGTERM if self.kind == "celery" else signal.SIGINT)
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def _worker_arguments(kind: str) -> list[str]:
    if kind == "huey":
        return ["-m", "huey.bin.huey_consumer", "huey_app.huey", "-k", "process", "-w", str(CONCURRENCY), "-q"]
    options = ["--concurrency", str(CONCURRENCY), "--loglevel", "error"]
    return ["-m", "celery", "-A", "celery_app", "worker", *options]


@contextlib.asynccontextmanager
async def celery(python: Path, *, results: str, queue_type: str, confirms: bool) -> AsyncIterator[Peer]:
    """``results`` is ``redis`` or ``postgresql``."""
    name = f"orrery_peer_{uuid4().hex[:8]}"
    with virtual_host(name) as broker_url:
        async with _redis_database() if results == "redis" else _database(name) as backend_url:
            environment = _environment() | {
                "PEER_BROKER_URL": broker_url,
                "PEER_BACKEND_URL": backend_url,
                "PEER_QUEUE_TYPE": queue_type,
                "PEER_CONFIRMS": str(int(confirms)),
            }
            yield Peer("celery", python, environment)


@contextlib.asynccontextmanager
async def huey(python: Path) -> AsyncIterator[Peer]:
    """Keeps everything in Redis."""
    async with _redis_database() as url:
        yield Peer("huey", python, _environment() | {"PEER_REDIS_URL": url})


def _environment() -> Environment:
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONPATH": str(CODE)}


@contextlib.asynccontextmanager
async def _database(name: str) -> AsyncIterator[str]:
    parts = urlsplit(servers().postgres_url)
    admin = await asyncpg.connect(servers().postgres_url)
    await admin.execute(f"create database {name}")
    try:
        yield parts._replace(scheme="db+postgresql+psycopg2", path=f"/{name}").geturl()
    finally:
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()


@contextlib.asynccontextmanager
async def _redis_database() -> AsyncIterator[str]:
    """The number of a database that has nothing in it, emptied afterwards."""
    parts = urlsplit(servers().redis_url)
    for number in REDIS_DATABASES:
        url = parts._replace(path=f"/{number}").geturl()
        with redis.Redis.from_url(url) as client:
            if client.dbsize() == 0:
                try:
                    yield url
                finally:
                    client.flushdb()
                return
    raise RuntimeError("no database of Redis is empty")


def _redis_process() -> dict[str, psutil.Process]:
    found = server_process(servers().redis_url, 6379)
    return {} if found is None else {"redis": found}
