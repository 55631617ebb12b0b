from typing import Any

import pytest

from scheduler_application.workflow.document import check_content, parse_document
from scheduler_domain.errors import InvalidDefinition

INPUTS = "{day: {type: string}, n: {type: integer, default: 1}}"


def codes(text: str | bytes, form: str = "yaml") -> list[tuple[str, tuple[str | int, ...]]]:
    with pytest.raises(InvalidDefinition) as caught:
        parse_document(text, form=form)
    assert all(problem.message and len(problem.message) < 1_000 for problem in caught.value.problems)
    return [(problem.code, problem.loc) for problem in caught.value.problems]


def only(text: str) -> tuple[str, tuple[str | int, ...]]:
    [found] = codes(text)
    return found


def message(text: str) -> str:
    with pytest.raises(InvalidDefinition) as caught:
        parse_document(text)
    return caught.value.problems[0].message


def in_task(body: str) -> tuple[str, tuple[str | int, ...]]:
    code, loc = only(
        f"workflow: w\ninputs: {INPUTS}\ntasks:\n  before: {{shell: x}}\n  apart: {{shell: x}}\n  t: {body}\n"
    )
    assert loc[:2] == ("tasks", "t")
    return code, loc[2:]


@pytest.mark.parametrize(
    ("text", "code", "loc"),
    [
        ("", "object_expected", ()),
        ("[]", "object_expected", ()),
        ("workflow: w", "missing_key", ()),
        ("tasks: {a: {shell: x}}", "missing_key", ()),
        ("workflow: w\ntasks: {}", "too_few_items", ("tasks",)),
        ("workflow: w\ntasks: [a]", "object_expected", ("tasks",)),
        ("workflow: 5\ntasks: {a: {shell: x}}", "string_expected", ("workflow",)),
        ("workflow: ' w'\ntasks: {a: {shell: x}}", "invalid_name", ("workflow",)),
        (f"workflow: {'w' * 101}\ntasks: {{a: {{shell: x}}}}", "invalid_name", ("workflow",)),
        ("workflow: 🚀\ntasks: {a: {shell: x}}", "invalid_name", ("workflow",)),
        ("workflow: w\ntags: {}\ntasks: {a: {shell: x}}", "unknown_key", ("tags",)),
        ("workflow: w\nstate: x\ntasks: {a: {shell: x}}", "unknown_key", ("state",)),
        ("workflow: w\ntimeout: 10\ntasks: {a: {shell: x}}", "invalid_duration", ("timeout",)),
        ("workflow: w\ntimeout: 10 s\ntasks: {a: {shell: x}}", "invalid_duration", ("timeout",)),
        ("workflow: w\ntimeout: -5s\ntasks: {a: {shell: x}}", "invalid_duration", ("timeout",)),
        ("workflow: w\ntimeout: 0s\ntasks: {a: {shell: x}}", "duration_out_of_range", ("timeout",)),
        ("workflow: w\ntimeout: 999999999d\ntasks: {a: {shell: x}}", "duration_out_of_range", ("timeout",)),
        ("workflow: w\ntasks: {a b: {shell: x}}", "invalid_key", ("tasks", "a b")),
        ("workflow: w\ntasks: {ab: {shell: x}, aB: {shell: x}}", "duplicate_task", ("tasks", "aB")),
        ("workflow: w\ntasks: {a: {shell: x, needs: [a]}}", "cycle", ("tasks", "a", "needs")),
        ("workflow: w\ndefaults: {env: {}}\ntasks: {a: {shell: x}}", "unknown_key", ("defaults", "env")),
        (
            "workflow: w\ndefaults: {priority: urgent}\ntasks: {a: {shell: x}}",
            "invalid_choice",
            ("defaults", "priority"),
        ),
        ("workflow: w\nconcurrency: {}\ntasks: {a: {shell: x}}", "missing_key", ("concurrency",)),
        (
            "workflow: w\nconcurrency: {limit: 0}\ntasks: {a: {shell: x}}",
            "number_out_of_range",
            ("concurrency", "limit"),
        ),
        (
            "workflow: w\nconcurrency: {limit: true}\ntasks: {a: {shell: x}}",
            "integer_expected",
            ("concurrency", "limit"),
        ),
        (
            "workflow: w\nconcurrency: {limit: 1.0}\ntasks: {a: {shell: x}}",
            "integer_expected",
            ("concurrency", "limit"),
        ),
        (
            "workflow: w\nconcurrency: {limit: 1, key: '${{ secrets.K }}'}\ntasks: {a: {shell: x}}",
            "invalid_reference",
            ("concurrency", "key"),
        ),
        (
            "workflow: w\nconcurrency: {limit: 1, key: '${{ tasks.a.state }}'}\ntasks: {a: {shell: x}}",
            "invalid_reference",
            ("concurrency", "key"),
        ),
        ("workflow: w\ninputs: {x: {type: str}}\ntasks: {a: {shell: x}}", "unknown_type", ("inputs", "x", "type")),
        (
            "workflow: w\ninputs: {x: {type: integer, default: '5'}}\ntasks: {a: {shell: x}}",
            "integer_expected",
            ("inputs", "x", "default"),
        ),
        (
            "workflow: w\ninputs: {x: {type: string, default: '${{ secrets.A }}'}}\ntasks: {a: {shell: x}}",
            "invalid_reference",
            ("inputs", "x", "default"),
        ),
        (
            "workflow: w\ninputs: {x: {type: string, default: '${{ run.due }}'}}\ntasks: {a: {shell: x}}",
            "invalid_reference",
            ("inputs", "x", "default"),
        ),
    ],
)
def test_a_wrong_workflow_is_refused(text: str, code: str, loc: tuple[str | int, ...]) -> None:
    assert only(text) == (code, loc)


