"""Documents that are hostile or as large as allowed. The times are bounds for a busy machine, not measures."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_application.workflow.document import MAX_BYTES, load_definition, parse_document
from scheduler_application.workflow.yaml_text import load_yaml
from scheduler_domain.errors import InvalidDefinition


def largest_workflow() -> str:
    tasks = "".join(
        f"  task_number_{number}:\n    needs: [task_number_{number - 1}]\n    shell: echo hello\n    timeout: 10m\n"
        for number in range(1, 10_000)
    )
    return f"workflow: large\ntasks:\n  task_number_0:\n    shell: echo hello\n{tasks}"


def test_the_largest_workflow_is_parsed_in_seconds_and_loaded_at_once(
    record_property: Callable[[str, object], None],
) -> None:
    text = largest_workflow()
    assert len(text) < MAX_BYTES
    started = time.process_time()
    document = parse_document(text)
    parsed = time.process_time()
    definition = load_definition(document.content)
    loaded = time.process_time()
    record_property("10,000 tasks", f"parsed in {parsed - started:.2f} s, loaded in {loaded - parsed:.2f} s")
    assert len(definition.tasks) == 10_000
    assert parsed - started < 15
    assert loaded - parsed < 2


def to_the_limit(part: str) -> Callable[[], str]:
    return lambda: part * (MAX_BYTES // len(part))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(to_the_limit("["), "nesting_too_deep", id="lists in lists"),
        pytest.param(to_the_limit("- "), "nesting_too_deep", id="dashes"),
        pytest.param(to_the_limit("{"), "invalid_key", id="objects as keys"),
        pytest.param(to_the_limit("? "), "invalid_key", id="key marks"),
        pytest.param(to_the_limit("---\n"), "invalid_yaml", id="documents"),
        pytest.param(to_the_limit("\t"), "invalid_yaml", id="tabs"),
        pytest.param(to_the_limit("a: &a 1\n"), "invalid_yaml", id="anchors"),
        pytest.param(to_the_limit("a: 1\n"), "duplicate_key", id="one key again and again"),
        pytest.param(lambda: "!" + "a" * 1_000_000, "invalid_yaml", id="a long tag"),
        pytest.param(lambda: "workflow: " + "9" * 1_000_000, "number_out_of_range", id="a long number"),
        pytest.param(lambda: "a: '" + "x" * 1_000_000, "invalid_yaml", id="an open string"),
        pytest.param(lambda: "a: x" + "\n x" * 300_000, "too_long", id="a long text"),
        pytest.param(lambda: "".join(" " * depth + "a:\n" for depth in range(1_400)), "nesting_too_deep", id="steps"),
        pytest.param(lambda: "a: [" + "b," * 300_000 + "]", "too_many_items", id="a long list"),
    ],
)
def test_a_hostile_document_is_refused_in_bounded_time(text: Callable[[], str], code: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidDefinition) as caught:
        parse_document(text())
    assert caught.value.problems[0].code == code
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "a: &x 1\nb: *x",
            ["anchors are not allowed (&x); write it out", "aliases are not allowed (*x); repeat the value"],
        ),
        ("a: {<<: {b: 1}}", ["merge keys (<<) are not allowed; write the values out"]),
        (
            "a: !!python/object/apply:os.system ['true']",
            ["tags are not allowed (tag:yaml.org,2002:python/object/apply:os.system)"],
        ),
        ("a: !secret x", ["tags are not allowed (!secret)"]),
        ("a: 1\n---\nb: 2", ["only one document is allowed in a file"]),
        ("%TAG ! tag:x,2000:\n---\na: 1", ["directives other than %YAML 1.2 are not allowed"]),
        ("a: 1\na: 2\nb: {c: 1, c: 2}", ["the key 'a' stands here twice", "the key 'c' stands here twice"]),
        ("a:\n\tb: 1", ["a tab cannot indent; use spaces"]),
        ("1: a", ["a key is text; put it in quotes"]),
        ("a: .inf", [".inf is out of range (integers are between -2^53 and 2^53)"]),
        ("a: \x07", ["the character U+0007 is not allowed in a document"]),
    ],
)
def test_what_yaml_has_and_a_document_must_not_is_refused_by_name(text: str, told: list[str]) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        load_yaml(text)
    assert [problem.message for problem in caught.value.problems] == told
    assert all(problem.line and problem.column for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on: yes", {"on": "yes"}),
        ("1_000", "1_000"),
        ("0o17", 15),
        ("0x1F", 31),
        ("010", 10),
        ("12:30", "12:30"),
        ("2026-11-20", "2026-11-20"),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("1.10", 1.1),
        ("~", None),
        ("'true'", "true"),
        ("True", True),
        ("=", "="),
        ("- a\n- |\n  \tb\n", ["a", "\tb\n"]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    loaded = load_yaml(text)
    assert loaded == value
    assert type(loaded) is type(value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:-?[]{},&*!|>'\"%#\n \t<0.~$\\x", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    for prefix in ("", "workflow: w\ntasks:\n  a:\n    shell: x\n    env: ", "workflow: w\ntasks: "):
        try:
            parse_document(prefix + text)
        except InvalidDefinition:
            continue
