"""Backfills: runs for due times of the past."""

from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer
from scheduler_api.bodies import Body, read_model, refuse_body
from scheduler_api.dependencies import CurrentActor, Reading, use
from scheduler_api.ids import backfill_id_of
from scheduler_api.instants import BodyInstant
from scheduler_api.query import CURSOR, LIMIT, Query, page_of, text
from scheduler_api.routing import guarded_router
from scheduler_application.errors import NotFound
from scheduler_application.paging import Page
from scheduler_application.ports.reading import BackfillView
from scheduler_application.schedule.backfill_orders import (
    BackfillRef,
    CancelBackfill,
    PauseBackfill,
    ResumeBackfill,
    StartBackfill,
)
from scheduler_application.schedule.backfill_plan import BackfillCommand, BackfillPreview, PlanBackfill

MAX_PARALLEL = 100

router = guarded_router("schedules")

_BACKFILLS = Query(LIMIT, CURSOR, text("workflow", "only this workflow's, by name or id"))


class BackfillBody(Body):
    workflow: Annotated[str, Field(min_length=1, max_length=100)]
    trigger: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    start: BodyInstant = Field(alias="from")
    end: BodyInstant = Field(alias="to")
    only_missing: bool = False
    max_parallel: Annotated[int, Field(ge=1, le=MAX_PARALLEL)] = 1
    priority: Literal["critical", "high", "normal", "low"] = "low"
    dry_run: bool = False


@router.post(
    "/backfills",
    response_model=BackfillView,
    status_code=202,
    responses={200: {"model": BackfillPreview, "description": "With dry_run: what the backfill would come to"}},
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": BackfillBody.model_json_schema()}}}},
)
async def start_backfill(
    request: Request,
    actor: CurrentActor,
    plan: Annotated[PlanBackfill, use(lambda c: c.plan_backfill)],
    start: Annotated[StartBackfill, use(lambda c: c.start_backfill)],
) -> Response:
    """Starts runs for the due times of a schedule from `from` on and before `to`, at most `max_parallel` at a time.
    With `dry_run` it only tells what that would come to, with 200."""
    body = await read_model(request, BackfillBody)
    command = BackfillCommand(
        workflow=body.workflow,
        from_at=body.start,
        to_at=body.end,
        trigger=body.trigger,
        only_missing=body.only_missing,
        max_parallel=body.max_parallel,
        priority=body.priority,
    )
    if body.dry_run:
        return answer(await plan.execute(command, actor))
    view = await start.execute(command, actor)
    return answer(view, 202, {"Location": f"/api/v1/backfills/{view.id}"})


@router.get("/backfills", response_model=Page[BackfillView], openapi_extra=_BACKFILLS.openapi)
async def list_backfills(request: Request, actor: CurrentActor, reader: Reading) -> Response:
    """Backfills, newest first."""
    values = _BACKFILLS.read(request)
    return answer(await reader.backfills(actor.project, page_of(values), workflow=values["workflow"]))


@router.get("/backfills/{backfill}", response_model=BackfillView)
async def show_backfill(backfill: str, actor: CurrentActor, reader: Reading) -> Response:
    """One backfill with how many of its runs are in each state."""
    view = await reader.backfill(actor.project, backfill_id_of(backfill))
    if view is None:
        raise NotFound("there is no such backfill")
    return answer(view)


@router.post("/backfills/{backfill}/pause", response_model=BackfillView)
async def pause_backfill(
    backfill: str,
    request: Request,
    actor: CurrentActor,
    pause: Annotated[PauseBackfill, use(lambda c: c.pause_backfill)],
) -> Response:
    """Starts nothing more; the runs that it has go on."""
    await refuse_body(request)
    return answer(await pause.execute(BackfillRef(backfill_id_of(backfill)), actor))


@router.post("/backfills/{backfill}/resume", response_model=BackfillView)
async def resume_backfill(
    backfill: str,
    request: Request,
    actor: CurrentActor,
    resume: Annotated[ResumeBackfill, use(lambda c: c.resume_backfill)],
) -> Response:
    """Goes on where it was paused."""
    await refuse_body(request)
    return answer(await resume.execute(BackfillRef(backfill_id_of(backfill)), actor))


@router.post("/backfills/{backfill}/cancel", response_model=BackfillView, status_code=202)
async def cancel_backfill(
    backfill: str,
    request: Request,
    actor: CurrentActor,
    cancel: Annotated[CancelBackfill, use(lambda c: c.cancel_backfill)],
) -> Response:
    """Starts nothing more and cancels the runs that it has."""
    await refuse_body(request)
    return answer(await cancel.execute(BackfillRef(backfill_id_of(backfill)), actor), 202)
