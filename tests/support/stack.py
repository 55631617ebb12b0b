"""The real thing: `orrery` processes over real servers, started by a test, killed or frozen by it, and always cleaned
up.

`Stack` is one installation (store, broker, folder), `Node` one of its processes. Nodes get a clean environment: what
configures the test run must not configure the system under test.
"""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx2
import psutil

from scheduler_application.access import new_api_key
from tests.support.eventually import eventually
from tests.support.faked_clock import FakedClock
from tests.support.private_servers import free_port

BOOT_SECONDS = 40.0
"""A start takes 2 s on an idle machine; here several start at once on few cores."""
REQUEST_SECONDS = 20.0
FINAL = ("succeeded", "failed", "cancelled", "timed_out")

SHORT_LEASES: Mapping[str, Any] = {
    "HEARTBEAT_SECONDS": 0.5,
    "SELF_FENCE_SECONDS": 2,
    "WORKER_LEASE_SECONDS": 3,
    "LEADER_RENEW_SECONDS": 0.5,
    "LEADER_LEASE_SECONDS": 3,
}
"""The same protocol with shorter waits, for what measures no promise in seconds."""

_ORRERY = str(Path(sys.executable).with_name("orrery"))
_ROOT = Path(__file__).parents[2]


class Node:
    """One process of `orrery`: ``up``, ``api``, ``dispatcher`` or ``worker``."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        seams: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.command = command
        self.environment = environment
        self.folder = folder
        self.seams = seams
        """What `faults.seamed` is told when the process is launched; none is the plain product."""
        self.log = folder / f"{name}.log"
        port = environment.get("ORRERY_METRICS_PORT") or environment["ORRERY_API_PORT"]
        self.url = f"http://127.0.0.1:{port}"
        self.process = self._launch()

    def _launch(self) -> psutil.Popen:
        program, environment = [_ORRERY], dict(self.environment)
        if self.seams:
            program = [sys.executable, "-m", "faults.seamed", *self.seams, "--"]
            environment["PYTHONPATH"] = str(_ROOT)
        with self.log.open("ab") as log:
            return psutil.Popen(
                [*program, *self.command],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to this process alone; what it started is its own to clean up."""
        with contextlib.suppress(psutil.NoSuchProcess):  # It ended by itself a moment before.
            self.process.kill()
        self.process.wait(10)

    def freeze(self) -> None:
        self.process.suspend()

    def thaw(self) -> None:
        self.process.resume()

    def terminate(self) -> None:
        self.process.terminate()

    async def ended(self, *, within: float) -> int:
        """The exit code of a process that ends by itself."""

        async def gone() -> bool:
            return self.process.poll() is not None

        await eventually(gone, within=within)
        return int(self.process.returncode)

    def relaunch(self) -> None:
        """Starts the same again, after it ended; without seams."""
        assert self.process.poll() is not None, f"{self.name} still runs"
        self.seams = ()
        self.process = self._launch()

    async def ready(self, *, within: float = BOOT_SECONDS) -> None:
        try:
            await eventually(self.is_ready, within=within)
        except AssertionError:
            raise AssertionError(f"{self.name} is not ready after {within:g} s:\n{self.tail()}") from None

    async def is_ready(self) -> bool:
        assert self.process.poll() is None, f"{self.name} ended:\n{self.tail()}"
        return await self.probe("/readyz") == 200

    async def probe(self, path: str, *, timeout: float = 2.0) -> int:
        """The status of an answer; 0 where there is none."""
        async with _plain_client(self.url, timeout=timeout) as client:
            try:
                return (await client.get(path)).status_code
            except httpx2.TransportError:
                return 0

    async def metric(self, name: str) -> float:
        """The value of one series, written as in the text format, labels included; 0 where it has none yet."""
        async with _plain_client(self.url, timeout=5) as client:
            text = (await client.get("/metrics")).text
        return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Structured log lines whose event is ``event``."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and entry.get("event") == event:
                    found.append(entry)
        return found

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3_000:]


