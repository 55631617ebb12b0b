"""The OpenAPI description, completed with what holds for every operation: the credential, the key, the problems."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from scheduler_api.errors import PROBLEM_TYPE

_METHODS = frozenset({"get", "post", "put", "delete"})
_WRITES = _METHODS - {"get"}

_ERROR = {
    "type": "object",
    "required": ["loc", "code", "msg"],
    "properties": {
        "loc": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        "code": {"type": "string"},
        "msg": {"type": "string"},
        "line": {"type": "integer", "minimum": 1},
        "column": {"type": "integer", "minimum": 1},
    },
}
_PROBLEM = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "errors", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stable and machine-readable"},
        "detail": {"type": "string", "description": "one plain sentence: what is wrong, where, what is accepted"},
        "errors": {"type": "array", "items": _ERROR, "maxItems": 50},
        "request_id": {"type": "string"},
    },
}
_REFUSALS = {
    "400": "The request cannot be read",
    "401": "No credential, or none that is valid",
    "403": "Known, but not allowed",
    "404": "There is no such thing in the caller's project",
    "408": "The body did not arrive in time",
    "409": "The thing is in a state that forbids this",
    "413": "The body is too large",
    "414": "The address is too long",
    "415": "The content type or encoding is not taken",
    "422": "Understood, but not acceptable",
    "429": "Too many at once",
    "431": "The headers are too large",
    "500": "Something went wrong here",
    "503": "A dependency does not answer; try again after Retry-After seconds",
}
_WRITE_ONLY = frozenset({"408", "409", "413", "415"})
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "a write that comes twice under one key happens once",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_PROJECT = {
    "name": "project",
    "in": "query",
    "description": "the project, where the credential may use several",
    "schema": {"type": "string", "default": "default"},
}


def describe_api(app: FastAPI) -> dict[str, Any]:
    """The description; made once per application."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _complete(schema)
        app.openapi_schema = schema
    return app.openapi_schema


def _complete(schema: dict[str, Any]) -> None:
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "API key"}}
    for path, item in schema["paths"].items():
        for method in _METHODS & item.keys():
            _complete_operation(item[method], guarded=path.startswith("/api/"), writes=method in _WRITES)


def _complete_operation(operation: dict[str, Any], *, guarded: bool, writes: bool) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    if not guarded:
        return
    operation["security"] = [{"key": []}]
    parameters = operation.setdefault("parameters", [])
    parameters.append(_PROJECT)
    if writes:
        parameters.append(_IDEMPOTENCY_KEY)
    for status, description in _REFUSALS.items():
        if writes or status not in _WRITE_ONLY:
            content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
            responses[status] = {"description": description, "content": content}
