"""Processes without processes: each is an object graph of its own, made by the product's own wiring and run by its own
entry point, over a real store. It dies at a point of the test's choice, and nothing of it is heard of again.

On SQLite there is one process that is everything, as `orrery up` is, and its messages die with it. On PostgreSQL there
are three (API, dispatcher, worker); the broker outlives them and delivers again what they had not acknowledged.
"""

import asyncio
import contextlib
import contextvars
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from dependency_injector import providers

from faults.inprocess.scripted_tasks import Effects, ScriptedShell
from orrery.server.wiring import dispatcher, worker
from scheduler_application.errors import Unavailable
from scheduler_application.ports.messaging import Delivery, Hint, Lane
from scheduler_dispatcher.main import run as run_dispatcher
from scheduler_infrastructure.bootstrap.containers import make_application
from scheduler_infrastructure.bootstrap.settings import Settings
from scheduler_infrastructure.execution.registry import ExecutorRegistry
from scheduler_infrastructure.memory.messaging import MemoryHub
from scheduler_infrastructure.persistence.engine import both
from scheduler_infrastructure.persistence.guard import StoreGuard
from scheduler_worker.main import run as run_worker
from tests.support.clock import ManualClock

T = TypeVar("T")

LEASE_SECONDS = 3.0
"""Of the leader and of workers: short, so that a takeover takes few turns of the clock."""


class Crashed(asyncio.CancelledError):
    """The process is dead. Nothing catches it, and whoever waits for it is cancelled."""


class Busy:
    """How many calls of stores are under way: while there are any, time stands still."""

    def __init__(self) -> None:
        self.calls = 0


class _Guard(StoreGuard):
    """The store as one process sees it: not at all once it is dead, and not while it is frozen."""

    def __init__(self, process: "Process", busy: Busy) -> None:
        super().__init__()
        self._process = process
        self._busy = busy

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        await self._process.goes_on()
        self._busy.calls += 1
        try:
            return await super().run(operation)
        finally:
            self._busy.calls -= 1


class _Delivery:
    """A message that the broker keeps until it is acknowledged."""

    def __init__(self, link: "_Link", inner: Delivery) -> None:
        self._link = link
        self._inner = inner
        self.lane, self.hints = inner.lane, inner.hints

    async def ack(self) -> None:
        await self._link.process.goes_on()
        await self._inner.ack()
        self._link.held.pop(self, None)

    async def give_back(self) -> None:
        await self._link.process.goes_on()
        await self._inner.give_back()
        self._link.held.pop(self, None)

    async def come_again(self) -> None:
        """The broker has seen the connection end."""
        await self._inner.give_back()


class _Source:
    def __init__(self, link: "_Link") -> None:
        self._link = link
        self._inner = link.hub.source()

    async def open(self, queues: Sequence[str]) -> None:
        await self._inner.open(queues)

    async def take(self, max_hints: int) -> list[Delivery]:
        await self._link.process.goes_on()
        taken = [_Delivery(self._link, delivery) for delivery in await self._inner.take(max_hints)]
        self._link.held.update(dict.fromkeys(taken))
        return list(taken)

    async def pause(self) -> None:
        await self._inner.pause()

    async def close(self) -> None:
        await self._inner.close()

    async def healthy(self) -> bool:
        return await self._inner.healthy()


class _Link:
    """A process's connection to the broker; a publisher and signals too, as the transport of the process is."""

    def __init__(self, process: "Process", hub: MemoryHub) -> None:
        self.process = process
        self.hub = hub
        self.held: dict[_Delivery, None] = {}
        self.publisher = self
        self.signals = self
        self.live = hub.live

    def source(self) -> _Source:
        return _Source(self)

    async def publish(self, lane: Lane, hints: Sequence[Hint]) -> None:
        await self.process.goes_on()
        await self.process.site.broker.publish(lane, hints)

    async def wake_dispatchers(self) -> None:
        await self.process.goes_on()
        await self.hub.signals.wake_dispatchers()

    async def command(self, worker_id: str, command: Mapping[str, Any]) -> None:
        await self.process.goes_on()
        await self.hub.signals.command(worker_id, command)

    def dispatcher_wakes(self) -> AsyncIterator[None]:
        return self.hub.signals.dispatcher_wakes()

    def commands(self, worker_id: str) -> AsyncIterator[Mapping[str, Any]]:
        return self.hub.signals.commands(worker_id)


class Broker:
    """What all processes publish through. ``refuses`` that many publishes, ``loses`` that many without a word."""

    def __init__(self, hub: MemoryHub) -> None:
        self.hub = hub
        self.refuses = 0
        self.loses = 0

    async def publish(self, lane: Lane, hints: Sequence[Hint]) -> None:
        if self.refuses:
            self.refuses -= 1
            raise Unavailable("the broker refuses")
        if self.loses:
            self.loses -= 1
            return
        await self.hub.publisher.publish(lane, hints)


