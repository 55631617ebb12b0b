"""The shell task `true`: through Orrery, through its executor alone, and as bare loops of Python start and reap it."""

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil

from benchmarks.measure import Figures, Measure, add_size, median_of
from benchmarks.node import running_node
from orrery.server.signals import look_only_at_what_comes
from scheduler_application.ports.execution import ExecutionRequest
from scheduler_domain.run.outcome import Succeeded
from scheduler_infrastructure.execution.shell import ShellExecutor
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from scheduler_infrastructure.execution.surroundings import LONGEST_TICK_SECONDS

SCRIPT = "true"
BARE = ("/bin/sh", "-c", SCRIPT)
AT_ONCE = 8
WARM_UP = 100
TURN = 250
"""Short enough for the machine's pace to be the same for all who take turns."""


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
        ended = time.perf_counter()  # Before the clocks of all processes are read, which takes milliseconds.
        return {
            "per_second": tasks / (ended - self.wall),
            "processor_us_per_task": (Clocks.read().processor - self.processor) / tasks * 1e6,
        }


async def shell(tasks: int) -> Figures:
    """All with `AT_ONCE` at a time; what is done bare and the executor take turns of `TURN` tasks, of which the medians
    are given. The ratios are of tasks a second."""
    turns: dict[str, list[dict[str, float]]] = {"posix_spawn": [], "popen": [], "executor": []}
    async with _executor() as execute:
        for _ in range(max(1, tasks // TURN)):
            turns["posix_spawn"].append(_bare(_posix_spawn))
            turns["popen"].append(_bare(_popen))
            turns["executor"].append(await execute())
    seen = {name: median_of(figures) for name, figures in turns.items()}
    orrery = await _orrery(tasks)
    spawned = [turn["per_second"] for turn in turns["posix_spawn"]]
    executed = [turn["per_second"] for turn in turns["executor"]]
    return {
        "tasks": tasks,
        "at_once": AT_ONCE,
        **seen,
        "orrery": orrery,
        "executor_to_posix_spawn": statistics.median(ours / bare for ours, bare in zip(executed, spawned, strict=True)),
        "executor_to_popen": seen["executor"]["per_second"] / seen["popen"]["per_second"],
        "orrery_to_posix_spawn": orrery["per_second"] / seen["posix_spawn"]["per_second"],
    }


def _bare(start: Callable[[], object]) -> dict[str, float]:
    """One loop that waits for nothing but children: what the operating system can do, asked by Python."""
    began = Clocks.read()
    running = 0
    for _ in range(TURN):
        if running == AT_ONCE:
            os.wait()
            running -= 1
        start()
        running += 1
    for _ in range(running):
        os.wait()
    return began.figures(TURN)


def _posix_spawn() -> None:
    os.posix_spawn(BARE[0], BARE, {}, setsid=True)


def _popen() -> None:
    process = subprocess.Popen(BARE, env={}, start_new_session=True)
    process.returncode = 0  # `os.wait` collects it.


@contextlib.asynccontextmanager
async def _executor() -> AsyncIterator[Callable[[], Awaitable[dict[str, float]]]]:
    """A turn of what a task is promised: a supervised tree, a folder and an environment of its own, its output in the
    log; of a worker that has kept folders for long enough to know them by their time of change."""
    executor = ShellExecutor(Supervisor())
    await executor.open()
    look_only_at_what_comes()
    try:
        with tempfile.TemporaryDirectory() as folder:
            requests = [_request(Path(folder)) for _ in range(TURN)]

            async def turn() -> dict[str, float]:
                left = iter(requests)
                began = Clocks.read()
                await asyncio.gather(*(_lane(executor, left) for _ in range(AT_ONCE)))
                return began.figures(TURN)

            warm = time.monotonic() + LONGEST_TICK_SECONDS
            while time.monotonic() < warm:
                await turn()
            yield turn
    finally:
        await executor.close()


async def _lane(executor: ShellExecutor, left: Iterator[ExecutionRequest]) -> None:
    for request in left:
        outcome = await executor.execute(request, NoLog())
        if outcome != Succeeded():
            raise RuntimeError(f"{SCRIPT} failed: {outcome}")


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


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 2_000, "tasks")


async def _measured(arguments: argparse.Namespace) -> Figures:
    return await shell(arguments.size)


MEASURE = Measure("shell", "shell tasks a second, beside what Python can start and reap", _measured, _options)
