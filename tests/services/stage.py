"""A worker in a `World`: real use cases on SQLite, the in-process transport, and executors that the test scripts."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler_application.masking import Masking
from scheduler_application.run.announce import Announcer
from scheduler_application.run.claim import ClaimTasks
from scheduler_application.run.record import RecordOutcomes
from scheduler_application.worker.membership import Heartbeat, LeaveWorker, RegisterWorker
from scheduler_infrastructure.telemetry.untraced import Untraced
from scheduler_worker.agent import Worker, WorkerLimits
from scheduler_worker.health import WorkerHealth
from scheduler_worker.main import run
from tests.support.clock import ManualClock
from tests.support.observed_store import ObservedStore
from tests.support.scripted import Scripted
from tests.support.world import Low, World

ONE_TASK: Mapping[str, Any] = {"workflow": "one", "tasks": {"only": {"shell": "true"}}}


def chain(length: int) -> dict[str, Any]:
    """A workflow ``chain`` of tasks that need each other: ``t0``, ``t1``…"""
    tasks = {f"t{n}": {"shell": "true"} | ({"needs": [f"t{n - 1}"]} if n else {}) for n in range(length)}
    return {"workflow": "chain", "tasks": tasks}


def fan(width: int, **task: Any) -> dict[str, Any]:
    """A workflow ``fan`` of tasks that need nobody: ``t0``, ``t1``…"""
    return {"workflow": "fan", "tasks": {f"t{n}": {"shell": "true", **task} for n in range(width)}}


@dataclass
class RunningWorker:
    """A worker's ``run`` under way."""

    stop: asyncio.Event
    task: "asyncio.Task[None]"

    async def stopped(self) -> None:
        """Asks it to stop and waits for its end; raises what it raised."""
        self.stop.set()
        await self.task


@dataclass
class Stage:
    """Everything around a worker; `worker` starts one."""

    world: World
    clock: ManualClock
    folder: Path
    secrets: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = ObservedStore(self.world.store)
        self.executors = Scripted()
        self.health = WorkerHealth(self.clock)

    def bundle(self, announcer: Announcer, *, record_claims: ClaimTasks | None = None, **changes: Any) -> Worker:
        """``record_claims`` claims what outcomes make ready; ``changes`` take the place of other parts."""
        world, store, clock = self.world, self.store, self.clock
        claim = ClaimTasks(store, world.engine, clock, world.metrics)
        parts: dict[str, Any] = {
            "name": "tester",
            "version": "0",
            "queues": ["default"],
            "slots": 4,
            "work_root": self.folder / "work",
            "code_path": None,
            "secrets": self.secrets,
            "masking": Masking(self.secrets.values()),
            "limits": WorkerLimits(),
            "executors": self.executors,
            "register": RegisterWorker(store, 15.0),
            "heartbeat": Heartbeat(store, 15.0),
            "leave": LeaveWorker(store),
            "claim": claim,
            "record": RecordOutcomes(store, world.engine, clock, announcer, world.metrics, record_claims or claim),
            "announcer": announcer,
            "source": world.hub.source(),
            "publisher": world.hub.publisher,
            "signals": world.hub.signals,
            "logs": world.logs,
            "tracer": Untraced(),
            "clock": clock,
            "ids": world.ids,
            "randomness": Low(),
            "health": self.health,
            "sleep": clock.sleep,
        }
        return Worker(**(parts | changes))

    @asynccontextmanager
    async def worker(self, **changes: Any) -> AsyncIterator[RunningWorker]:
        """A worker that runs beside the block and is stopped after it."""
        world = self.world
        announcer = Announcer(
            world.hub.publisher, world.hub.signals, world.hub.live, self.store, self.clock, world.metrics
        )
        stop = asyncio.Event()
        running = RunningWorker(stop, asyncio.create_task(run(self.bundle(announcer, **changes), stop)))
        try:
            yield running
        finally:
            stop.set()
            await self._over(running.task)
            await announcer.close()

    async def _over(self, task: "asyncio.Task[None]") -> None:
        """Turns the clock as long as a worker that stops waits for something."""
        while not task.done():
            await self.store.settled()
            self.clock.advance(self.clock.next_wake() or 0.0)
        await asyncio.gather(task, return_exceptions=True)

    async def ended(self, run_id: str) -> str:
        """The final state of a run, when it has one."""

        async def is_final() -> bool:
            return (await self.world.run(run_id)).finished_at is not None

        await self.store.until(is_final)
        return (await self.world.run(run_id)).state

    async def states(self, run_id: str, wanted: Mapping[str, str]) -> None:
        """Returns when the run's tasks have the states ``wanted``."""

        async def have() -> bool:
            return (await self.world.states(run_id)).items() >= wanted.items()

        await self.store.until(have)

    async def worker_rows(self) -> list[tuple[str, str]]:
        """(id, state) of every worker there ever was, oldest first."""
        rows = await self.world.rows("select id, state from workers order by id")
        return [(row["id"], row["state"]) for row in rows]
