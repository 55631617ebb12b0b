"""What the clock starts: how late, at what cost, and whether that depends on how many schedules there are.

Times are the database's: the due time, the ledger's decision and the worker's start are read from the store's rows.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from benchmarks.figures import percentiles
from benchmarks.measure import Figures, Measure
from benchmarks.report import outline
from benchmarks.schedule_rows import Schedules, copy, deploy_template, new_project
from benchmarks.stack import Stack, running_stack
from scheduler_application.schedule.fire import FIRED_AT_ONCE, NextDue
from scheduler_infrastructure.clock import StoreClock
from scheduler_infrastructure.persistence.engine import make_database
from scheduler_infrastructure.persistence.guard import StoreGuard
from scheduler_infrastructure.persistence.store import SqlStore

SIZES = (1_000, 100_000, 1_000_000)
HERD = 10_000
OTHERS = 20
STEADY_RATE = 100
STEADY_SECONDS = 20
LONE = 20
LONE_APART_SECONDS = 0.7
IDLE_SECONDS = 30.0
LOOKS = 200
SETTLED_SECONDS = 11.0
"""A backend that does nothing hands its figures to the server's statistics after ten."""

HEAD_START_SECONDS = 8.0
"""Rows written behind the dispatcher's back are seen within five."""

PATIENCE_SECONDS = 120.0


class Cost(NamedTuple):
    """What was used up to a moment: the dispatcher's CPU seconds, seconds of queries by all processes of the stack, and
    how often the index of what is due was asked."""

    cpu: float
    queries: float
    looks: int

    def __sub__(self, other: Any) -> "Cost":
        return Cost(self.cpu - other.cpu, self.queries - other.queries, self.looks - other.looks)


async def by_size(sizes: Sequence[int]) -> dict[str, Any]:
    """100 fires a second beside N schedules that are not due, then 30 s in which nothing is, then one at a time."""
    figures = {size: await _beside(size) for size in sizes}
    first, last = figures[sizes[0]], figures[sizes[-1]]
    names = ("cpu_ms_per_fire", "query_ms_per_fire", "empty_look_ms")
    return {
        "fires_per_second": STEADY_RATE,
        "sizes": {str(size): found for size, found in figures.items()},
        f"ratio_{sizes[-1]}_to_{sizes[0]}": {name: last[name] / first[name] for name in names},
    }


async def _beside(size: int) -> dict[str, Any]:
    async with running_stack() as stack:
        await deploy_template(stack, "far", {"schedule": "0 0 1 1 *"})
        began = time.monotonic()
        far = await _moment(stack) + timedelta(days=30)
        await copy(stack, Schedules("far", size, far, 300 * 86_400 / size))
        filled = time.monotonic() - began
        fires = await _steadily(stack, STEADY_RATE, STEADY_SECONDS)
        await asyncio.sleep(SETTLED_SECONDS)
        before = await _cost(stack)
        await asyncio.sleep(IDLE_SECONDS)
        idle = await _cost(stack) - before
        return {
            "fill_seconds": filled,
            **fires,
            "empty_look_ms": await _empty_look(stack),
            "idle_looks": idle.looks,
            "idle_cpu_ms_per_second": idle.cpu / IDLE_SECONDS * 1000,
            "lone_started_late_ms": await _one_at_a_time(stack),
        }


async def _one_at_a_time(stack: Stack) -> dict[str, float]:
    """How late a system that does nothing else starts what is due."""
    await deploy_template(stack, "lone", {"schedule": "0 0 1 1 *"})
    first = await _moment(stack) + timedelta(seconds=HEAD_START_SECONDS)
    await copy(stack, Schedules("lone", LONE, first, LONE_APART_SECONDS))
    await _seconds_until(stack, first, _ENDED, LONE)
    late = await stack.database.fetch(_LATENESS, first, first + timedelta(hours=1), None)
    return percentiles([row["started"] for row in late])


async def at_rate(rate: int, seconds: int) -> dict[str, Any]:
    """So many fires a second, evenly spread, by ``rate`` schedules of one second each."""
    async with running_stack() as stack:
        return {"rate": rate, "seconds": seconds, **await _steadily(stack, rate, seconds)}


