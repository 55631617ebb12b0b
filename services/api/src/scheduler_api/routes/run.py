"""Starting runs, watching them, ending them."""

from typing import Annotated, Any

from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer
from scheduler_api.bodies import Body, read_model, refuse_body
from scheduler_api.dependencies import CurrentActor, Reading, use
from scheduler_api.ids import run_id_of
from scheduler_api.query import CURSOR, LIMIT, Query, instant, page_of, run_states, text
from scheduler_api.routing import guarded_router
from scheduler_api.tracing import traceparent_of
from scheduler_application.errors import NotFound
from scheduler_application.paging import Page
from scheduler_application.ports.reading import Reader, RunFilter, RunView, TaskRunView
from scheduler_application.run.control import (
    CancelRun,
    RerunCommand,
    RerunRun,
    RunCommand,
    StopWorkflow,
)
from scheduler_application.run.start import StartedRun

router = guarded_router("runs")

_FILTERS = (
    run_states("state"),
    text("backfill", "only runs of this backfill, by its id"),
    text("trigger", "only runs that this trigger started, by its name"),
    instant("created_after", "only runs that were accepted after this instant"),
    instant("created_before", "only runs that were accepted before this instant"),
)
_RUNS = Query(LIMIT, CURSOR, text("workflow", "only runs of this workflow, by name or id"), *_FILTERS)
_RUNS_OF_ONE = Query(LIMIT, CURSOR, *_FILTERS)
_PAGE = Query(LIMIT, CURSOR)


@router.get("/runs", response_model=Page[RunView], openapi_extra=_RUNS.openapi)
async def list_runs(request: Request, actor: CurrentActor, reader: Reading) -> Response:
    """Runs, newest first."""
    values = _RUNS.read(request)
    return answer(await reader.runs(actor.project, _filter(values, values["workflow"]), page_of(values)))


@router.get("/workflows/{workflow}/runs", response_model=Page[RunView], openapi_extra=_RUNS_OF_ONE.openapi)
async def list_runs_of_workflow(workflow: str, request: Request, actor: CurrentActor, reader: Reading) -> Response:
    """One workflow's runs, newest first."""
    values = _RUNS_OF_ONE.read(request)
    if await reader.workflow(actor.project, workflow) is None:
        raise NotFound("there is no such workflow")
    return answer(await reader.runs(actor.project, _filter(values, workflow), page_of(values)))


@router.get("/runs/{run}", response_model=RunView)
async def show_run(run: str, actor: CurrentActor, reader: Reading) -> Response:
    """One run with its first 1,000 task runs."""
    return answer(await _run(reader, actor.project, run))


@router.get("/runs/{run}/task-runs", response_model=Page[TaskRunView], openapi_extra=_PAGE.openapi)
async def list_task_runs(run: str, request: Request, actor: CurrentActor, reader: Reading) -> Response:
    """All task runs of one run."""
    values = _PAGE.read(request)
    view = await _run(reader, actor.project, run)
    return answer(await reader.task_runs(actor.project, view.id, page_of(values)))


@router.post("/runs/{run}/cancel", response_model=RunView, status_code=202)
async def cancel_run(
    run: str, request: Request, actor: CurrentActor, cancel: Annotated[CancelRun, use(lambda c: c.cancel_run)]
) -> Response:
    """Ends a run: nothing new starts, and what runs is ended with all its processes."""
    await refuse_body(request)
    return answer(await cancel.execute(RunCommand(run_id_of(run)), actor), 202)


class RerunBody(Body):
    from_failed: bool = False


@router.post(
    "/runs/{run}/rerun",
    response_model=StartedRun,
    status_code=202,
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": RerunBody.model_json_schema()}}}},
)
async def rerun_run(
    run: str, request: Request, actor: CurrentActor, rerun: Annotated[RerunRun, use(lambda c: c.rerun_run)]
) -> Response:
    """Starts a finished run again as a new one: wholly, or only what did not succeed."""
    run_id = run_id_of(run)
    body = await read_model(request, RerunBody)
    command = RerunCommand(run_id, body.from_failed, traceparent_of(request))
    return answer(await rerun.execute(command, actor), 202)


@router.post("/workflows/{workflow}/stop", status_code=202)
async def stop_workflow(
    workflow: str, request: Request, actor: CurrentActor, stop: Annotated[StopWorkflow, use(lambda c: c.stop_workflow)]
) -> Response:
    """Cancels all live runs of a workflow and answers which."""
    await refuse_body(request)
    return answer({"run_ids": await stop.execute(workflow, actor)}, 202)


def _filter(values: dict[str, Any], workflow: str | None) -> RunFilter:
    return RunFilter(
        workflow=workflow,
        states=values["state"],
        trigger=values["trigger"],
        created_after=values["created_after"],
        created_before=values["created_before"],
        backfill=values["backfill"],
    )


async def _run(reader: Reader, project: str, run: str) -> RunView:
    view = await reader.run(project, run_id_of(run))
    if view is None:
        raise NotFound("there is no such run")
    return view
