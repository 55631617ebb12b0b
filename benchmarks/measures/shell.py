"""The shell task `true`: through Orrery, through its executor alone, and as bare loops of Python start and reap it."""

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil

from benchmarks.measure import Figures, Measure, add_size
from benchmarks.node import running_node
from scheduler_application.ports.execution import ExecutionRequest
from scheduler_domain.run.outcome import Succeeded
from scheduler_infrastructure.execution.shell import ShellExecutor
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor

SCRIPT = "true"
BARE = ("/bin/sh", "-c", SCRIPT)
AT_ONCE = 8
WARM_UP = 100


class NoLog:
    """`true` prints nothing."""

    async def write(self, stream: str, data: bytes) -> None:
        raise AssertionError(f"{SCRIPT} printed {data!r} to {stream}")


@dataclass(frozen=True, slots=True)
class Clocks:
    """Wall and processor time of this process and everything below it, ended or not, since they were read."""

    wall: float
    processor: float

    @classmethod
    def read(cls) -> "Clocks":
        process = psutil.Process()
        processor = sum(process.cpu_times()[:4])
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                processor += sum(child.cpu_times()[:4])
        return cls(time.perf_counter(), processor)

    def figures(self, tasks: int) -> dict[str, float]:
        now = Clocks.read()
        return {
            "per_second": tasks / (now.wall - self.wall),
            "processor_us_per_task": (now.processor - self.processor) / tasks * 1e6,
        }


async def shell(tasks: int) -> Figures:
    """All with `AT_ONCE` at a time. The ratios are of tasks a second, to what asyncio does bare."""
    spawned = _posix_spawn(tasks)
    bare = await _bare_asyncio(tasks)
    executor = await _executor(tasks)
    orrery = await _orrery(tasks)
    return {
        "tasks": tasks,
        "at_once": AT_ONCE,
        "posix_spawn": spawned,
        "asyncio": bare,
        "executor": executor,
        "orrery": orrery,
        "executor_to_asyncio": executor["per_second"] / bare["per_second"],
        "executor_to_posix_spawn": executor["per_second"] / spawned["per_second"],
        "orrery_to_asyncio": orrery["per_second"] / bare["per_second"],
    }


def _posix_spawn(tasks: int) -> dict[str, float]:
    """One loop that waits for nothing but children: what the operating system can do, asked by Python."""
    began = Clocks.read()
    running = 0
    for _ in range(tasks):
        if running == AT_ONCE:
            os.wait()
            running -= 1
        os.posix_spawn(BARE[0], BARE, {}, setsid=True)
        running += 1
    for _ in range(running):
        os.wait()
    return began.figures(tasks)


async def _bare_asyncio(tasks: int) -> dict[str, float]:
    async def once() -> None:
        process = await asyncio.create_subprocess_exec(*BARE, env={})
        await process.wait()

    began = Clocks.read()
    await _in_lanes(tasks, once)
    return began.figures(tasks)


async def _executor(tasks: int) -> dict[str, float]:
    """What a task is promised: a supervised tree, a folder and an environment of its own, its output in the log."""
    executor = ShellExecutor(Supervisor())
    await executor.open()
    try:
        with tempfile.TemporaryDirectory() as folder:

            async def once() -> None:
                outcome = await executor.execute(_request(Path(folder)), NoLog())
                if outcome != Succeeded():
                    raise RuntimeError(f"{SCRIPT} failed: {outcome}")

            await _in_lanes(WARM_UP, once)
            began = Clocks.read()
            await _in_lanes(tasks, once)
            return began.figures(tasks)
    finally:
        await executor.close()


def _request(folder: Path) -> ExecutionRequest:
    run_id = str(uuid4())
    return ExecutionRequest(
        project="default",
        task_run_id=run_id,
        claim_no=1,
        executor="shell",
        settings={"script": SCRIPT},
        environment={"ORRERY_RUN_ID": run_id},
        work_folder=str(folder / run_id),
        source=None,
        timeout=None,
        idempotency_key=run_id,
    )


async def _orrery(tasks: int) -> dict[str, float]:
    """`orrery up`, from the first request to the last recorded result."""
    async with running_node(ORRERY_WORKER_SLOTS=str(AT_ONCE)) as node:
        await node.deploy("shell", {"t": {"shell": SCRIPT}})
        await node.start("shell", WARM_UP)
        await node.finished()
        before, began = node.processor_seconds(), time.time()
        await node.start("shell", tasks)
        await node.finished()
        after = node.processor_seconds()
        return {
            "per_second": tasks / (node.last_end() - began),
            "processor_us_per_task": (sum(after.values()) - sum(before.values())) / tasks * 1e6,
        }


async def _in_lanes(tasks: int, once: Callable[[], Awaitable[None]]) -> None:
    left = iter(range(tasks))

    async def lane() -> None:
        for _ in left:
            await once()

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 2_000, "tasks")


async def _measured(arguments: argparse.Namespace) -> Figures:
    return await shell(arguments.size)


MEASURE = Measure("shell", "shell tasks a second, beside what Python can start and reap", _measured, _options)
