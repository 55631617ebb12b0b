"""How many durable runs of one no-op task a second, from the first request to the last recorded result, and where the
time goes."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from benchmarks import per_task
from benchmarks.functions import write_functions
from benchmarks.measure import Figures, Measure, add_size
from benchmarks.stack import Stack, running_stack
from benchmarks.workflows import noop, workflow

BATCH = 100
CLIENTS = 4
WARM_UP = 200


async def throughput(tasks: int, *, profile: Path | None = None, explained: bool = True) -> Figures:
    """Runs of one no-op task, entered by batches of 100.

    ``explained`` adds what each task cost, for which the database's statistics must settle before and after: 22 s.
    ``profile`` is a folder for what every process finds out about itself, which costs it some percent.
    """
    async with running_stack(profiles=profile) as stack:
        await warmed_up(stack)
        if profile is not None:
            stack.begin_profile()
        found = await (_explained(stack, tasks) if explained else timed(stack, tasks))
    if profile is not None:
        for path in write_functions(profile, tasks):
            sys.stderr.write(f"{path}\n")
    return found


async def warmed_up(stack: Stack) -> None:
    await stack.deploy(workflow(stack, "noop", {"t": noop()}))
    before = await stack.ended()
    await enter(stack, WARM_UP)
    await stack.finished(before + WARM_UP)


async def timed(stack: Stack, tasks: int) -> Figures:
    """For a stack that is `warmed_up`."""
    before = await stack.ended()
    began = time.time()
    await enter(stack, tasks)
    entered = time.time() - began
    await stack.finished(before + tasks)
    last = await stack.database.fetchval("select extract(epoch from max(finished_at))::float8 from runs")
    seconds = last - began
    return {"tasks": tasks, "seconds": seconds, "per_second": tasks / seconds, "entered_seconds": entered}


async def _explained(stack: Stack, tasks: int) -> Figures:
    parts = per_task.parts_of(stack)
    await asyncio.sleep(per_task.SETTLED_SECONDS)
    counts = await per_task.count_statements(stack.database)
    before = await per_task.observe(stack, parts)
    found = await timed(stack, tasks)
    spent = parts.spent()
    if counts:
        found["statements"] = await per_task.dearest_statements(stack.database, tasks)
    await asyncio.sleep(per_task.SETTLED_SECONDS)
    return found | per_task.per_task(before, await per_task.observe(stack, parts, spent), tasks)


async def enter(stack: Stack, tasks: int) -> None:
    """Starts ``tasks`` runs of the workflow ``noop`` in calls of 100, four clients at once."""
    waiting = list(range(0, tasks, BATCH))

    async def client() -> None:
        while waiting:
            first = waiting.pop()
            items = [{"workflow": "noop"}] * min(BATCH, tasks - first)
            answer = await stack.http.post("/runs:batch", json={"items": items})
            answer.raise_for_status()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 10_000, "tasks")
    parser.add_argument("--plain", action="store_true", help="only the rate, not what each task cost")
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="leave there which functions of each process took the time"
    )


async def _measured(arguments: argparse.Namespace) -> Figures:
    if arguments.profile is not None:
        arguments.profile.mkdir(parents=True, exist_ok=True)
    return await throughput(arguments.size, profile=arguments.profile, explained=not arguments.plain)


MEASURE = Measure(
    "throughput", "no-op durable runs a second, entered by batches of 100", _measured, _options, per_task.table
)
