"""Whether processes grow with the work that they have done."""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psutil

from benchmarks.figures import slope
from benchmarks.measure import Figures, Measure, add_size
from benchmarks.measures.throughput import enter
from benchmarks.report import columns
from benchmarks.stack import Stack, running_stack
from benchmarks.workflows import noop, workflow

ROUND = 2_000
WAITING_AT_MOST = 6_000
"""Work that waits is no work that is done: the backlog stays small, so that what grows is what is kept."""

WARM_UP_SHARE = 0.25
UNIT = 10_000
MEGABYTE = 1_000_000
PATIENCE_SECONDS = 1_200
CHILDREN = "python_children"


class Sample(NamedTuple):
    """Resident megabytes by process, once ``tasks`` were done."""

    tasks: int
    megabytes: Mapping[str, float]


async def memory(stack: Stack, tasks: int) -> Figures:
    """Runs of one no-op task; resident memory of every process is looked at each time some thousand more are done."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await stack.deploy(workflow(stack, "noop", {"t": noop()}))
        began = time.monotonic()
        samples: list[Sample] = []
        for entered in range(ROUND, tasks + ROUND, ROUND):
            await enter(stack, min(ROUND, tasks - entered + ROUND))
            waiting = await _waiting(stack, WAITING_AT_MOST)
            samples.append(Sample(min(entered, tasks) - waiting, resident(stack.processes)))
        await _waiting(stack, 0)
        samples.append(Sample(tasks, resident(stack.processes)))
        return {"tasks": tasks, "seconds": time.monotonic() - began, "processes": growths(samples)}


async def _waiting(stack: Stack, at_most: int) -> int:
    """Returns how many task runs are not done, when they are few enough."""
    query = "select count(*) from task_runs where state in ('ready', 'queued', 'running')"
    while (found := await stack.database.fetchval(query)) > at_most:
        await asyncio.sleep(0.2)
    return int(found)


def resident(processes: Mapping[str, Sequence[psutil.Process]]) -> dict[str, float]:
    """Megabytes of each process, of a worker's children the mean: they are replaced now and then."""
    found: dict[str, float] = {}
    for command, all_of_them in processes.items():
        for number, process in enumerate(all_of_them):
            name = command if number == 0 else f"{command}_{number + 1}"
            found[name] = process.memory_info().rss / MEGABYTE
    children = [_rss(child) for worker in processes.get("worker", ()) for child in worker.children(recursive=True)]
    alive = [rss for rss in children if rss]
    return found | ({CHILDREN: sum(alive) / len(alive) / MEGABYTE} if alive else {})


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def growths(samples: Sequence[Sample]) -> dict[str, Figures]:
    """By process, after the warm-up: megabytes at first, at last and at most, and how many it grows by 10,000 tasks."""
    after = samples[-1].tasks * WARM_UP_SHARE
    warm = [sample for sample in samples if sample.tasks >= after]
    found = {}
    for name in warm[-1].megabytes:
        points = [(sample.tasks / UNIT, sample.megabytes[name]) for sample in warm if name in sample.megabytes]
        sizes = [size for _, size in points]
        found[name] = {
            "first_mb": sizes[0],
            "last_mb": sizes[-1],
            "most_mb": max(sizes),
            "slope_mb_per_10000": slope(points),
        }
    return found


def _table(figures: Figures) -> str:
    heads = ("process", "first MB", "last MB", "most MB", "MB per 10,000 tasks")
    return columns(heads, [(name, *found.values()) for name, found in figures["processes"].items()])


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 200_000, "tasks")


async def _measured(arguments: argparse.Namespace) -> Figures:
    async with running_stack() as stack:
        return await memory(stack, arguments.size)


MEASURE = Measure("memory", "megabytes that each process grows by 10,000 tasks", _measured, _options, _table)
