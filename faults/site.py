"""One installation under test: servers of its own, the product's processes, and everything a fault may do to them.

::

    async with Site(Shape(workers=2)) as site:
        leader = await site.leader()
        site.kill(leader)
        await site.whole()

A process is a `Node` of `tests.support.stack`: ``kill``, ``freeze``, ``thaw``, ``terminate``, ``relaunch``. Servers are
those of `tests.support.private_servers`; their methods block, so call them through `asyncio.to_thread`. A node that is
started with ``through=("postgres",)`` reaches that server by a `TcpProxy` of its own, found with `Site.link`.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal, Self

import asyncpg
import httpx2
import psutil

from faults import witness
from faults.effects import EffectServer
from faults.journal import Journal
from faults.small_disk import SmallDisk
from tests.support.eventually import eventually
from tests.support.faked_clock import FakedClock
from tests.support.private_servers import PrivatePostgres, PrivateRabbitMQ, PrivateRedis, PrivateServer
from tests.support.stack import Node, Stack
from tests.support.tcpproxy import TcpProxy

Kind = Literal["api", "dispatcher", "worker"]
Server = Literal["postgres", "rabbitmq", "redis"]

CODE = Path(__file__).parent / "code"
CANARY = "CANARY-7f3a91c2d4"
"""The value of a secret that tasks use and print; it must be found nowhere."""
POOL_SIZE = 6
WHOLE_SECONDS = 90.0
LOOK_SECONDS = 0.1
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)
"""What asyncpg raises of a database that dies, is dead, or was dead a moment ago."""
_SETTING: Mapping[Server, str] = {"postgres": "DATABASE_URL", "rabbitmq": "BROKER_URL", "redis": "REDIS_URL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What an installation has. ``settings`` are those of every node, by their variable without ``ORRERY_``;
    ``postgres`` are settings of the server, each as ``name=value``."""

    apis: int = 2
    dispatchers: int = 2
    workers: int = 3
    slots: int = 4
    settings: Mapping[str, object] = field(default_factory=dict)
    postgres: Sequence[str] = ()
    postgres_disk: int = 0
    """Megabytes of the disk that PostgreSQL's data have for themselves (`Site.disk`); 0: they share the machine's."""


