"""The benchmarks themselves. Each returns what its line of JSON says; times are seconds unless named otherwise."""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.stack import Stack, running_stack

BATCH = 100
CLIENTS = 4


def _noop(call: str = "noop:nothing", needs: Sequence[str] = ()) -> dict[str, Any]:
    task: dict[str, Any] = {"python": {"call": call}}
    return task | {"needs": list(needs)} if needs else task


def _workflow(stack: Stack, name: str, tasks: Mapping[str, Any]) -> dict[str, Any]:
    return {"workflow": name, "defaults": {"queue": stack.queue.replace("_", "-")}, "tasks": dict(tasks)}


async def throughput(tasks: int) -> dict[str, Any]:
    """From the first request to the last recorded result, runs of one no-op task, entered by batches of 100."""
    async with running_stack() as stack:
        await stack.deploy(_workflow(stack, "noop", {"t": _noop()}))
        await _batches(stack, 200)
        await stack.finished(200)
        began = time.time()
        await _batches(stack, tasks)
        entered = time.time() - began
        await stack.finished(200 + tasks)
        last = await stack.database.fetchval("select extract(epoch from max(finished_at))::float8 from runs")
        seconds = last - began
        return {"tasks": tasks, "seconds": seconds, "per_second": tasks / seconds, "entered_seconds": entered}


async def _batches(stack: Stack, tasks: int) -> None:
    waiting = list(range(0, tasks, BATCH))

    async def client() -> None:
        while waiting:
            first = waiting.pop()
            items = [{"workflow": "noop"}] * min(BATCH, tasks - first)
            answer = await stack.http.post("/runs:batch", json={"items": items})
            answer.raise_for_status()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def latency(runs: int) -> dict[str, Any]:
    """From the API's answer to the beginning of the task's function, and from the request to it; one run at a time."""
    async with running_stack() as stack:
        await stack.deploy(_workflow(stack, "stamp", {"t": _noop("noop:now")}))
        for _ in range(20):
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
    async with asyncio.timeout(30):
        while (began := await stack.database.fetchval(query, run_id)) is None:
            await asyncio.sleep(0.005)
    return (began - answered) * 1000, (began - requested) * 1000


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(samples, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98], "max": max(samples)}


async def chain(length: int) -> dict[str, Any]:
    """A chain of no-op tasks, from the run's creation to its end; the median of seven after one that warms up."""
    tasks = {f"t{i}": _noop(needs=[f"t{i - 1}"] if i else []) for i in range(length)}
    return {"tasks": length, **await _whole_runs(tasks)}


async def fanout(width: int) -> dict[str, Any]:
    """One task, then ``width`` at once, then one that needs them all; measured like `chain`."""
    middle = {f"m{i}": _noop(needs=["first"]) for i in range(width)}
    tasks = {"first": _noop(), **middle, "last": _noop(needs=list(middle))}
    return {"width": width, **await _whole_runs(tasks)}


async def _whole_runs(tasks: Mapping[str, Any]) -> dict[str, Any]:
    query = "select extract(epoch from finished_at - created_at)::float8 from runs order by id offset 1"
    async with running_stack() as stack:
        await stack.deploy(_workflow(stack, "graph", tasks))
        for number in range(8):
            answer = await stack.http.post("/workflows/graph/run", json={})
            answer.raise_for_status()
            await stack.finished(number + 1)
        seconds = [row[0] for row in await stack.database.fetch(query)]
        return {"seconds": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}
