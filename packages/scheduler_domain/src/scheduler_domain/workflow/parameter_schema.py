"""The types of inputs: the check of a definition's schema and of a value against it. Strict: nothing is converted.

Both take JSON that passed `parameter_limits.check_limits`.
"""

from collections.abc import Mapping
from typing import Any

from scheduler_domain.errors import MAX_PROBLEMS, Problem
from scheduler_domain.naming import KEY, KEY_RULE, nearest, shown
from scheduler_domain.workflow.expression_dates import parse_date, parse_instant
from scheduler_domain.workflow.expression_values import equal, is_number
from scheduler_domain.workflow.parameter_limits import MAX_DEPTH, MAX_STRING, Loc

TYPES = ("string", "integer", "number", "boolean", "array", "object")
FORMATS = ("date", "date-time")
MAX_ENUM = 1_000
MAX_PROPERTIES = 1_000

_ANY_TYPE = frozenset({"type", "description", "enum"})
_RULES: Mapping[str, frozenset[str]] = {
    "string": frozenset({"format", "min_length", "max_length"}),
    "integer": frozenset({"minimum", "maximum"}),
    "number": frozenset({"minimum", "maximum"}),
    "boolean": frozenset(),
    "array": frozenset({"items"}),
    "object": frozenset({"properties", "required"}),
}
RULES = frozenset().union(*_RULES.values()) | {"enum"}


def check_schema(schema: Any, loc: Loc, problems: list[Problem], extra: frozenset[str] = frozenset()) -> None:
    """Adds what is wrong in ``schema`` (``extra`` names further keys that are accepted at this level)."""
    if not isinstance(schema, Mapping):
        problems.append(Problem(loc, "object_expected", "an input is described by an object such as {type: string}"))
        return
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        problems.append(_wrong_type_name(kind, loc, "type" in schema))
        return
    if len(loc) > 2 * MAX_DEPTH:
        problems.append(Problem(loc, "nesting_too_deep", f"a schema is at most {MAX_DEPTH} levels deep"))
        return
    accepted = _ANY_TYPE | _RULES[kind] | extra
    for key in schema:
        if key not in accepted:
            message = f"'{shown(key)}' is not accepted for type {kind}{nearest(key, accepted)}"
            problems.append(Problem((*loc, key), "unknown_key", f"{message} (accepted: {', '.join(sorted(accepted))})"))
    before = len(problems)
    _check_rules(schema, kind, loc, problems)
    if len(problems) == before and "enum" in schema:
        _check_enum(schema, loc, problems)


def _wrong_type_name(kind: Any, loc: Loc, given: bool) -> Problem:
    accepted = f"(accepted: {', '.join(TYPES)})"
    if not given:
        return Problem(loc, "missing_key", f"'type' is missing {accepted}")
    near = nearest(kind, TYPES) if isinstance(kind, str) else ""
    return Problem((*loc, "type"), "unknown_type", f"'{shown(kind)}' is not a type{near} {accepted}")


def _check_rules(schema: Mapping[str, Any], kind: str, loc: Loc, problems: list[Problem]) -> None:
    if "description" in schema and not isinstance(schema["description"], str):
        problems.append(Problem((*loc, "description"), "string_expected", "a description is a string"))
    if kind == "string":
        _check_format(schema, loc, problems)
        _check_bounds(schema, ("min_length", "max_length"), "integer", loc, problems)
    elif kind in ("integer", "number"):
        _check_bounds(schema, ("minimum", "maximum"), kind, loc, problems)
    elif kind == "array" and "items" in schema:
        check_schema(schema["items"], (*loc, "items"), problems)
    elif kind == "object":
        _check_properties(schema, loc, problems)


def _check_format(schema: Mapping[str, Any], loc: Loc, problems: list[Problem]) -> None:
    name = schema.get("format", FORMATS[0])
    if not isinstance(name, str) or name not in FORMATS:
        message = f"'{shown(name)}' is not an accepted format (accepted: {', '.join(FORMATS)})"
        problems.append(Problem((*loc, "format"), "unknown_format", message))


def _check_bounds(
    schema: Mapping[str, Any], names: tuple[str, str], kind: str, loc: Loc, problems: list[Problem]
) -> None:
    least, most = names
    before = len(problems)
    for name in names:
        if name in schema:
            check_value({"type": kind}, schema[name], (*loc, name), problems)
            if len(problems) == before and name.endswith("length") and not 0 <= schema[name] <= MAX_STRING:
                message = f"'{name}' is between 0 and {MAX_STRING}"
                problems.append(Problem((*loc, name), "number_out_of_range", message))
    if len(problems) == before and least in schema and most in schema and schema[least] > schema[most]:
        problems.append(Problem((*loc, most), "number_out_of_range", f"'{most}' is less than '{least}'"))


