"""The least that a durable run can cost on this machine, and how many times that Orrery costs."""

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from benchmarks import floor_loops
from benchmarks.figures import ratio
from benchmarks.floor_loops import Ground, ground
from benchmarks.measure import Figures, Measure, add_size
from benchmarks.measures.throughput import throughput
from benchmarks.processor import GENERATOR, MACHINE, Parts, between
from benchmarks.report import columns
from benchmarks.servers import server_processes

PATIENCE_SECONDS = 300
WARM_UP = 500


class Loop(NamedTuple):
    does: str
    run: Callable[[Ground, int], Awaitable[None]]
    share: float
    """Of the tasks that were asked for: those that work one by one need fewer for the same precision."""


LOOPS = {
    "database_one_by_one": Loop("insert, claim, finish one by one (no broker)", floor_loops.database_one_by_one, 0.3),
    "database_by_hundreds": Loop("the same by hundreds", floor_loops.database_by_hundreds, 2),
    "broker_one_by_one": Loop("insert, publish, run, finish one by one", floor_loops.broker_one_by_one, 0.3),
    "one_message_each": Loop("by hundreds, one message for each task", floor_loops.one_message_each, 1),
    "many_hints": Loop("by hundreds, one message for a hundred tasks", floor_loops.many_hints, 2),
}


async def floor(tasks: int, *, engine: bool = True) -> Figures:
    """Processor microseconds per task of every loop; with ``engine`` those of `throughput` too, as multiples."""
    found: Figures = {name: await _measured_loop(loop, tasks) for name, loop in LOOPS.items()}
    if not engine:
        return {"loops": found}
    whole = await throughput(tasks)
    cost = whole["cpu_us_per_task"]
    spent = {
        "tasks_per_second": whole["per_second"],
        "postgresql": cost.get("postgresql"),
        "rabbitmq": cost.get("rabbitmq"),
        "python": sum(cost[part] for part in ("api", "dispatcher", "worker", "python_children")),
        "cpu_us_per_task": cost["sum"],
    }
    times = {f"times_{name}": ratio(cost["sum"], loop["cpu_us_per_task"]) for name, loop in found.items()}
    return {"loops": found, "engine": {**spent, **times}, "throughput": whole}


async def _measured_loop(loop: Loop, tasks: int) -> Figures:
    """A server that is not on this machine has no figure, and the sum is then too small."""
    tasks = max(1, round(tasks * loop.share))
    parts = Parts({}, server_processes())
    async with ground() as own, asyncio.timeout(PATIENCE_SECONDS):
        await loop.run(own, min(WARM_UP, tasks))
        before, began = parts.spent(), time.perf_counter()
        await loop.run(own, tasks)
        seconds = time.perf_counter() - began
        spent = {name: used / tasks * 1e6 for name, used in between(before, parts.spent()).items()}
    servers = {name: spent.get(name) for name in ("postgresql", "rabbitmq")}
    total = spent[GENERATOR] + sum(used or 0.0 for used in servers.values())
    return {
        "tasks": tasks,
        "tasks_per_second": tasks / seconds,
        **servers,
        "python": spent[GENERATOR],
        "cpu_us_per_task": total,
        "per_second_if_all_cores_did_only_this": ratio((os.cpu_count() or 1) * 1e6, total),
        "whole_machine": spent[MACHINE],
    }


def _table(figures: Figures) -> str:
    heads = ("CPU us per task", "PostgreSQL", "RabbitMQ", "Python", "sum", "tasks/s", "Orrery's sum as a multiple")
    engine = figures.get("engine", {})
    rows = [(LOOPS[name].does, *_cost(loop), engine.get(f"times_{name}")) for name, loop in figures["loops"].items()]
    if engine:
        rows.append(("Orrery (load generator apart)", *_cost(engine), 1.0))
    return columns(heads, rows)


def _cost(found: Figures) -> tuple[float, ...]:
    return tuple(found[name] for name in ("postgresql", "rabbitmq", "python", "cpu_us_per_task", "tasks_per_second"))


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 10_000, "tasks of the loop with one message for each")
    parser.add_argument("--without-engine", action="store_true", help="only the loops, not Orrery beside them")


async def _measured(arguments: argparse.Namespace) -> Figures:
    return await floor(arguments.size, engine=not arguments.without_engine)


MEASURE = Measure(
    "floor", "the least that a durable run costs, and Orrery's cost as a multiple", _measured, _options, _table
)
