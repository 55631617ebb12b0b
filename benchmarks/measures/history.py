"""Whether cost follows work or history: the same operations beside ever more finished runs.

They are the use cases themselves, in this process, over a few connections; a cost is the processor time of this process
and of the server's processes that serve it, so that what else the machine does weighs little. Ratios are what counts.
"""

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import msgspec
import psutil

from benchmarks.history_rows import Filling, fill, make_partitions
from benchmarks.measure import Figures, Measure
from benchmarks.report import outline
from benchmarks.servers import servers
from scheduler_application.actor import Actor
from scheduler_application.paging import PageRequest
from scheduler_application.ports.reading import RunFilter
from scheduler_application.ports.rows import WorkerRow
from scheduler_application.run.claim import ClaimedTask
from scheduler_application.run.record import Report
from scheduler_application.run.start import StartRunCommand
from scheduler_application.workflow.authoring import DeployCommand
from scheduler_domain.ids import DEFAULT_PROJECT
from scheduler_domain.run.outcome import Succeeded
from scheduler_infrastructure.bootstrap.containers import Application
from scheduler_infrastructure.bootstrap.lifecycle import migrate, open_process
from scheduler_infrastructure.bootstrap.settings import Settings, load_settings
from scheduler_infrastructure.persistence.engine import both

SIZES = (0, 1_000_000, 10_000_000)
BATCH = 100
ROUNDS = 20
LOOKS = 100
WORKFLOWS = 10
TIMED = 50
ACTOR = Actor("key:benchmark", DEFAULT_PROJECT)


