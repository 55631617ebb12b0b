"""Workers, the queues that they serve, and the stream of all changes."""

from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import Listing, answer
from scheduler_api.bodies import refuse_body
from scheduler_api.dependencies import CurrentActor, Reading, services_of, use
from scheduler_api.ids import worker_id_of
from scheduler_api.live import changes, event_stream
from scheduler_api.routing import guarded_router
from scheduler_application.ports.reading import QueueView, WorkerView
from scheduler_application.worker.manage import DrainWorker, WorkerCommand

router = guarded_router("workers")


@router.get("/workers", response_model=Listing[WorkerView])
async def list_workers(reader: Reading) -> Response:
    return answer(Listing(await reader.workers()))


@router.post("/workers/{worker}/drain", response_model=WorkerView, status_code=202)
async def drain_worker(
    worker: str, request: Request, actor: CurrentActor, drain: Annotated[DrainWorker, use(lambda c: c.drain_worker)]
) -> Response:
    """The worker takes nothing new, finishes what it has and leaves."""
    await refuse_body(request)
    return answer(await drain.execute(WorkerCommand(worker_id_of(worker)), actor), 202)


@router.get("/queues", response_model=Listing[QueueView])
async def list_queues(actor: CurrentActor, reader: Reading) -> Response:
    """What waits, what runs and who serves it, by queue."""
    return answer(Listing(await reader.queues(actor.project)))


@router.get(
    "/stream",
    responses={200: {"description": "Changes of runs and task runs as events", "content": {"text/event-stream": {}}}},
)
async def stream_changes(request: Request, actor: CurrentActor) -> Response:
    """Server-sent events of all changes that the caller may see, from now on."""
    subscription = services_of(request).live.subscribe(actor.project)
    return event_stream(request, changes(subscription, resumed="last-event-id" in request.headers))
