"""All use cases over a real store and the in-process transport, on a clock that the test turns.

A `World` plays the worker itself: `claim` takes what may be claimed and `finish` reports outcomes, so a test decides
what every task does and when.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from scheduler_application.access import Authenticate, EnsureAdmin
from scheduler_application.actor import Actor
from scheduler_application.alert.judge import JudgeDeadlines
from scheduler_application.heartbeat.manage import (
    CreateHeartbeat,
    DeleteHeartbeat,
    EditHeartbeat,
    PauseHeartbeat,
    ResumeHeartbeat,
    RotateHeartbeat,
)
from scheduler_application.heartbeat.ping import PingHeartbeat
from scheduler_application.heartbeat.show import ListHeartbeats, ShowHeartbeat
from scheduler_application.idempotency import IdempotencyKeys
from scheduler_application.leading import Campaign, Leadership
from scheduler_application.paging import PageRequest
from scheduler_application.ports.reading import RunView, TaskRunView
from scheduler_application.ports.rows import WorkerRow
from scheduler_application.run.announce import Announcer
from scheduler_application.run.claim import ClaimedTask, ClaimTasks
from scheduler_application.run.control import (
    CancelRun,
    CancelTaskRun,
    EnforceRunDeadlines,
    RerunRun,
    RetryTaskRun,
    RunCommand,
    StopRuns,
    StopWorkflow,
)
from scheduler_application.run.definitions import Definitions
from scheduler_application.run.logs import ReadLogs
from scheduler_application.run.open_runs import Engine
from scheduler_application.run.prune import PruneFinished, Retention
from scheduler_application.run.record import RecordOutcomes, Report
from scheduler_application.run.relay import RelayHints
from scheduler_application.run.start import StartedRun, StartRun, StartRunCommand, StartRuns
from scheduler_application.run.wake import WakeDueTasks
from scheduler_application.schedule.backfill import AdvanceBackfills
from scheduler_application.schedule.backfill_orders import (
    CancelBackfill,
    PauseBackfill,
    ResumeBackfill,
    StartBackfill,
)
from scheduler_application.schedule.backfill_plan import PlanBackfill
from scheduler_application.schedule.calendar_book import CalendarBook
from scheduler_application.schedule.calendar_texts import CalendarTexts, RefreshCalendar, RefreshDueCalendars
from scheduler_application.schedule.calendars import DeleteCalendar, SaveCalendar, ShowCalendar, ShowCalendarDays
from scheduler_application.schedule.fire import FireDueSchedules, NextDue
from scheduler_application.schedule.forecast import ForecastStarts
from scheduler_application.schedule.freeze import FreezeSchedules, LiftFreeze
from scheduler_application.schedule.manage import PauseTriggers, ResumeTriggers
from scheduler_application.schedule.plan import PlanWorkflow
from scheduler_application.schedule.preview import NextFires, PreviewSchedule
from scheduler_application.why import Explain
from scheduler_application.worker.manage import DrainWorker
from scheduler_application.worker.membership import Heartbeat, LeaveWorker, RegisterWorker
from scheduler_application.worker.recover import RecoverLostWorkers
from scheduler_application.workflow.authoring import (
    DeleteWorkflow,
    DeployCommand,
    Deployment,
    DeployWorkflow,
    DisableWorkflow,
    EditTask,
    EnableWorkflow,
    SaveDraft,
    UndeployWorkflow,
)
from scheduler_domain.ids import DEFAULT_PROJECT
from scheduler_domain.run.outcome import Outcome, Succeeded
from scheduler_infrastructure.clock import SortedIds
from scheduler_infrastructure.execution.outbound.calendar_feed import GuardedFeeds
from scheduler_infrastructure.integrations.holiday_library import HolidayLibrary
from scheduler_infrastructure.integrations.ics_process import IcsProcess
from scheduler_infrastructure.memory.messaging import MemoryHub
from scheduler_infrastructure.persistence.engine import Connection, both, make_database
from scheduler_infrastructure.persistence.forecasts import SqlForecasts
from scheduler_infrastructure.persistence.guard import StoreGuard
from scheduler_infrastructure.persistence.logs import SqlLogStore
from scheduler_infrastructure.persistence.reader import SqlReader
from scheduler_infrastructure.persistence.schema import migrate
from scheduler_infrastructure.persistence.store import SqlStore
from scheduler_infrastructure.telemetry.metrics import PrometheusMetrics
from scheduler_infrastructure.telemetry.untraced import Untraced
from tests.support.clock import ManualClock

ACTOR = Actor("key:tester00", DEFAULT_PROJECT)


class Low:
    """`Randomness` that always draws the lower end."""

    def uniform(self, low: float, high: float) -> float:
        del high
        return low


async def at_once(_seconds: float) -> None:
    """`Sleep` that does not."""


class Rereading(Definitions):
    """What a version held is known for ever, until a test plays a process that has not read it yet."""

    def forget(self) -> None:
        super().__init__()


class World:
    """Make one with `open_world`; every use case is an attribute with the name that the container gives it."""

    def __init__(self, url: str, clock: Any, variables: Mapping[str, Any]) -> None:
        self.clock = clock
        self.ids = SortedIds(clock)
        self.hub = MemoryHub()
        self.database = make_database(url, clock, pool_size=5)
        guard = StoreGuard()
        self.store = SqlStore(self.database, guard)
        self.reader = SqlReader(self.database, guard, clock)
        self.logs = SqlLogStore(self.database, guard)
        self.metrics = PrometheusMetrics()
        self.live = self.hub.live
        hub, store, reader, ids, metrics, tracer = self.hub, self.store, self.reader, self.ids, self.metrics, Untraced()
        self.definitions = Rereading()
        self.engine = engine = Engine(self.definitions, ids, Low(), variables)
        self.announcer = says = Announcer(hub.publisher, hub.signals, hub.live, store, clock, metrics, sleep=at_once)
        holidays, self.feeds = HolidayLibrary(), GuardedFeeds(allowed_networks=["127.0.0.0/8"])
        self.calendars = CalendarBook(holidays, self.feeds)
        self.save_draft = SaveDraft(store, reader, clock, ids)
        self.edit_task = EditTask(store, reader, clock, ids)
        self.deploy_workflow = DeployWorkflow(store, reader, self.calendars, clock, ids, hub.signals)
        self.undeploy_workflow = UndeployWorkflow(store, reader, clock)
        self.enable_workflow = EnableWorkflow(store, reader, clock)
        self.disable_workflow = DisableWorkflow(store, reader, clock)
        self.delete_workflow = DeleteWorkflow(store, clock)
        self.start_runs = StartRuns(store, engine, clock, says, tracer)
        self.start_run = StartRun(self.start_runs)
        self.stop_runs = StopRuns(store, engine, clock, says)
        self.cancel_run = CancelRun(self.stop_runs, reader)
        self.stop_workflow = StopWorkflow(self.stop_runs, store)
        self.rerun_run = RerunRun(store, reader, engine, clock, says, tracer)
        self.cancel_task_run = CancelTaskRun(store, reader, engine, clock, says, self.stop_runs)
        self.retry_task_run = RetryTaskRun(self.rerun_run, reader)
        self.read_logs = ReadLogs(self.logs, reader)
        self.claim_tasks = ClaimTasks(store, engine, clock, metrics)
        self.record_outcomes = RecordOutcomes(store, engine, clock, says, metrics, self.claim_tasks)
        self.freeze_schedules = FreezeSchedules(store, reader, clock, self.engine.ids)
        self.lift_freeze = LiftFreeze(store, reader, clock, hub.signals)
        self.pause_triggers = PauseTriggers(store, reader, clock, hub.signals)
        self.resume_triggers = ResumeTriggers(store, reader, clock, hub.signals)
        self.preview_schedule = PreviewSchedule(clock)
        self.plan_backfill = PlanBackfill(store, reader, engine, self.calendars, clock)
        self.start_backfill = StartBackfill(store, reader, clock, ids, hub.signals, self.plan_backfill)
        self.pause_backfill = PauseBackfill(store, reader, clock, hub.signals, self.stop_runs)
        self.resume_backfill = ResumeBackfill(store, reader, clock, hub.signals, self.stop_runs)
        self.cancel_backfill = CancelBackfill(store, reader, clock, hub.signals, self.stop_runs)
        self.next_fires = NextFires(store, reader, self.calendars, clock)
        self.plan_workflow = PlanWorkflow(store, self.calendars, clock)
        self.forecast_starts = ForecastStarts(SqlForecasts(self.database, guard), store, reader, self.calendars, clock)
        self.calendar_texts = texts = CalendarTexts(self.feeds, IcsProcess())
        self.save_calendar = SaveCalendar(store, reader, clock, ids, holidays, self.feeds, texts)
        self.show_calendar = ShowCalendar(reader, holidays)
        self.show_calendar_days = ShowCalendarDays(store, self.calendars, clock)
        self.delete_calendar = DeleteCalendar(store)
        self.refresh_calendar = RefreshCalendar(store, reader, clock, texts)
        self.refresh_due_calendars = RefreshDueCalendars(store, clock, texts)
        self.explain = Explain(reader, clock)
        self.create_heartbeat = CreateHeartbeat(store, reader, clock, ids, hub.signals)
        self.edit_heartbeat = EditHeartbeat(store, reader, clock, hub.signals)
        self.rotate_heartbeat = RotateHeartbeat(store, reader, clock)
        self.delete_heartbeat = DeleteHeartbeat(store, clock)
        self.pause_heartbeat = PauseHeartbeat(store, reader, clock, hub.signals)
        self.resume_heartbeat = ResumeHeartbeat(store, reader, clock, hub.signals)
        self.list_heartbeats = ListHeartbeats(reader, clock)
        self.show_heartbeat = ShowHeartbeat(reader, clock)
        self.ping_heartbeat = PingHeartbeat(store, clock, ids, says, metrics)
        self.drain_worker = DrainWorker(store, reader, hub.signals)
        self.register_worker = RegisterWorker(store, 15.0)
        self.heartbeat = Heartbeat(store, 15.0)
        self.leave_worker = LeaveWorker(store)
        self.authenticate = Authenticate(store, clock)
        self.ensure_admin = EnsureAdmin(store, clock)
        self.idempotency_keys = IdempotencyKeys(store, clock)
        self.campaign = Campaign(
            store, clock, metrics, ids.new(), lease_seconds=6.0, margin_seconds=1.5, settle_seconds=15.0
        )
        self.fire_due_schedules = FireDueSchedules(store, engine, self.calendars, clock, says, metrics, tracer)
        self.advance_backfills = AdvanceBackfills(
            store, engine, self.calendars, clock, says, metrics, tracer, self.stop_runs
        )
        self.judge_deadlines = JudgeDeadlines(store, ids, clock, says, metrics)
        self.next_due = NextDue(store)
        self.wake_due_tasks = WakeDueTasks(store, engine, clock, says)
        self.enforce_run_deadlines = EnforceRunDeadlines(store, self.stop_runs, clock)
        self.relay_hints = RelayHints(store, clock, says)
        self.recover_lost_workers = RecoverLostWorkers(store, engine, clock, says, metrics)
        self.prune_finished = PruneFinished(store, clock, metrics, Retention(), at_once)
        self.worker_id = ""

    async def deploy(self, document: str | Mapping[str, Any], *, source: str | None = None) -> Deployment:
        """Deploys YAML text or plain data."""
        text = document.encode() if isinstance(document, str) else msgspec.json.encode(document)
        form = "yaml" if isinstance(document, str) else "json"
        return await self.deploy_workflow.execute(DeployCommand(text=text, format=form, source=source), ACTOR)

    async def start(self, workflow: str, **inputs: Any) -> StartedRun:
        return await self.start_run.execute(StartRunCommand(workflow, inputs), ACTOR)

    async def new_worker(self) -> str:
        """A registered worker, by which `claim` claims from now on; every queue is served."""
        self.worker_id = self.ids.new()
        await self.register_worker.execute(WorkerRow(self.worker_id, "tester", "0", ["default"], 4))
        return self.worker_id

    async def claim(self, limit: int = 1_000) -> list[ClaimedTask]:
        """Claims what may be claimed, oldest first, however its hints fare; by a new worker where the clock ended the
        lease."""
        if not self.worker_id or not (await self.heartbeat.execute(self.worker_id)).alive:
            await self.new_worker()
        await self.announcer.idle()
        rows = await self.rows(
            "select id, claim_no from task_runs where state in ('ready', 'queued') order by ready_at, id"
        )
        hints = [(row["id"], row["claim_no"]) for row in rows[:limit]]
        claimed = await self.claim_tasks.execute(self.worker_id, hints)
        # A database may answer in any order.
        places = {task_run_id: place for place, (task_run_id, _) in enumerate(hints)}
        return sorted(claimed, key=lambda task: places[task.row.id])

    async def finish(self, claimed: ClaimedTask, outcome: Outcome | None = None) -> bool:
        """Reports an outcome: success without output where none is given."""
        outcome = Succeeded() if outcome is None else outcome
        return await self.record_outcomes.execute(Report(claimed, self.worker_id, outcome, 0.1))

    async def work(self, result: Callable[[ClaimedTask], Outcome] = lambda _: Succeeded()) -> list[str]:
        """Claims and finishes until nothing may be claimed; the task keys in the order of their claims."""
        done: list[str] = []
        while claimed := await self.claim():
            for task in claimed:
                done.append(task.row.task)
                await self.finish(task, result(task))
        return done

    async def lead(self) -> Leadership:
        """This process's term; taken where nobody holds it."""
        term = await self.campaign.renew()
        assert term is not None
        return term

    async def run(self, run_id: str) -> RunView:
        view = await self.reader.run(ACTOR.project, run_id)
        assert view is not None
        return view

    async def tasks(self, run_id: str) -> dict[str, TaskRunView]:
        """Task runs by name; items of a ``for_each`` as ``name[index]``."""
        page = await self.reader.task_runs(ACTOR.project, run_id, PageRequest(200))
        return {
            task.task if task.item_index is None else f"{task.task}[{task.item_index}]": task for task in page.items
        }

    async def states(self, run_id: str) -> dict[str, str]:
        return {name: task.state for name, task in (await self.tasks(run_id)).items()}

    async def cancel(self, run_id: str) -> RunView:
        return await self.cancel_run.execute(RunCommand(run_id), ACTOR)

    async def rows(self, sql: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
        """Rows of a statement that reads the same in both dialects."""
        async with self.database.reading() as connection:
            return await connection.fetch(both(sql), *arguments)

    async def write(self, sql: str, *arguments: Any) -> None:
        """Changes rows behind the system's back."""
        connection: Connection
        async with self.database.transaction() as connection:
            await connection.fetch(both(sql), *arguments)


@asynccontextmanager
async def open_world(
    url: str, clock: Any | None = None, variables: Mapping[str, Any] | None = None, *, migrated: bool = False
) -> AsyncIterator[World]:
    """A store at ``url`` and everything over it; it is migrated first unless it is ``migrated`` already."""
    if not migrated:
        await migrate(url)
    world = World(url, clock or ManualClock(), variables or {})
    await world.database.open()
    try:
        yield world
    finally:
        await world.announcer.close()
        await world.database.close()


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'orrery.db'}"
