import json
from typing import Any

import pytest

from scheduler_application.workflow.document import check_content, digest, load_definition, parse_document
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.workflow.definition import (
    Concurrency,
    OnConflict,
    OnWorkerLoss,
    Priority,
    RetryPolicy,
    RunIf,
    TriggerKind,
)

NIGHTLY = """\
workflow: nightly-report
description: Builds and mails the sales report
inputs:
  day: {type: string, format: date, default: "${{ run.scheduled_for }}"}
  regions: {type: array, items: {type: string}, default: [eu, us]}

triggers:
  - manual: {confirm: true}

concurrency: {limit: 1, key: "${{ json(inputs.regions) }}", on_conflict: queue}
timeout: 2h
defaults: {queue: reports, priority: high, timeout: 10m, retry: {attempts: 3}}

tasks:
  extract:
    shell: |
      ./extract.py --day "$DAY" > rows.json
      echo '{"rows": 1200}' > "$ORRERY_OUTPUT"
    env: {DAY: "${{ inputs.day }}", TOKEN: "${{ secrets.SALES_TOKEN }}"}
    retry: {attempts: 5, backoff: exponential, delay: 10s, max_delay: 5m, jitter: true, on: {exit_codes: [75]}}
    timeout: 20m
    on_worker_loss: fail
  per_region:
    needs: [extract]
    for_each: "${{ inputs.regions }}"
    max_parallel: 4
    python: {call: "reports.build:build_region", args: {region: "${{ item }}", place: "${{ index }}"}}
  load:
    needs: [per_region]
    database:
      connection: warehouse
      sql: "insert into done(day) values (:day)"
      parameters: {day: "${{ inputs.day }}"}
  big:
    needs: [load]
    when: "${{ tasks.extract.output.rows > 1000 }}"
    workflow: {name: big-report, inputs: {day: "${{ inputs.day }}"}}
  announce:
    needs: [load, big]
    run_if: all_done
    http:
      method: POST
      url: "https://hooks.example.com/x"
      headers: {Authorization: "Bearer ${{ secrets.HOOK }}"}
      body: {state: "${{ run.state }}"}
      expect: {status: [200, 204]}
  settle: {wait: {for: 10m}}
"""


def problems_of(text: str, form: str = "yaml") -> list[Any]:
    with pytest.raises(InvalidDefinition) as caught:
        parse_document(text, form=form)
    return list(caught.value.problems)


def task(body: str) -> Any:
    document = parse_document(f"workflow: w\ntasks:\n  before: {{shell: 'true'}}\n  t: {body}\n")
    return document.definition.tasks["t"]


def test_the_whole_document_becomes_a_definition() -> None:
    definition = parse_document(NIGHTLY).definition
    assert (definition.name, definition.timeout, definition.priority) == ("nightly-report", 7200.0, Priority.HIGH)
    assert definition.description == "Builds and mails the sales report"
    assert list(definition.tasks) == ["extract", "per_region", "load", "big", "announce", "settle"]
    assert definition.inputs["regions"].schema == {"items": {"type": "string"}}
    assert definition.concurrency is not None
    assert definition.concurrency.key is not None
    assert definition.concurrency.key.render({"inputs": {"regions": ["eu"]}}) == '["eu"]'
    extract, per_region, big = (definition.tasks[key] for key in ("extract", "per_region", "big"))
    assert extract.executor == "shell"
    assert extract.retry == RetryPolicy(5, "exponential", 10.0, 300.0, True, frozenset({75}), frozenset(), False)
    assert (extract.timeout, extract.queue, extract.on_worker_loss) == (1200.0, "reports", OnWorkerLoss.FAIL)
    assert extract.env["DAY"].render({"inputs": {"day": "2026-03-29"}}) == "2026-03-29"
    assert (per_region.timeout, per_region.retry.attempts, per_region.max_parallel) == (600.0, 3, 4)
    assert per_region.settings.render({"item": "eu", "index": 0}) == {
        "call": "reports.build:build_region",
        "args": {"region": "eu", "place": 0},
    }
    assert big.when is not None
    assert big.when.evaluate({"tasks": {"extract": {"output": {"rows": 1200}}}}) is True
    assert definition.tasks["announce"].run_if is RunIf.ALL_DONE
    assert definition.successors["load"] == ("big", "announce")


@pytest.mark.parametrize(
    ("body", "executor", "settings"),
    [
        ("{shell: make all}", "shell", {"script": "make all"}),
        ("{shell: {script: make all}}", "shell", {"script": "make all"}),
        ("{http: 'https://example.com/x'}", "http", {"method": "GET", "url": "https://example.com/x"}),
        (
            "{http: {method: PUT, url: 'HTTP://h', headers: {A: b}, query: {n: 1}, body: [], expect: {status: [201]}}}",
            "http",
            {
                "method": "PUT",
                "url": "HTTP://h",
                "headers": {"A": "b"},
                "query": {"n": 1},
                "body": [],
                "expect": {"status": [201]},
            },
        ),
        ("{database: {connection: db, sql: 'select 1'}}", "database", {"connection": "db", "sql": "select 1"}),
        ("{python: {call: 'a.b:c'}}", "python", {"call": "a.b:c"}),
        ("{workflow: {name: other}}", "workflow", {"name": "other"}),
        ("{workflow: {name: other, inputs: {a: [1]}}}", "workflow", {"name": "other", "inputs": {"a": [1]}}),
        ("{wait: {for: 1d12h}}", "wait", {"for": 129600.0}),
        ("{wait: {until: '2027-01-01T00:00:00+01:00'}}", "wait", {"until": "2027-01-01T00:00:00+01:00"}),
    ],
)
def test_each_executor_has_its_settings(body: str, executor: str, settings: dict[str, Any]) -> None:
    made = task(body)
    assert made.executor == executor
    assert made.settings.render({}) == settings


