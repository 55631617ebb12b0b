"""How long whole runs of many tasks take."""

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.measure import Figures
from benchmarks.stack import Stack
from benchmarks.workflows import workflow

RUNS = 8


async def whole_runs(stack: Stack, tasks: Mapping[str, Any]) -> Figures:
    """From a run's creation to its end, one run at a time: the median of seven after one that warms up."""
    query = "select extract(epoch from finished_at - created_at)::float8 from runs where id = any($1)"
    await stack.deploy(workflow(stack, "graph", tasks))
    before = await stack.ended()
    runs = []
    for number in range(RUNS):
        answer = await stack.http.post("/workflows/graph/run", json={})
        runs.append(answer.raise_for_status().json()["run_id"])
        await stack.finished(before + number + 1)
    seconds = [row[0] for row in await stack.database.fetch(query, runs[1:])]
    return {"seconds": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}
