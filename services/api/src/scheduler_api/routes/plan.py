"""What a deploy would change, before anybody deploys."""

from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer
from scheduler_api.bodies import TAKES_DOCUMENT, read_document
from scheduler_api.dependencies import CurrentActor, use
from scheduler_api.query import Query, text
from scheduler_api.routing import asking_router
from scheduler_application.schedule.plan import Plan, PlanCommand, PlanWorkflow

router = asking_router("workflows")

_QUERY = Query(text("source", "the folder with the workflow's code, as workers see it", longest=4_096))


@router.post("/workflows:plan", response_model=Plan, openapi_extra={**_QUERY.openapi, **TAKES_DOCUMENT})
async def plan_workflow(
    request: Request, actor: CurrentActor, plan: Annotated[PlanWorkflow, use(lambda c: c.plan_workflow)]
) -> Response:
    """What a deploy of this definition would change now: the definition, path by path, and which fire times of the next
    30 days appear, vanish or move. Changes nothing."""
    source = _QUERY.read(request)["source"]
    document, form = await read_document(request)
    return answer(await plan.execute(PlanCommand(document, form, source), actor))
