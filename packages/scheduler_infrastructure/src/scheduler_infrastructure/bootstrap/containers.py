"""Who is who in a process. Read from the top: gateways to servers, adapters of ports, use cases, and the whole.

The containers are composition only: nothing is wired into functions, and everything here is made synchronously.
`lifecycle` opens what needs opening.
"""

import asyncio
from datetime import timedelta

from dependency_injector import containers, providers

from scheduler_application.access import Authenticate, EnsureAdmin
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
from scheduler_application.leading import Campaign
from scheduler_application.run.announce import Announcer
from scheduler_application.run.claim import ClaimTasks
from scheduler_application.run.control import (
    CancelRun,
    CancelTaskRun,
    EnforceRunDeadlines,
    RerunRun,
    RetryTaskRun,
    StopRuns,
    StopWorkflow,
)
from scheduler_application.run.definitions import Definitions
from scheduler_application.run.logs import ReadLogs
from scheduler_application.run.open_runs import Engine
from scheduler_application.run.prune import PruneFinished, Retention
from scheduler_application.run.record import RecordOutcomes
from scheduler_application.run.relay import RelayHints
from scheduler_application.run.start import StartRun, StartRuns
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
from scheduler_application.watchdog import Watchdog
from scheduler_application.why import Explain
from scheduler_application.worker.manage import DrainWorker
from scheduler_application.worker.membership import Heartbeat, LeaveWorker, RegisterWorker
from scheduler_application.worker.recover import RecoverLostWorkers
from scheduler_application.workflow.authoring import (
    DeleteWorkflow,
    DeployWorkflow,
    DisableWorkflow,
    EditTask,
    EnableWorkflow,
    SaveDraft,
    UndeployWorkflow,
)
from scheduler_infrastructure.bootstrap.executors import make_calendar_feeds, make_executors
from scheduler_infrastructure.bootstrap.gateways import make_broker, make_otlp_tracer, make_redis
from scheduler_infrastructure.bootstrap.settings import Settings
from scheduler_infrastructure.clock import MachineClock, SortedIds, StoreClock, SystemRandomness
from scheduler_infrastructure.integrations.holiday_library import HolidayLibrary
from scheduler_infrastructure.integrations.ics_process import IcsProcess
from scheduler_infrastructure.memory.messaging import MemoryHub
from scheduler_infrastructure.persistence.engine import make_database
from scheduler_infrastructure.persistence.forecasts import SqlForecasts
from scheduler_infrastructure.persistence.guard import DEADLINE_SECONDS, StoreGuard
from scheduler_infrastructure.persistence.logs import SqlLogStore
from scheduler_infrastructure.persistence.probe import StoreProbe
from scheduler_infrastructure.persistence.reader import SqlReader
from scheduler_infrastructure.persistence.store import SqlStore
from scheduler_infrastructure.telemetry.metrics import PrometheusMetrics
from scheduler_infrastructure.telemetry.untraced import Untraced

S = providers.Singleton
F = providers.Factory

ANSWER_SECONDS = 4.5
"""An API gives the store up after this, so that who asks has an answer within 5 s also while the store stands still."""

LEADER_MARGIN_SECONDS = 1.5
"""A leader stops trusting its term this long before the lease ends by its own count."""


def retention(settings: Settings) -> Retention:
    """How long what is kept; 0 days are for ever."""
    days = (settings.retention_runs_days, settings.retention_ledger_days, settings.retention_alerts_days)
    return Retention(*(timedelta(days=number) if number else None for number in days))


class Gateways(containers.DeclarativeContainer):
    """Connections to servers: made here, opened by `lifecycle`."""

    settings = providers.Dependency(instance_of=Settings)
    modes = providers.Dependency(instance_of=dict)

    randomness = S(SystemRandomness)
    clock = providers.Selector(modes.provided["store"], postgresql=S(StoreClock), sqlite=S(MachineClock))
    database = S(
        make_database,
        settings.provided.database_url,
        clock,
        pool_size=settings.provided.database_pool_size,
        prepared_statements=settings.provided.database_prepared_statements,
    )
    hub = S(MemoryHub)
    broker = S(make_broker, settings, randomness)
    redis = S(make_redis, settings, randomness)
    transport = providers.Selector(modes.provided["broker"], rabbitmq=broker, memory=hub)