@pytest.mark.parametrize(
    ("body", "code", "loc"),
    [
        ("make", "object_expected", ()),
        ("{}", "missing_key", ()),
        ("{needs: [before]}", "missing_key", ()),
        ("{ssh: host}", "unknown_executor", ("ssh",)),
        ("{Shell: x}", "unknown_executor", ("Shell",)),
        ("{approval: {from: [role:operator]}}", "not_available", ("approval",)),
        ("{shell: x, approval: {}}", "not_available", ("approval",)),
        ("{shell: x, wait: {for: 1s}}", "exactly_one_of", ()),
        ("{shell: ''}", "empty", ("shell",)),
        ("{shell: 5}", "string_expected", ("shell",)),
        ("{shell: {}}", "missing_key", ("shell",)),
        ("{shell: {script: x, cwd: /}}", "unknown_key", ("shell", "cwd")),
        ("{shell: 'echo ${{ inputs.day }}'}", "expression_not_allowed", ("shell",)),
        ("{shell: 'echo ${{ broken'}", "expression_not_allowed", ("shell",)),
        ("{shell: {script: '${{ secrets.X }}'}}", "expression_not_allowed", ("shell", "script")),
        ("{shell: x, sandbox: none}", "unknown_key", ("sandbox",)),
        ("{shell: x, needs: before}", "array_expected", ("needs",)),
        ("{shell: x, needs: [5]}", "string_expected", ("needs", 0)),
        ("{shell: x, needs: [nothing]}", "unknown_task", ("needs", 0)),
        ("{shell: x, needs: [before, before]}", "duplicate_need", ("needs",)),
        ("{shell: x, run_if: any_failed}", "needs_missing", ("run_if",)),
        ("{shell: x, run_if: any_succeeded, needs: []}", "needs_missing", ("run_if",)),
        ("{shell: x, run_if: always}", "invalid_choice", ("run_if",)),
        ("{shell: x, max_parallel: 2}", "for_each_missing", ("max_parallel",)),
        ("{shell: x, for_each: '${{ [1] }}', max_parallel: 0}", "number_out_of_range", ("max_parallel",)),
        ("{shell: x, for_each: [1, 2]}", "string_expected", ("for_each",)),
        ("{shell: x, when: true}", "string_expected", ("when",)),
        ("{shell: x, when: inputs.n > 1}", "invalid_expression", ("when",)),
        ("{shell: x, when: 'not ${{ inputs.n }}'}", "invalid_expression", ("when",)),
        ("{shell: x, when: '${{ inputs.n > }}'}", "invalid_expression", ("when",)),
        ("{shell: x, when: '${{ secrets.A == 1 }}'}", "invalid_reference", ("when",)),
        ("{shell: x, when: '${{ item }}', for_each: '${{ [1] }}'}", "invalid_reference", ("when",)),
        ("{shell: x, when: '${{ event.a }}'}", "not_available", ("when",)),
        ("{shell: x, when: '${{ inputs.missing }}'}", "invalid_reference", ("when",)),
        ("{shell: x, when: '${{ tasks.apart.state }}', needs: [before]}", "invalid_reference", ("when",)),
        ("{shell: x, when: '${{ tasks.t.state }}'}", "invalid_reference", ("when",)),
        ("{shell: x, when: '${{ tasks.nothing.state }}'}", "invalid_reference", ("when",)),
        ("{shell: x, when: '${{ tasks.before.result }}', needs: [before]}", "invalid_reference", ("when",)),
        ("{shell: x, env: {A: '${{ item }}'}}", "invalid_reference", ("env", "A")),
        ("{shell: x, env: {A: '${{ secrets.X.Y }}'}}", "invalid_reference", ("env", "A")),
        ("{shell: x, env: {A: 5}}", "string_expected", ("env", "A")),
        ("{shell: x, env: {A=B: x}}", "invalid_env", ("env", "A=B")),
        ("{shell: x, env: {1A: x}}", "invalid_env", ("env", "1A")),
        ("{shell: x, env: {'': x}}", "invalid_env", ("env", "")),
        ("{shell: x, env: {LD_PRELOAD: x}}", "invalid_env", ("env", "LD_PRELOAD")),
        ("{shell: x, env: {PATH: x}}", "invalid_env", ("env", "PATH")),
        ("{shell: x, env: {PYTHONPATH: x}}", "invalid_env", ("env", "PYTHONPATH")),
        ("{shell: x, env: {BASH_ENV: x}}", "invalid_env", ("env", "BASH_ENV")),
        ("{shell: x, env: {RUN_ID: x}}", "invalid_env", ("env", "RUN_ID")),
        ("{shell: x, env: {ORRERY_OUTPUT: x}}", "invalid_env", ("env", "ORRERY_OUTPUT")),
        (f"{{shell: x, env: {{A: {'a' * 60_000}, B: {'b' * 60_000}}}}}", "invalid_env", ("env",)),
        ('{shell: x, env: {A: "a\\0"}}', "nul_character", ("env", "A")),
        ('{shell: "\\e[2J"}', "control_character", ("shell",)),
        ("{shell: x, timeout: 10}", "invalid_duration", ("timeout",)),
        ("{shell: x, timeout: 8d}", "duration_out_of_range", ("timeout",)),
        ("{shell: x, retry: 0}", "number_out_of_range", ("retry",)),
        ("{shell: x, retry: '3'}", "object_expected", ("retry",)),
        ("{shell: x, retry: {delay: 1s}}", "missing_key", ("retry",)),
        ("{shell: x, retry: {attempts: 2, backoff: linear}}", "invalid_choice", ("retry", "backoff")),
        ("{shell: x, retry: {attempts: 2, delay: 1h, max_delay: 5m}}", "duration_out_of_range", ("retry", "max_delay")),
        ("{shell: x, retry: {attempts: 2, jitter: 1}}", "boolean_expected", ("retry", "jitter")),
        ("{shell: x, retry: {attempts: 2, on: {}}}", "missing_key", ("retry", "on")),
        (
            "{shell: x, retry: {attempts: 2, on: {exit_codes: [256]}}}",
            "number_out_of_range",
            ("retry", "on", "exit_codes", 0),
        ),
        (
            "{shell: x, retry: {attempts: 2, on: {http_statuses: [503]}}}",
            "without_effect",
            ("retry", "on", "http_statuses"),
        ),
        ("{shell: x, on_worker_loss: ignore}", "invalid_choice", ("on_worker_loss",)),
        ("{shell: x, queue: My Queue}", "invalid_name", ("queue",)),
        ("{shell: x, priority: 5}", "string_expected", ("priority",)),
        ("{http: {method: GET}}", "missing_key", ("http",)),
        ("{http: {url: 'https://h', method: get}}", "invalid_choice", ("http", "method")),
        ("{http: 'ftp://h/x'}", "unsupported_scheme", ("http",)),
        ("{http: 'file:///etc/passwd'}", "unsupported_scheme", ("http",)),
        ("{http: '//host'}", "unsupported_scheme", ("http",)),
        ("{http: 'http:/a'}", "invalid_url", ("http",)),
        ("{http: 'https://h/a b'}", "invalid_url", ("http",)),
        ("{http: 'http://good\\@evil'}", "invalid_url", ("http",)),
        ("{http: 'https://u:pw@h/x'}", "password_in_url", ("http",)),
        ("{http: {url: 'https://h', headers: {Host: a}}}", "reserved_name", ("http", "headers", "Host")),
        ("{http: {url: 'https://h', headers: {'a b': a}}}", "invalid_key", ("http", "headers", "a b")),
        ('{http: {url: "https://h", headers: {A: "a\\nB: c"}}}', "control_character", ("http", "headers", "A")),
        ("{http: {url: 'https://h', body: x}}", "invalid_body", ("http", "body")),
        ("{http: {url: 'https://h', expect: {status: []}}}", "too_many_items", ("http", "expect", "status")),
        ("{http: {url: 'https://h', expect: {status: [99]}}}", "number_out_of_range", ("http", "expect", "status", 0)),
        ("{http: {url: 'https://h', query: {a: [1]}}}", "string_expected", ("http", "query", "a")),
        ("{http: 'https://h', env: {A: b}}", "without_effect", ("env",)),
        ("{database: {sql: select 1}}", "missing_key", ("database",)),
        ("{database: {connection: db, sql: 'select ${{ inputs.n }}'}}", "expression_not_allowed", ("database", "sql")),
        ("{database: {connection: 'postgresql://u:p@h/d', sql: x}}", "password_in_url", ("database", "connection")),
        ("{database: {connection: 'a b', sql: x}}", "invalid_name", ("database", "connection")),
        (
            "{database: {connection: db, sql: x, parameters: {a-b: 1}}}",
            "invalid_key",
            ("database", "parameters", "a-b"),
        ),
        ("{python: {call: 'os.system'}}", "invalid_call", ("python", "call")),
        ("{python: {call: 'a:b', args: [1]}}", "object_expected", ("python", "args")),
        (
            "{python: {call: 'a:b', args: {x: ['${{ inputs.missing }}']}}}",
            "invalid_reference",
            ("python", "args", "x", 0),
        ),
        ("{python: {call: 'a:b', args: {x: '${{ 1 + }}'}}}", "invalid_expression", ("python", "args", "x")),
        ("{python: {call: 'a:b', args: {x: {'${{ 1 }}': 1}}}}", "invalid_key", ("python", "args", "x", "${{ 1 }}")),
        ("{workflow: other}", "object_expected", ("workflow",)),
        ("{workflow: {name: Other}}", "invalid_name", ("workflow", "name")),
        ("{workflow: {name: o, inputs: {a: '${{ secrets.A }}'}}}", "invalid_reference", ("workflow", "inputs", "a")),
        ("{workflow: {name: o, inputs: [1]}}", "object_expected", ("workflow", "inputs")),
        ("{workflow: {name: o}, queue: q}", "without_effect", ("queue",)),
        ("{wait: 10m}", "object_expected", ("wait",)),
        ("{wait: {}}", "exactly_one_of", ("wait",)),
        ("{wait: {for: 1s, until: '2027-01-01T00:00:00Z'}}", "exactly_one_of", ("wait",)),
        ("{wait: {for: 5}}", "invalid_duration", ("wait", "for")),
        ("{wait: {until: tomorrow}}", "invalid_instant", ("wait", "until")),
        ("{wait: {until: '2027-01-01T00:00:00'}}", "invalid_instant", ("wait", "until")),
        ("{wait: {until: '${{ secrets.WHEN }}'}}", "invalid_reference", ("wait", "until")),
        ("{wait: {for: 1s}, timeout: 5m}", "without_effect", ("timeout",)),
        ("{wait: {for: 1s}, retry: 2}", "without_effect", ("retry",)),
    ],
)
def test_a_wrong_task_is_refused(body: str, code: str, loc: tuple[str | int, ...]) -> None:
    assert in_task(body) == (code, loc)


