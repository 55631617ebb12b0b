"""Routes that know who may use them.

Access is a property of the route object and of nothing else: no path is ever compared to decide it. A route that does
not declare its access keeps the application from starting.
"""

from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, ClassVar

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.authentication import authenticate
from scheduler_api.idempotency import idempotency_key, once
from scheduler_api.query import check_names

API_PREFIX = "/api/v1"
_READS = frozenset({"GET"})

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Access(StrEnum):
    PUBLIC = "public"
    CREDENTIAL = "credential"
    UNGUESSABLE = "unguessable"


class PublicRoute(APIRoute):
    """Open to everybody who can reach the port."""

    access: ClassVar[Access] = Access.PUBLIC


class TokenRoute(APIRoute):
    """Needs nothing but the unguessable token in its address, which its use case checks before anything else."""

    access: ClassVar[Access] = Access.UNGUESSABLE


class GuardedRoute(APIRoute):
    """Needs a credential; refuses undeclared query parameters; honours ``Idempotency-Key`` on writes."""

    access: ClassVar[Access] = Access.CREDENTIAL
    keeps_key: ClassVar[bool] = False
    """Whether the route's use case keeps the idempotency key by itself."""

    def get_route_handler(self) -> Handler:
        act = self._handler()
        declared = _query_names(self.openapi_extra or {})
        methods = self.methods or set()
        writes = not methods <= _READS and not self.keeps_key
        route = f"{','.join(sorted(methods))} {self.path}"

        async def handle(request: Request) -> Response:
            actor = await authenticate(request)
            request.state.actor = actor
            if request.scope["query_string"]:
                check_names(request, declared)
            if writes and (key := idempotency_key(request)) is not None:
                return await once(request, actor, key, act, route)
            return await act(request)

        return handle

    def _handler(self) -> Handler:
        return super().get_route_handler()


class DirectRoute(GuardedRoute):
    """For the few routes that start runs: the endpoint takes the request as it is and keeps the idempotency key
    in the run's transaction, so nothing is resolved or checked twice on the way."""

    keeps_key: ClassVar[bool] = True

    def _handler(self) -> Handler:
        endpoint: Handler = self.endpoint
        return endpoint


class AskingRoute(GuardedRoute):
    """A POST that changes nothing: its question is too large for a query. Asked twice, it is answered twice, so an
    idempotency key needs no keeping."""

    keeps_key: ClassVar[bool] = True


def _query_names(declaration: dict[str, Any]) -> frozenset[str]:
    return frozenset(given["name"] for given in declaration.get("parameters", ()) if given["in"] == "query")


def guarded_router(tag: str) -> APIRouter:
    return APIRouter(prefix=API_PREFIX, tags=[tag], route_class=GuardedRoute)


def direct_router(tag: str) -> APIRouter:
    return APIRouter(prefix=API_PREFIX, tags=[tag], route_class=DirectRoute)


def asking_router(tag: str) -> APIRouter:
    return APIRouter(prefix=API_PREFIX, tags=[tag], route_class=AskingRoute)


def public_router() -> APIRouter:
    return APIRouter(route_class=PublicRoute)


def token_router(tag: str) -> APIRouter:
    return APIRouter(tags=[tag], route_class=TokenRoute)


def check_access(app: FastAPI) -> None:
    """Raises `RuntimeError` for the first route that does not say who may use it."""
    for route in app.router.routes:
        if getattr(route, "access", None) not in tuple(Access):
            raise RuntimeError(f"the route {getattr(route, 'path', route)} does not declare its access")


def allowed_methods(app: FastAPI, path: str) -> list[str]:
    """Every method that some route takes at ``path``."""
    methods: set[str] = set()
    for route in app.router.routes:
        if isinstance(route, APIRoute) and route.path_regex.match(path):
            methods |= route.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