def _check_properties(schema: Mapping[str, Any], loc: Loc, problems: list[Problem]) -> None:
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping) or len(properties) > MAX_PROPERTIES:
        message = f"'properties' is an object of at most {MAX_PROPERTIES} names, each with its own type"
        problems.append(Problem((*loc, "properties"), "object_expected", message))
        return
    for name, member in properties.items():
        if not KEY.fullmatch(name):
            problems.append(Problem((*loc, "properties", name), "invalid_name", f"a property's name has {KEY_RULE}"))
        check_schema(member, (*loc, "properties", name), problems)
    required = schema.get("required", [])
    if not isinstance(required, list):
        problems.append(Problem((*loc, "required"), "array_expected", "'required' is a list of property names"))
        return
    for position, name in enumerate(required):
        if not isinstance(name, str) or name not in properties:
            message = f"'{shown(name)}' is not one of the properties"
            problems.append(Problem((*loc, "required", position), "unknown_key", message))


def _check_enum(schema: Mapping[str, Any], loc: Loc, problems: list[Problem]) -> None:
    choices = schema["enum"]
    if not isinstance(choices, list) or not 1 <= len(choices) <= MAX_ENUM:
        problems.append(Problem((*loc, "enum"), "array_expected", f"'enum' is a list of 1 to {MAX_ENUM} values"))
        return
    without = {key: rule for key, rule in schema.items() if key != "enum"}
    for position, choice in enumerate(choices):
        check_value(without, choice, (*loc, "enum", position), problems)


def check_value(schema: Mapping[str, Any], value: Any, loc: Loc, problems: list[Problem]) -> None:
    """Adds every way in which ``value`` breaks ``schema``, which must be valid itself."""
    if len(problems) >= MAX_PROBLEMS:
        return
    kind = schema["type"]
    if not _is_of(kind, value):
        article = "an" if kind[0] in "aio" else "a"
        problems.append(Problem(loc, f"{kind}_expected", f"expected {article} {kind}, got {_shown_value(value)}"))
        return
    before = len(problems)
    _CHECKS[kind](schema, value, loc, problems)
    if len(problems) == before and "enum" in schema and not any(equal(value, choice) for choice in schema["enum"]):
        accepted = ", ".join(shown(choice) for choice in schema["enum"][:20])
        problems.append(Problem(loc, "not_in_enum", f"{_shown_value(value)} is not accepted (accepted: {accepted})"))


def _is_of(kind: str, value: Any) -> bool:
    if kind == "integer":
        return type(value) is int
    if kind == "number":
        return is_number(value)
    return isinstance(value, _PYTHON_TYPES[kind])


_PYTHON_TYPES: Mapping[str, type] = {"string": str, "boolean": bool, "array": list, "object": Mapping}


def _shown_value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f'the string "{shown(value)}"'
    if isinstance(value, int | float):
        return f"the number {shown(value)}" if abs(value) < 1e21 else "a number that is too large"
    return "an array" if isinstance(value, list) else "an object"


def _check_string(schema: Mapping[str, Any], value: str, loc: Loc, problems: list[Problem]) -> None:
    least, most = schema.get("min_length", 0), schema.get("max_length", MAX_STRING)
    if not least <= len(value) <= most or len(value) > MAX_STRING:
        message = f"has {len(value)} characters (accepted: {least} to {min(most, MAX_STRING)})"
        problems.append(Problem(loc, "length_out_of_range", message))
    form = schema.get("format")
    if form == "date" and parse_date(value) is None:
        problems.append(Problem(loc, "invalid_format", f"'{shown(value)}' is not a date such as 2026-11-20"))
    if form == "date-time" and parse_instant(value) is None:
        message = f"'{shown(value)}' is not an instant with offset such as 2026-11-20T02:30:00+01:00"
        problems.append(Problem(loc, "invalid_format", message))


def _check_number(schema: Mapping[str, Any], value: int | float, loc: Loc, problems: list[Problem]) -> None:
    least, most = schema.get("minimum"), schema.get("maximum")
    if (least is not None and value < least) or (most is not None and value > most):
        bounds = [f"at least {least}"] if least is not None else []
        bounds += [f"at most {most}"] if most is not None else []
        message = f"{_shown_value(value)} is out of range (accepted: {' and '.join(bounds)})"
        problems.append(Problem(loc, "number_out_of_range", message))


def _check_array(schema: Mapping[str, Any], value: list[Any], loc: Loc, problems: list[Problem]) -> None:
    if "items" in schema:
        for position, item in enumerate(value):
            check_value(schema["items"], item, (*loc, position), problems)


def _check_object(schema: Mapping[str, Any], value: Mapping[str, Any], loc: Loc, problems: list[Problem]) -> None:
    if "properties" not in schema:
        return
    properties = schema["properties"]
    missing = [name for name in schema.get("required", []) if name not in value]
    problems.extend(Problem(loc, "missing_key", f"'{name}' is missing") for name in missing)
    for name, member in value.items():
        if name in properties:
            check_value(properties[name], member, (*loc, name), problems)
        else:
            message = f"'{shown(name)}' is not accepted{nearest(name, properties)}"
            problems.append(Problem((*loc, name), "unknown_key", message))


_CHECKS: Mapping[str, Any] = {
    "string": _check_string,
    "integer": _check_number,
    "number": _check_number,
    "boolean": lambda *_: None,
    "array": _check_array,
    "object": _check_object,
}
