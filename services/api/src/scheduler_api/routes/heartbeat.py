"""Heartbeats: jobs that live elsewhere, and the addresses that they ping."""

from dataclasses import dataclass
from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer, answer_shown_once, nothing
from scheduler_api.bodies import read_json_object, refuse_body
from scheduler_api.dependencies import CurrentActor, use
from scheduler_api.query import CURSOR, LIMIT, Query, page_of
from scheduler_api.routing import API_PREFIX, guarded_router
from scheduler_application.heartbeat.manage import (
    CreateHeartbeat,
    CreateHeartbeatCommand,
    DeleteHeartbeat,
    EditHeartbeat,
    EditHeartbeatCommand,
    HeartbeatCommand,
    NewAddress,
    PauseHeartbeat,
    ResumeHeartbeat,
    RotateHeartbeat,
)
from scheduler_application.heartbeat.show import ListHeartbeats, ShowHeartbeat
from scheduler_application.paging import Page
from scheduler_application.ports.reading import HeartbeatView

router = guarded_router("heartbeats")

_PAGE = Query(LIMIT, CURSOR)
_SETTINGS = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


@dataclass(frozen=True, slots=True)
class AddressView:
    """``ping_path`` is the ping address on this server. It is shown in this answer and never again: ``None`` where the
    request was sent twice under one idempotency key."""

    heartbeat: HeartbeatView
    ping_path: str | None


@router.post("/heartbeats", response_model=AddressView, status_code=201, openapi_extra=_SETTINGS)
async def create_heartbeat(
    request: Request, actor: CurrentActor, create: Annotated[CreateHeartbeat, use(lambda c: c.create_heartbeat)]
) -> Response:
    """Makes a heartbeat of ``name``, ``every`` or ``schedule`` (with ``timezone``) and ``grace``. The answer has its
    ping address, once."""
    made = await create.execute(CreateHeartbeatCommand(await read_json_object(request)), actor)
    return _address(made, 201, {"Location": f"{API_PREFIX}/heartbeats/{made.heartbeat.name}"})


@router.get("/heartbeats", response_model=Page[HeartbeatView], openapi_extra=_PAGE.openapi)
async def list_heartbeats(
    request: Request, actor: CurrentActor, heartbeats: Annotated[ListHeartbeats, use(lambda c: c.list_heartbeats)]
) -> Response:
    """Heartbeats by name."""
    return answer(await heartbeats.execute(page_of(_PAGE.read(request)), actor))


@router.get("/heartbeats/{heartbeat}", response_model=HeartbeatView)
async def show_heartbeat(
    heartbeat: str, actor: CurrentActor, show: Annotated[ShowHeartbeat, use(lambda c: c.show_heartbeat)]
) -> Response:
    """One heartbeat with what its job said last."""
    return answer(await show.execute(heartbeat, actor))


@router.put("/heartbeats/{heartbeat}", response_model=HeartbeatView, openapi_extra=_SETTINGS)
async def edit_heartbeat(
    heartbeat: str,
    request: Request,
    actor: CurrentActor,
    edit: Annotated[EditHeartbeat, use(lambda c: c.edit_heartbeat)],
) -> Response:
    """Replaces its settings; other times count from now. The ping address stays."""
    content = await read_json_object(request)
    return answer(await edit.execute(EditHeartbeatCommand(heartbeat, content), actor))


@router.delete("/heartbeats/{heartbeat}", status_code=204)
async def delete_heartbeat(
    heartbeat: str,
    request: Request,
    actor: CurrentActor,
    delete: Annotated[DeleteHeartbeat, use(lambda c: c.delete_heartbeat)],
) -> Response:
    """Takes it away with its address and its open alerts."""
    await refuse_body(request)
    await delete.execute(HeartbeatCommand(heartbeat), actor)
    return nothing()


@router.post("/heartbeats/{heartbeat}/pause", response_model=HeartbeatView)
async def pause_heartbeat(
    heartbeat: str,
    request: Request,
    actor: CurrentActor,
    pause: Annotated[PauseHeartbeat, use(lambda c: c.pause_heartbeat)],
) -> Response:
    """Nothing is awaited of it until it is resumed; its open alerts end."""
    await refuse_body(request)
    return answer(await pause.execute(HeartbeatCommand(heartbeat), actor))


@router.post("/heartbeats/{heartbeat}/resume", response_model=HeartbeatView)
async def resume_heartbeat(
    heartbeat: str,
    request: Request,
    actor: CurrentActor,
    resume: Annotated[ResumeHeartbeat, use(lambda c: c.resume_heartbeat)],
) -> Response:
    """The next ping is due counted from now."""
    await refuse_body(request)
    return answer(await resume.execute(HeartbeatCommand(heartbeat), actor))


@router.post("/heartbeats/{heartbeat}/rotate", response_model=AddressView)
async def rotate_heartbeat(
    heartbeat: str,
    request: Request,
    actor: CurrentActor,
    rotate: Annotated[RotateHeartbeat, use(lambda c: c.rotate_heartbeat)],
) -> Response:
    """Gives it another ping address, shown once; the one before is dead from now on."""
    await refuse_body(request)
    return _address(await rotate.execute(HeartbeatCommand(heartbeat), actor), 200)


def _address(made: NewAddress, status: int, headers: dict[str, str] | None = None) -> Response:
    shown = AddressView(made.heartbeat, f"/heartbeat/{made.token}")
    return answer_shown_once(shown, AddressView(made.heartbeat, None), status, headers)