async def herd(count: int) -> dict[str, Any]:
    """Schedules of one project all due in the same second, and beside them a few of another project with a worker of
    its own, half of them due in that second and half in the seconds that follow."""
    async with running_stack(others=["beside"]) as stack:
        await _warm(stack)
        await deploy_template(stack, "herd", {"schedule": "0 0 1 1 *"})
        await deploy_template(stack, "other", {"schedule": "0 0 1 1 *"}, queue="beside")
        other = await new_project(stack, "other")
        due_at = await _moment(stack) + timedelta(seconds=HEAD_START_SECONDS + count / 1_000)
        await copy(stack, Schedules("herd", count, due_at, 0))
        await copy(stack, Schedules("other", OTHERS // 2, due_at, 0, project_id=other))
        await copy(stack, Schedules("other", OTHERS // 2, due_at, 1, project_id=other))
        before = await _cost(stack)
        recorded = await _seconds_until(stack, due_at, "select count(*) from ledger where due_at = $1", count)
        unpublished = "select 1 - count(*) from (select from task_runs where state = 'ready' limit 1) as one"
        published = await _seconds_until(stack, None, unpublished, 1, since=due_at)
        ended = await _seconds_until(stack, due_at, _ENDED, count + OTHERS)
        cpu = stack.dispatcher.cpu_times()
        late = await stack.database.fetch(_LATENESS, due_at, due_at + timedelta(hours=1), other)
        beside = [row["started"] for row in late]
        return {
            "herd": count,
            "recorded_seconds": recorded,
            "published_seconds": published,
            "ended_seconds": ended,
            "dispatcher_cpu_seconds": cpu.user + cpu.system - before.cpu,
            "others": len(beside),
            "other_project_recorded_ms_max": max(row["recorded"] for row in late),
            "other_project_started_ms_max": max(beside),
        }


async def _steadily(stack: Stack, rate: int, seconds: int) -> dict[str, Any]:
    """``rate`` schedules of a second each, their phases spread over the second, for ``seconds``."""
    await _warm(stack)
    await deploy_template(stack, "steady", {"every": "1s"})
    first = await _moment(stack) + timedelta(seconds=HEAD_START_SECONDS)
    await copy(stack, Schedules("steady", rate, first, 1 / rate, every=1.0))
    before = await _cost(stack)
    until = first + timedelta(seconds=seconds)
    await _reached(stack, until)
    await _seconds_until(stack, first, _DECIDED, rate * seconds)
    await stack.database.execute("update triggers set active = false where name = 'clock' and expression = '1'")
    fires = await stack.database.fetchval(_DECIDED, first)
    await _seconds_until(stack, first, _ENDED, fires)
    await asyncio.sleep(SETTLED_SECONDS)
    used = await _cost(stack) - before
    late = await stack.database.fetch(_LATENESS, first, until, None)
    started = [row["started"] for row in late]
    return {
        "fires": len(late),
        "missed": rate * seconds - len(late),
        "recorded_late_ms": percentiles([row["recorded"] for row in late]),
        "started_late_ms": percentiles(started),
        "early": sum(1 for row in late if min(row["recorded"], row["started"]) < 0),
        "cpu_ms_per_fire": used.cpu / fires * 1000,
        "query_ms_per_fire": used.queries / fires * 1000,
    }


_DECIDED = "select count(*) from ledger where due_at >= $1"
_ENDED = "select count(*) from runs where finished_at is not null and due_at >= $1"
_LATENESS = """
    select extract(epoch from l.decided_at - l.due_at)::float8 * 1000 as recorded,
        extract(epoch from t.started_at - l.due_at)::float8 * 1000 as started
    from ledger l join task_runs t on t.run_id = l.run_id
    where l.due_at >= $1 and l.due_at < $2 and ($3::uuid is null or l.project_id = $3)"""


async def _warm(stack: Stack) -> None:
    """The worker's Python children are there, and every process has its connections."""
    await deploy_template(stack, "warm", {"every": "1d"})
    for _ in range(5):
        answer = await stack.http.post("/runs:batch", json={"items": [{"workflow": "warm"}] * 40})
        answer.raise_for_status()
    await stack.finished(200)


async def _moment(stack: Stack) -> datetime:
    moment: datetime = await stack.database.fetchval("select date_trunc('second', clock_timestamp())")
    return moment


async def _reached(stack: Stack, moment: datetime) -> None:
    left = await stack.database.fetchval("select extract(epoch from $1 - clock_timestamp())::float8", moment)
    await asyncio.sleep(max(0.0, left))


async def _seconds_until(
    stack: Stack, argument: datetime | None, query: str, count: int, *, since: datetime | None = None
) -> float:
    """Seconds from ``since`` (absent: from ``argument``) until ``query`` counts so many, by the database's clock."""
    since = since or argument
    arguments = () if argument is None else (argument,)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await stack.database.fetchval(query, *arguments) < count:
            await asyncio.sleep(0.02)
    if since is None:
        return 0.0
    seconds: float = await stack.database.fetchval("select extract(epoch from clock_timestamp() - $1)::float8", since)
    return seconds


async def _cost(stack: Stack) -> Cost:
    cpu = stack.dispatcher.cpu_times()
    row = await stack.database.fetchrow(
        """select (select active_time / 1000 from pg_stat_database where datname = current_database()) as queries,
        (select idx_scan from pg_stat_user_indexes where indexrelname = 'ix_triggers_due') as looks"""
    )
    return Cost(cpu.user + cpu.system, row["queries"], row["looks"])


async def _empty_look(stack: Stack) -> float:
    """Milliseconds of a look that finds nothing due and the question what comes next, asked as the dispatcher asks."""
    clock = StoreClock()
    database = make_database(stack.database_url, clock)
    store = SqlStore(database, StoreGuard(deadline_seconds=10))
    next_due = NextDue(store)
    clock.set_offset(await database.clock_offset())
    samples = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        found = await store.transact(lambda tx: tx.triggers.due(clock.now(), FIRED_AT_ONCE))
        await next_due.fire()
        samples.append(time.perf_counter() - began)
        if found:
            raise RuntimeError("something is due, so this was no empty look")
    await database.close()
    return statistics.median(samples) * 1000


def _options(parser: argparse.ArgumentParser) -> None:
    parser.description = "without an option: --sizes and --herd with their usual figures"
    parser.add_argument("--sizes", type=_sizes, help="how many schedules exist, such as 1000,100000,1000000")
    parser.add_argument("--herd", type=int, help="how many schedules of one project are due in the same second")
    parser.add_argument("--rate", type=int, help="fires a second, for --seconds")
    parser.add_argument("--seconds", type=int, default=60, help="how long --rate lasts (%(default)s)")


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


async def _measured(arguments: argparse.Namespace) -> Figures:
    usual = arguments.sizes is arguments.herd is arguments.rate is None
    found: Figures = {}
    if arguments.sizes or usual:
        found["by_size"] = await by_size(arguments.sizes or SIZES)
    if arguments.herd or usual:
        found["herd"] = await herd(arguments.herd or HERD)
    if arguments.rate:
        found["rate"] = await at_rate(arguments.rate, arguments.seconds)
    return found


MEASURE = Measure("schedules", "how late and at what cost the clock starts runs", _measured, _options, outline)
