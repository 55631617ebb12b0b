import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_domain.errors import ExpressionError
from scheduler_domain.workflow.expressions import MissingValue, parse_expression, parse_template

SCOPE: dict[str, Any] = {
    "inputs": {"day": "2026-03-29", "regions": ["eu", "us"], "limit": 3, "strict": True, "note": None},
    "tasks": {
        "extract": {
            "state": "succeeded",
            "output": {"rows": 1200, "files": ["a.csv", "b.csv"], "a-b": 1},
            "error": None,
        },
        "load-all": {"state": "skipped", "output": None, "error": None},
    },
    "run": {"id": "r1", "scheduled_for": "2026-03-29T03:00:00+02:00", "started_by": "admin"},
    "secrets": {"TOKEN": "s3cret"},
    "vars": {"host": "db.example"},
    "item": {"name": "x"},
    "index": 2,
}


def value_of(text: str) -> Any:
    return parse_expression(text).evaluate(SCOPE)


def failure_of(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        value_of(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasks.extract.output.rows > 1000", True),
        ("tasks.extract.state", "succeeded"),
        ("tasks.extract.output.files[0]", "a.csv"),
        ("tasks.extract.output.files[-1]", "b.csv"),
        ("tasks.extract.output['a-b']", 1),
        ("tasks.extract.output.a-b", 1),
        ("tasks['extract'].output.rows", 1200),
        ("tasks.load-all.state == 'skipped'", True),
        ("inputs.regions[index - 1]", "us"),
        ("inputs.limit - 1", 2),
        ("index-1", 1),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 // 2", 3),
        ("7 / 2", 3.5),
        ("-7 % 3", 2),
        ("- -1", 1),
        ("1.5e2", 150.0),
        ("'a' + \"b\"", "ab"),
        (r"'\u00e9\n\''", "é\n'"),
        ("not inputs.strict or 1 < 2", True),
        ("not 1 == 2", True),
        ("'eu' in inputs.regions", True),
        ("'x' not in inputs.regions", True),
        ("'rows' in tasks.extract.output", True),
        ("'pha' in 'alpha'", True),
        ("len([1, 'a', null, true])", 4),
        ("1 == 1.0", True),
        ("1 == true", False),
        ("[1] == [true]", False),
        ("'5' == 5", False),
        ("inputs.note == null", True),
        ("false and tasks.extract.output.nothing", False),
        ("true or 1 / 0 == 1", True),
        ("default(tasks.extract.output.nothing, 5)", 5),
        ("default(tasks.load-all.output.rows + 1, 0)", 0),
        ("default(inputs.note, 'none')", "none"),
        ("default(inputs.strict, false)", True),
        ("coalesce(inputs.note, tasks.extract.output.x, 'z')", "z"),
        ("if(inputs.limit > 2, 'many', 1 / 0)", "many"),
        ("len('héllo')", 5),
        ("upper(trim('  a '))", "A"),
        ("lower('ABC')", "abc"),
        ("contains(inputs.regions, 'eu')", True),
        ("starts_with('alpha', 'al') and ends_with('alpha', 'ha')", True),
        ("replace('a.b.c', '.', '-')", "a-b-c"),
        ("split('a,b', ',')", ["a", "b"]),
        ("join(inputs.regions, '+')", "eu+us"),
        ("string(5) + string(true) + string(1.5)", "5true1.5"),
        ("number('12') + number('0.5')", 12.5),
        ("json(inputs.regions)", '["eu","us"]'),
        ("""keys(from_json('{"a": [1]}'))""", ["a"]),
        ("min(3, 1, 2) + max([3, 1])", 4),
        ("abs(-2) + floor(2.7) + round(2.5) + round(0.125, 2)", 6.12),
        ("values(item)", ["x"]),
        ("range(3)", [0, 1, 2]),
        ("range(2, 4)", [2, 3]),
        ("date(run.scheduled_for)", "2026-03-29"),
        ("add_days(inputs.day, -1)", "2026-03-28"),
        ("add_days(run.scheduled_for, 1)", "2026-03-30T03:00:00+02:00"),
        ("format_date(run.scheduled_for, '%d.%m.%Y %H:%M')", "29.03.2026 03:00"),
        ("format_date(run.scheduled_for, '%H:%M', 'America/New_York')", "21:00"),
    ],
)
def test_an_expression_has_a_typed_value(text: str, expected: Any) -> None:
    value = value_of(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("1 +", "ends too early"),
        ("1 2", "unexpected '2'"),
        ("(1", "expected ')'"),
        ("'abc", "not closed"),
        ("foo.bar", "unknown name 'foo'"),
        ("input.day", "did you mean 'inputs'"),
        ("uper('a')", "did you mean 'upper'"),
        ("len()", "takes 1 arguments, not 0"),
        ("secrets", "name one member"),
        ("secrets[inputs.day]", "name one member"),
        ("tasks", "name one member"),
        ("tasks[0]", "name one member"),
        ("1 < 2 < 3", "do not chain"),
        ("1 && 2", "write 'and'"),
        ("index = 1", "write '=='"),
        ("inputs.0", "goes into [ ]"),
        ("9007199254740993", "out of range"),
        ("99999999999999999999999999", "out of range"),
        ("1e999", "finite"),
        (r"'\ud800'", "not an accepted escape"),
        (r"'\u0000'", "not an accepted escape"),
        ("inputs.day.__class__", "has no '__class__'"),
        ("''.__class__", "unexpected"),
        ("and", "unexpected 'and'"),
        ("inputs['x'", "expected ']'"),
        ("inputs[1.5]", "whole number"),
        ("1 }} 2", "unexpected '}}'"),
        ("x" * 5000, "longer than 4096"),
        ("(" * 100 + "1" + ")" * 100, "nested deeper"),
        ("+".join(["1"] * 40), "more than 64 parts"),
        ("tasks.extract.output.nothing", "tasks.extract.output has no 'nothing'; it has a-b, files, rows"),
        ("tasks.load-all.output.rows", "is null"),
        ("inputs.regions[2]", "has 2 elements"),
        ("inputs.regions.name", "is a list; it takes an index, not a string"),
        ("inputs.regions[true]", "takes an index, not a boolean"),
        ("inputs[index]", "takes a name, not a number"),
        ("event.body", "'event' is not available here"),
        ("'a' + 1", "two numbers or two strings"),
        ("'a' * 3", "two numbers"),
        ("true + 1", "not a boolean and a number"),
        ("1 < '2'", "two numbers or two strings"),
        ("null < 1", "not null and a number"),
        ("not 1", "'not' takes true or false, not a number"),
        ("1 and true", "'and' takes true or false"),
        ("false or null", "'or' takes true or false, not null"),
        ("if(1, 2, 3)", "'if' takes true or false"),
        ("1 in 'a1'", "only a string can be in a string"),
        ("1 in 5", "takes a string, a list or an object"),
        ("1 / 0", "division by zero"),
        ("5 // 0.0", "division by zero"),
        ("9007199254740992 + 1", "out of range"),
        ("1e308 * 10", "finite"),
        ("number('1_000')", "is not a number"),
        ("number('0x10')", "is not a number"),
        ("number(' 5')", "is not a number"),
        ("number(true)", "not a boolean"),
        ("string(null)", "null cannot become text"),
        ("string(inputs.regions)", "json(…)"),
        ("from_json('{')", "not JSON"),
        ("from_json('NaN')", "not JSON"),
        ("from_json('\"\\\\ud800\"')", "surrogate"),
        ("from_json('\"\\\\u0000\"')", "NUL"),
        ("split('a', '')", "separator is empty"),
        ("join([1], ',')", "list of strings"),
        ("min([])", "list is empty"),
        ("max(1, 'a')", "numbers only, or strings only"),
        ("range(10001)", "more than 10000"),
        ("range(true)", "takes an integer"),
        ("date('yesterday')", "neither a date"),
        ("date('2026-02-30')", "neither a date"),
        ("add_days('9999-12-31', 1)", "out of range"),
        ("format_date(inputs.day, '%c')", "'%c' is not accepted"),
        ("format_date(run.scheduled_for, '%H', 'Mars/Base')", "unknown time zone"),
        ("format_date(run.scheduled_for, '%H', '../../etc/passwd')", "unknown time zone"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    assert message in str(failure_of(text))


def test_a_fault_has_its_offset_in_the_text() -> None:
    assert failure_of("inputs.limit + foo").offset == 15
    assert failure_of("1 + 'a' * 2").offset == 8
    with pytest.raises(ExpressionError) as caught:
        parse_template("day ${{ inputs.day }} of ${{ nope }}")
    assert caught.value.offset == 29


def test_references_name_static_paths_and_stop_at_computed_indexes() -> None:
    parsed = parse_expression(
        "tasks.extract.output.files[0] == inputs.regions[index] and default(vars.host, secrets['TOKEN']) != ''"
    )
    assert parsed.references == {
        ("tasks", "extract", "output", "files", "0"),
        ("inputs", "regions"),
        ("index",),
        ("vars", "host"),
        ("secrets", "TOKEN"),
    }


def test_a_missing_path_is_told_from_other_failures() -> None:
    with pytest.raises(MissingValue):
        value_of("inputs.nothing")
    with pytest.raises(ExpressionError) as caught:
        value_of("default('a' + 1, 2)")
    assert not isinstance(caught.value, MissingValue)


def test_a_string_that_is_one_expression_keeps_its_type() -> None:
    template = parse_template({"rows": "${{ tasks.extract.output.rows }}", "all": ["${{ inputs.regions }}", 1, None]})
    assert template.render(SCOPE) == {"rows": 1200, "all": [["eu", "us"], 1, None]}


def test_an_expression_in_text_becomes_part_of_it() -> None:
    assert (
        parse_template("${{ inputs.day }}/${{ inputs.limit }}/${{ inputs.strict }}").render(SCOPE)
        == "2026-03-29/3/true"
    )
    with pytest.raises(ExpressionError, match=r"inputs.regions: a list cannot become text; json"):
        parse_template("x ${{ inputs.regions }}").render(SCOPE)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("$${{ inputs.day }}", "${{ inputs.day }}"),
        ("a $${{ b ${{ index }}", "a ${{ b 2"),
        ("{{ 7*7 }} {% for %} #{1} <%= %> $HOME ${HOME}", "{{ 7*7 }} {% for %} #{1} <%= %> $HOME ${HOME}"),
        ("${{ '}}' }}", "}}"),
        ("${{'a'}}${{'b'}}", "ab"),
        ("${{ '$' }}${{ index }}", "$2"),
    ],
)
def test_only_dollar_braces_are_evaluated(text: str, rendered: str) -> None:
    assert parse_template(text).render(SCOPE) == rendered


