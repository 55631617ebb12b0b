"""How many durable runs of one no-op task a second, from the first request to the last recorded result."""

import argparse
import asyncio
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.measure import Figures, Measure, add_size
from benchmarks.stack import Stack, running_stack
from benchmarks.workflows import noop, workflow

BATCH = 100
CLIENTS = 4
WARM_UP = 200


async def throughput(tasks: int) -> Figures:
    """Runs of one no-op task, entered by batches of 100."""
    async with running_stack() as stack:
        await stack.deploy(workflow(stack, "noop", {"t": noop()}))
        await enter(stack, WARM_UP)
        await stack.finished(WARM_UP)
        began = time.time()
        await enter(stack, tasks)
        entered = time.time() - began
        await stack.finished(WARM_UP + tasks)
        last = await stack.database.fetchval("select extract(epoch from max(finished_at))::float8 from runs")
        seconds = last - began
        return {"tasks": tasks, "seconds": seconds, "per_second": tasks / seconds, "entered_seconds": entered}


async def enter(stack: Stack, tasks: int, request: Mapping[str, Any] | None = None) -> None:
    """Starts ``tasks`` runs of the workflow ``noop`` in calls of 100, four clients at once."""
    item = dict(request or {"workflow": "noop"})
    waiting = list(range(0, tasks, BATCH))

    async def client() -> None:
        while waiting:
            first = waiting.pop()
            answer = await stack.http.post("/runs:batch", json={"items": [item] * min(BATCH, tasks - first)})
            answer.raise_for_status()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 10_000, "tasks")


async def _measured(arguments: argparse.Namespace) -> Figures:
    return await throughput(arguments.size)


MEASURE = Measure("throughput", "no-op durable runs a second, entered by batches of 100", _measured, _options)
