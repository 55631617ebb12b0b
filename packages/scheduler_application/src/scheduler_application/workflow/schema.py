"""The JSON Schema of a workflow's document, so that editors complete and check while people type.

It is made from the same tables as the reader. It says what each part may hold; what joins parts (the graph, names in
expressions, due times) only the reader knows.
"""

import re
from collections.abc import Mapping
from typing import Any

from scheduler_application.workflow import document, executors, expectations, retries, tasks, triggers
from scheduler_domain.naming import KEY, NAME
from scheduler_domain.schedule.calendar import CalendarMode, Shift
from scheduler_domain.schedule.dst import GapRule, RepeatRule
from scheduler_domain.schedule.fire_policy import MisfirePolicy, OverlapPolicy
from scheduler_domain.workflow import parameter_schema
from scheduler_domain.workflow.definition import (
    MAX_TASKS,
    ExpectedState,
    OnConflict,
    OnWorkerLoss,
    Priority,
    RunIf,
    TriggerKind,
)
from scheduler_domain.workflow.parameter_limits import MAX_STRING

Schema = dict[str, Any]

_DURATION = r"^([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?$"
_EXPRESSION = r"^\s*\$\{\{[\s\S]*\}\}\s*$"
_HOLDS_EXPRESSION = r"(^|[^$])\$\{\{"


def workflow_json_schema() -> Schema:
    """The schema, JSON Schema 2020-12."""
    properties = {
        "workflow": _pattern(NAME, "The workflow's name"),
        "description": {"type": "string", "maxLength": document.MAX_DESCRIPTION},
        "labels": {**_list(_pattern(NAME), document.MAX_LABELS), "uniqueItems": True},
        "inputs": {**_named(KEY, {"$ref": "#/$defs/input"}), "maxProperties": document.MAX_INPUTS},
        "triggers": {"type": "array", "items": {"$ref": "#/$defs/trigger"}, "maxItems": triggers.MAX_TRIGGERS},
        "expect": {
            "oneOf": [
                {"$ref": "#/$defs/expectation"},
                {
                    "type": "array",
                    "items": {"$ref": "#/$defs/expectation"},
                    "maxItems": expectations.MAX_EXPECTATIONS,
                },
            ]
        },
        "concurrency": _concurrency(),
        "timeout": _duration("Of a whole run"),
        "defaults": _closed(_common()),
        "tasks": {**_named(KEY, {"$ref": "#/$defs/task"}), "minProperties": 1, "maxProperties": MAX_TASKS},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Orrery workflow",
        **_closed({key: properties[key] for key in document.KEYS}, "workflow", "tasks"),
        "$defs": {
            "type": _types({}),
            "input": _types({"default": True}),
            "trigger": {"oneOf": [_trigger(kind) for kind in TriggerKind]},
            "expectation": _expectation(),
            "task": {"oneOf": [_task(name, settings) for name, settings in _executors().items()]},
            "retry": _retry(),
        },
    }


def _closed(properties: Mapping[str, Any], *required: str) -> Schema:
    """An object that has no other members than these."""
    closed: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**closed, "required": list(required)} if required else closed


def _pattern(rule: re.Pattern[str], description: str = "") -> Schema:
    found: Schema = {"type": "string", "pattern": f"^(?:{rule.pattern})$"}
    return {**found, "description": description} if description else found


def _named(rule: re.Pattern[str], member: Any) -> Schema:
    return {"type": "object", "propertyNames": _pattern(rule), "additionalProperties": member}


def _duration(description: str) -> Schema:
    return {"type": "string", "pattern": _DURATION, "minLength": 2, "description": f"{description}, e.g. 90s, 1d12h"}


def _expression(description: str) -> Schema:
    return {"type": "string", "pattern": _EXPRESSION, "description": description}


def _code(description: str) -> Schema:
    return {
        "type": "string",
        "pattern": r"\S",
        "maxLength": MAX_STRING,
        "not": {"pattern": _HOLDS_EXPRESSION},
        "description": f"{description}; expressions are not allowed in it",
    }


def _choice(options: Any) -> Schema:
    return {"enum": [str(option) for option in options]}


