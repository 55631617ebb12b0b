"""Whether cost follows work or history: the same operations beside ever more finished runs.

They are the use cases themselves, in this process, over a few connections; a cost is the processor time of this process
and of the server's processes that serve it, so that what else the machine does weighs little. Ratios are what counts:
the sizes take turns, round by round, so that what the machine does to one it does to the others. A list shows a full
page beside any number of runs; with history, the page of failed runs comes from its oldest tenth.
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

from benchmarks.history_rows import Filling, fail_a_page, fill, make_partitions
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
A_PAGE_SHOWS = 50
ACTOR = Actor("key:benchmark", DEFAULT_PROJECT)

_LISTS = {
    "list": RunFilter(),
    "list_of_workflow": RunFilter(workflow="noop3"),
    "list_failed": RunFilter(states=("failed",)),
    "list_failed_of_workflow": RunFilter(workflow="noop7", states=("failed", "timed_out")),
    "list_running": RunFilter(states=("pending", "running")),
}
_FULL = {"list", "list_of_workflow", "list_failed", "list_failed_of_workflow"}


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
    async with contextlib.AsyncExitStack() as stack:
        benches = {size: await stack.enter_async_context(_beside(size)) for size in sizes}
        await _measure(list(benches.values()))
        found = {str(size): bench.figures for size, bench in benches.items()}
    first = found[str(sizes[0])]
    for size in sizes[1:]:
        found[f"ratio_{size}_to_{sizes[0]}"] = {
            name: found[str(size)][name] / first[name] for name in first if name.endswith("_cpu_ms")
        }
    return found


@contextlib.asynccontextmanager
async def _beside(size: int) -> AsyncIterator["_Bench"]:
    async with _own_database() as settings, open_process(settings, "benchmark") as process:
        bench = _Bench(process)
        await bench.prepare()
        began = time.monotonic()
        await bench.fill(size)
        await make_partitions(process.gateways.database(), await bench.moment())
        bench.figures["fill_seconds"] = time.monotonic() - began
        yield bench


async def _measure(benches: Sequence["_Bench"]) -> None:
    for work, warm, rounds in _ROUNDS:
        for number in range(warm + rounds):
            for bench in benches:
                await bench.round(work, kept=number >= warm)
    for bench in benches:
        bench.close()


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
        self.figures: dict[str, float] = {}
        self._costs: dict[str, list[Cost]] = {}
        self._kept = False
        self._term: Any = None
        self._fires_left = ROUNDS
        self._shown = ""
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
        self._term = await self._use_cases.campaign().renew()
        await self._write("update leadership set lease_until = clock_timestamp() + interval '1 day'")

    async def moment(self) -> datetime:
        """The store's time."""
        moment: datetime = (await self._rows("select clock_timestamp() as now_at"))[0]["now_at"]
        return moment

    async def fill(self, size: int) -> None:
        template = (await self._rows("select id from runs limit 1"))[0]["id"]
        noops = await self._rows("select id from workflows where name like 'noop%' order by name")
        trigger_id = (await self._rows("select id from triggers limit 1"))[0]["id"]
        filling = Filling(template, [row["id"] for row in noops], trigger_id)
        url = self._process.settings().database_url
        connection = await asyncpg.connect(url)
        if size:
            await fill(url, filling, size)
        else:
            await fail_a_page(connection, filling)
        await connection.execute("vacuum (analyze) runs, task_runs, workflows, versions, triggers", timeout=600)
        await connection.execute("checkpoint", timeout=600)
        await connection.close()

    async def round(self, work: "Work", *, kept: bool) -> None:
        """One round of ``work``; what it costs counts where it is ``kept``."""
        await self._find_servers()
        self._kept = kept
        await work(self)

    def close(self) -> None:
        """Makes figures of the costs. Medians: one pause of the machine, or a first look at a table, says nothing of
        the others."""
        for name, costs in self._costs.items():
            self.figures[f"{name}_cpu_ms"] = statistics.median(cost.cpu for cost in costs) * 1_000
            self.figures[f"{name}_elapsed_ms"] = statistics.median(cost.elapsed for cost in costs) * 1_000

    async def _find_servers(self) -> None:
        """The processes that serve our connections, where they are on this machine."""
        rows = await self._rows(
            "select pid from pg_stat_activity where datname = current_database() and application_name = 'orrery'"
        )
        self._servers = [row["pid"] for row in rows if _is_postgres(row["pid"])]

    async def runs(self) -> None:
        """A hundred runs of one task: started, claimed, recorded."""
        hints = await self._cost("start", BATCH, self._start)
        claimed = await self._cost("claim", BATCH, partial(self._claim, hints))
        await self._cost("record", BATCH, partial(self._record, claimed))

    async def fire(self) -> None:
        """Schedules that are due in the same second."""
        self._fires_left -= 1
        await self._write(_DUE, float(self._fires_left))
        fired = await self._cost("fire", TIMED, lambda: self._use_cases.fire_due_schedules().execute(self._term))
        if fired < TIMED:
            raise RuntimeError(f"{fired} due times were decided instead of {TIMED}")

    async def look(self) -> None:
        """What an idle leader asks again and again."""

        async def look() -> None:
            await self._use_cases.next_due().execute()
            await self._use_cases.relay_hints().execute(self._term)

        await self._cost("idle_look", 1, look)

    async def lists(self) -> None:
        reader = self._process.adapters.reader()
        for name, where in _LISTS.items():
            page = await self._cost(name, 1, partial(reader.runs, DEFAULT_PROJECT, where, PageRequest(A_PAGE_SHOWS)))
            if name in _FULL and len(page.items) < A_PAGE_SHOWS:
                raise RuntimeError(f"{name} showed {len(page.items)} runs instead of a full page")
            if name == "list":
                self._shown = page.items[-1].id
        await self._cost("show_run", 1, lambda: reader.run(DEFAULT_PROJECT, self._shown))

    async def move(self) -> None:
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

        before = self._cpu()
        moved = await move()
        self.figures["move_ms_per_run"] = (self._cpu() - before) * 1_000 / max(1, moved)

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

    async def _cost(self, name: str, size: int, work: Callable[[], Awaitable[Any]]) -> Any:
        """Notes what ``work`` costs, by each of its ``size`` items."""
        before, began = self._cpu(), time.perf_counter()
        result = await work()
        cost = Cost((self._cpu() - before) / size, (time.perf_counter() - began) / size)
        if self._kept:
            self._costs.setdefault(name, []).append(cost)
        return result

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


Work = Callable[[_Bench], Awaitable[None]]

_ROUNDS: tuple[tuple[Work, int, int], ...] = (
    (_Bench.runs, 3, ROUNDS),
    (_Bench.fire, 0, ROUNDS),
    (_Bench.look, 5, LOOKS),
    (_Bench.lists, 10, LOOKS),
    (_Bench.move, 0, 1),
)
"""What is measured, after how many rounds that do not count, and in how many that do."""


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
