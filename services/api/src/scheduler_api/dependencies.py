"""What the routes stand on: the services of this process, and who asks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends
from starlette.requests import Request

from scheduler_application.access import Authenticate
from scheduler_application.actor import Actor
from scheduler_application.idempotency import IdempotencyKeys
from scheduler_application.ports.messaging import LiveUpdates
from scheduler_application.ports.reading import Reader
from scheduler_application.run.control import CancelRun, CancelTaskRun, RerunRun, RetryTaskRun, StopWorkflow
from scheduler_application.run.logs import ReadLogs
from scheduler_application.run.start import StartRun, StartRuns
from scheduler_application.schedule.backfill_orders import CancelBackfill, PauseBackfill, ResumeBackfill, StartBackfill
from scheduler_application.schedule.backfill_plan import PlanBackfill
from scheduler_application.schedule.calendar_texts import RefreshCalendar
from scheduler_application.schedule.calendars import DeleteCalendar, SaveCalendar, ShowCalendar, ShowCalendarDays
from scheduler_application.schedule.forecast import ForecastStarts
from scheduler_application.schedule.freeze import FreezeSchedules, LiftFreeze
from scheduler_application.schedule.manage import PauseTriggers, ResumeTriggers
from scheduler_application.schedule.plan import PlanWorkflow
from scheduler_application.schedule.preview import NextFires, PreviewSchedule
from scheduler_application.why import Explain
from scheduler_application.worker.manage import DrainWorker
from scheduler_application.workflow.authoring import (
    DeleteWorkflow,
    DeployWorkflow,
    DisableWorkflow,
    EditTask,
    EnableWorkflow,
    SaveDraft,
    UndeployWorkflow,
)

T = TypeVar("T")


class UseCases(Protocol):
    """The part of the container that the API sees: each call gives an instance that is ready to execute."""

    def save_draft(self) -> SaveDraft: ...
    def deploy_workflow(self) -> DeployWorkflow: ...
    def undeploy_workflow(self) -> UndeployWorkflow: ...
    def enable_workflow(self) -> EnableWorkflow: ...
    def disable_workflow(self) -> DisableWorkflow: ...
    def delete_workflow(self) -> DeleteWorkflow: ...
    def edit_task(self) -> EditTask: ...
    def start_run(self) -> StartRun: ...
    def start_runs(self) -> StartRuns: ...
    def cancel_run(self) -> CancelRun: ...
    def rerun_run(self) -> RerunRun: ...
    def stop_workflow(self) -> StopWorkflow: ...
    def cancel_task_run(self) -> CancelTaskRun: ...
    def retry_task_run(self) -> RetryTaskRun: ...
    def freeze_schedules(self) -> FreezeSchedules: ...
    def lift_freeze(self) -> LiftFreeze: ...
    def pause_triggers(self) -> PauseTriggers: ...
    def resume_triggers(self) -> ResumeTriggers: ...
    def preview_schedule(self) -> PreviewSchedule: ...
    def next_fires(self) -> NextFires: ...
    def plan_workflow(self) -> PlanWorkflow: ...
    def forecast_starts(self) -> ForecastStarts: ...
    def plan_backfill(self) -> PlanBackfill: ...
    def start_backfill(self) -> StartBackfill: ...
    def pause_backfill(self) -> PauseBackfill: ...
    def resume_backfill(self) -> ResumeBackfill: ...
    def cancel_backfill(self) -> CancelBackfill: ...
    def explain(self) -> Explain: ...
    def save_calendar(self) -> SaveCalendar: ...
    def show_calendar(self) -> ShowCalendar: ...
    def show_calendar_days(self) -> ShowCalendarDays: ...
    def delete_calendar(self) -> DeleteCalendar: ...
    def refresh_calendar(self) -> RefreshCalendar: ...
    def drain_worker(self) -> DrainWorker: ...
    def authenticate(self) -> Authenticate: ...
    def read_logs(self) -> ReadLogs: ...
    def idempotency_keys(self) -> IdempotencyKeys: ...


class Readiness(Protocol):
    async def check(self) -> list[tuple[str, bool, str]]:
        """Each part's name, whether it works, and one sentence about it; answers within 2 s."""
        ...


@dataclass(frozen=True)
class ApiServices:
    """All that `create_app` needs. ``metrics_text`` gives the Prometheus exposition of this process; ``None`` where
    it has a port of its own."""

    use_cases: Any
    """A `UseCases`; the container's providers are not typed as such."""
    reader: Reader
    live: LiveUpdates
    readiness: Readiness
    metrics_text: Callable[[], bytes] | None


def services_of(request: Request) -> ApiServices:
    services: ApiServices = request.app.state.services
    return services


def use_cases_of(request: Request) -> UseCases:
    use_cases: UseCases = request.app.state.services.use_cases
    return use_cases


def use(pick: Callable[[UseCases], Callable[[], T]]) -> Any:
    """Resolves a use case for this request.

    In a route: ``cancel: Annotated[CancelRun, use(lambda c: c.cancel_run)]``.
    """

    async def resolve(request: Request) -> T:
        return pick(use_cases_of(request))()

    return Depends(resolve)


async def _actor(request: Request) -> Actor:
    actor: Actor = request.state.actor
    return actor


async def _reader(request: Request) -> Reader:
    return services_of(request).reader


CurrentActor = Annotated[Actor, Depends(_actor)]
"""Who asks; the route's guard has found out before the route runs."""

Reading = Annotated[Reader, Depends(_reader)]
