"""Bodies of requests: which parser the content type chooses, and the check against a model, all errors at once."""

import asyncio
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from scheduler_api.errors import Refused, refused
from scheduler_api.instants import INSTANT_EXPECTED
from scheduler_api.parsing import DOCUMENT_LIMITS, REQUEST_LIMITS, JsonLimits, parse_json, parse_object
from scheduler_domain.errors import Problem

JSON_TYPE = "application/json"
YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
SMALL_BODY = 64 * 1024
"""Up to this many bytes a body is parsed at once; larger ones in a thread, so that others are not kept waiting."""

_READ_ONLY = frozenset({
    "attempt", "claim_no", "created_at", "created_by", "fence", "id", "next_at", "next_fire_at", "owner_id", "project",
    "project_id", "run_id", "state", "tenant_id", "updated_at",
})  # fmt: skip
"""Fields that only the server writes: named as such when somebody sends them."""

M = TypeVar("M", bound="Body")

_CODES = {
    "int_type": ("integer_expected", "expected an integer"),
    "int_from_float": ("integer_expected", "expected an integer"),
    "bool_type": ("boolean_expected", "expected true or false"),
    "string_type": ("string_expected", "expected a text"),
    "dict_type": ("object_expected", "expected a JSON object"),
    "model_type": ("object_expected", "expected a JSON object"),
    "list_type": ("array_expected", "expected a JSON array"),
    "missing": ("missing_field", "is required"),
    "too_long": ("too_many_items", "has too many items"),
    "too_short": ("too_few_items", "has too few items"),
    "literal_error": ("not_in_list", "is not one of the accepted values"),
    "string_too_long": ("too_long", "is too long"),
    "string_too_short": ("too_short", "must not be empty"),
    "greater_than_equal": ("number_out_of_range", "must be at least"),
    "less_than_equal": ("number_out_of_range", "must be at most"),
    "invalid_instant": ("invalid_instant", INSTANT_EXPECTED),
}


class Body(BaseModel):
    """A request body: nothing is converted, nothing unknown is taken."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


TAKES_DOCUMENT = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}
"""What OpenAPI says about a request with a definition."""


def takes(schema: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says about a request with a JSON body."""
    return {"requestBody": {"content": {JSON_TYPE: {"schema": schema}}}}


async def read_body(request: Request) -> bytes:
    return await request.body()


async def read_json_object(request: Request, *, limits: JsonLimits = REQUEST_LIMITS) -> dict[str, Any]:
    """The JSON object that the request carries; no body at all is the empty object."""
    body = await request.body()
    if not body:
        return {}
    if media_type(request) != JSON_TYPE:
        raise Refused("unsupported_media_type", f"send the body as Content-Type: {JSON_TYPE}")
    if len(body) <= SMALL_BODY:
        return parse_object(body, limits)
    return await asyncio.to_thread(parse_object, body, limits)


async def read_model(request: Request, model: type[M]) -> M:
    """The body as ``model``; raises `Refused` with every field that is wrong."""
    return validate(await read_json_object(request), model)


def validate(value: Any, model: type[M], loc: tuple[str | int, ...] = ("body",)) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refused(
            [_problem(fault, loc) for fault in error.errors(include_url=False)], whole="invalid_body"
        ) from None


async def read_document(request: Request) -> tuple[bytes, str]:
    """A definition as it was sent, and its format: ``json`` or ``yaml``.

    JSON is checked here against the same limits as any body; what the document says is the use case's to judge.
    """
    body = await request.body()
    kind = media_type(request)
    if kind in YAML_TYPES:
        return body, "yaml"
    if kind != JSON_TYPE:
        accepted = ", ".join(sorted({JSON_TYPE, *YAML_TYPES}))
        raise Refused("unsupported_media_type", f"a definition is sent as one of: {accepted}")
    await asyncio.to_thread(parse_object, body, DOCUMENT_LIMITS)
    return body, "json"


async def refuse_body(request: Request) -> None:
    """For writes that take no body: an empty object is let through, anything else is refused rather than ignored."""
    body = await request.body()
    if body and parse_json(body) != {}:
        raise refused([Problem(("body",), "unknown_field", "this request takes no body")])


def media_type(request: Request) -> str:
    """The content type without parameters, in lower case; a charset other than UTF-8 is refused."""
    text = request.headers.get("content-type", "")
    kind, _, parameters = text.partition(";")
    charset = parameters.strip().lower()
    if charset.startswith("charset=") and charset[8:].strip('"') not in ("utf-8", "utf8"):
        raise Refused("unsupported_media_type", "bodies are taken in UTF-8 only")
    return kind.strip().lower()


def _problem(fault: Any, loc: tuple[str | int, ...]) -> Problem:
    where = (*loc, *fault["loc"])
    name = ".".join(str(part) for part in fault["loc"])[:100] or "body"
    if fault["type"] == "extra_forbidden":
        code = "read_only_field" if fault["loc"][-1] in _READ_ONLY else "unknown_field"
        words = "is set by the server" if code == "read_only_field" else "is not a field of this request"
        return Problem(where, code, f"{name}: {words}")
    code, words = _CODES.get(fault["type"], ("invalid_field", "does not have the accepted form"))
    if fault["type"] == "literal_error":
        words = f"{words}: {fault['ctx']['expected']}"
    if code == "number_out_of_range":
        words = f"{words} {next(iter(fault['ctx'].values()))}"
    return Problem(where, code, f"{name}: {words}")
