"""Definitions: the draft, its versions and the life of a deployment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import Listing, answer, nothing
from scheduler_api.bodies import TAKES_DOCUMENT, read_document, read_json_object, refuse_body
from scheduler_api.dependencies import CurrentActor, Reading, use
from scheduler_api.errors import Refused, refused
from scheduler_api.parsing import DOCUMENT_LIMITS
from scheduler_api.query import CURSOR, LIMIT, Query, flag, page_of, text
from scheduler_api.routing import API_PREFIX, guarded_router
from scheduler_application.errors import NotFound
from scheduler_application.paging import Page
from scheduler_application.ports.reading import Reader, TriggerView, VersionView, WorkflowView
from scheduler_application.workflow.authoring import (
    DeleteWorkflow,
    DeployCommand,
    Deployment,
    DeployWorkflow,
    DisableWorkflow,
    EditTask,
    EditTaskCommand,
    EnableWorkflow,
    SaveDraft,
    SaveDraftCommand,
    UndeployWorkflow,
    WorkflowCommand,
)
from scheduler_domain.errors import Problem
from scheduler_domain.ids import canonical_uuid

router = guarded_router("workflows")

_PAGE = Query(LIMIT, CURSOR)
_SOURCE = text("source", "the folder with the workflow's code, as workers see it", longest=4_096)
_CREATE = Query(flag("deploy", "deploy the definition at once"), _SOURCE)
_DEPLOY = Query(_SOURCE)
_TASK = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """The live version of a workflow and its triggers."""

    workflow: str
    workflow_id: str
    version: int
    digest: str
    enabled: bool
    frozen_at: datetime
    frozen_by: str
    triggers: list[TriggerView]


@router.post(
    "/workflows", response_model=WorkflowView, status_code=201, openapi_extra={**_CREATE.openapi, **TAKES_DOCUMENT}
)
async def create_workflow(
    request: Request,
    actor: CurrentActor,
    save: Annotated[SaveDraft, use(lambda c: c.save_draft)],
    deploy: Annotated[DeployWorkflow, use(lambda c: c.deploy_workflow)],
) -> Response:
    """Keeps a new definition as a draft; with ``deploy=true`` makes it, new or changed, live at once."""
    values = _CREATE.read(request)
    document, form = await read_document(request)
    if values["deploy"]:
        command = DeployCommand(text=document, format=form, source=values["source"])
        return _deployed(await deploy.execute(command, actor))
    if values["source"] is not None:
        raise Refused("unknown_parameter", "source: only together with deploy=true")
    view = await save.execute(SaveDraftCommand(document, form, must_be_new=True), actor)
    return answer(view, 201, {"Location": f"{API_PREFIX}/workflows/{view.name}"})


@router.get("/workflows", response_model=Page[WorkflowView], openapi_extra=_PAGE.openapi)
async def list_workflows(request: Request, actor: CurrentActor, reader: Reading) -> Response:
    return answer(await reader.workflows(actor.project, page_of(_PAGE.read(request))))


@router.get("/workflows/{workflow}", response_model=WorkflowView)
async def show_workflow(workflow: str, actor: CurrentActor, reader: Reading) -> Response:
    """One workflow with its draft."""
    return answer(await _workflow(reader, actor.project, workflow))


@router.put("/workflows/{workflow}", response_model=WorkflowView, openapi_extra=TAKES_DOCUMENT)
async def save_draft(
    workflow: str,
    request: Request,
    actor: CurrentActor,
    reader: Reading,
    save: Annotated[SaveDraft, use(lambda c: c.save_draft)],
) -> Response:
    """Replaces the draft; what is live stays as it is until the next deploy."""
    document, form = await read_document(request)
    name = (await _workflow(reader, actor.project, workflow)).name if canonical_uuid(workflow) else workflow
    return answer(await save.execute(SaveDraftCommand(document, form, expected_name=name), actor))


@router.delete("/workflows/{workflow}", status_code=204)
async def delete_workflow(
    workflow: str,
    request: Request,
    actor: CurrentActor,
    delete: Annotated[DeleteWorkflow, use(lambda c: c.delete_workflow)],
) -> Response:
    """Takes a workflow away; 409 while it has live triggers or live runs."""
    await refuse_body(request)
    await delete.execute(WorkflowCommand(workflow), actor)
    return nothing()


@router.post("/workflows/{workflow}/tasks", response_model=WorkflowView, status_code=201, openapi_extra=_TASK)
async def add_task(
    workflow: str, request: Request, actor: CurrentActor, edit: Annotated[EditTask, use(lambda c: c.edit_task)]
) -> Response:
    """Adds a task to the draft; the body is the task as in a definition, with its ``name``."""
    content = await read_json_object(request, limits=DOCUMENT_LIMITS)
    name = content.pop("name", None)
    if not isinstance(name, str):
        raise refused([Problem(("body", "name"), "invalid_name", "name: the task's name is required, as text")])
    return answer(await edit.execute(EditTaskCommand(workflow, name, content, create=True), actor), 201)


@router.put("/workflows/{workflow}/tasks/{task}", response_model=WorkflowView, openapi_extra=_TASK)
async def replace_task(
    workflow: str,
    task: str,
    request: Request,
    actor: CurrentActor,
    edit: Annotated[EditTask, use(lambda c: c.edit_task)],
) -> Response:
    """Replaces a task of the draft."""
    content = await read_json_object(request, limits=DOCUMENT_LIMITS)
    return answer(await edit.execute(EditTaskCommand(workflow, task, content, create=False), actor))


@router.delete("/workflows/{workflow}/tasks/{task}", response_model=WorkflowView)
async def remove_task(
    workflow: str,
    task: str,
    request: Request,
    actor: CurrentActor,
    edit: Annotated[EditTask, use(lambda c: c.edit_task)],
) -> Response:
    """Takes a task out of the draft."""
    await refuse_body(request)
    return answer(await edit.execute(EditTaskCommand(workflow, task, None, create=False), actor))


@router.post("/workflows/{workflow}/deploy", response_model=Deployment, openapi_extra=_DEPLOY.openapi)
async def deploy_workflow(
    workflow: str,
    request: Request,
    actor: CurrentActor,
    deploy: Annotated[DeployWorkflow, use(lambda c: c.deploy_workflow)],
) -> Response:
    """Freezes the draft as the next version and makes it live; 200 instead of 201 where nothing changed."""
    await refuse_body(request)
    command = DeployCommand(workflow=workflow, source=_DEPLOY.read(request)["source"])
    return _deployed(await deploy.execute(command, actor))


@router.post("/workflows/{workflow}/undeploy", response_model=WorkflowView)
async def undeploy_workflow(
    workflow: str,
    request: Request,
    actor: CurrentActor,
    undeploy: Annotated[UndeployWorkflow, use(lambda c: c.undeploy_workflow)],
) -> Response:
    """Takes the live version away with its triggers; history stays."""
    await refuse_body(request)
    return answer(await undeploy.execute(WorkflowCommand(workflow), actor))


@router.post("/workflows/{workflow}/enable", response_model=WorkflowView)
async def enable_workflow(
    workflow: str,
    request: Request,
    actor: CurrentActor,
    enable: Annotated[EnableWorkflow, use(lambda c: c.enable_workflow)],
) -> Response:
    await refuse_body(request)
    return answer(await enable.execute(WorkflowCommand(workflow), actor))


@router.post("/workflows/{workflow}/disable", response_model=WorkflowView)
async def disable_workflow(
    workflow: str,
    request: Request,
    actor: CurrentActor,
    disable: Annotated[DisableWorkflow, use(lambda c: c.disable_workflow)],
) -> Response:
    """No trigger and no person starts it any more, until it is enabled."""
    await refuse_body(request)
    return answer(await disable.execute(WorkflowCommand(workflow), actor))


@router.get("/workflows/{workflow}/deployment", response_model=DeploymentView)
async def show_deployment(workflow: str, actor: CurrentActor, reader: Reading) -> Response:
    """The live version and its triggers; 404 where nothing is deployed."""
    view = await _workflow(reader, actor.project, workflow)
    if view.live_version is None:
        raise NotFound("nothing of this workflow is deployed")
    version = await _version(reader, actor.project, view, view.live_version)
    triggers = await reader.triggers(actor.project, view.id)
    return answer(
        DeploymentView(
            view.name,
            view.id,
            version.number,
            version.digest,
            view.enabled,
            version.created_at,
            version.created_by,
            triggers,
        )
    )


@router.get("/workflows/{workflow}/triggers", response_model=Listing[TriggerView])
async def list_triggers(workflow: str, actor: CurrentActor, reader: Reading) -> Response:
    view = await _workflow(reader, actor.project, workflow)
    return answer(Listing(await reader.triggers(actor.project, view.id)))


@router.get("/workflows/{workflow}/versions", response_model=Page[VersionView], openapi_extra=_PAGE.openapi)
async def list_versions(workflow: str, request: Request, actor: CurrentActor, reader: Reading) -> Response:
    """Versions, newest first."""
    page = page_of(_PAGE.read(request))
    view = await _workflow(reader, actor.project, workflow)
    return answer(await reader.versions(actor.project, view.id, page))


@router.get("/workflows/{workflow}/versions/{number}", response_model=VersionView)
async def show_version(workflow: str, number: str, actor: CurrentActor, reader: Reading) -> Response:
    """One version with its definition."""
    view = await _workflow(reader, actor.project, workflow)
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise NotFound("there is no such version")
    return answer(await _version(reader, actor.project, view, int(number)))


def _deployed(deployment: Deployment) -> Response:
    location = {"Location": f"{API_PREFIX}/workflows/{deployment.workflow}/deployment"}
    return answer(deployment, 201 if deployment.created else 200, location)


async def _workflow(reader: Reader, project: str, workflow: str) -> WorkflowView:
    view = await reader.workflow(project, workflow)
    if view is None:
        raise NotFound("there is no such workflow")
    return view


async def _version(reader: Reader, project: str, workflow: WorkflowView, number: int) -> VersionView:
    version = await reader.version(project, workflow.id, number)
    if version is None:
        raise NotFound("there is no such version")
    return version