class Process:
    """One process of the `Installation`, from its start to its end."""

    current: "contextvars.ContextVar[Process]" = contextvars.ContextVar("process")

    def __init__(self, name: str, roles: Sequence[str], site: "Installation") -> None:
        self.name = name
        self.roles = roles
        self.site = site
        self.alive = True
        self.link = _Link(self, site.broker.hub)
        self.stop = asyncio.Event()
        self.died = asyncio.Event()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._context = contextvars.copy_context()
        self._context.run(Process.current.set, self)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        """Everything that it has begun (`_noting`)."""
        settings = Settings(
            data_dir=site.folder,
            database_url=site.url,
            database_pool_size=4,
            worker_name=name,
            worker_slots=2,
            worker_lease_seconds=LEASE_SECONDS * 5,
            leader_lease_seconds=LEASE_SECONDS * 2,
            shutdown_grace_seconds=2.0,
            task_grace_seconds=1.0,
        )
        self.application = application = make_application(settings, "embedded")
        application.gateways.clock.override(providers.Object(site.clock))
        application.gateways.transport.override(providers.Object(self.link))
        application.adapters.guard.override(providers.Object(_Guard(self, site.busy)))
        announcer: Any = application.use_cases.announcer
        announcer.add_kwargs(sleep=site.clock.sleep)
        campaign: Any = application.use_cases.campaign
        campaign.add_kwargs(settle_seconds=1.0)
        self.announcer = announcer()

    # --- Life and death -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        await self.application.gateways.database().open()
        if "dispatcher" in self.roles:
            own = dispatcher(self.application)
            self._run(run_dispatcher(replace(own, sleep=self.site.clock.sleep), self.stop))
        if "worker" in self.roles:
            executors = ExecutorRegistry([ScriptedShell(self.site.effects)])
            working = replace(worker(self.application), executors=executors, sleep=self.site.clock.sleep)
            self._run(run_worker(working, self.stop))

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work, context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled():
            task.exception()
        if not self.stop.is_set():
            # What breaks one part of a process ends it; its service manager starts it again.
            self.died.set()

    def call(self, ask: Callable[[Any], Awaitable[T]]) -> "asyncio.Task[T]":
        """A request that this process serves with its use cases."""

        async def serve() -> T:
            await self.goes_on()
            return await ask(self.application.use_cases)

        task = asyncio.create_task(serve(), context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def crash(self) -> NoReturn:
        """Called in the midst of the process's own code."""
        self.kill()
        raise Crashed

    def kill(self) -> None:
        """From now on nothing that the process does reaches anybody."""
        self.alive = False
        self._thawed.set()
        self.died.set()

    def freeze(self) -> None:
        """As SIGSTOP: whatever it does next waits."""
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    @property
    def frozen(self) -> bool:
        return not self._thawed.is_set()

    async def goes_on(self) -> None:
        """Every way out of the process asks this first. Raises `Crashed` where it is dead."""
        if not self._thawed.is_set():
            await self._thawed.wait()
        if not self.alive:
            raise Crashed

    async def bury(self) -> None:
        """Takes a dead process away: the store rolls back what it had not committed, the broker delivers again what it
        had not acknowledged."""
        self.alive = False
        me = asyncio.current_task()
        for _ in range(BURIED_IN_ROUNDS):
            left = [task for task in self.tasks if task is not me and not task.done()]
            if not left:
                break
            # Again and again: some would wait for the time, or for one another, before they go.
            for task in left:
                task.cancel()
            for _ in range(5):
                await _turn_of_the_loop()
        else:
            raise NeverSo(f"{self.name} is dead, and does not end: {left}")
        await self.application.gateways.database().close()
        for delivery in list(self.link.held):
            await delivery.come_again()

    async def leave(self) -> None:
        """Ends as after SIGTERM; returns when it has, or has died on the way. What stands still goes on first."""
        self.thaw()
        self.stop.set()
        waiting = asyncio.gather(*self._tasks, return_exceptions=True)

        async def has_left() -> bool:
            return waiting.done()

        await self.site.until(has_left, within=LONGEST_SECONDS, live=False)
        if self.alive:
            await self.announcer.close()
        await self.bury()


class Installation:
    """An installation: its processes, its store, its broker, its clock, and what its tasks did. Use ``opened``."""

    def __init__(self, url: str, folder: Path, clock: ManualClock) -> None:
        self.url = url
        self.folder = folder
        self.clock = clock
        self.busy = Busy()
        self.effects = Effects()
        self.is_embedded = url.startswith("sqlite:")
        self.broker = Broker(MemoryHub())
        self.processes: dict[str, Process] = {}
        self.deaths = 0
        self._store = make_application(
            Settings(data_dir=folder, database_url=url, database_pool_size=1), "embedded"
        ).gateways
        self._store.clock.override(providers.Object(clock))

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, url: str, folder: Path, clock: ManualClock) -> AsyncIterator["Installation"]:
        """Everything runs while the block does."""
        site = cls(url, folder, clock)
        asyncio.get_running_loop().set_task_factory(_noting)
        await site._store.database().open()
        try:
            for name in ("up",) if site.is_embedded else ("api", "dispatcher", "worker"):
                await site.start(name)
            yield site
        finally:
            for process in list(site.processes.values()):
                process.kill()
                await process.bury()
            await site._store.database().close()
            asyncio.get_running_loop().set_task_factory(None)

    # --- Processes ----------------------------------------------------------------------------------------------

    async def start(self, name: str) -> None:
        kind = name.partition("-")[0]
        roles = ("api", "dispatcher", "worker") if kind == "up" else (kind,)
        process = Process(name, roles, self)
        self.processes[name] = process
        await process.start()

    def of(self, role: str) -> Process:
        """A process that plays ``role``."""
        return next(process for process in self.processes.values() if role in process.roles)

    async def replace_dead(self) -> None:
        """Starts again what has died, after its leases have ended."""
        for name, process in list(self.processes.items()):
            if process.died.is_set():
                del self.processes[name]
                self.deaths += 1
                await process.bury()
                await self.end_leases(process)
                if self.is_embedded:
                    # Its messages were in it.
                    self.broker.hub = MemoryHub()
                await self.start(name)

    async def end_leases(self, process: Process) -> None:
        """Its leases run out. SQLite's clock is the test's own; PostgreSQL's no test can turn."""
        if self.is_embedded:
            self.clock.advance(LEASE_SECONDS * 5 + 1)
            return
        past = "clock_timestamp() - interval '1 second'"
        await self.write(f"update workers set lease_until = {past} where name = $1", process.name)  # noqa: S608
        if "dispatcher" in process.roles:
            await self.write(f"update leadership set lease_until = {past}")  # noqa: S608

    # --- Time ---------------------------------------------------------------------------------------------------

    async def turn(self, seconds: float = 0.5, *, live: bool = True) -> None:
        """Lets everybody do what they can, then turns the clock to where somebody wakes, ``seconds`` at the least."""
        await self.settled()
        if live:
            await self.replace_dead()
        self.clock.advance(max(seconds, self.clock.next_wake() or 0.0))
        await self.settled()

    async def settled(self) -> None:
        """Returns when everybody waits for the time or for somebody else."""
        quiet = 0
        while quiet < QUIET_TURNS:
            await _turn_of_the_loop()
            quiet = 0 if self.busy.calls else quiet + 1

    async def until(self, condition: Callable[[], Awaitable[bool]], *, within: float = 60.0, live: bool = True) -> None:
        """Turns the clock until ``condition`` holds. Raises `NeverSo` after ``within`` seconds of that clock."""
        turned_from = self.clock.monotonic()
        while not await condition():
            if self.clock.monotonic() - turned_from > within:
                raise NeverSo(f"not so after {within:g} s")
            await self.turn(live=live)

    # --- The store ----------------------------------------------------------------------------------------------

    async def rows(self, sql: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
        """Rows of a statement that reads the same in both dialects, asked by nobody's process."""
        async with self._store.database().reading() as connection:
            rows: Sequence[Mapping[str, Any]] = await connection.fetch(both(sql), *arguments)
            return rows

    async def write(self, sql: str, *arguments: Any) -> None:
        """Changes rows behind everybody's back."""
        async with self._store.database().transaction() as connection:
            await connection.fetch(both(sql), *arguments)


class NeverSo(Exception):
    """What had to come about did not."""


LONGEST_SECONDS = 3_600.0
"""By the trial's clock: for what takes moments, unless it never comes."""

BURIED_IN_ROUNDS = 10_000
"""Of telling everything that a dead process has begun to end."""

QUIET_TURNS = 25
"""Turns of the event loop after which whatever could go on by itself has done so."""


def _noting(
    loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None
) -> "asyncio.Task[Any]":
    """Makes a task that its process knows of: what a dead process has begun must not go on."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    process = Process.current.get(None) if context is None else context.get(Process.current)
    if process is not None:
        process.tasks.add(task)
    return task


async def _turn_of_the_loop() -> None:
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn
