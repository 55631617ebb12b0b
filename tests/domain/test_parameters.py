from typing import Any

import pytest

from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.workflow.parameters import InputDefinition, define_input, resolve_inputs

SCOPE = {"run": {"scheduled_for": "2026-03-29T23:30:00-05:00"}, "vars": {"region": "eu"}}


def inputs(**written: Any) -> dict[str, InputDefinition]:
    return {name: define_input(name, schema) for name, schema in written.items()}


def codes(definitions: dict[str, InputDefinition], given: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(InvalidDefinition) as caught:
        resolve_inputs(definitions, given, SCOPE)
    return [(problem.loc, problem.code) for problem in caught.value.problems]


def definition_codes(written: Any) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(InvalidDefinition) as caught:
        define_input("x", written)
    return [(problem.loc[2:], problem.code) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, ""),
        ({"type": "string", "format": "date"}, "2024-02-29"),
        ({"type": "string", "format": "date-time"}, "2026-11-20T02:30:00Z"),
        ({"type": "string", "min_length": 1, "max_length": 2}, "éé"),
        ({"type": "string", "enum": ["a", "b"]}, "b"),
        ({"type": "integer", "minimum": 0, "maximum": 5}, 5),
        ({"type": "integer"}, -(2**53)),
        ({"type": "number"}, 5),
        ({"type": "number", "maximum": 0.5}, 0.5),
        ({"type": "boolean"}, False),
        ({"type": "array"}, [1, "a", None, {"b": []}]),
        ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, [[1], []]),
        ({"type": "object"}, {"any": {"thing": 1}}),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {"a": "x"}),
    ],
)
def test_a_value_of_the_type_is_accepted_unchanged(schema: dict[str, Any], value: Any) -> None:
    assert resolve_inputs(inputs(x=schema), {"x": value}, SCOPE) == {"x": value}


@pytest.mark.parametrize(
    ("schema", "value", "code"),
    [
        ({"type": "string"}, 5, "string_expected"),
        ({"type": "string"}, None, "string_expected"),
        ({"type": "string"}, "a\x00", "nul_character"),
        ({"type": "string"}, "\ud800", "invalid_unicode"),
        ({"type": "string"}, "a" * 65_537, "too_large"),
        ({"type": "string", "format": "date"}, "2026-02-30", "invalid_format"),
        ({"type": "string", "format": "date"}, "2026-2-3", "invalid_format"),
        ({"type": "string", "format": "date"}, "2026-11-20T02:30:00Z", "invalid_format"),
        ({"type": "string", "format": "date-time"}, "2026-11-20T02:30:00", "invalid_format"),
        ({"type": "string", "min_length": 2}, "a", "length_out_of_range"),
        ({"type": "string", "enum": ["a"]}, "b", "not_in_enum"),
        ({"type": "integer"}, True, "integer_expected"),
        ({"type": "integer"}, "5", "integer_expected"),
        ({"type": "integer"}, 5.0, "integer_expected"),
        ({"type": "integer"}, 2**53 + 1, "number_out_of_range"),
        pytest.param({"type": "integer"}, 10**5000, "number_out_of_range", id="5,000 digits"),
        ({"type": "integer", "minimum": 1}, 0, "number_out_of_range"),
        ({"type": "number"}, False, "number_expected"),
        ({"type": "number"}, float("nan"), "number_out_of_range"),
        ({"type": "number"}, float("inf"), "number_out_of_range"),
        ({"type": "boolean"}, 1, "boolean_expected"),
        ({"type": "boolean"}, "true", "boolean_expected"),
        ({"type": "integer", "enum": [0, 1]}, True, "integer_expected"),
        ({"type": "array"}, {}, "array_expected"),
        ({"type": "array"}, ["a\x00"], "nul_character"),
        ({"type": "array"}, ["a" * 40_000, "a" * 40_000], "too_large"),
        ({"type": "object"}, [], "object_expected"),
        ({"type": "object"}, {"a\x00": 1}, "nul_character"),
        ({"type": "object"}, {"a": float("nan")}, "number_out_of_range"),
    ],
)
def test_nothing_is_converted(schema: dict[str, Any], value: Any, code: str) -> None:
    assert codes(inputs(x=schema), {"x": value}) == [(("inputs", "x"), code)]


def test_nesting_is_bounded_without_recursion() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert codes(inputs(x={"type": "array"}), {"x": deep}) == [(("inputs", "x"), "nesting_too_deep")]


def test_every_wrong_missing_and_unknown_input_is_reported_at_once() -> None:
    definitions = inputs(
        day={"type": "string"},
        limit={"type": "integer"},
        sizes={"type": "array", "items": {"type": "integer"}},
        target={"type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]},
    )
    assert codes(definitions, {"limit": "x", "sizes": [1, "a", True], "target": {"hots": "a"}, "dya": "b"}) == [
        (("inputs", "dya"), "unknown_input"),
        (("inputs", "day"), "missing_input"),
        (("inputs", "limit"), "integer_expected"),
        (("inputs", "sizes", 1), "integer_expected"),
        (("inputs", "sizes", 2), "integer_expected"),
        (("inputs", "target"), "missing_key"),
        (("inputs", "target", "hots"), "unknown_key"),
    ]


def test_an_unknown_input_names_the_nearest_one() -> None:
    with pytest.raises(InvalidDefinition, match=r"no input 'regoin'; did you mean 'region'\? \(accepted: region\)"):
        resolve_inputs(inputs(region={"type": "string", "default": "eu"}), {"regoin": "us"}, SCOPE)


def test_python_names_are_unknown_inputs() -> None:
    assert codes({}, {"__class__": 1, "constructor": 2}) == [
        (("inputs", "__class__"), "unknown_input"),
        (("inputs", "constructor"), "unknown_input"),
    ]


def test_at_most_fifty_problems_are_reported() -> None:
    assert len(codes({}, {f"x{number}": 1 for number in range(5_000)})) == 50
    sizes = inputs(x={"type": "array", "items": {"type": "integer"}})
    assert len(codes(sizes, {"x": ["a"] * 5_000})) == 50


def test_all_inputs_together_are_bounded() -> None:
    two = inputs(a={"type": "string"}, b={"type": "string"})
    assert codes(two, {"a": "x" * 40_000, "b": "x" * 40_000}) == [(("inputs",), "too_large")]


def test_defaults_fill_what_is_not_given() -> None:
    definitions = inputs(
        day={"type": "string", "format": "date", "default": "${{ run.scheduled_for }}"},
        at={"type": "string", "format": "date-time", "default": "${{ run.scheduled_for }}"},
        region={"type": "string", "default": "${{ vars.region }}-1"},
        sizes={"type": "array", "default": [1, 2]},
    )
    assert resolve_inputs(definitions, {"sizes": []}, SCOPE) == {
        "day": "2026-03-29",
        "at": "2026-03-29T23:30:00-05:00",
        "region": "eu-1",
        "sizes": [],
    }


def test_a_default_is_made_anew_for_each_run() -> None:
    definitions = inputs(sizes={"type": "array", "default": [1]})
    resolve_inputs(definitions, {}, SCOPE)["sizes"].append(2)
    assert resolve_inputs(definitions, {}, SCOPE) == {"sizes": [1]}


def test_a_computed_default_is_checked_like_a_given_value() -> None:
    wrong_type = inputs(limit={"type": "integer", "default": "${{ vars.region }}"})
    assert codes(wrong_type, {}) == [(("inputs", "limit"), "integer_expected")]
    missing = inputs(limit={"type": "integer", "default": "${{ vars.nothing }}"})
    assert codes(missing, {}) == [(("inputs", "limit"), "invalid_default")]


def test_only_an_input_without_default_is_required() -> None:
    assert define_input("x", {"type": "string"}).required
    assert not define_input("x", {"type": "string", "default": ""}).required


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("string", [((), "object_expected")]),
        ({}, [((), "missing_key")]),
        ({"type": "int"}, [(("type",), "unknown_type")]),
        ({"type": ["string"]}, [(("type",), "unknown_type")]),
        ({"type": "string", "minimum": 1}, [(("minimum",), "unknown_key")]),
        ({"type": "string", "pattern": "(a+)+$"}, [(("pattern",), "unknown_key")]),
        ({"type": "object", "$ref": "file:///etc/passwd"}, [(("$ref",), "unknown_key")]),
        ({"type": "string", "format": "email"}, [(("format",), "unknown_format")]),
        ({"type": "string", "min_length": -1}, [(("min_length",), "number_out_of_range")]),
        ({"type": "string", "max_length": "5"}, [(("max_length",), "integer_expected")]),
        ({"type": "integer", "minimum": 5, "maximum": 1}, [(("maximum",), "number_out_of_range")]),
        ({"type": "integer", "minimum": 1.5}, [(("minimum",), "integer_expected")]),
        ({"type": "string", "enum": []}, [(("enum",), "array_expected")]),
        ({"type": "string", "enum": ["a", 1]}, [(("enum", 1), "string_expected")]),
        ({"type": "array", "items": {"type": "x"}}, [(("items", "type"), "unknown_type")]),
        ({"type": "object", "properties": {"a b": {"type": "string"}}}, [(("properties", "a b"), "invalid_name")]),
        ({"type": "object", "properties": {"a": 5}}, [(("properties", "a"), "object_expected")]),
        ({"type": "object", "required": ["a"]}, [(("required", 0), "unknown_key")]),
        ({"type": "string", "description": 5}, [(("description",), "string_expected")]),
        ({"type": "integer", "default": "5"}, [(("default",), "integer_expected")]),
        ({"type": "integer", "default": None}, [(("default",), "integer_expected")]),
        ({"type": "string", "enum": ["a"], "default": "b"}, [(("default",), "not_in_enum")]),
        ({"type": "string", "default": "${{ run. }}"}, [(("default",), "invalid_expression")]),
        ({"type": "array", "default": [1, "a"], "items": {"type": "integer"}}, [(("default", 1), "integer_expected")]),
    ],
)
def test_a_wrong_definition_is_refused(written: Any, expected: list[Any]) -> None:
    assert definition_codes(written) == expected
