"""What is due when, what came of it, and why."""

from dataclasses import dataclass
from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import Listing, answer
from scheduler_api.bodies import refuse_body
from scheduler_api.dependencies import CurrentActor, Reading, use
from scheduler_api.errors import refused
from scheduler_api.ids import run_id_of
from scheduler_api.query import CURSOR, LIMIT, Query, choice, instant, integer, page_of, text
from scheduler_api.routing import guarded_router
from scheduler_application.paging import Page
from scheduler_application.ports.reading import LedgerView, TriggerView
from scheduler_application.schedule.forecast import MAX_HOURS, Forecast, ForecastCommand, ForecastStarts
from scheduler_application.schedule.manage import PauseCommand, PauseTriggers, ResumeTriggers
from scheduler_application.schedule.preview import NextCommand, NextFires, PreviewCommand, PreviewSchedule
from scheduler_application.why import Explain, Explanation, WhyCommand
from scheduler_domain.errors import Problem
from scheduler_domain.schedule.dst import DstPolicy, GapRule, RepeatRule
from scheduler_domain.schedule.timetable import Fire

MAX_FIRES = 100

router = guarded_router("schedules")

_PAGE = Query(LIMIT, CURSOR)
_COUNT = integer("count", "how many due times", low=1, high=MAX_FIRES, default=10)
_NEXT = Query(_COUNT)
_PREVIEW = Query(
    text("schedule", "a cron expression", shortest=0, longest=256),
    text("timezone", "an IANA time zone; UTC where it is not given", shortest=0, longest=64),
    instant("after", "due times after this instant; now where it is not given"),
    choice("gap", "what becomes of local times that a clock change leaves out", GapRule),
    choice("repeat", "what becomes of local times that a clock change repeats", RepeatRule),
    _COUNT,
)
_FORECAST = Query(
    integer("hours", "how far to look ahead", low=1, high=MAX_HOURS, default=24),
    text("queue", "only workflows whose first tasks wait in this queue"),
)
_LEDGER = Query(
    LIMIT,
    CURSOR,
    text("workflow", "only this workflow's, by name or id"),
    instant("due_from", "due at this instant or later"),
    instant("due_to", "due before this instant"),
)
_WHY = Query(
    text("workflow", "a workflow, by name or id"),
    instant("at", "with workflow: why it did or did not run then"),
    text("run", "a run, by its id"),
    text("task", "with run: why this task is as it is"),
)


@dataclass(frozen=True, slots=True)
class Fires:
    fires: list[Fire]


@dataclass(frozen=True, slots=True)
class TriggerFires:
    trigger: TriggerView
    fires: list[Fire]


@router.get("/schedules", response_model=Page[TriggerView], openapi_extra=_PAGE.openapi)
async def list_schedules(request: Request, actor: CurrentActor, reader: Reading) -> Response:
    """The triggers that the clock satisfies, by their next due time."""
    return answer(await reader.schedules(actor.project, page_of(_PAGE.read(request))))


@router.get("/schedules/preview", response_model=Fires, openapi_extra=_PREVIEW.openapi)
async def preview_schedule(
    request: Request, preview: Annotated[PreviewSchedule, use(lambda c: c.preview_schedule)]
) -> Response:
    """The next due times of an expression that need not be deployed; what can never be due is 422."""
    values = _PREVIEW.read(request)
    if values["schedule"] is None:
        raise refused([Problem(("query", "schedule"), "missing_parameter", "schedule: give a cron expression")])
    timezone = "UTC" if values["timezone"] is None else values["timezone"]
    dst = DstPolicy(values["gap"], values["repeat"])
    command = PreviewCommand("schedule", values["schedule"], timezone, values["after"], values["count"], dst)
    return answer(Fires(await preview.execute(command)))


@router.get("/schedules/forecast", response_model=Forecast, openapi_extra=_FORECAST.openapi)
async def forecast_starts(
    request: Request, actor: CurrentActor, forecast: Annotated[ForecastStarts, use(lambda c: c.forecast_starts)]
) -> Response:
    """How many runs the clock will start, minute by minute, against the slots of live workers; the crowded minutes, and
    which schedules to spread."""
    values = _FORECAST.read(request)
    return answer(await forecast.execute(ForecastCommand(values["hours"], values["queue"]), actor))


