"""Orrery's processes for one benchmark, over a database of their own."""

import asyncio
import itertools
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
from benchmarks.servers import servers
from tests.support.private_servers import free_port

START_SECONDS = 90.0
"""Three processes compile their modules where that was never done; on a busy machine it takes long."""

STOP_SECONDS = 20.0
CODE = Path(__file__).parent / "code"


_ANY_OPEN = "select exists (select from task_runs where state in ('ready', 'queued'))"
_FINISHED = "select count(*) from runs where finished_at is not null"


@dataclass(frozen=True, slots=True)
class Stack:
    """What a benchmark talks to: the API, and the database behind it for exact times."""

    http: httpx2.AsyncClient
    database: asyncpg.Connection
    database_url: str
    queue: str
    workers: int
    slots: int
    processes: Mapping[str, Sequence[psutil.Process]]
    """By command: ``api``, ``dispatcher``, ``worker``."""
    metrics_urls: Sequence[str]
    """Where each process tells what it has counted."""

    @property
    def dispatcher(self) -> psutil.Process:
        return self.processes["dispatcher"][0]

    async def deploy(self, document: Mapping[str, Any]) -> None:
        answer = await self.http.post("/workflows?deploy=true", json=document)
        answer.raise_for_status()

    async def ended(self) -> int:
        """How many runs are final."""
        return int(await self.database.fetchval(_FINISHED))

    async def finished(self, runs: int, *, within: float = 120) -> None:
        """Returns when ``runs`` runs are final; raises `TimeoutError` where that takes more than ``within`` seconds.

        Counting costs the database more the more there are, so it counts when nothing is open any more: ask the rows
        for times.
        """
        async with asyncio.timeout(within):
            while await self.database.fetchval(_ANY_OPEN) or await self.ended() < runs:
                await asyncio.sleep(0.05)

    def begin_profile(self) -> None:
        """For a stack with ``profiles``."""
        for process in itertools.chain.from_iterable(self.processes.values()):
            process.send_signal(signal.SIGUSR1)

    async def metrics(self) -> list[str]:
        """What every process has counted, in the text format of Prometheus."""
        answers = await asyncio.gather(*(self.http.get(url) for url in self.metrics_urls))
        return [answer.raise_for_status().text for answer in answers]


@asynccontextmanager
async def running_stack(
    *, workers: int = 1, slots: int = 4, others: Sequence[str] = (), profiles: Path | None = None
) -> AsyncIterator[Stack]:
    """A migrated database, one API, one dispatcher and ``workers`` workers; all gone afterwards.

    Each queue of ``others`` is served by one more worker of its own. With a folder ``profiles`` every process notes
    where it spends time once it gets SIGUSR1, and leaves ``<command>-<number>.stacks`` there.
    """
    name = f"orrery_bench_{uuid4().hex[:8]}"
    postgres_url = servers().postgres_url
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"create database {name}")
    with tempfile.TemporaryDirectory() as folder, virtual_host(name) as broker_url:
        url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        launch = _Launch(Path(folder), url, broker_url, profiles)
        queues = [*[name.replace("_", "-")] * workers, *others]
        try:
            await launch.migrate()
            launch.start("api")
            launch.start("dispatcher")
            for queue in queues:
                launch.start("worker", ORRERY_WORKER_QUEUES=queue, ORRERY_WORKER_SLOTS=str(slots))
            database = await asyncpg.connect(url)
            async with launch.client() as http:
                await launch.serving(http, database, len(queues))
                yield Stack(http, database, url, name, workers, slots, launch.by_command(), launch.metrics_urls())
            await database.close()
        finally:
            launch.stop()
            await admin.execute(f"drop database {name} with (force)")
            await admin.close()


class _Launch:
    """Starts Orrery's commands with one configuration."""

    def __init__(self, folder: Path, database_url: str, broker_url: str, profiles: Path | None) -> None:
        self._folder = folder
        self._port = free_port()
        self._metrics_ports: list[int] = []
        self._profiles = profiles
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []
        # Without compiled modules, which an installation has, three processes take half a minute to start.
        ignored = ("ORRERY_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ignored)}
        self._environment = kept | {
            "ORRERY_DATABASE_URL": database_url,
            "ORRERY_BROKER_URL": broker_url,
            "ORRERY_DATA_DIR": str(folder),
            "ORRERY_API_PORT": str(self._port),
            "ORRERY_CODE_PATH": str(CODE),
            "ORRERY_LOG_LEVEL": "warning",
        }

    async def migrate(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "orrery", "migrate"),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), START_SECONDS)
        if process.returncode:
            raise RuntimeError(f"orrery migrate failed: {errors.decode()[-2000:]}")

    def start(self, command: str, **settings: str) -> None:
        number = len(self._started)
        self._metrics_ports.append(free_port())
        environment = self._environment | settings | {"ORRERY_METRICS_PORT": str(self._metrics_ports[-1])}
        program = ["-m", "orrery"]
        if self._profiles is not None:
            program = ["-m", "benchmarks.sampled", str(self._profiles / f"{command}-{number}.stacks")]
        with (self._folder / f"{command}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, *program, command], env=environment, stdout=log, stderr=log)
        self._started.append((command, process))

    def client(self) -> httpx2.AsyncClient:
        """Speaks to the API as the first admin."""
        key = json.loads((self._folder / "admin.json").read_text())["api_key"]
        headers = {"Authorization": f"Bearer {key}"}
        return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self._port}/api/v1", headers=headers, timeout=60)

    def by_command(self) -> dict[str, list[psutil.Process]]:
        found: dict[str, list[psutil.Process]] = {}
        for command, process in self._started:
            found.setdefault(command, []).append(psutil.Process(process.pid))
        return found

    def metrics_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/metrics" for port in self._metrics_ports]

    async def serving(self, http: httpx2.AsyncClient, database: asyncpg.Connection, workers: int) -> None:
        """Returns when all answer; raises `RuntimeError` with the end of each log where that takes too long."""
        missing = ""
        try:
            async with asyncio.timeout(START_SECONDS):
                while missing := await self._missing(http, database, workers):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            logs = [f"{log.name}: {log.read_text()[-2000:]}" for log in self._folder.glob("*.log")]
            raise RuntimeError("\n".join([f"not all came up: {missing}", *logs])) from None

    @staticmethod
    async def _missing(http: httpx2.AsyncClient, database: asyncpg.Connection, workers: int) -> str:
        live = await database.fetchval("select count(*) from workers where state = 'active'")
        if live != workers:
            return f"{live} of {workers} workers are active"
        try:
            answer = await http.get("/workflows")
        except httpx2.TransportError as error:
            return f"the API does not answer: {error!r}"
        return "" if answer.is_success else f"the API answers {answer.status_code}: {answer.text[:500]}"

    def stop(self) -> None:
        for _, process in self._started:
            process.send_signal(signal.SIGTERM)
        for _, process in self._started:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
