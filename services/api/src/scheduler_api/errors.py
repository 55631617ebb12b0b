"""The one table from what went wrong to what the caller sees.

Every error leaves as ``application/problem+json`` (RFC 9457): ``type``, ``title``, ``status``, ``code``, ``detail``,
``errors`` and ``request_id``. Use cases raise facts; only this file knows HTTP.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from scheduler_application.errors import (
    ApplicationError,
    Conflict,
    Forbidden,
    InvalidCredential,
    LeadershipLost,
    NotFound,
    Rejected,
    Unavailable,
    Unroutable,
)
from scheduler_domain.errors import MAX_PROBLEMS, DomainError, ExpressionError, InvalidDefinition, Problem
from scheduler_domain.run.states import IllegalTransition

PROBLEM_TYPE = "application/problem+json"
INTERNAL = "internal"

STATUS_BY_CLASS: Mapping[type[Exception], int] = {
    NotFound: 404,
    Conflict: 409,
    Rejected: 422,
    InvalidCredential: 401,
    Forbidden: 403,
    Unavailable: 503,
    Unroutable: 503,
    LeadershipLost: 503,
    InvalidDefinition: 422,
    ExpressionError: 422,
    IllegalTransition: 409,
    TimeoutError: 503,
}

STATUS_BY_CODE: Mapping[str, int] = {
    "bad_request": 400,
    "duplicate_key": 400,
    "invalid_idempotency_key": 400,
    "invalid_unicode": 400,
    "malformed_json": 400,
    "nesting_too_deep": 400,
    "number_too_long": 400,
    "token_in_url": 400,
    "invalid_key": 401,
    "missing_credential": 401,
    "not_found": 404,
    "not_available_yet": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "not_deployed": 409,
    "body_too_large": 413,
    "uri_too_long": 414,
    "unsupported_content_encoding": 415,
    "unsupported_media_type": 415,
    "too_many_streams": 429,
    "headers_too_large": 431,
    INTERNAL: 500,
    "overloaded": 503,
    "unavailable": 503,
}
"""Of the codes that the API itself gives; one that is not here is 422: understood, but not acceptable."""

_RETRY_AFTER = {409: "1", 429: "5", 503: "1"}
_RETRYABLE_CONFLICT = "idempotency_in_progress"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MAX_TEXT = 500


class Refused(Exception):
    """A request that the API turns away by itself; its status is that of ``code`` in `STATUS_BY_CODE`."""

    def __init__(
        self, code: str, detail: str, *, problems: Sequence[Problem] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        self.code = code
        self.detail = detail
        self.problems = tuple(problems[:MAX_PROBLEMS])
        self.headers = dict(headers or {})
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """One refusal, ready to be sent; ``headers`` belong to the response, the rest is the body."""

    status: int
    code: str
    detail: str
    errors: list[dict[str, Any]]
    headers: dict[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> dict[str, Any]:
        return {
            "type": f"urn:orrery:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "errors": self.errors,
            "request_id": request_id,
        }

    def response(self, request_id: str) -> Response:
        return Response(msgspec.json.encode(self.body(request_id)), self.status, self.headers, media_type=PROBLEM_TYPE)


def refused(problems: Sequence[Problem], *, whole: str = "invalid_request") -> Refused:
    """All that is wrong with one request. Its code is that of the problems where they agree, else ``whole``;
    a problem of the kind that answers 400 decides for all."""
    unreadable = [problem for problem in problems if STATUS_BY_CODE.get(problem.code) == 400]
    first = (unreadable or list(problems))[0]
    code = first.code if unreadable else _common_code(problems, whole)
    return Refused(code, _sentence(first, len(problems)), problems=problems)


def describe(error: Exception, *, source: str = "body") -> ProblemDetails | None:
    """What the caller is told about ``error``; ``None`` for what nobody foresaw, of which the caller learns nothing.

    ``source`` is where the caller wrote what a definition's problems speak of: ``body`` or ``query``.
    """
    match error:
        case Refused():
            status = STATUS_BY_CODE.get(error.code, 422)
            return _details(status, error.code, error.detail, _errors(error.problems), error.headers)
        case InvalidDefinition():
            code = _common_code(error.problems, "invalid_definition")
            errors = _errors(error.problems, source)
            return _details(422, code, _sentence(error.problems[0], len(error.problems)), errors)
        case HTTPException():
            return _of_framework(error)
        case ApplicationError() | DomainError() | TimeoutError():
            return _of_use_case(error)
    return None


def internal() -> ProblemDetails:
    return _details(500, INTERNAL, "something went wrong here; the request id finds it in the log", [])


def _of_use_case(error: Exception) -> ProblemDetails | None:
    status = next((STATUS_BY_CLASS[kind] for kind in type(error).__mro__ if kind in STATUS_BY_CLASS), None)
    if status is None:
        return None
    headers = {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, TimeoutError):
        return _details(status, "unavailable", "a part of the system did not answer in time", [])
    code = error.code if isinstance(error, ApplicationError) else _domain_code(error)
    return _details(status, code, str(error), [], headers)


def _domain_code(error: Exception) -> str:
    return "invalid_expression" if isinstance(error, ExpressionError) else "illegal_transition"


def _of_framework(error: HTTPException) -> ProblemDetails:
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    detail = {404: "there is nothing at this address", 405: "this address does not take that method"}
    status = STATUS_BY_CODE[code]
    return _details(status, code, detail.get(status, "the request is malformed"), [], dict(error.headers or {}))


def _details(
    status: int, code: str, detail: str, errors: list[dict[str, Any]], headers: Mapping[str, str] | None = None
) -> ProblemDetails:
    extra = dict(headers or {})
    if status == 401:
        extra.setdefault("WWW-Authenticate", 'Bearer realm="orrery"')
    if status in _RETRY_AFTER and (status != 409 or code == _RETRYABLE_CONFLICT):
        extra.setdefault("Retry-After", _RETRY_AFTER[status])
    return ProblemDetails(status, code, printable(detail), errors, extra)


def _errors(problems: Sequence[Problem], source: str | None = None) -> list[dict[str, Any]]:
    return [_error(problem, source) for problem in problems[:MAX_PROBLEMS]]


def _error(problem: Problem, source: str | None) -> dict[str, Any]:
    loc = [part if isinstance(part, int) else printable(part, 100) for part in problem.loc]
    error: dict[str, Any] = {
        "loc": [source, *loc] if source is not None else loc,
        "code": problem.code,
        "msg": printable(problem.message),
    }
    if problem.line is not None:
        error["line"] = problem.line
    if problem.column is not None:
        error["column"] = problem.column
    return error


def _common_code(problems: Sequence[Problem], otherwise: str) -> str:
    codes = {problem.code for problem in problems}
    return codes.pop() if len(codes) == 1 else otherwise


def _sentence(first: Problem, count: int) -> str:
    place = f" (line {first.line}, column {first.column or 1})" if first.line is not None else ""
    more = f"; and {count - 1} more" if count > 1 else ""
    return f"{first.message}{place}{more}"


def printable(text: str, limit: int = _MAX_TEXT) -> str:
    """``text`` on one line, without control characters and cut to ``limit``: it may echo what somebody sent."""
    shown = _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