def test_values_of_tasks_that_come_before_through_others_may_be_used() -> None:
    parse_document(
        "workflow: w\ntasks:\n  a: {shell: x}\n  b: {needs: [a], shell: x}\n"
        "  c: {needs: [b], shell: x, env: {ROWS: '${{ string(tasks.a.output.rows) }}'}}\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://user:hunter2@db/x",
        "see redis://:hunter2@cache for it",
        "https://user:hunter2@example.com",
    ],
)
def test_a_password_in_a_url_is_refused_anywhere_and_not_repeated(text: str) -> None:
    for document in (
        f"workflow: w\ndescription: '{text}'\ntasks: {{a: {{shell: x}}}}",
        f"workflow: w\ntasks: {{a: {{shell: 'psql {text}'}}}}",
        f"workflow: w\ntasks: {{a: {{python: {{call: 'a:b', args: {{x: [{{y: '{text}'}}]}}}}}}}}",
    ):
        assert only(document)[0] == "password_in_url"
        assert "hunter2" not in message(document)


@pytest.mark.parametrize(
    "script",
    ["curl https://user:$TOKEN@h/", "curl https://user:${TOKEN}@h/", "git clone ssh://git@host:22/x", "a://b:c/d@e"],
)
def test_a_reference_to_a_password_is_no_password(script: str) -> None:
    parse_document(f"workflow: w\ntasks: {{a: {{shell: '{script}'}}}}")


