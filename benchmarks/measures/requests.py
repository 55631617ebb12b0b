"""How many runs a second start one by one, each by a request of its own, how soon each is answered, and what it costs
whom."""

import argparse
from typing import Any
from urllib.parse import urlsplit

from benchmarks import per_task
from benchmarks.figures import percentiles
from benchmarks.http_load import Answers, Load, apply
from benchmarks.measure import Figures, Measure, add_size
from benchmarks.processor import GENERATOR, between
from benchmarks.report import outline
from benchmarks.stack import Stack, running_stack
from benchmarks.workflows import noop, workflow

CONNECTIONS = 32
RATE = 1_500
WARM_UP = 1_000


async def requests(count: int, *, workers: int, rate: float, connections: int) -> Figures:
    """`POST /workflows/{workflow}/run` ``count`` times as fast as answers come, then as often at ``rate`` a second.

    The whole system runs and consumes the runs meanwhile; with ``workers=0`` nobody does.
    """
    async with running_stack(workers=workers) as stack:
        await stack.deploy(workflow(stack, "noop", {"t": noop()}))
        where = _where(stack)
        await _accepted(Load(**where, count=WARM_UP, connections=connections))
        as_fast = Load(**where, count=count, connections=connections)
        paced = Load(**where, count=count, connections=connections, rate=rate)
        return {
            "requests": count,
            "connections": connections,
            "workers": workers,
            "as_fast_as_answered": await _measured_load(stack, as_fast),
            f"at_{rate:g}_a_second": await _measured_load(stack, paced),
        }


def _where(stack: Stack) -> dict[str, Any]:
    url = urlsplit(str(stack.http.base_url))
    path = url.path.rstrip("/") + "/workflows/noop/run"
    key = stack.http.headers["authorization"].removeprefix("Bearer ")
    return {"host": url.hostname, "port": url.port, "path": path, "key": key, "body": "{}"}


async def _accepted(load: Load) -> Answers:
    answers = await apply(load)
    if answers.statuses != {"202": load.count}:
        raise RuntimeError(f"not every request was accepted: {answers.statuses}")
    return answers


async def _measured_load(stack: Stack, load: Load) -> Figures:
    """What others do on the servers at the same time counts as well: use servers of one's own for exact costs."""
    if stack.workers:
        await stack.finished(await _runs(stack))
    parts = per_task.parts_of(stack)
    before = parts.spent()
    answers = await _accepted(load)
    cpu = between(before, parts.spent()) | {GENERATOR: answers.cpu_seconds}
    figures: Figures = {
        "per_second": load.count / answers.seconds,
        "ms": percentiles(answers.milliseconds),
        "cpu_us_per_request": {part: seconds / load.count * 1e6 for part, seconds in cpu.items()},
    }
    if stack.workers:
        await stack.finished(await _runs(stack))
        figures["ended_per_second"] = await _ended_per_second(stack, load.count)
    return figures


async def _runs(stack: Stack) -> int:
    count: int = await stack.database.fetchval("select count(*) from runs")
    return count


async def _ended_per_second(stack: Stack, last: int) -> float:
    """Of the newest ``last`` runs, from the first start to the last end."""
    seconds: float = await stack.database.fetchval(
        """select extract(epoch from max(finished_at) - min(created_at))::float8
        from (select created_at, finished_at from runs order by id desc limit $1) as newest""",
        last,
    )
    return last / seconds


def _options(parser: argparse.ArgumentParser) -> None:
    add_size(parser, 15_000, "requests of each of both loads")
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second of the second load (%(default)s)")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="requests at once (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="0: nobody executes what was started (%(default)s)")


async def _measured(arguments: argparse.Namespace) -> Figures:
    return await requests(
        arguments.size, workers=arguments.workers, rate=arguments.rate, connections=arguments.connections
    )


MEASURE = Measure("requests", "runs started a second by a request each", _measured, _options, outline)