@pytest.mark.parametrize(
    ("text", "message"),
    [("${{ inputs.day", "is not closed"), ("${{ ${{ index }} }}", "do not nest"), ("${{ }}", "empty")],
)
def test_a_malformed_template_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse_template([text])


def test_a_name_in_an_object_cannot_be_an_expression() -> None:
    with pytest.raises(ExpressionError, match="cannot hold"):
        parse_template({"${{ index }}": 1})


def test_a_template_without_expressions_is_constant() -> None:
    assert parse_template({"a": ["{{ x }}", 5]}).is_constant
    assert parse_template("$${{ x }}").is_constant
    assert not parse_template("${{ 1 + 1 }}").is_constant


def test_rendering_gives_a_value_of_its_own() -> None:
    source = {"a": [1]}
    rendered = parse_template(source).render({})
    rendered["a"].append(2)
    assert source == {"a": [1]}


@pytest.mark.parametrize(
    "text",
    [
        "+".join(["inputs.big"] * 30),
        "replace(replace(inputs.big, 'a', inputs.big), 'a', inputs.big)",
        "join([inputs.big, inputs.big, inputs.big, inputs.big], inputs.big)",
        "json([inputs.big, inputs.big, inputs.big, inputs.big])",
        "[[inputs.big, inputs.big], [inputs.big, inputs.big, inputs.big]]",
        "upper(inputs.sharp)",
        "inputs.huge",
    ],
)
def test_no_expression_makes_more_than_its_bound(text: str) -> None:
    scope = {"inputs": {"big": "a" * 20_000, "sharp": "ß" * 32_768, "huge": ["a" * 100] * 1_000_000}}
    if text == "upper(inputs.sharp)":
        assert len(parse_expression(text).evaluate(scope)) == 65_536
        return
    started = time.process_time()
    with pytest.raises(ExpressionError, match="65536 bytes"):
        parse_expression(text).evaluate(scope)
    assert time.process_time() - started < 1