class Site:
    """Use as an async context manager; everything it started is ended afterwards."""

    def __init__(self, shape: Shape | None = None) -> None:
        self.shape = shape or Shape()
        self.folder = Path(tempfile.mkdtemp(prefix="orrery-faults-"))
        own = ("track_commit_timestamp=on", "max_connections=200", *self.shape.postgres)
        self.postgres = PrivatePostgres(*own)
        self.disk = SmallDisk(self.shape.postgres_disk, user=self.postgres.user) if self.shape.postgres_disk else None
        self.rabbitmq = PrivateRabbitMQ()
        self.redis = PrivateRedis()
        self.effects = EffectServer(self.folder)
        self.journal = Journal(self.folder / "journal.jsonl")
        """Of everything that the suite asks of the APIs."""
        self.disturbed_at: list[float] = []
        """Epoch seconds of everything that was done to the site; see `disturb`."""
        self.suspensions: list[tuple[float, float]] = []
        """From when to when (epoch seconds) the whole machine stood still; see `suspended`."""
        self.is_suspended = False
        self.kept = False
        """Whether the folder with the logs, the journal and the effects stays when the site is gone."""
        self._links: dict[str, dict[Server, TcpProxy]] = {}
        self._cleanup = AsyncExitStack()
        self._stack: Stack | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as cleanup:
            cleanup.callback(self._tidy)
            cleanup.enter_context(self.journal)
            cleanup.enter_context(self.effects)
            if self.disk is not None:
                cleanup.enter_context(self.disk)
                (self.postgres.folder / "data").symlink_to(self.disk.folder)
            for server in (self.postgres, self.rabbitmq, self.redis):
                cleanup.callback(server.close)
            await asyncio.gather(
                *(asyncio.to_thread(server.start) for server in (self.postgres, self.rabbitmq, self.redis))
            )
            self._stack = Stack(self.folder, **self._settings())
            cleanup.callback(self._stack.close)
            await self._start_nodes()
            self._cleanup = cleanup.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    # --- What there is -------------------------------------------------------------------------------------------

    @property
    def stack(self) -> Stack:
        assert self._stack is not None, "enter the site first"  # noqa: S101 - a wrong order of calls
        return self._stack

    @property
    def nodes(self) -> Sequence[Node]:
        """Every process that was started, dead ones too."""
        return self.stack.nodes

    def of(self, kind: Kind, *, alive: bool = True) -> list[Node]:
        """The nodes of a kind: those whose process lives and is not frozen, or all."""
        named = [node for node in self.nodes if node.name.startswith(f"{kind}-")]
        return [node for node in named if is_alive(node)] if alive else named

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def link(self, node: Node, server: Server) -> TcpProxy:
        """The proxy between them; `KeyError` where the node was not started ``through`` it."""
        return self._links[node.name][server]

    async def leader(self, *, within: float = 20.0) -> Node:
        """The dispatcher that leads, as soon as one does and says so."""
        found: list[Node] = []

        async def one_leads() -> bool:
            found[:] = [node for node in self.of("dispatcher") if await self._leads(node)]
            return len(found) == 1

        await eventually(one_leads, within=within)
        return found[0]

    async def standby(self) -> Node:
        leader = await self.leader()
        return next(node for node in self.of("dispatcher") if node is not leader)

    @staticmethod
    async def _leads(node: Node) -> bool:
        with contextlib.suppress(httpx2.TransportError):
            return await node.metric("orrery_leader") == 1
        return False

    def client(self, api: Node, *, timeout: float = 10.0) -> httpx2.AsyncClient:
        """A client of one API with the admin's key."""
        headers = {"Authorization": f"Bearer {self.stack.key}"}
        # There is no TLS here, and reading the trusted certificates takes 26 ms of processor time.
        return httpx2.AsyncClient(base_url=f"{api.url}/api/v1", headers=headers, timeout=timeout, verify=False)

    def queues(self) -> dict[str, int]:
        """Messages, ready and unacknowledged, by queue of the broker."""
        listed = self.rabbitmq.control("list_queues", "--quiet", "--no-table-headers", "name", "messages")
        return {name: int(count) for name, count in (line.split("\t") for line in listed.splitlines() if "\t" in line)}

    async def connect(self) -> asyncpg.Connection:
        """A connection of the suite's own, to be closed by the caller."""
        return await asyncpg.connect(self.postgres.url, timeout=10, command_timeout=60)

    async def rows(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        """What the database holds, asked directly; raises what asyncpg raises while it is away."""
        return await self.stack.rows(sql, *arguments)

    async def rows_when_back(self, sql: str, *arguments: object, within: float = 60.0) -> list[dict[str, Any]]:
        """As `rows`, waiting for a database that is away."""
        deadline = time.monotonic() + within
        while True:
            try:
                return await self.rows(sql, *arguments)
            except AWAY:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.1)

    # --- What may be done to it ------------------------------------------------------------------------------------

    def disturb(self) -> float:
        """Notes that something is about to be done to the site; answers the moment as epoch seconds. Every fault calls
        it right before it injects: checks of speed count from the last disturbance."""
        self.disturbed_at.append(time.time())
        return self.disturbed_at[-1]

    def kill(self, node: Node) -> float:
        """SIGKILL; answers when."""
        at = self.disturb()
        node.kill()
        return at

    async def kill_server(self, server: PrivateServer) -> float:
        """SIGKILL to every process of a server; answers when."""
        at = self.disturb()
        await asyncio.to_thread(server.kill)
        return at

    async def kill_backend(self, number: int) -> float:
        """SIGKILL to one of PostgreSQL's backends that serve the product, chosen by ``number``: the server then ends
        all sessions and recovers."""
        serving = (
            "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
            " order by pid"
        )
        # A server that has just come back serves nobody yet.
        while not (pids := await self.rows_when_back(serving)):
            await asyncio.sleep(LOOK_SECONDS)
        at = self.disturb()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[number % len(pids)]["pid"], signal.SIGKILL)
        return at

    @asynccontextmanager
    async def suspended(self, chance: Random) -> AsyncIterator[float]:
        """The machine stands still while the block lasts, as a laptop does whose lid is closed: every node, every
        process of a task and every server is frozen, and the clocks go on. The client, which lives on that machine,
        sends nothing. Gives the moment (epoch seconds) when all stood still; they go on in an order that ``chance``
        draws."""
        self.is_suspended = True
        began = self.disturb()
        asleep: list[psutil.Process] = []
        try:
            asleep = await asyncio.to_thread(self._all_frozen)
            yield time.time()
        finally:
            servers = [server.cont for server in (self.postgres, self.rabbitmq, self.redis)]
            waking = [*servers, *(process.resume for process in asleep)]
            chance.shuffle(waking)
            for wake in waking:
                with contextlib.suppress(psutil.NoSuchProcess):
                    wake()
            self.suspensions.append((began, self.disturb()))
            self.is_suspended = False

    def _all_frozen(self) -> list[psutil.Process]:
        frozen: list[psutil.Process] = []
        # What is started while others are being frozen is found in the next look.
        while awake := [process for process in self.stack.owned_processes() if not _is_stopped(process)]:
            for process in awake:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
                    frozen.append(process)
        for server in (self.postgres, self.rabbitmq, self.redis):
            server.stop()
        return frozen

    async def start(
        self,
        kind: Kind,
        *,
        through: Iterable[Server] = (),
        clock: FakedClock | None = None,
        folder: Path | None = None,
        **settings: Any,
    ) -> Node:
        """One more node; wait for its ``ready``. It reaches the servers ``through`` proxies of its own, and has its log
        in ``folder`` where one is given."""
        links: dict[Server, TcpProxy] = {}
        for server in through:
            proxy = TcpProxy.to(getattr(self, server).url)
            await self._cleanup.enter_async_context(proxy)
            links[server] = proxy
            settings.setdefault(_SETTING[server], proxy.url)
        node = self.stack.start(kind, clock=clock, folder=folder, **settings)
        self._links[node.name] = links
        return node

    async def whole(self, *, within: float = WHOLE_SECONDS) -> None:
        """Everything runs again: servers answer, frozen nodes go on, what ended is launched again, all are ready."""
        for server in (self.postgres, self.rabbitmq, self.redis):
            if not server.answers(server.port):
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.restart)
        for proxies in self._links.values():
            for proxy in proxies.values():
                proxy.heal()
        await asyncio.gather(*(self._back(node, within) for node in self.nodes))

    @staticmethod
    async def _back(node: Node, within: float) -> None:
        """Ready again, also where it was still about to end."""
        deadline = time.monotonic() + within
        while True:
            revive(node)
            if node.process.poll() is None and await node.probe("/readyz") == 200:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{node.name} is not ready after {within:g} s:\n{node.tail()[-1_000:]}")
            await asyncio.sleep(LOOK_SECONDS)

    async def retire(self, node: Node) -> None:
        """Ends a node that a fault started for itself; `whole` does not start it again."""
        if node.process.poll() is None:
            node.thaw()
            node.kill()
        self.stack.nodes.remove(node)

    def _tidy(self) -> None:
        if not self.kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- The start ---------------------------------------------------------------------------------------------

    def _settings(self) -> dict[str, object]:
        own = {setting: getattr(self, server).url for server, setting in _SETTING.items()}
        usual = {
            "CODE_PATH": CODE,
            "WORKER_SLOTS": self.shape.slots,
            "DATABASE_POOL_SIZE": POOL_SIZE,
            "HTTP_ALLOWED_NETWORKS": "127.0.0.0/8",
            "SECRET__CANARY": CANARY,
            "VAR__EFFECTS": self.effects.url,
            "CONNECTION__STORE": self.postgres.url,
        }
        return {**own, **usual, **self.shape.settings}

    async def _start_nodes(self) -> None:
        migrated = await asyncio.to_thread(self.stack.cli, "migrate")
        if migrated.returncode:
            raise RuntimeError(f"the migration failed:\n{migrated.stderr}")
        await witness.install(self.postgres.url)
        kinds: Mapping[Kind, int] = {
            "api": self.shape.apis,
            "dispatcher": self.shape.dispatchers,
            "worker": self.shape.workers,
        }
        started = [await self.start(kind) for kind, count in kinds.items() for _ in range(count)]
        await asyncio.gather(*(node.ready() for node in started))


def is_alive(node: Node) -> bool:
    """Whether the process runs and is not frozen."""
    return node.process.poll() is None and not _is_stopped(node.process)


def _is_stopped(process: psutil.Process) -> bool:
    """Whether it is frozen, or no more."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE))
    return True


def revive(node: Node) -> None:
    """Lets a frozen node go on and launches one that ended."""
    if node.process.poll() is not None:
        node.relaunch()
    elif not is_alive(node):
        node.thaw()
