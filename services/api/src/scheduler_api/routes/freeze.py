"""Freeze windows: made, listed, lifted."""

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer
from scheduler_api.bodies import Body, read_model, refuse_body, takes
from scheduler_api.dependencies import CurrentActor, Reading, use
from scheduler_api.ids import freeze_id_of
from scheduler_api.instants import BodyInstant
from scheduler_api.query import CURSOR, LIMIT, Query, page_of
from scheduler_api.routing import guarded_router
from scheduler_application.errors import NotFound
from scheduler_application.paging import Page
from scheduler_application.ports.reading import FreezeView
from scheduler_application.schedule.freeze import MAX_REASON, FreezeCommand, FreezeSchedules, LiftFreeze

router = guarded_router("schedules")

_PAGE = Query(LIMIT, CURSOR)


class FreezeBody(Body):
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON)]
    ends_at: BodyInstant
    starts_at: BodyInstant | None = None
    label: Annotated[str, Field(min_length=1, max_length=100)] | None = None


@router.get("/freezes", response_model=Page[FreezeView], openapi_extra=_PAGE.openapi)
async def list_freezes(request: Request, actor: CurrentActor, reader: Reading) -> Response:
    """Freezes, the newest first."""
    return answer(await reader.freezes(actor.project, page_of(_PAGE.read(request))))


@router.post(
    "/freezes", response_model=FreezeView, status_code=201, openapi_extra=takes(FreezeBody.model_json_schema())
)
async def freeze_schedules(
    request: Request, actor: CurrentActor, freeze: Annotated[FreezeSchedules, use(lambda c: c.freeze_schedules)]
) -> Response:
    """Holds the clock of the project, or of its workflows with a label, for a while."""
    body = await read_model(request, FreezeBody)
    command = FreezeCommand(body.reason, body.ends_at, body.starts_at, body.label)
    return answer(await freeze.execute(command, actor), status=201)


@router.get("/freezes/{freeze}", response_model=FreezeView)
async def show_freeze(freeze: str, actor: CurrentActor, reader: Reading) -> Response:
    found = await reader.freeze(actor.project, freeze_id_of(freeze))
    if found is None:
        raise NotFound("there is no such freeze")
    return answer(found)


@router.post("/freezes/{freeze}/lift", response_model=FreezeView)
async def lift_freeze(
    freeze: str, request: Request, actor: CurrentActor, lift: Annotated[LiftFreeze, use(lambda c: c.lift_freeze)]
) -> Response:
    """Ends a freeze before its time: what it held is decided at once, by each trigger's misfire policy."""
    await refuse_body(request)
    return answer(await lift.execute(freeze_id_of(freeze), actor))
