"""Whether this process lives, whether it can do its work, and its figures."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer
from scheduler_api.dependencies import services_of
from scheduler_api.errors import PROBLEM_TYPE, ProblemDetails, printable
from scheduler_api.middleware import request_id_of
from scheduler_api.routing import public_router
from scheduler_api.version import VERSION
from scheduler_application.errors import NotFound

router = public_router()


@router.get("/livez", tags=["health"])
async def live() -> Response:
    """200 as long as the process answers at all."""
    return answer({"status": "ok"})


@router.get("/readyz", tags=["health"])
async def ready(request: Request) -> Response:
    """200 when every part works, else 503 with what each part says."""
    parts = await services_of(request).readiness.check()
    checks = [{"name": name, "ok": ok, "detail": printable(detail)} for name, ok, detail in parts]
    failing = [name for name, ok, _ in parts if not ok]
    if not failing:
        return answer({"status": "ready", "version": VERSION, "checks": checks})
    errors = [{"loc": [name], "code": "not_ready", "msg": printable(detail)} for name, ok, detail in parts if not ok]
    problem = ProblemDetails(503, "not_ready", f"not ready: {', '.join(failing)}", errors)
    body = {**problem.body(request_id_of(request)), "checks": checks}
    return Response(msgspec.json.encode(body), 503, {"Retry-After": "1"}, media_type=PROBLEM_TYPE)


@router.get("/health", tags=["health"])
async def health(request: Request) -> Response:
    """The same as ``/readyz``, under the name that load balancers ask for by habit."""
    return await ready(request)


@router.get("/metrics", tags=["health"])
async def metrics(request: Request) -> Response:
    """The figures of this process in Prometheus' text format."""
    text = services_of(request).metrics_text
    if text is None:
        raise NotFound("the figures have a port of their own here")
    return Response(text(), media_type="text/plain; version=0.0.4; charset=utf-8")
