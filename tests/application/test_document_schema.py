from typing import Any

import jsonschema_rs
import pytest

from scheduler_application.workflow.document import check_content
from scheduler_application.workflow.schema import workflow_json_schema
from scheduler_domain.errors import InvalidDefinition


def refuse(uri: str) -> Any:
    raise AssertionError(f"the schema refers to {uri}")


VALIDATOR = jsonschema_rs.Draft202012Validator(workflow_json_schema(), retriever=refuse)


def with_task(body: Any) -> dict[str, Any]:
    return {"workflow": "w", "tasks": {"before": {"shell": "x"}, "t": body}}


def with_top(**members: Any) -> dict[str, Any]:
    return {"workflow": "w", "tasks": {"a": {"shell": "x"}}, **members}


@pytest.mark.parametrize(
    "content",
    [
        with_top(),
        with_top(description="d", timeout="2h", inputs={}, triggers=[]),
        with_top(inputs={"day": {"type": "string", "format": "date", "default": "${{ run.scheduled_for }}"}}),
        with_top(inputs={"n": {"type": "integer", "minimum": 1, "maximum": 5, "default": 2, "enum": [1, 2]}}),
        with_top(inputs={"r": {"type": "array", "items": {"type": "string", "min_length": 1}, "default": ["eu"]}}),
        with_top(inputs={"o": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}}),
        with_top(triggers=[{"manual": {"confirm": True}}]),
        with_top(expect={"by": "06:00"}),
        with_top(expect=[]),
        with_top(expect=[{"by": "23:59:59", "days": "MON-FRI", "timezone": "Europe/Berlin", "name": "by-night"}]),
        with_top(expect=[{"by": "0 6 * * *", "state": "started", "within": "2h"}, {"by": "@daily"}]),
        with_top(concurrency={"limit": 1, "key": "${{ run.workflow }}", "on_conflict": "cancel_running"}),
        with_top(defaults={"queue": "q", "priority": "low", "timeout": "10m", "retry": {"attempts": 3}}),
        with_task({"shell": {"script": "echo $${{ x }}"}, "env": {"A": "${{ secrets.X }}"}, "needs": ["before"]}),
        with_task({"shell": "x", "retry": {"attempts": 2, "on": {"exit_codes": [75], "timeout": True}}}),
        with_task({"shell": "x", "for_each": "${{ [1] }}", "max_parallel": 2, "on_worker_loss": "fail"}),
        with_task(
            {"shell": "x", "when": "${{ tasks.before.output.n > 1 }}", "needs": ["before"], "run_if": "any_failed"}
        ),
        with_task({"http": "https://example.com"}),
        with_task({"http": {"method": "POST", "url": "https://h", "body": [1], "expect": {"status": [200]}}}),
        with_task({"http": {"url": "https://h", "headers": {"A": "b"}, "query": {"n": 1}}, "retry": 3}),
        with_task({"database": {"connection": "db", "sql": "select :a", "parameters": {"a": None}}}),
        with_task({"python": {"call": "a.b:c", "args": {"x": [1]}}, "queue": "gpu", "priority": "critical"}),
        with_task({"workflow": {"name": "other", "inputs": {"a": {"b": 1}}}, "timeout": "1h", "retry": 2}),
        with_task({"wait": {"for": "1d12h"}, "needs": ["before"]}),
        with_task({"wait": {"until": "2027-01-01T00:00:00Z"}}),
    ],
)
def test_what_the_reader_accepts_fits_the_schema(content: dict[str, Any]) -> None:
    check_content(content)
    VALIDATOR.validate(content)


