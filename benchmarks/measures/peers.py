"""Other task queues in the same minutes, and Orrery as multiples of them."""

import argparse
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from benchmarks.figures import percentiles, ratio
from benchmarks.measure import Figures, Measure, add_size
from benchmarks.measures.chain import chain
from benchmarks.measures.fanout import fanout
from benchmarks.measures.latency import latency
from benchmarks.measures.throughput import throughput
from benchmarks.peer_environment import PINNED, installed_python
from benchmarks.peer_processes import Peer, celery, huey
from benchmarks.report import columns
from benchmarks.stack import running_stack

GRAPH = 40
LATENCY_SAMPLES = 200
MEANINGS = {
    "huey": "huey, all in Redis, nothing on disk",
    "celery_redis": "Celery, confirms, results in Redis",
    "celery_redis_quorum": "Celery, quorum queue and confirms, results in Redis",
    "celery_postgresql": "Celery, results in PostgreSQL",
    "orrery": "Orrery, confirms, quorum queue, PostgreSQL",
}


async def peers(tasks: int, *, only: str | None = None) -> Figures:
    """Throughput of each; for those in Redis latency and, for Celery, a chain and a fan-out of 40; then Orrery's."""
    python = installed_python()
    found: dict[str, Figures] = {}
    for name, (peer, share) in _peers(python).items():
        if only in (None, name):
            found[name] = await _of_peer(name, peer, round(tasks * share))
    found["orrery"] = await _of_orrery(tasks)
    return {"systems": found, "orrery_as_multiple": multiples(found), "installed": " ".join(PINNED)}


def _peers(python: Path) -> dict[str, tuple[AbstractAsyncContextManager[Peer], float]]:
    """With the share of the tasks that they get: the slow ones fewer."""
    return {
        "huey": (huey(python), 1.0),
        "celery_redis": (celery(python, results="redis", queue_type="classic", confirms=True), 0.5),
        "celery_redis_quorum": (celery(python, results="redis", queue_type="quorum", confirms=True), 0.5),
        "celery_postgresql": (celery(python, results="postgresql", queue_type="classic", confirms=False), 0.3),
    }


async def _of_peer(name: str, running: AbstractAsyncContextManager[Peer], tasks: int) -> Figures:
    async with running as peer:
        with peer.worker() as worker:
            await peer.drive("latency", 1)
            found = await peer.throughput(tasks, worker)
            found["latency_ms"] = percentiles((await peer.drive("latency", LATENCY_SAMPLES))["ms"])
            if name.startswith("celery_redis"):
                found["chain_seconds"] = (await peer.drive("chain", GRAPH))["seconds"]
                found["fanout_seconds"] = (await peer.drive("fanout", GRAPH))["seconds"]
            return found


async def _of_orrery(tasks: int) -> Figures:
    whole = await throughput(tasks)
    async with running_stack() as stack:
        waits = await latency(stack, LATENCY_SAMPLES)
    async with running_stack() as stack:
        in_a_chain = await chain(stack, GRAPH)
    async with running_stack() as stack:
        at_once = await fanout(stack, GRAPH)
    return {
        "tasks": tasks,
        "per_second": whole["per_second"],
        "cpu_us_per_task": whole["cpu_us_per_task"]["sum"] + whole["cpu_us_per_task"]["load_generator"],
        "latency_ms": waits["from_request_ms"],
        "latency_from_answer_ms": waits["from_answer_ms"],
        "chain_seconds": in_a_chain["seconds"],
        "fanout_seconds": at_once["seconds"],
    }


def multiples(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Orrery's figures divided by those of each peer, where both have one."""
    ours = found["orrery"]
    names = ("per_second", "cpu_us_per_task", "chain_seconds", "fanout_seconds")
    compared: dict[str, dict[str, float | None]] = {}
    for peer, theirs in found.items():
        if peer == "orrery":
            continue
        compared[peer] = {name: ratio(ours[name], theirs[name]) for name in names if name in ours and name in theirs}
        compared[peer]["latency_p50"] = ratio(ours["latency_ms"]["p50"], theirs["latency_ms"]["p50"])
    return compared


def _table(figures: Figures) -> str:
    heads = ("system", "tasks/s", "CPU us/task", "idle p50 ms", "p99 ms", "chain of 40, s", "1-40-1, s")
    rows = [(MEANINGS[name], *_row(found)) for name, found in figures["systems"].items()]
    named = ("Orrery divided by", "tasks/s", "CPU", "idle p50", "chain", "fan-out")
    names = ("per_second", "cpu_us_per_task", "latency_p50", "chain_seconds", "fanout_seconds")
    ratios = [
        (MEANINGS[peer], *(found.get(name) for name in names)) for peer, found in figures["orrery_as_multiple"].items()
    ]
    return columns(heads, rows) + "\n\n" + columns(named, ratios)


def _row(found: Mapping[str, Any]) -> tuple[float | None, ...]:
    waits = found["latency_ms"]
    graphs = (found.get("chain_seconds"), found.get("fanout_seconds"))
    return (found["per_second"], found["cpu_us_per_task"], waits["p50"], waits["p99"], *graphs)


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 10_000, "tasks of Orrery and huey; Celery gets half or less")
    parser.add_argument("--only", choices=[name for name in MEANINGS if name != "orrery"], help="one peer")


async def _measured(arguments: argparse.Namespace) -> Figures:
    return await peers(arguments.size, only=arguments.only)


MEASURE = Measure("peers", "huey and Celery, and Orrery beside them", _measured, _options, _table)
