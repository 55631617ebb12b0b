"""What somebody must be told of, and the deadlines that it comes from."""

from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import Listing, answer
from scheduler_api.dependencies import CurrentActor, Reading
from scheduler_api.ids import alert_id_of
from scheduler_api.query import CURSOR, LIMIT, Query, choice, either, page_of, text
from scheduler_api.routing import guarded_router
from scheduler_application.alert.telling import AlertKind
from scheduler_application.errors import NotFound
from scheduler_application.paging import Page
from scheduler_application.ports.reading import AlertFilter, AlertView, ExpectationView

router = guarded_router("alerts")

_ALERTS = Query(
    LIMIT,
    CURSOR,
    choice("kind", "only alerts of this kind", AlertKind),
    either("open", "only alerts that are open (true), or only those that are resolved (false)"),
    text("workflow", "only this workflow's, by name or id"),
)


@router.get("/alerts", response_model=Page[AlertView], openapi_extra=_ALERTS.openapi)
async def list_alerts(request: Request, actor: CurrentActor, reader: Reading) -> Response:
    """Alerts, newest first."""
    values = _ALERTS.read(request)
    where = AlertFilter(values["kind"], values["open"], values["workflow"])
    return answer(await reader.alerts(actor.project, where, page_of(values)))


@router.get("/alerts/{alert}", response_model=AlertView)
async def show_alert(alert: str, actor: CurrentActor, reader: Reading) -> Response:
    """One alert."""
    view = await reader.alert(actor.project, alert_id_of(alert))
    if view is None:
        raise NotFound("there is no such alert")
    return answer(view)


@router.get("/workflows/{workflow}/expectations", response_model=Listing[ExpectationView])
async def list_expectations(workflow: str, actor: CurrentActor, reader: Reading) -> Response:
    """The live deadlines of a workflow, each with what the last one came to."""
    view = await reader.workflow(actor.project, workflow)
    if view is None:
        raise NotFound("there is no such workflow")
    return answer(Listing(await reader.expectations(actor.project, view.id)))