class Stack:
    """One installation. ``settings`` are those of every node, by their variable without ``ORRERY_``."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.settings = settings
        self.nodes: list[Node] = []
        self.api: Node | None = None
        self.key = new_api_key().text

    def environment(self, **settings: object) -> dict[str, str]:
        """What one process gets: nothing but this."""
        own = {"DATA_DIR": self.folder / "data", "API_KEY": self.key, **self.settings, **settings}
        named = {f"ORRERY_{name}": str(value) for name, value in own.items() if value is not None}
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "LANG": "C.UTF-8", **named}

    def start(
        self,
        command: str,
        *arguments: str,
        clock: FakedClock | None = None,
        seams: Sequence[str] = (),
        folder: Path | None = None,
        **settings: Any,
    ) -> Node:
        """Starts a node; wait for its ``ready``. It lives by ``clock`` where one is given, and with ``seams`` (what
        `faults.seamed` is told). It runs in ``folder`` and writes its log there, where that is not the stack's."""
        name = f"{command}-{sum(node.name.startswith(command) for node in self.nodes) + 1}"
        serves = command in ("api", "up")
        ports: dict[str, object] = {"API_PORT" if serves else "METRICS_PORT": free_port()}
        if command == "worker":
            ports["WORKER_NAME"] = name
        environment = self.environment(**ports, **settings) | (clock.environment if clock else {})
        node = Node(name, [command, *arguments], environment, folder or self.folder, seams)
        self.nodes.append(node)
        if serves:
            self.api = node
        return node

    async def start_all(self, *, dispatchers: int = 1, workers: int = 1) -> tuple[list[Node], list[Node]]:
        """Migrates and starts an API, ``dispatchers`` and ``workers``; all are ready."""
        migrated = self.cli("migrate")
        assert migrated.returncode == 0, migrated.stderr
        api = self.start("api")
        own = [self.start("dispatcher") for _ in range(dispatchers)], [self.start("worker") for _ in range(workers)]
        for node in (api, *own[0], *own[1]):
            await node.ready()
        return own

    def cli(
        self, *arguments: str, timeout: float = BOOT_SECONDS, **settings: object
    ) -> subprocess.CompletedProcess[str]:
        """A command of `orrery` that ends, talking to this installation's API."""
        url = {} if self.api is None else {"URL": self.api.url}
        return subprocess.run(
            [_ORRERY, *arguments],
            env=self.environment(**url, **settings),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def client(self, *, timeout: float = REQUEST_SECONDS) -> httpx2.AsyncClient:
        """A client of the API with the admin's key."""
        assert self.api is not None
        headers = {"Authorization": f"Bearer {self.key}"}
        return _plain_client(f"{self.api.url}/api/v1", headers=headers, timeout=timeout)

    async def deploy(self, definition: str, *, source: Path | None = None) -> None:
        place = f"&source={quote(str(source))}" if source else ""
        async with self.client() as client:
            answer = await client.post(
                f"/workflows?deploy=true{place}", content=definition, headers={"Content-Type": "application/yaml"}
            )
        assert answer.status_code in (200, 201), answer.text

    async def run(self, workflow: str, **inputs: Any) -> str:
        """Starts a run and answers its id."""
        async with self.client() as client:
            answer = await client.post(f"/workflows/{workflow}/run", json={"inputs": inputs})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    async def show(self, run_id: str) -> dict[str, Any]:
        async with self.client() as client:
            answer = await client.get(f"/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def finished(self, run_id: str, *, within: float) -> dict[str, Any]:
        """The run, once it is in a terminal state."""
        found: dict[str, Any] = {}

        async def is_final() -> bool:
            found.update(await self.show(run_id))
            return found["state"] in FINAL

        try:
            await eventually(is_final, within=within)
        except AssertionError:
            raise AssertionError(f"run {run_id} has not ended after {within:g} s: {found}") from None
        return found

    async def rows(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        """What the store holds, asked directly. On SQLite parameters are ``?``, on PostgreSQL ``$1``."""
        url = self.settings.get("DATABASE_DIRECT_URL") or self.settings.get("DATABASE_URL")
        if url is None:
            return self._sqlite_rows(sql, arguments)
        connection = await asyncpg.connect(str(url), timeout=10)
        try:
            return [dict(row) for row in await connection.fetch(sql, *arguments, timeout=30)]
        finally:
            await connection.close()

    def _sqlite_rows(self, sql: str, arguments: Sequence[object]) -> list[dict[str, Any]]:
        file = self.folder / "data" / "orrery.db"
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, list(arguments))]

    def owned_processes(self) -> list[psutil.Process]:
        """Every process that carries this installation's folder in its environment: nodes, tasks, what they left."""
        mark = str(self.folder)
        return processes_where(lambda environ: any(mark in value for value in environ.values()))

    def close(self) -> None:
        """Ends every node and everything that any of them started."""
        for node in self.nodes:
            tree = []
            with contextlib.suppress(psutil.NoSuchProcess):
                tree = [*node.process.children(recursive=True)]
            for process in (node.process, *tree):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            node.process.wait(10)
        left = self.owned_processes()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


def _plain_client(url: str, **options: Any) -> httpx2.AsyncClient:
    """A client without TLS: reading the trusted certificates takes 26 ms of processor time, at every poll."""
    return httpx2.AsyncClient(base_url=url, verify=False, **options)


@contextlib.contextmanager
def running_stack(folder: Path, **settings: object) -> Iterator[Stack]:
    stack = Stack(folder, **settings)
    try:
        yield stack
    finally:
        stack.close()


async def leader_of(dispatchers: Sequence[Node], *, within: float = 20.0) -> Node:
    """The one that leads, as soon as one does."""
    found: list[Node] = []

    async def one_leads() -> bool:
        found[:] = [node for node in dispatchers if await node.metric("orrery_leader") == 1]
        return len(found) == 1

    await eventually(one_leads, within=within)
    return found[0]


def processes_where(test: Callable[[Mapping[str, str]], bool]) -> list[psutil.Process]:
    """Living processes by their environment; zombies have none."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and test(process.environ()):
                found.append(process)
    return found


def processes_of_run(run_id: str) -> list[psutil.Process]:
    return processes_where(lambda environ: environ.get("ORRERY_RUN_ID") == run_id)