def _integer(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _list(items: Schema, most: int) -> Schema:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


def _types(extra: Mapping[str, Any]) -> Schema:
    """A described value: one object shape per type."""
    length = _integer(0, MAX_STRING)
    rules: Mapping[str, Schema] = {
        "string": {"format": _choice(parameter_schema.FORMATS), "min_length": length, "max_length": length},
        "integer": {"minimum": {"type": "integer"}, "maximum": {"type": "integer"}},
        "number": {"minimum": {"type": "number"}, "maximum": {"type": "number"}},
        "boolean": {},
        "array": {"items": {"$ref": "#/$defs/type"}},
        "object": {
            "properties": _named(KEY, {"$ref": "#/$defs/type"}),
            "required": {"type": "array", "items": {"type": "string"}},
        },
    }
    common = {"description": {"type": "string"}, "enum": _list({}, parameter_schema.MAX_ENUM), **extra}
    return {"oneOf": [_closed({"type": {"const": kind}, **common, **rules[kind]}, "type") for kind in rules]}


def _concurrency() -> Schema:
    properties = {
        "limit": _integer(1, document.MAX_CONCURRENT),
        "key": {"type": "string", "minLength": 1, "maxLength": 1_000},
        "on_conflict": _choice(OnConflict),
    }
    return _closed(properties, "limit")


def _common() -> dict[str, Schema]:
    return {
        "queue": _pattern(NAME),
        "priority": _choice(Priority),
        "timeout": _duration("Of one attempt"),
        "retry": {"$ref": "#/$defs/retry"},
    }


def _retry() -> Schema:
    attempts = _integer(1, retries.MAX_ATTEMPTS)
    on = _closed(
        {
            "exit_codes": _list(_integer(1, 255), 255),
            "http_statuses": _list(_integer(100, 599), 255),
            "timeout": {"type": "boolean"},
        }
    )
    policy = {
        "attempts": attempts,
        "backoff": _choice(("exponential", "constant")),
        "delay": _duration("The first pause"),
        "max_delay": _duration("The longest pause"),
        "jitter": {"type": "boolean"},
        "on": {**on, "minProperties": 1},
    }
    return {"oneOf": [attempts, _closed(policy, "attempts")]}


def _trigger(kind: TriggerKind) -> Schema:
    started_by: Mapping[TriggerKind, Schema] = {
        TriggerKind.SCHEDULE: {"type": "string", "minLength": 1, "maxLength": triggers.MAX_EXPRESSION},
        TriggerKind.EVERY: _duration("The interval"),
        TriggerKind.AT: {"type": "string", "description": "An instant with offset, e.g. 2027-01-01T00:00:00+01:00"},
        TriggerKind.MANUAL: _closed({"confirm": {"type": "boolean"}}),
    }
    others: Mapping[str, Schema] = {
        "name": _pattern(NAME),
        "timezone": {"type": "string", "description": "An IANA time zone, e.g. Europe/Berlin"},
        "misfire": _choice(MisfirePolicy),
        "overlap": _choice(OverlapPolicy),
        "max_lateness": _duration("What is later than this is dropped"),
        "jitter": _duration("The window over which starts are spread"),
        "dst": {**_closed({"gap": _choice(GapRule), "repeat": _choice(RepeatRule)}), "minProperties": 1},
        "calendar": _calendar(),
        "shadow": {"type": "boolean", "description": "Only record what would have been started"},
        "inputs": _named(KEY, True),
    }
    members = {kind.value: started_by[kind], **{key: others[key] for key in triggers.KEYS[kind]}}
    return _closed(members, kind.value)


def _calendar() -> Schema:
    shift = _choice(Shift)
    return {"oneOf": [_closed({mode.value: _pattern(NAME), "shift": shift}, mode.value) for mode in CalendarMode]}


def _expectation() -> Schema:
    time = _pattern(expectations.TIME_OF_DAY, "A local time of day, e.g. 06:00")
    cron: Schema = {
        "type": "string",
        "pattern": r"^[^:]*[^:\s][^:]*$",
        "maxLength": expectations.MAX_EXPRESSION,
        "description": "The deadlines as a cron expression",
    }
    others: Mapping[str, Schema] = {
        "timezone": {"type": "string", "description": "An IANA time zone, e.g. Europe/Berlin"},
        "state": _choice(ExpectedState),
        "within": _duration("How far before the deadline"),
        "name": _pattern(NAME),
    }
    days = {
        **_pattern(expectations.DAYS, "Cron's day-of-week field, e.g. MON-FRI"),
        "maxLength": expectations.MAX_EXPRESSION,
    }
    return {"oneOf": [_closed({"by": time, "days": days, **others}, "by"), _closed({"by": cron, **others}, "by")]}


def _executors() -> dict[str, Schema]:
    url: Schema = {"type": "string", "minLength": 1, "maxLength": executors.MAX_URL}
    script = _code("A script for /bin/sh")
    scalar = {"type": ["string", "number", "boolean"]}
    http = {
        "method": _choice(executors.HTTP_METHODS),
        "url": url,
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "query": {"type": "object", "additionalProperties": scalar},
        "body": True,
        "expect": _closed({"status": _list(_integer(100, 599), 100)}, "status"),
    }
    until = {"type": "string", "description": "An instant with offset, or an expression that gives one"}
    return {
        "shell": {"oneOf": [script, _closed({"script": script}, "script")]},
        "http": {"oneOf": [url, _closed(http, "url")]},
        "database": _closed(
            {
                "connection": _pattern(executors.CONNECTION),
                "sql": _code("One SQL statement"),
                "parameters": _named(executors.PARAMETER, True),
            },
            "connection",
            "sql",
        ),
        "python": _closed({"call": _pattern(executors.CALL), "args": _named(executors.PARAMETER, True)}, "call"),
        "workflow": _closed({"name": _pattern(NAME), "inputs": _named(KEY, True)}, "name"),
        "wait": {"oneOf": [_closed({"for": _duration("How long")}, "for"), _closed({"until": until}, "until")]},
    }


def _task(executor: str, settings: Schema) -> Schema:
    members: dict[str, Schema] = {
        "needs": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "when": _expression("The task is skipped unless this is true"),
        "run_if": _choice(RunIf),
        "for_each": _expression("A list; the task runs once for each element"),
        "max_parallel": _integer(1, tasks.MAX_PARALLEL),
        "env": _named(tasks.ENV_NAME, {"type": "string"}),
        "on_worker_loss": _choice(OnWorkerLoss),
        **_common(),
    }
    accepted = {executor: settings, **{key: members[key] for key in tasks.accepted_keys(executor)}}
    return {**_closed(accepted, executor), "dependentRequired": {"max_parallel": ["for_each"]}}
