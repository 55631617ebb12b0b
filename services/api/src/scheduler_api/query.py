"""Query parameters: declared once, read strictly, shown in OpenAPI. What is not declared is refused, never ignored."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from starlette.requests import Request

from scheduler_api.errors import refused
from scheduler_api.instants import INSTANT_EXPECTED, YEARS, parse_instant
from scheduler_application.paging import DEFAULT_LIMIT, MAX_LIMIT, PageRequest
from scheduler_domain.errors import Problem
from scheduler_domain.run.states import RunState

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ufffd\ud800-\udfff]")


class WrongValue(Exception):
    """Text that is not a value of the parameter's kind."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Parameter:
    """``read`` turns the text into the value, or raises `WrongValue`; ``schema``, ``description`` are for OpenAPI."""

    name: str
    description: str
    schema: dict[str, Any]
    read: Callable[[str], Any]
    default: Any = None
    repeats: bool = field(default=False)

    def openapi(self) -> dict[str, Any]:
        return {"name": self.name, "in": "query", "description": self.description, "schema": self.schema}


class Query:
    """The parameters of one route: `openapi` goes into its declaration, `read` is called in it."""

    def __init__(self, *parameters: Parameter) -> None:
        self._parameters = parameters

    @property
    def openapi(self) -> dict[str, Any]:
        return {"parameters": [parameter.openapi() for parameter in self._parameters]}

    def read(self, request: Request) -> dict[str, Any]:
        """Every declared parameter's value, or its default. Raises `Refused` with all that are wrong."""
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for parameter in self._parameters:
            given = request.query_params.getlist(parameter.name)
            try:
                values[parameter.name] = _value(parameter, given)
            except WrongValue as wrong:
                problems.append(Problem(("query", parameter.name), wrong.code, f"{parameter.name}: {wrong.message}"))
        if problems:
            raise refused(problems)
        return values


def check_names(request: Request, declared: frozenset[str]) -> None:
    """Refuses what a route does not declare; ``project`` belongs to every route."""
    unknown = [name for name in request.query_params if name not in declared and name != "project"]
    if unknown:
        accepted = ", ".join(sorted(declared)) or "none but project"
        raise refused(
            [
                Problem(
                    ("query", name), "unknown_parameter", f"{name[:100]} is not a parameter here; accepted: {accepted}"
                )
                for name in unknown
            ]
        )


def _value(parameter: Parameter, given: Sequence[str]) -> Any:
    if not given:
        return parameter.default
    if any(_UNPRINTABLE.search(text) for text in given):
        raise WrongValue("control_character", "must not contain control characters")
    if parameter.repeats:
        return parameter.read(",".join(given))
    if len(given) > 1:
        raise WrongValue("duplicate_parameter", "is given more than once")
    return parameter.read(given[0])


def text(name: str, description: str, *, shortest: int = 1, longest: int = 200) -> Parameter:
    def read(value: str) -> str:
        if len(value) < shortest:
            raise WrongValue("too_short", "must not be empty")
        if len(value) > longest:
            raise WrongValue("too_long", f"takes at most {longest} characters")
        return value

    return Parameter(name, description, {"type": "string", "minLength": shortest, "maxLength": longest}, read)


def integer(name: str, description: str, *, low: int, high: int, default: int) -> Parameter:
    def read(value: str) -> int:
        if not _INTEGER.fullmatch(value):
            raise WrongValue("integer_expected", f"expected an integer from {low} to {high}")
        if not low <= int(value) <= high:
            raise WrongValue("number_out_of_range", f"must be from {low} to {high}")
        return int(value)

    schema = {"type": "integer", "minimum": low, "maximum": high, "default": default}
    return Parameter(name, description, schema, read, default)


def flag(name: str, description: str) -> Parameter:
    return Parameter(name, description, {"type": "boolean", "default": False}, _boolean, False)


def _boolean(value: str) -> bool:
    if value not in ("true", "false"):
        raise WrongValue("boolean_expected", "expected true or false")
    return value == "true"


def either(name: str, description: str) -> Parameter:
    """``true`` or ``false``; ``None`` where it is not given."""
    return Parameter(name, description, {"type": "boolean"}, _boolean)


def choice(name: str, description: str, kind: type[StrEnum]) -> Parameter:
    accepted = [option.value for option in kind]

    def read(value: str) -> StrEnum:
        if value not in accepted:
            raise WrongValue("not_in_list", f"expected one of: {', '.join(accepted)}")
        return kind(value)

    return Parameter(name, description, {"type": "string", "enum": accepted}, read)


def instant(name: str, description: str) -> Parameter:
    return Parameter(name, description, {"type": "string", "format": "date-time"}, read_instant)


def read_instant(value: str) -> datetime:
    """An ISO 8601 instant with its offset, as UTC."""
    # A plus sign that was not encoded arrives as a space.
    moment = parse_instant(value.replace(" ", "+"))
    if moment is None:
        raise WrongValue("invalid_instant", INSTANT_EXPECTED)
    return moment


def day(name: str, description: str) -> Parameter:
    return Parameter(name, description, {"type": "string", "format": "date"}, _read_day)


def _read_day(value: str) -> date:
    wrong = WrongValue("invalid_date", "expected a day like 2026-12-24, from 1970 to 2199")
    if not _DAY.fullmatch(value):
        raise wrong
    try:
        found = date.fromisoformat(value)
    except ValueError:
        raise wrong from None
    if found.year not in YEARS:
        raise wrong
    return found


def run_states(name: str) -> Parameter:
    accepted = [state.value for state in RunState]

    def read(value: str) -> tuple[str, ...]:
        states = tuple(dict.fromkeys(value.split(",")))
        if any(state not in accepted for state in states):
            raise WrongValue("not_in_list", f"expected states out of: {', '.join(accepted)}")
        return states

    schema = {"type": "array", "items": {"type": "string", "enum": accepted}}
    return Parameter(name, "only runs in these states; repeated, or separated by commas", schema, read, (), True)


LIMIT = integer("limit", "how many items a page has", low=1, high=MAX_LIMIT, default=DEFAULT_LIMIT)
CURSOR = text("cursor", "next_cursor of the page before", longest=1_000)


def page_of(values: dict[str, Any]) -> PageRequest:
    return PageRequest(values["limit"], values["cursor"])
