"""One task's execution within a run."""

from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer
from scheduler_api.bodies import refuse_body
from scheduler_api.dependencies import CurrentActor, Reading, use
from scheduler_api.ids import task_run_id_of
from scheduler_api.routing import guarded_router
from scheduler_application.errors import NotFound
from scheduler_application.ports.reading import TaskRunView
from scheduler_application.run.control import CancelTaskRun, RetryTaskRun, TaskRunCommand
from scheduler_application.run.start import StartedRun

router = guarded_router("task runs")


@router.get("/task-runs/{task_run}", response_model=TaskRunView)
async def show_task_run(task_run: str, actor: CurrentActor, reader: Reading) -> Response:
    """One task run with its attempts."""
    view = await reader.task_run(actor.project, task_run_id_of(task_run))
    if view is None:
        raise NotFound("there is no such task run")
    return answer(view)


@router.post("/task-runs/{task_run}/cancel", response_model=TaskRunView, status_code=202)
async def cancel_task_run(
    task_run: str,
    request: Request,
    actor: CurrentActor,
    cancel: Annotated[CancelTaskRun, use(lambda c: c.cancel_task_run)],
) -> Response:
    """Ends one task run with all its processes; what needs it is decided by its ``run_if``."""
    await refuse_body(request)
    return answer(await cancel.execute(TaskRunCommand(task_run_id_of(task_run)), actor), 202)


@router.post("/task-runs/{task_run}/retry", response_model=StartedRun, status_code=202)
async def retry_task_run(
    task_run: str,
    request: Request,
    actor: CurrentActor,
    retry: Annotated[RetryTaskRun, use(lambda c: c.retry_task_run)],
) -> Response:
    """Runs a finished run's failed task again, and what comes after it, as a new run."""
    await refuse_body(request)
    return answer(await retry.execute(TaskRunCommand(task_run_id_of(task_run)), actor), 202)