def test_what_is_not_written_has_its_default() -> None:
    made = task("{shell: 'true'}")
    assert (made.needs, made.when, made.run_if, made.for_each, made.max_parallel) == (
        (),
        None,
        "all_succeeded",
        None,
        None,
    )
    assert (made.retry, made.timeout, made.queue, made.priority) == (RetryPolicy(), None, "default", Priority.NORMAL)
    assert made.on_worker_loss is OnWorkerLoss.RETRY


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("3", RetryPolicy(attempts=3)),
        ("{attempts: 2, backoff: constant, delay: 0s}", RetryPolicy(2, "constant", 0.0)),
        ("{attempts: 2, delay: 10m}", RetryPolicy(2, delay=600.0, max_delay=600.0)),
        (
            "{attempts: 2, on: {timeout: true}}",
            RetryPolicy(2, on_exit_codes=frozenset(), on_http_statuses=frozenset(), on_timeout=True),
        ),
    ],
)
def test_retry_is_a_number_or_a_policy(written: str, policy: RetryPolicy) -> None:
    assert task(f"{{shell: 'true', retry: {written}}}").retry == policy


def test_defaults_hold_for_tasks_that_a_worker_executes() -> None:
    document = parse_document(
        "workflow: w\ndefaults: {timeout: 10m, retry: 2, queue: q, priority: low}\n"
        "tasks:\n  a: {shell: 'true'}\n  b: {wait: {for: 1h}}\n  c: {workflow: {name: x}, retry: 4, timeout: 2h}\n"
    )
    a, b, c = document.definition.tasks.values()
    assert (a.timeout, a.retry.attempts, a.queue, a.priority) == (600.0, 2, "q", Priority.LOW)
    assert (b.timeout, b.retry.attempts, b.queue) == (None, 1, "default")
    assert (c.timeout, c.retry.attempts) == (7200.0, 4)


def test_concurrency_without_key_counts_all_runs() -> None:
    document = parse_document("workflow: w\nconcurrency: {limit: 2, on_conflict: skip}\ntasks: {a: {shell: x}}")
    assert document.definition.concurrency == Concurrency(2, None, OnConflict.SKIP)


def test_a_manual_trigger_may_ask_for_confirmation() -> None:
    [trigger] = parse_document(
        "workflow: w\ntriggers: [manual: {confirm: true}]\ntasks: {a: {shell: x}}"
    ).definition.triggers
    assert (trigger.name, trigger.kind, trigger.confirm) == ("manual", TriggerKind.MANUAL, True)


def test_json_and_yaml_are_the_same_document() -> None:
    document = parse_document(NIGHTLY)
    again = parse_document(json.dumps(document.content), form="json")
    assert again.definition == document.definition
    assert digest(again.content) == digest(document.content)


def test_content_alone_gives_the_definition_back() -> None:
    document = parse_document(NIGHTLY)
    assert load_definition(document.content) == document.definition
    assert check_content(document.content).definition == document.definition


def test_the_digest_does_not_depend_on_the_order_of_members() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_jinja_and_shell_expansions_are_literal() -> None:
    script = "echo {{ 7*7 }} {% for %} #{1} <%= %> ${HOME} $${{ literal }}"
    assert task(f"{{shell: '{script}'}}").settings.render({}) == {"script": script.replace("$${{", "${{")}


def test_an_error_names_its_line_and_column_all_at_once() -> None:
    text = (
        "workflow: Nightly\n"
        "timeout: 10\n"
        "tasks:\n"
        "  extract:\n"
        "    shel: make\n"
        "  load:\n"
        "    needs: [extrct]\n"
        "    shell: make load\n"
        "    timeoot: 5m\n"
        "    when: ${{ inputs.x > 1 }}\n"
    )
    found = [(problem.line, problem.column, problem.code, problem.loc) for problem in problems_of(text)]
    assert found == [
        (1, 11, "invalid_name", ("workflow",)),
        (2, 10, "invalid_duration", ("timeout",)),
        (5, 5, "unknown_executor", ("tasks", "extract", "shel")),
        (7, 13, "unknown_task", ("tasks", "load", "needs", 0)),
        (9, 5, "unknown_key", ("tasks", "load", "timeoot")),
        (10, 15, "invalid_reference", ("tasks", "load", "when")),
    ]


def test_json_problems_have_lines_too() -> None:
    [problem] = problems_of('{\n\t"workflow": "w",\n\t"tasks": {"a": {"shell": "x", "timeout": 5}}\n}', "json")
    assert (problem.line, problem.column, problem.code) == (3, 43, "invalid_duration")


def test_at_most_fifty_problems_are_told() -> None:
    tasks = "".join(f"  t{number}: {{ssh: x}}\n" for number in range(9_000))
    assert len(problems_of(f"workflow: w\ntasks:\n{tasks}")) == 50
