"""Inputs of a workflow: their types, defaults, and the check of what a caller gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler_domain.errors import MAX_PROBLEMS, ExpressionError, InvalidDefinition, Problem
from scheduler_domain.naming import nearest, shown
from scheduler_domain.workflow.expression_dates import parse_instant
from scheduler_domain.workflow.expressions import Template, parse_template
from scheduler_domain.workflow.parameter_limits import MAX_BYTES, Loc, check_limits
from scheduler_domain.workflow.parameter_schema import RULES, check_schema, check_value

_DEFINITION_KEYS = frozenset({"default"})


@dataclass(frozen=True, slots=True)
class InputDefinition:
    """One input. ``type`` is ``string``, ``integer``, ``number``, ``boolean``, ``array`` or ``object``.

    ``required`` is true where there is no default; a default may be a template over ``run`` and ``vars``.
    ``schema`` holds the further rules as written: ``enum`` for every type; ``format`` (``date``, ``date-time``),
    ``min_length``, ``max_length`` for strings; ``minimum``, ``maximum`` for numbers; ``items`` for arrays;
    ``properties`` (no others are accepted then) and ``required`` for objects.
    """

    name: str
    type: str
    required: bool
    default: Template | None
    schema: Mapping[str, Any]
    description: str = ""


def define_input(name: str, written: Any) -> InputDefinition:
    """The input that a definition's ``inputs.<name>`` describes; raises `InvalidDefinition`, locs from the root."""
    loc: Loc = ("inputs", name)
    problems: list[Problem] = []
    check_limits(written, loc, problems)
    if not problems:
        check_schema(written, loc, problems, extra=_DEFINITION_KEYS)
    if problems:
        raise InvalidDefinition(problems)
    default = _default(written, loc, problems) if "default" in written else None
    if problems:
        raise InvalidDefinition(problems)
    return InputDefinition(
        name=name,
        type=written["type"],
        required=default is None,
        default=default,
        schema={key: rule for key, rule in written.items() if key in RULES},
        description=written.get("description", ""),
    )


def _default(written: Mapping[str, Any], loc: Loc, problems: list[Problem]) -> Template | None:
    """The default as a template; one without expressions must fit its own schema."""
    value = written["default"]
    try:
        template = parse_template(value)
    except ExpressionError as error:
        problems.append(Problem((*loc, "default"), "invalid_expression", str(error)))
        return None
    if template.is_constant:
        check_value(written, template.render({}), (*loc, "default"), problems)
    return template


def resolve_inputs(
    definitions: Mapping[str, InputDefinition], given: Mapping[str, Any], scope: Mapping[str, Any]
) -> dict[str, Any]:
    """The inputs of a run: what was given, checked strictly, and defaults for the rest.

    ``scope`` has ``run`` and ``vars`` for defaults that are templates; where such a default of a ``format: date`` input
    renders to an instant, its local date is taken. Raises `InvalidDefinition` with one problem per
    wrong, missing (``missing_input``) or unknown (``unknown_input``) input, its ``loc`` being ``("inputs", name)``.
    """
    problems: list[Problem] = []
    _check_names(definitions, given, problems)
    resolved: dict[str, Any] = {}
    size = 0
    for name, definition in definitions.items():
        before = len(problems)
        if name in given:
            resolved[name] = given[name]
        else:
            resolved[name] = _rendered(definition, scope, problems)
        if len(problems) == before:
            size += check_limits(resolved[name], ("inputs", name), problems)
        if len(problems) == before:
            check_value({"type": definition.type, **definition.schema}, resolved[name], ("inputs", name), problems)
    if size > MAX_BYTES:
        problems.append(Problem(("inputs",), "too_large", f"the inputs are larger than {MAX_BYTES} bytes as JSON"))
    if problems:
        raise InvalidDefinition(problems)
    return resolved


def _check_names(definitions: Mapping[str, InputDefinition], given: Mapping[str, Any], problems: list[Problem]) -> None:
    for name in given:
        if name not in definitions:
            message = f"there is no input '{shown(name)}'{nearest(name, definitions)} ({_accepted(definitions)})"
            problems.append(Problem(("inputs", name), "unknown_input", message))
        if len(problems) >= MAX_PROBLEMS:
            return


def _accepted(definitions: Mapping[str, InputDefinition]) -> str:
    if not definitions:
        return "the workflow takes none"
    return f"accepted: {', '.join(list(definitions)[:20])}"


def _rendered(definition: InputDefinition, scope: Mapping[str, Any], problems: list[Problem]) -> Any:
    name, default = definition.name, definition.default
    if default is None:
        message = f"input '{name}' is missing; it takes a value of type {definition.type}"
        problems.append(Problem(("inputs", name), "missing_input", message))
        return None
    try:
        value = default.render(scope)
    except ExpressionError as error:
        message = f"the default of input '{name}' cannot be computed: {error}"
        problems.append(Problem(("inputs", name), "invalid_default", message))
        return None
    if not default.is_constant and definition.schema.get("format") == "date" and isinstance(value, str):
        instant = parse_instant(value)
        return value if instant is None else instant.date().isoformat()
    return value