class Adapters(containers.DeclarativeContainer):
    """What stands behind each port."""

    settings = providers.Dependency(instance_of=Settings)
    modes = providers.Dependency(instance_of=dict)
    gateways = providers.DependenciesContainer()

    clock = gateways.clock
    randomness = gateways.randomness
    ids = S(SortedIds, clock)
    metrics = S(PrometheusMetrics)
    tracer = providers.Selector(
        modes.provided["traces"],
        otlp=S(make_otlp_tracer, settings, modes.provided["service"]),
        off=S(Untraced),
    )
    guard = S(StoreGuard, deadline_seconds=modes.provided["store_seconds"])
    store = S(SqlStore, gateways.database, guard)
    reader = S(SqlReader, gateways.database, guard, gateways.clock)
    forecasts = S(SqlForecasts, gateways.database, guard)
    logs = S(SqlLogStore, gateways.database, guard)
    store_probe = S(StoreProbe, gateways.database)
    publisher = gateways.transport.provided.publisher
    signals = gateways.transport.provided.signals
    source = providers.Factory(lambda transport: transport.source(), gateways.transport)
    live = providers.Selector(modes.provided["live"], redis=gateways.redis, memory=gateways.hub.provided.live)
    executors = S(make_executors, settings)
    holidays = S(HolidayLibrary)
    calendar_feeds = S(make_calendar_feeds, settings)
    events = S(IcsProcess)