def test_a_template_adds_a_bounded_amount() -> None:
    template = parse_template(["${{ inputs.big }}"] * 6)
    with pytest.raises(ExpressionError, match="add more than"):
        template.render({"inputs": {"big": "a" * 50_000}})


@pytest.mark.parametrize("text", ["string(inputs.n)", "json(inputs.n)", "inputs.n / 2", "inputs.n + 1", "inputs.n"])
def test_an_integer_that_json_cannot_carry_is_an_error_not_a_crash(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_expression(text).evaluate({"inputs": {"n": 10**5000}})


def test_a_value_nested_too_deep_is_an_error_not_a_crash() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ExpressionError, match="nested"):
        parse_expression("inputs.deep").evaluate({"inputs": {"deep": deep}})
    with pytest.raises(ExpressionError, match="nested"):
        parse_expression("inputs.deep == inputs.other").evaluate({"inputs": {"deep": deep, "other": [deep]}})


@given(st.text(alphabet="inputs.tasks[]()'\"+-*/<>=!,01 andornt${}\\\n", max_size=60))
def test_any_text_parses_and_evaluates_or_is_refused(text: str) -> None:
    for parse in (parse_expression, lambda source: parse_template("${{" + source + "}}")):
        try:
            parsed = parse(text)
            parsed.evaluate(SCOPE) if hasattr(parsed, "evaluate") else parsed.render(SCOPE)
        except ExpressionError:
            pass


@given(st.text(max_size=200))
def test_text_without_dollar_braces_is_literal(text: str) -> None:
    if "${{" not in text:
        assert parse_template(text).render({}) == text