def test_messages_say_what_is_accepted() -> None:
    assert "did you mean 'timeout'?" in message("workflow: w\ntimeuot: 5m\ntasks: {a: {shell: x}}")
    assert '(write "10s" for seconds)' in message("workflow: w\ntimeout: 10\ntasks: {a: {shell: x}}")
    unknown = message("workflow: w\ntasks: {a: {ssh: x}}")
    assert "unknown executor 'ssh'" in unknown
    assert "(accepted: shell, http, database, python, workflow, wait)" in unknown
    reference = message(
        "workflow: w\ninputs: {day: {type: string}}\ntasks: {a: {shell: x, when: '${{ inputs.dya == 1 }}'}}"
    )
    assert reference == "there is no input 'dya'; did you mean 'day'?"
    order = message("workflow: w\ntasks: {a: {shell: x}, b: {shell: x, when: '${{ tasks.a.output }}'}}")
    assert order == "task 'b' does not come after 'a'; name it in 'needs'"
    assert "'env' and write \"$NAME\"" in message("workflow: w\ntasks: {a: {shell: 'echo ${{ run.id }}'}}")


def test_a_long_or_unprintable_name_is_shown_short_and_escaped() -> None:
    shown = message(f"workflow: w\n{'x' * 5000}: 1\ntasks: {{a: {{shell: x}}}}")
    assert "x" * 101 not in shown
    assert "\x1b" not in message('workflow: "\\e[2J"\ntasks: {a: {shell: x}}')


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "malformed_json"),
        ("{'a': 1}", "malformed_json"),
        ('{"a": 1,}', "malformed_json"),
        ('{"a": NaN}', "malformed_json"),
        ('{"workflow": "a", "workflow": "b"}', "duplicate_key"),
        ('{"timeout": 1e999}', "number_out_of_range"),
        ('{"timeout": ' + "9" * 5000 + "}", "number_too_long"),
        ('{"timeout": 9007199254740993}', "number_out_of_range"),
        ('{"a": "\\ud800"}', "invalid_unicode"),
        ('{"a": "\\u0000"}', "nul_character"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "nesting_too_deep"),
        ("[" * 100_000, "nesting_too_deep"),
        ("[]", "object_expected"),
    ],
    ids=range(13),
)
def test_wrong_json_is_refused(text: str, code: str) -> None:
    assert codes(text, "json")[0][0] == code


def test_malformed_json_has_a_place() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_document('{\n "workflow": }', form="json")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 14)


def test_a_definition_of_more_than_one_mebibyte_is_refused() -> None:
    text = "workflow: w\ntasks: {a: {shell: x}}\n#" + "x" * (1024 * 1024)
    assert only(text) == ("definition_too_large", ())
    assert codes(text.encode()) == [("definition_too_large", ())]


def test_text_that_is_not_utf8_is_refused() -> None:
    assert codes(b"workflow: \xff\xfe") == [("invalid_unicode", ())]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "object_expected"),
        ({1: 2}, "invalid_key"),
        ({"a": float("nan")}, "number_out_of_range"),
        ({"a": b"x"}, "invalid_value"),
        ({"a": "\ud800"}, "invalid_unicode"),
    ],
)
def test_plain_data_is_checked_like_text(content: Any, code: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        check_content(content)
    assert caught.value.problems[0].code == code


def test_more_than_ten_thousand_tasks_are_refused() -> None:
    content = {"workflow": "w", "tasks": {f"t{number}": {"shell": "x"} for number in range(10_001)}}
    with pytest.raises(InvalidDefinition) as caught:
        check_content(content)
    assert [problem.code for problem in caught.value.problems] == ["too_many_items"]
