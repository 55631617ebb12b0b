"""How fast `orrery up` is on SQLite: everything in one process, measured from outside like the distributed one."""

import argparse
import json
import statistics
import time

from benchmarks.measure import Figures, Measure, add_size
from benchmarks.node import Node, moment, running_node

WARM_UP = 500
LATENCIES = 200
CHAIN = 40
REPEATS = 7


async def embedded(runs: int) -> Figures:
    """Runs of one no-op task from the first request to the last recorded result; then latency and a chain, idle."""
    async with running_node() as node:
        return {**await _throughput(node, runs), "latency_ms": await _latency(node), "chain": await _chain(node)}


async def _throughput(node: Node, runs: int) -> Figures:
    await node.deploy("noop", {"t": {"python": {"call": "noop:nothing"}}})
    await node.start("noop", WARM_UP)
    await node.finished()
    before, began = node.processor_seconds(), time.time()
    await node.start("noop", runs)
    entered = time.time() - began
    await node.finished()
    after, seconds = node.processor_seconds(), node.last_end() - began
    processor = {f"{part}_us_per_run": (after[part] - before[part]) / runs * 1e6 for part in after}
    return {"runs": runs, "seconds": seconds, "per_second": runs / seconds, "entered_seconds": entered, **processor}


async def _latency(node: Node) -> dict[str, float]:
    """From the request to the beginning of the task's function, one run at a time."""
    await node.deploy("stamp", {"t": {"python": {"call": "noop:now"}}})
    samples = [await _stamped(node) for _ in range(20 + LATENCIES)][20:]
    cuts = statistics.quantiles(samples, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98], "max": max(samples)}


async def _stamped(node: Node) -> float:
    requested = time.time()
    answer = await node.http.post("/workflows/stamp/run", json={})
    answer.raise_for_status()
    await node.finished(often=True)
    query = "select output from task_runs where run_id = ?"
    began = node.rows.execute(query, (answer.json()["run_id"],)).fetchone()[0]
    return (float(json.loads(began)) - requested) * 1000


async def _chain(node: Node) -> dict[str, float]:
    """From the run's creation to its end, after one that warms up."""
    call = {"python": {"call": "noop:nothing"}}
    tasks = {f"t{i}": {**call, "needs": [f"t{i - 1}"]} if i else call for i in range(CHAIN)}
    await node.deploy("chain", tasks)
    for _ in range(1 + REPEATS):
        answer = await node.http.post("/workflows/chain/run", json={})
        answer.raise_for_status()
        await node.finished(often=True)
    query = "select created_at, finished_at from runs order by id desc limit ?"
    seconds = [moment(finished) - moment(created) for created, finished in node.rows.execute(query, (REPEATS,))]
    return {"tasks": CHAIN, "seconds": statistics.median(seconds)}


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 10_000, "tasks")


async def _measured(arguments: argparse.Namespace) -> Figures:
    return await embedded(arguments.size)


MEASURE = Measure("embedded", "runs a second of `orrery up` on SQLite, its latency and a chain", _measured, _options)