@pytest.mark.parametrize(
    "trigger",
    [
        {"schedule": "0 2 * * *", "timezone": "Europe/Berlin", "misfire": "fire_all", "name": "n", "inputs": {"a": 1}},
        {"every": "15m", "misfire": "skip", "timezone": "Europe/Berlin", "calendar": {"skip": "holidays-de"}},
        {
            "schedule": "0 2 * * *",
            "overlap": "queue",
            "max_lateness": "2h",
            "jitter": "5m",
            "dst": {"gap": "skip", "repeat": "twice"},
            "calendar": {"only": "business-days", "shift": "next"},
            "shadow": True,
        },
        {"at": "2099-01-01T00:00:00Z"},
        {"manual": {}, "name": "by-hand"},
    ],
)
def test_every_kind_of_trigger_fits_the_schema(trigger: dict[str, Any]) -> None:
    VALIDATOR.validate(with_top(triggers=[trigger]))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"workflow": "w", "tasks": {}},
        with_top(workflow="Not A Name"),
        with_top(labels={}),
        with_top(timeout=10),
        with_top(timeout=""),
        with_top(timeout="10 s"),
        with_top(defaults={"env": {}}),
        with_top(defaults={"priority": "urgent"}),
        with_top(concurrency={}),
        with_top(concurrency={"limit": "1"}),
        with_top(inputs={"x": {"type": "str"}}),
        with_top(inputs={"x": {"type": "string", "pattern": "x"}}),
        with_top(inputs={"x": {"type": "string", "format": "email"}}),
        with_top(inputs={"x": {"type": "array", "items": {"type": "string", "default": "a"}}}),
        with_top(inputs={"1x": {"type": "string"}}),
        with_top(triggers={}),
        with_top(triggers=[{}]),
        with_top(triggers=[{"webhook": {"path": "x"}}]),
        with_top(triggers=[{"email": {}}]),
        with_top(triggers=[{"github": {}}]),
        with_top(triggers=[{"gitlab": {}}]),
        with_top(triggers=[{"run": {}}]),
        with_top(triggers=[{"every": "5m", "overlap": "never"}]),
        with_top(triggers=[{"every": "5m", "jitter": 5}]),
        with_top(triggers=[{"every": "5m", "calendar": {}}]),
        with_top(triggers=[{"every": "5m", "calendar": {"skip": "a", "only": "b"}}]),
        with_top(triggers=[{"every": "5m", "dst": {"gap": "skip"}}]),
        with_top(triggers=[{"schedule": "@daily", "dst": {}}]),
        with_top(triggers=[{"at": "2099-01-01T00:00:00Z", "timezone": "UTC"}]),
        with_top(labels=[]),
        with_top(labels=["a", "a"]),
        with_top(labels=["no label"]),
        with_top(triggers=[{"every": "5m", "manual": {}}]),
        with_top(triggers=[{"every": 5}]),
        with_top(triggers=[{"manual": True}]),
        with_top(triggers=[{"manual": {}, "inputs": {}}]),
        with_top(expect="06:00"),
        with_top(expect={}),
        with_top(expect={"by": 6}),
        with_top(expect={"by": "24:00"}),
        with_top(expect={"by": "6:00"}),
        with_top(expect={"by": "06:00", "days": "MON FRI"}),
        with_top(expect={"by": "0 6 * * *", "days": "MON-FRI"}),
        with_top(expect={"by": "06:00", "state": "failed"}),
        with_top(expect={"by": "06:00", "within": 60}),
        with_top(expect={"by": "06:00", "until": "07:00"}),
        with_top(expect={"by": "06:00", "name": "Not A Name"}),
        with_top(expect=[{"by": f"0{hour}:0{minute}"} for hour in range(3) for minute in range(7)]),
        with_task({}),
        with_task("make"),
        with_task({"ssh": "host"}),
        with_task({"approval": {}}),
        with_task({"shell": "x", "approval": {}}),
        with_task({"shell": "x", "http": "https://h"}),
        with_task({"shell": ""}),
        with_task({"shell": "echo ${{ run.id }}"}),
        with_task({"shell": {"script": "x", "cwd": "/"}}),
        with_task({"shell": "x", "needs": "before"}),
        with_task({"shell": "x", "needs": ["before", "before"]}),
        with_task({"shell": "x", "when": True}),
        with_task({"shell": "x", "when": "inputs.n > 1"}),
        with_task({"shell": "x", "for_each": [1]}),
        with_task({"shell": "x", "max_parallel": 2}),
        with_task({"shell": "x", "run_if": "always"}),
        with_task({"shell": "x", "env": {"A": 5}}),
        with_task({"shell": "x", "env": {"A=B": "x"}}),
        with_task({"shell": "x", "retry": 0}),
        with_task({"shell": "x", "retry": {"delay": "1s"}}),
        with_task({"shell": "x", "retry": {"attempts": 2, "on": {}}}),
        with_task({"shell": "x", "timeout": 5}),
        with_task({"http": {"method": "GET"}}),
        with_task({"http": {"url": "https://h", "method": "get"}}),
        with_task({"http": "https://h", "env": {"A": "b"}}),
        with_task({"database": {"connection": "db", "sql": "select ${{ run.id }}"}}),
        with_task({"database": {"connection": "db", "sql": "x", "fetch": "all"}}),
        with_task({"python": {"call": "os.system"}}),
        with_task({"workflow": {"name": "o"}, "queue": "q"}),
        with_task({"wait": {}}),
        with_task({"wait": {"for": "1s", "until": "2027-01-01T00:00:00Z"}}),
        with_task({"wait": {"for": "1s"}, "timeout": "5m"}),
    ],
)
def test_what_the_reader_refuses_by_its_form_the_schema_refuses_too(content: dict[str, Any]) -> None:
    with pytest.raises(InvalidDefinition):
        check_content(content)
    assert not VALIDATOR.is_valid(content)


def test_the_schema_is_a_schema() -> None:
    assert jsonschema_rs.meta.is_valid(workflow_json_schema())
