"""The hot path: requests that start runs."""

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer
from scheduler_api.bodies import Body, read_body, read_json_object, takes, validate
from scheduler_api.dependencies import use_cases_of
from scheduler_api.errors import Refused, describe, internal
from scheduler_api.idempotency import REPLAYED, idempotency_key, request_hash
from scheduler_api.middleware import log, request_id_of
from scheduler_api.routing import direct_router
from scheduler_api.tracing import traceparent_of
from scheduler_application.run.start import StartedRun, StartRunCommand

MAX_BATCH = 1_000

router = direct_router("runs")

PriorityName = Literal["critical", "high", "normal", "low"]


class StartBody(Body):
    inputs: dict[str, Any] = Field(default_factory=dict)
    priority: PriorityName | None = None


class ManualBody(StartBody):
    confirmation: bool = False


class BatchItem(StartBody):
    workflow: Annotated[str, Field(min_length=1, max_length=100)]
    idempotency_key: Annotated[str, Field(pattern=r"^[ -~]{1,255}$")] | None = None


class BatchBody(Body):
    items: Annotated[list[Any], Field(min_length=1, max_length=MAX_BATCH)]


def _takes(schema: dict[str, Any]) -> dict[str, Any]:
    workflow = {"name": "workflow", "in": "path", "required": True, "schema": {"type": "string"}}
    return {"parameters": [workflow], **takes(schema)}


@router.post(
    "/workflows/{workflow}/run",
    response_model=StartedRun,
    status_code=202,
    openapi_extra=_takes(StartBody.model_json_schema()),
)
async def start_run(request: Request) -> Response:
    """Starts one run of the live version; the answer comes after the commit."""
    body = validate(await read_json_object(request), StartBody)
    key, content_hash = await _identity(request)
    command = StartRunCommand(
        workflow=request.path_params["workflow"],
        inputs=body.inputs,
        priority=body.priority,
        traceparent=traceparent_of(request),
        idempotency_key=key,
        request_hash=content_hash,
    )
    return await _start(request, command)


@router.post(
    "/workflows/{workflow}/trigger/manual",
    response_model=StartedRun,
    status_code=202,
    openapi_extra=_takes(ManualBody.model_json_schema()),
)
async def start_manually(request: Request) -> Response:
    """Satisfies the workflow's manual trigger; 403 where it asks for a confirmation and none is given."""
    body = validate(await read_json_object(request), ManualBody)
    key, content_hash = await _identity(request)
    command = StartRunCommand(
        workflow=request.path_params["workflow"],
        inputs=body.inputs,
        priority=body.priority,
        trigger="manual",
        confirmation=body.confirmation,
        traceparent=traceparent_of(request),
        idempotency_key=key,
        request_hash=content_hash,
    )
    return await _start(request, command)


@router.post(
    "/runs:batch",
    status_code=200,
    openapi_extra={
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["items"],
                        "additionalProperties": False,
                        "properties": {
                            "items": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": MAX_BATCH,
                                "items": BatchItem.model_json_schema(),
                            }
                        },
                    }
                }
            }
        }
    },
)
async def start_batch(request: Request) -> Response:
    """Starts up to 1,000 runs; each item has its own outcome, in the order of the request."""
    body = validate(await read_json_object(request), BatchBody)
    outcomes: list[dict[str, Any] | None] = [None] * len(body.items)
    commands: dict[int, StartRunCommand] = {}
    key = idempotency_key(request)
    for index, item in enumerate(body.items):
        try:
            commands[index] = _command(request, index, item, key)
        except Refused as refusal:
            outcomes[index] = _failed(request, refusal)
    started = await use_cases_of(request).start_runs().execute(list(commands.values()), request.state.actor)
    for index, outcome in zip(commands, started, strict=True):
        outcomes[index] = _outcome(request, outcome)
    return answer({"items": outcomes})


def _command(request: Request, index: int, item: Any, key: str | None) -> StartRunCommand:
    wanted = validate(item, BatchItem, ("body", "items", index))
    own_key = wanted.idempotency_key
    if own_key is None and key is not None:
        # The request's key covers each item by its place, so that a batch that was cut off goes on where it was.
        own_key = hashlib.sha256(f"{index} {key}".encode()).hexdigest()
    content = msgspec.json.encode((wanted.workflow, wanted.inputs, wanted.priority))
    return StartRunCommand(
        workflow=wanted.workflow,
        inputs=wanted.inputs,
        priority=wanted.priority,
        traceparent=traceparent_of(request),
        idempotency_key=own_key,
        request_hash=request_hash(request, content) if own_key is not None else "",
    )


async def _identity(request: Request) -> tuple[str | None, str]:
    """The idempotency key and the hash that must come with it again; without a key nothing is hashed."""
    key = idempotency_key(request)
    return key, request_hash(request, await read_body(request)) if key is not None else ""


async def _start(request: Request, command: StartRunCommand) -> Response:
    started = await use_cases_of(request).start_run().execute(command, request.state.actor)
    headers = {"Location": f"/api/v1/runs/{started.run_id}", **(REPLAYED if started.replayed else {})}
    return answer(started, 202, headers)


def _outcome(request: Request, outcome: StartedRun | BaseException) -> dict[str, Any]:
    if isinstance(outcome, Exception):
        return _failed(request, outcome)
    if isinstance(outcome, BaseException):
        raise outcome
    return {"status": 202, "run_id": outcome.run_id, "state": outcome.state, "replayed": outcome.replayed}


def _failed(request: Request, error: Exception) -> dict[str, Any]:
    problem = describe(error)
    if problem is None:
        log.error("an item of a batch failed unexpectedly", exc_info=error)
        problem = internal()
    return {"status": problem.status, "problem": problem.body(request_id_of(request))}
