"""How soon a run starts in an idle system."""

import argparse
import asyncio
import time

from benchmarks.figures import percentiles
from benchmarks.measure import Figures, Measure, add_size
from benchmarks.stack import Stack, running_stack
from benchmarks.workflows import noop, workflow

WARM_UP = 20
PATIENCE_SECONDS = 30


async def latency(stack: Stack, runs: int) -> Figures:
    """From the API's answer to the beginning of the task's function, and from the request to it; one run at a time."""
    await stack.deploy(workflow(stack, "stamp", {"t": noop("noop:now")}))
    for _ in range(WARM_UP):
        await _stamped(stack)
    samples = [await _stamped(stack) for _ in range(runs)]
    answered, requested = [list(column) for column in zip(*samples, strict=True)]
    return {"runs": runs, "from_answer_ms": percentiles(answered), "from_request_ms": percentiles(requested)}


async def _stamped(stack: Stack) -> tuple[float, float]:
    requested = time.time()
    answer = await stack.http.post("/workflows/stamp/run", json={})
    answered = time.time()
    run_id = answer.json()["run_id"]
    query = "select output::float8 from task_runs where run_id = $1 and state = 'succeeded'"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (began := await stack.database.fetchval(query, run_id)) is None:
            await asyncio.sleep(0.005)
    return (began - answered) * 1000, (began - requested) * 1000


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 300, "runs, one after the other")


async def _measured(arguments: argparse.Namespace) -> Figures:
    async with running_stack() as stack:
        return await latency(stack, arguments.size)


MEASURE = Measure("latency", "milliseconds until an idle system starts a run", _measured, _options)