@router.get("/workflows/{workflow}/next", response_model=Listing[TriggerFires], openapi_extra=_NEXT.openapi)
async def next_fires(
    workflow: str, request: Request, actor: CurrentActor, fires: Annotated[NextFires, use(lambda c: c.next_fires)]
) -> Response:
    """The next due times of each of a workflow's schedules."""
    command = NextCommand(workflow, _NEXT.read(request)["count"])
    found = await fires.execute(command, actor)
    return answer(Listing([TriggerFires(trigger, due) for trigger, due in found]))


@router.post("/workflows/{workflow}/pause", response_model=Listing[TriggerView])
async def pause_workflow(
    workflow: str,
    request: Request,
    actor: CurrentActor,
    pause: Annotated[PauseTriggers, use(lambda c: c.pause_triggers)],
) -> Response:
    """Pauses all triggers of a workflow: what falls due meanwhile is in the ledger as skipped."""
    await refuse_body(request)
    return answer(Listing(await pause.execute(PauseCommand(workflow), actor)))


@router.post("/workflows/{workflow}/resume", response_model=Listing[TriggerView])
async def resume_workflow(
    workflow: str,
    request: Request,
    actor: CurrentActor,
    resume: Annotated[ResumeTriggers, use(lambda c: c.resume_triggers)],
) -> Response:
    await refuse_body(request)
    return answer(Listing(await resume.execute(PauseCommand(workflow), actor)))


@router.post("/workflows/{workflow}/triggers/{trigger}/pause", response_model=Listing[TriggerView])
async def pause_trigger(
    workflow: str,
    trigger: str,
    request: Request,
    actor: CurrentActor,
    pause: Annotated[PauseTriggers, use(lambda c: c.pause_triggers)],
) -> Response:
    await refuse_body(request)
    return answer(Listing(await pause.execute(PauseCommand(workflow, trigger), actor)))


@router.post("/workflows/{workflow}/triggers/{trigger}/resume", response_model=Listing[TriggerView])
async def resume_trigger(
    workflow: str,
    trigger: str,
    request: Request,
    actor: CurrentActor,
    resume: Annotated[ResumeTriggers, use(lambda c: c.resume_triggers)],
) -> Response:
    await refuse_body(request)
    return answer(Listing(await resume.execute(PauseCommand(workflow, trigger), actor)))


@router.get("/ledger", response_model=Page[LedgerView], openapi_extra=_LEDGER.openapi)
async def read_ledger(request: Request, actor: CurrentActor, reader: Reading) -> Response:
    """Every due time and what came of it, latest first."""
    values = _LEDGER.read(request)
    if values["due_from"] and values["due_to"] and values["due_from"] >= values["due_to"]:
        raise refused([Problem(("query", "due_from"), "invalid_window", "due_from must be before due_to")])
    return answer(
        await reader.ledger(
            actor.project,
            page_of(values),
            workflow=values["workflow"],
            due_from=values["due_from"],
            due_to=values["due_to"],
        )
    )


@router.get("/why", response_model=Explanation, openapi_extra=_WHY.openapi)
async def why(request: Request, actor: CurrentActor, explain: Annotated[Explain, use(lambda c: c.explain)]) -> Response:
    """Why a workflow ran or did not run, or why a run or a task is as it is."""
    values = _WHY.read(request)
    workflow, run = values["workflow"], values["run"]
    if (workflow is None) == (run is None):
        raise refused([Problem(("query",), "exactly_one_of", "give exactly one of: workflow, run")])
    misplaced = "task" if workflow is not None else "at"
    if values[misplaced] is not None:
        owner = "run" if misplaced == "task" else "workflow"
        raise refused([Problem(("query", misplaced), "unknown_parameter", f"{misplaced}: only together with {owner}")])
    command = WhyCommand(workflow, values["at"], run_id_of(run) if run is not None else None, values["task"])
    return answer(await explain.execute(command, actor))
