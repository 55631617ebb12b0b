"""The part of a task that belongs to its executor: from what is written to `TaskDefinition.settings`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from scheduler_application.workflow import fields
from scheduler_application.workflow.fields import Loc, Reading
from scheduler_domain.naming import KEY, KEY_RULE, NAME, NAME_RULE, shown
from scheduler_domain.workflow.expression_dates import parse_instant

HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MAX_MEMBERS = 200
MAX_WAIT = 366 * 86_400
MAX_URL = 4_096

CONNECTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
CONNECTION_RULE = "1 to 100 of a-z, A-Z, 0-9, '.', '_' and '-', beginning with a letter, digit or '_'"
PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
PARAMETER_RULE = "1 to 100 of a-z, A-Z, 0-9 and '_', beginning with a letter or '_'"
CALL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OWN_HEADERS = frozenset(
    {"connection", "content-length", "host", "idempotency-key", "te", "traceparent", "transfer-encoding", "upgrade"}
)
_URL = re.compile(r"https?://[^\s/?#@\\]+(?:[/?#][^\s\\]*)?", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")

_IN_SCRIPT = "a script; give the value a name in 'env' and write \"$NAME\" here"
_IN_SQL = "SQL text; give the value a name in 'parameters' and write :name here"


def shell(reading: Reading, value: Any, loc: Loc) -> dict[str, Any]:
    """``{"script": text}``, from text or ``{script: …}``."""
    if isinstance(value, dict):
        written = fields.mapping(reading, value, loc, ("script",), required=("script",))
        if "script" not in written:
            return {}
        value, loc = written["script"], (*loc, "script")
    return {"script": fields.constant_text(reading, value, loc, "(a script for /bin/sh)", _IN_SCRIPT)}


def http(reading: Reading, value: Any, loc: Loc) -> dict[str, Any]:
    """``{"method", "url"}`` and, where written, ``"headers"``, ``"query"``, ``"body"``, ``"expect": {"status"}``."""
    if isinstance(value, str):
        return {"method": "GET", "url": _url(reading, value, loc)}
    accepted = ("method", "url", "headers", "query", "body", "expect")
    written = fields.mapping(reading, value, loc, accepted, required=("url",))
    method = fields.choice(reading, written.get("method", "GET"), (*loc, "method"), HTTP_METHODS)
    settings: dict[str, Any] = {"method": method}
    if "url" in written:
        settings["url"] = _url(reading, written["url"], (*loc, "url"))
    if "headers" in written:
        settings["headers"] = _headers(reading, written["headers"], (*loc, "headers"))
    if "query" in written:
        settings["query"] = _query(reading, written["query"], (*loc, "query"))
    if "body" in written:
        if method in ("GET", "HEAD"):
            reading.note((*loc, "body"), "invalid_body", f"a {method} request has no body")
        settings["body"] = written["body"]
    if "expect" in written:
        settings["expect"] = {"status": _statuses(reading, written["expect"], (*loc, "expect"))}
    return settings


def _url(reading: Reading, value: Any, loc: Loc) -> str:
    url = fields.text(reading, value, loc, "such as https://example.com/x", most=MAX_URL)
    literal = re.sub(r"\$\{\{.*?\}\}", "x", url)
    if url.startswith("${{") or not url.strip() or _URL.fullmatch(literal):
        return url
    scheme = _SCHEME.match(url)
    if scheme and scheme.group().lower() not in ("http:", "https:"):
        message = f"the scheme '{shown(scheme.group())}' is not accepted (accepted: http, https)"
        reading.note(loc, "unsupported_scheme", message)
    else:
        reading.note(loc, "invalid_url", f"'{shown(url)}' is not a URL such as https://example.com/x")
    return url


def _headers(reading: Reading, value: Any, loc: Loc) -> Mapping[str, Any]:
    headers = fields.named(reading, value, loc, _HEADER, "letters, digits and '-'", MAX_MEMBERS)
    for key, content in headers.items():
        if key.lower() in _OWN_HEADERS:
            reading.note((*loc, key), "reserved_name", f"the header '{key}' is set by Orrery itself")
        written = fields.text(reading, content, (*loc, key), empty=True)
        if "\n" in written or "\r" in written:
            reading.note((*loc, key), "control_character", "a header is one line")
    return headers


def _query(reading: Reading, value: Any, loc: Loc) -> Mapping[str, Any]:
    query = fields.named(reading, value, loc, re.compile(r".{1,200}", re.DOTALL), "1 to 200 characters", MAX_MEMBERS)
    for key, content in query.items():
        if not isinstance(content, str | int | float | bool):
            fields.expect(reading, (*loc, key), "string", content, "or a number or a boolean")
    return query


def _statuses(reading: Reading, value: Any, loc: Loc) -> list[int]:
    written = fields.mapping(reading, value, loc, ("status",), required=("status",))
    if "status" not in written:
        return []
    loc = (*loc, "status")
    listed = fields.sequence(reading, written["status"], loc, "of HTTP statuses such as [200, 204]", 100, 1)
    return [fields.integer(reading, status, (*loc, place), 100, 599) for place, status in enumerate(listed)]


def database(reading: Reading, value: Any, loc: Loc) -> dict[str, Any]:
    """``{"connection", "sql"}`` and, where written, ``"parameters"`` (JSON values by name)."""
    accepted = ("connection", "sql", "parameters")
    written = fields.mapping(reading, value, loc, accepted, required=("connection", "sql"))
    settings: dict[str, Any] = {}
    if "connection" in written:
        place = (*loc, "connection")
        settings["connection"] = fields.name(reading, written["connection"], place, CONNECTION, CONNECTION_RULE)
    if "sql" in written:
        place = (*loc, "sql")
        settings["sql"] = fields.constant_text(reading, written["sql"], place, "(one SQL statement)", _IN_SQL)
    if "parameters" in written:
        place = (*loc, "parameters")
        parameters = written["parameters"]
        settings["parameters"] = fields.named(reading, parameters, place, PARAMETER, PARAMETER_RULE, MAX_MEMBERS)
    return settings


def python(reading: Reading, value: Any, loc: Loc) -> dict[str, Any]:
    """``{"call": "package.module:function"}`` and, where written, ``"args"`` (JSON values by parameter name)."""
    written = fields.mapping(reading, value, loc, ("call", "args"), required=("call",))
    settings: dict[str, Any] = {}
    if "call" in written:
        call = fields.text(reading, written["call"], (*loc, "call"), "such as reports.build:main", most=500)
        if call.strip() and not CALL.fullmatch(call):
            message = f"'{shown(call)}' is not a callable; write module.path:function"
            reading.note((*loc, "call"), "invalid_call", message)
        settings["call"] = call
    if "args" in written:
        place = (*loc, "args")
        settings["args"] = fields.named(reading, written["args"], place, PARAMETER, PARAMETER_RULE, MAX_MEMBERS)
    return settings


def workflow(reading: Reading, value: Any, loc: Loc) -> dict[str, Any]:
    """``{"name"}`` and, where written, ``"inputs"`` (JSON values by name)."""
    written = fields.mapping(reading, value, loc, ("name", "inputs"), required=("name",))
    settings: dict[str, Any] = {}
    if "name" in written:
        settings["name"] = fields.name(reading, written["name"], (*loc, "name"), NAME, NAME_RULE)
    if "inputs" in written:
        settings["inputs"] = fields.named(reading, written["inputs"], (*loc, "inputs"), KEY, KEY_RULE, MAX_MEMBERS)
    return settings


def wait(reading: Reading, value: Any, loc: Loc) -> dict[str, Any]:
    """``{"for": seconds}`` or ``{"until": instant}``."""
    written = fields.mapping(reading, value, loc, ("for", "until"))
    if isinstance(value, dict) and ("for" in written) == ("until" in written):
        reading.note(loc, "exactly_one_of", "a wait has either 'for' (a duration) or 'until' (an instant)")
    if "for" in written:
        return {"for": fields.duration(reading, written["for"], (*loc, "for"), 1, MAX_WAIT)}
    if "until" not in written:
        return {}
    until = fields.text(reading, written["until"], (*loc, "until"), "such as 2027-01-01T00:00:00+01:00")
    if until.strip() and "${{" not in until and parse_instant(until) is None:
        message = f"'{shown(until)}' is not an instant with offset such as 2027-01-01T00:00:00+01:00"
        reading.note((*loc, "until"), "invalid_instant", message)
    return {"until": until}


EXECUTORS: Mapping[str, Callable[[Reading, Any, Loc], dict[str, Any]]] = {
    "shell": shell,
    "http": http,
    "database": database,
    "python": python,
    "workflow": workflow,
    "wait": wait,
}