class UseCases(containers.DeclarativeContainer):
    """One line a use case, by noun."""

    settings = providers.Dependency(instance_of=Settings)
    a = providers.DependenciesContainer()

    definitions = S(Definitions)
    calendar_book = S(CalendarBook, a.holidays, a.calendar_feeds)
    engine = S(Engine, definitions, a.ids, a.randomness, settings.provided.vars)
    announcer = S(Announcer, a.publisher, a.signals, a.live, a.store, a.clock, a.metrics)

    save_draft = F(SaveDraft, a.store, a.reader, a.clock, a.ids)
    edit_task = F(EditTask, a.store, a.reader, a.clock, a.ids)
    deploy_workflow = F(DeployWorkflow, a.store, a.reader, calendar_book, a.clock, a.ids, a.signals)
    undeploy_workflow = F(UndeployWorkflow, a.store, a.reader, a.clock)
    enable_workflow = F(EnableWorkflow, a.store, a.reader, a.clock)
    disable_workflow = F(DisableWorkflow, a.store, a.reader, a.clock)
    delete_workflow = F(DeleteWorkflow, a.store, a.clock)

    start_runs = S(StartRuns, a.store, engine, a.clock, announcer, a.tracer)
    start_run = S(StartRun, start_runs)
    stop_runs = S(StopRuns, a.store, engine, a.clock, announcer)
    cancel_run = F(CancelRun, stop_runs, a.reader)
    stop_workflow = F(StopWorkflow, stop_runs, a.store)
    rerun_run = F(RerunRun, a.store, a.reader, engine, a.clock, announcer, a.tracer)
    cancel_task_run = F(CancelTaskRun, a.store, a.reader, engine, a.clock, announcer, stop_runs)
    retry_task_run = F(RetryTaskRun, rerun_run, a.reader)
    read_logs = F(ReadLogs, a.logs, a.reader)
    claim_tasks = S(ClaimTasks, a.store, engine, a.clock, a.metrics)
    record_outcomes = S(RecordOutcomes, a.store, engine, a.clock, announcer, a.metrics, claim_tasks)

    freeze_schedules = F(FreezeSchedules, a.store, a.reader, a.clock, a.ids)
    lift_freeze = F(LiftFreeze, a.store, a.reader, a.clock, a.signals)
    pause_triggers = F(PauseTriggers, a.store, a.reader, a.clock, a.signals)
    resume_triggers = F(ResumeTriggers, a.store, a.reader, a.clock, a.signals)
    preview_schedule = F(PreviewSchedule, a.clock)
    next_fires = F(NextFires, a.store, a.reader, calendar_book, a.clock)
    plan_backfill = F(PlanBackfill, a.store, a.reader, engine, calendar_book, a.clock)
    plan_workflow = F(PlanWorkflow, a.store, calendar_book, a.clock)
    forecast_starts = S(ForecastStarts, a.forecasts, a.store, a.reader, calendar_book, a.clock)
    start_backfill = F(StartBackfill, a.store, a.reader, a.clock, a.ids, a.signals, plan_backfill)
    pause_backfill = F(PauseBackfill, a.store, a.reader, a.clock, a.signals, stop_runs)
    resume_backfill = F(ResumeBackfill, a.store, a.reader, a.clock, a.signals, stop_runs)
    cancel_backfill = F(CancelBackfill, a.store, a.reader, a.clock, a.signals, stop_runs)
    explain = F(Explain, a.reader, a.clock)

    calendar_texts = S(CalendarTexts, a.calendar_feeds, a.events)
    save_calendar = F(SaveCalendar, a.store, a.reader, a.clock, a.ids, a.holidays, a.calendar_feeds, calendar_texts)
    show_calendar = F(ShowCalendar, a.reader, a.holidays)
    show_calendar_days = F(ShowCalendarDays, a.store, calendar_book, a.clock)
    delete_calendar = F(DeleteCalendar, a.store)
    refresh_calendar = F(RefreshCalendar, a.store, a.reader, a.clock, calendar_texts)
    create_heartbeat = F(CreateHeartbeat, a.store, a.reader, a.clock, a.ids, a.signals)
    edit_heartbeat = F(EditHeartbeat, a.store, a.reader, a.clock, a.signals)
    rotate_heartbeat = F(RotateHeartbeat, a.store, a.reader, a.clock)
    delete_heartbeat = F(DeleteHeartbeat, a.store, a.clock)
    pause_heartbeat = F(PauseHeartbeat, a.store, a.reader, a.clock, a.signals)
    resume_heartbeat = F(ResumeHeartbeat, a.store, a.reader, a.clock, a.signals)
    list_heartbeats = F(ListHeartbeats, a.reader, a.clock)
    show_heartbeat = F(ShowHeartbeat, a.reader, a.clock)
    ping_heartbeat = F(PingHeartbeat, a.store, a.clock, a.ids, announcer, a.metrics)

    drain_worker = F(DrainWorker, a.store, a.reader, a.signals)
    register_worker = F(RegisterWorker, a.store, settings.provided.worker_lease_seconds)
    heartbeat = F(Heartbeat, a.store, settings.provided.worker_lease_seconds)
    leave_worker = F(LeaveWorker, a.store)

    authenticate = S(Authenticate, a.store, a.clock)
    ensure_admin = F(EnsureAdmin, a.store, a.clock)
    idempotency_keys = F(IdempotencyKeys, a.store, a.clock)

    campaign = S(
        Campaign,
        a.store,
        a.clock,
        a.metrics,
        F(lambda ids: ids.new(), a.ids),
        lease_seconds=settings.provided.leader_lease_seconds,
        margin_seconds=LEADER_MARGIN_SECONDS,
        settle_seconds=settings.provided.worker_lease_seconds,
    )
    fire_due_schedules = S(FireDueSchedules, a.store, engine, calendar_book, a.clock, announcer, a.metrics, a.tracer)
    advance_backfills = S(
        AdvanceBackfills, a.store, engine, calendar_book, a.clock, announcer, a.metrics, a.tracer, stop_runs
    )
    judge_deadlines = S(JudgeDeadlines, a.store, a.ids, a.clock, announcer, a.metrics)
    next_due = S(NextDue, a.store)
    refresh_due_calendars = S(RefreshDueCalendars, a.store, a.clock, calendar_texts)
    watchdog = S(Watchdog, next_due, a.reader, a.clock)
    wake_due_tasks = S(WakeDueTasks, a.store, engine, a.clock, announcer)
    enforce_run_deadlines = S(EnforceRunDeadlines, a.store, stop_runs, a.clock)
    relay_hints = S(RelayHints, a.store, a.clock, announcer)
    recover_lost_workers = S(RecoverLostWorkers, a.store, engine, a.clock, announcer, a.metrics)
    prune_finished = S(
        PruneFinished, a.store, a.clock, a.metrics, S(retention, settings), providers.Object(asyncio.sleep)
    )


class Application(containers.DeclarativeContainer):
    """The whole of one process."""

    settings = providers.Dependency(instance_of=Settings)
    modes = providers.Dependency(instance_of=dict)

    gateways = providers.Container(Gateways, settings=settings, modes=modes)
    adapters = providers.Container(Adapters, settings=settings, modes=modes, gateways=gateways)
    use_cases = providers.Container(UseCases, settings=settings, a=adapters)


def make_application(settings: Settings, service: str) -> Application:
    """The container of a process that is called ``service`` (``api``, ``dispatcher``, ``worker`` or ``embedded``)."""
    modes = {
        "store": "postgresql" if settings.is_postgresql else "sqlite",
        "broker": "memory" if settings.broker_url is None else "rabbitmq",
        "live": "memory" if settings.redis_url is None else "redis",
        "traces": "off" if settings.otlp_endpoint is None else "otlp",
        "service": service,
        "store_seconds": ANSWER_SECONDS if service == "api" else DEADLINE_SECONDS,
    }
    return Application(settings=providers.Object(settings), modes=providers.Object(modes))