def _is_postgres(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return "postgres" in psutil.Process(pid).name()
    return False


_DUE = """
    update triggers set (due_at, next_at) = (
        select at, at
        from (select date_trunc('second', clock_timestamp()) - make_interval(secs => $1) as at) as moment)"""


class Cost(NamedTuple):
    """Seconds of processor time, and of waiting for it all."""

    cpu: float
    elapsed: float


async def by_size(sizes: Sequence[int]) -> Figures:
    """Milliseconds per run (start, claim, record), per due time (fire) and per look, beside so many finished runs;
    and each figure of the others over the first one's."""
    found = {str(size): await _beside(size) for size in sizes}
    first = found[str(sizes[0])]
    for size in sizes[1:]:
        found[f"ratio_{size}_to_{sizes[0]}"] = {
            name: found[str(size)][name] / first[name] for name in first if name.endswith("_cpu_ms")
        }
    return found


async def _beside(size: int) -> dict[str, float]:
    async with _own_database() as settings, open_process(settings, "benchmark") as process:
        bench = _Bench(process)
        await bench.prepare()
        await make_partitions(process.gateways.database(), await bench.moment())
        began = time.monotonic()
        if size:
            await bench.fill(size)
        figures = {"fill_seconds": time.monotonic() - began}
        return figures | await bench.measure()


@contextlib.asynccontextmanager
async def _own_database() -> AsyncIterator[Settings]:
    name = f"orrery_bench_{uuid4().hex[:8]}"
    server = servers().postgres_url
    admin = await asyncpg.connect(server)
    await admin.execute(f"create database {name}")
    try:
        url = urlsplit(server)._replace(path=f"/{name}").geturl()
        settings = load_settings(
            {"ORRERY_DATABASE_URL": url, "ORRERY_DATABASE_POOL_SIZE": "3", "ORRERY_LOG_LEVEL": "warning"}
        )
        await migrate(settings)
        yield settings
    finally:
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()


class _Bench:
    """One store with its use cases, and what an operation on it costs."""

    def __init__(self, process: Application) -> None:
        self._process = process
        self._use_cases = process.use_cases
        self._servers: list[int] = []
        self._used: dict[int, float] = {}
        self._worker_id = process.adapters.ids().new()

    async def prepare(self) -> None:
        """Deploys what is measured, and carries out one run."""
        for number in range(WORKFLOWS):
            await self._deploy(f"noop{number}")
        for number in range(TIMED):
            await self._deploy(f"timed{number}", triggers=[{"name": "clock", "every": "1h"}])
        await self._write("update triggers set next_at = null")
        worker = WorkerRow(self._worker_id, "benchmark", "0", ["default"], 1_000)
        await self._use_cases.register_worker().execute(worker)
        await self._record(await self._claim(await self._start()))
        await self._write("update workers set lease_until = clock_timestamp() + interval '1 day'")

    async def moment(self) -> datetime:
        """The store's time."""
        moment: datetime = (await self._rows("select clock_timestamp() as now_at"))[0]["now_at"]
        return moment

    async def fill(self, size: int) -> None:
        template = (await self._rows("select id from runs limit 1"))[0]["id"]
        workflows = [row["id"] for row in await self._rows("select id from workflows where name like 'noop%'")]
        trigger_id = (await self._rows("select id from triggers limit 1"))[0]["id"]
        connection = await asyncpg.connect(self._process.settings().database_url)
        await connection.execute("set synchronous_commit = off; set statement_timeout = 0")
        filling = Filling(template, workflows, trigger_id)
        await fill(connection, filling, size)
        await connection.execute("checkpoint", timeout=600)
        await connection.close()

    async def measure(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for stage in (self._work, self._fire, self._lists, self._move):
            await self._find_servers()
            await stage(figures)
        return figures

    async def _find_servers(self) -> None:
        """The processes that serve our connections, where they are on this machine."""
        rows = await self._rows(
            "select pid from pg_stat_activity where datname = current_database() and application_name = 'orrery'"
        )
        self._servers = [row["pid"] for row in rows if _is_postgres(row["pid"])]

    async def _work(self, figures: dict[str, float]) -> None:
        """Runs of one task, a hundred at a time: started, claimed, recorded."""
        for _ in range(3):
            await self._record(await self._claim(await self._start()))
        started, claims, records = [], [], []
        for _ in range(ROUNDS):
            cost, hints = await self._cost(self._start)
            started.append(cost)
            cost, claimed = await self._cost(partial(self._claim, hints))
            claims.append(cost)
            cost, _ = await self._cost(partial(self._record, claimed))
            records.append(cost)
        for name, costs in (("start", started), ("claim", claims), ("record", records)):
            _put(figures, name, costs, BATCH)

    async def _fire(self, figures: dict[str, float]) -> None:
        """Schedules that are due in the same second."""
        term = await self._use_cases.campaign().renew()
        await self._write("update leadership set lease_until = clock_timestamp() + interval '1 day'")
        costs = []
        for number in range(ROUNDS):
            await self._write(_DUE, float(ROUNDS - number))
            cost, fired = await self._cost(lambda: self._use_cases.fire_due_schedules().execute(term))
            if fired < TIMED:
                raise RuntimeError(f"{fired} due times were decided instead of {TIMED}")
            costs.append(cost)
        _put(figures, "fire", costs, TIMED)
        looks = [(await self._cost(lambda: self._look(term)))[0] for _ in range(LOOKS)]
        _put(figures, "idle_look", looks, 1)

    async def _look(self, term: Any) -> None:
        """What an idle leader asks again and again."""
        await self._use_cases.next_due().execute()
        await self._use_cases.relay_hints().execute(term)

    async def _lists(self, figures: dict[str, float]) -> None:
        reader = self._process.adapters.reader()
        first = PageRequest(50)
        asked = {
            "list": RunFilter(),
            "list_of_workflow": RunFilter(workflow="noop3"),
            "list_failed": RunFilter(states=("failed",)),
            "list_failed_of_workflow": RunFilter(workflow="noop7", states=("failed", "timed_out")),
            "list_running": RunFilter(states=("pending", "running")),
        }
        for name, where in asked.items():
            for _ in range(10):
                await reader.runs(DEFAULT_PROJECT, where, first)
            look = partial(reader.runs, DEFAULT_PROJECT, where, first)
            looks = [(await self._cost(look))[0] for _ in range(LOOKS)]
            _put(figures, name, looks, 1)

    async def _move(self, figures: dict[str, float]) -> None:
        """Finished runs into history; not among the ratios, for it is work that comes once a run."""
        await self._write("update runs set finished_at = finished_at - interval '1 hour' where finished_at is not null")

        async def move() -> int:
            async def page(tx: Any) -> int:
                now = self._process.gateways.clock().now()
                moved = await tx.history.archive(now + timedelta(minutes=1), None, None, 500)
                return int(moved.runs)

            total = 0
            while moved := await self._process.adapters.store().transact(page):
                total += moved
            return total

        cost, moved = await self._cost(move)
        figures["move_ms_per_run"] = cost.cpu * 1_000 / max(1, moved)

    async def _deploy(self, name: str, **more: Any) -> None:
        document = {"workflow": name, "tasks": {"t": {"shell": "true"}}, **more}
        text = msgspec.json.encode(document)
        await self._use_cases.deploy_workflow().execute(DeployCommand(text=text, format="json"), ACTOR)

    async def _start(self) -> list[tuple[str, int]]:
        commands = [StartRunCommand(f"noop{number % WORKFLOWS}", {}) for number in range(BATCH)]
        started = await self._use_cases.start_runs().execute(commands, ACTOR)
        await self._use_cases.announcer().idle()
        run_ids = [one.run_id for one in started if not isinstance(one, BaseException)]
        query = "select id, claim_no from task_runs where run_id = any($1::uuid[])"
        return [(row["id"], row["claim_no"]) for row in await self._rows(query, run_ids)]

    async def _claim(self, hints: list[tuple[str, int]]) -> list[ClaimedTask]:
        claimed: list[ClaimedTask] = await self._use_cases.claim_tasks().execute(self._worker_id, hints)
        return claimed

    async def _record(self, claimed: list[ClaimedTask]) -> None:
        record = self._use_cases.record_outcomes()
        reports = [Report(one, self._worker_id, Succeeded(), 0.001) for one in claimed]
        await asyncio.gather(*(record.execute(report) for report in reports))
        await self._use_cases.announcer().idle()

    async def _cost(self, work: Callable[[], Awaitable[Any]]) -> tuple[Cost, Any]:
        before, began = self._cpu(), time.perf_counter()
        result = await work()
        return Cost(self._cpu() - before, time.perf_counter() - began), result

    def _cpu(self) -> float:
        for pid in self._servers:
            # One whose connection was given up stays with what it had used.
            with contextlib.suppress(OSError):
                self._used[pid] = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
        return time.process_time() + sum(self._used.values())

    async def _rows(self, sql: str, *arguments: Any) -> Sequence[Any]:
        async with self._process.gateways.database().reading() as connection:
            found: Sequence[Any] = await connection.fetch(both(sql), *arguments)
        return found

    async def _write(self, sql: str, *arguments: Any) -> None:
        async with self._process.gateways.database().transaction() as connection:
            await connection.fetch(both(sql), *arguments)


def _put(figures: dict[str, float], name: str, costs: Sequence[Cost], size: int) -> None:
    """Medians: one pause of the machine, or a first look at a table, says nothing of the others."""
    figures[f"{name}_cpu_ms"] = statistics.median(cost.cpu for cost in costs) * 1_000 / size
    figures[f"{name}_elapsed_ms"] = statistics.median(cost.elapsed for cost in costs) * 1_000 / size


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sizes", type=_sizes, default=SIZES, help="how many finished runs, such as 0,1000000 (%(default)s)"
    )


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


async def _measured(arguments: argparse.Namespace) -> Figures:
    return await by_size(arguments.sizes)


MEASURE = Measure(
    "history",
    "the cost of starting, claiming, firing and listing beside ever more finished runs",
    _measured,
    _options,
    outline,
)
