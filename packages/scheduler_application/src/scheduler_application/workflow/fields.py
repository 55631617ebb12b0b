"""Reading the fields of a document: each reader checks one value strictly, notes what is wrong and goes on.

A reader that found a fault returns a stand-in of the right type; what was read is used only when nothing was noted.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from scheduler_domain.errors import MAX_PROBLEMS, ExpressionError, InvalidDefinition, Problem
from scheduler_domain.naming import nearest, shown
from scheduler_domain.workflow.definition import ExpectationDefinition, TriggerDefinition
from scheduler_domain.workflow.durations import parse_duration, show_duration
from scheduler_domain.workflow.expressions import Expression, Template, parse_embedded, parse_template

Loc = tuple[str | int, ...]
Choice = TypeVar("Choice", bound=StrEnum)

EMPTY = Template("", frozenset(), lambda _rendering: "")


@dataclass(frozen=True, slots=True)
class Use:
    """That the value at ``loc``, in ``task`` where there is one, names ``references``; only ``roots`` may stand."""

    loc: Loc
    references: frozenset[tuple[str, ...]]
    roots: frozenset[str]
    task: str | None = None


@dataclass(slots=True)
class Reading:
    """What was found while a document is read."""

    problems: list[Problem] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    scheduled: list[tuple[Loc, TriggerDefinition]] = field(default_factory=list)
    """The triggers that the clock satisfies, whose due times are still to be checked."""
    expected: list[tuple[Loc, str, ExpectationDefinition]] = field(default_factory=list)
    """The expectations whose deadlines are still to be checked, each with the key that says when they are."""
    offsets: dict[Loc, int] = field(default_factory=dict)
    """Where in the string at that loc a faulty expression has its fault."""

    def note(self, loc: Loc, code: str, message: str) -> None:
        self.problems.append(Problem(loc, code, message))
        if len(self.problems) >= MAX_PROBLEMS:
            raise InvalidDefinition(self.problems)


def expect(reading: Reading, loc: Loc, kind: str, value: Any, example: str) -> None:
    """Notes that ``value`` is not of ``kind`` (``string``, ``integer``, ``object``…)."""
    article = "an" if kind[0] in "aio" else "a"
    reading.note(loc, f"{kind}_expected", f"expected {article} {kind} {example}, got {_described(value)}")


def _described(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {shown(value)}"
    if isinstance(value, str):
        return f"the text '{shown(value)}'"
    return "a list" if isinstance(value, list) else "an object"


def mapping(
    reading: Reading,
    value: Any,
    loc: Loc,
    accepted: Sequence[str],
    *,
    required: Sequence[str] = (),
    later: Iterable[str] = (),
) -> Mapping[str, Any]:
    """An object with keys among ``accepted``; those in ``later`` are refused as not available yet."""
    if not isinstance(value, dict):
        expect(reading, loc, "object", value, f"with {', '.join(accepted)}")
        return {}
    for key in value:
        if key in accepted:
            continue
        if key in later:
            reading.note(
                (*loc, key), "not_available", f"'{key}' is not available yet (accepted: {', '.join(accepted)})"
            )
        else:
            message = f"unknown key '{shown(key)}'{nearest(key, accepted)} (accepted: {', '.join(accepted)})"
            reading.note((*loc, key), "unknown_key", message)
    for key in required:
        if key not in value:
            reading.note(loc, "missing_key", f"'{key}' is missing")
    return value


def named(
    reading: Reading, value: Any, loc: Loc, rule: re.Pattern[str], says: str, most: int, code: str = "invalid_key"
) -> dict[str, Any]:
    """An object whose keys are names; returns the members whose names are good."""
    if not isinstance(value, dict):
        expect(reading, loc, "object", value, "of names")
        return {}
    if len(value) > most:
        reading.note(loc, "too_many_items", f"has {len(value)} members, at most {most} are accepted")
        return {}
    for key in value:
        if not rule.fullmatch(key):
            reading.note((*loc, key), code, f"'{shown(key)}' is not a name: {says}")
    return {key: member for key, member in value.items() if rule.fullmatch(key)}


def sequence(reading: Reading, value: Any, loc: Loc, example: str, most: int, least: int = 0) -> list[Any]:
    if not isinstance(value, list):
        expect(reading, loc, "array", value, example)
        return []
    if not least <= len(value) <= most:
        reading.note(loc, "too_many_items", f"has {len(value)} elements; {least} to {most} are accepted")
        return []
    return value


def text(reading: Reading, value: Any, loc: Loc, example: str = "", *, most: int = 65_536, empty: bool = False) -> str:
    if not isinstance(value, str):
        hint = f"{example} (put it in quotes)" if isinstance(value, int | float | bool) else example
        expect(reading, loc, "string", value, hint)
        return ""
    if not value.strip() and not empty:
        reading.note(loc, "empty", f"is empty; expected a string {example}".rstrip())
    if len(value) > most:
        reading.note(loc, "too_long", f"has {len(value)} characters, at most {most} are accepted")
        return ""
    return value


def name(reading: Reading, value: Any, loc: Loc, rule: re.Pattern[str], says: str) -> str:
    if isinstance(value, str) and rule.fullmatch(value):
        return value
    if isinstance(value, str):
        reading.note(loc, "invalid_name", f"'{shown(value)}' is not a name: {says}")
    else:
        expect(reading, loc, "string", value, "(a name)")
    return ""


def choice(reading: Reading, value: Any, loc: Loc, options: Sequence[str]) -> str:
    if isinstance(value, str) and value in options:
        return value
    accepted = f"(accepted: {', '.join(options)})"
    if isinstance(value, str):
        reading.note(loc, "invalid_choice", f"'{shown(value)}' is not accepted{nearest(value, options)} {accepted}")
    else:
        expect(reading, loc, "string", value, accepted)
    return options[0]


def member(reading: Reading, value: Any, loc: Loc, kind: type[Choice]) -> Choice:
    return kind(choice(reading, value, loc, [option.value for option in kind]))


def integer(reading: Reading, value: Any, loc: Loc, least: int, most: int) -> int:
    if type(value) is not int:
        expect(reading, loc, "integer", value, f"from {least} to {most}")
        return least
    if not least <= value <= most:
        reading.note(loc, "number_out_of_range", f"{shown(value)} is out of range (accepted: {least} to {most})")
        return least
    return value


def boolean(reading: Reading, value: Any, loc: Loc) -> bool:
    if not isinstance(value, bool):
        expect(reading, loc, "boolean", value, "(true or false)")
        return False
    return value


def duration(reading: Reading, value: Any, loc: Loc, least: int, most: int) -> float:
    """Seconds from text such as ``90s`` or ``1d12h``."""
    accepted = f"a duration such as 90s, 15m, 2h or 1d12h, from {show_duration(least)} to {show_duration(most)}"
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None:
        hint = f' (write "{value}s" for seconds)' if type(value) is int and value >= 0 else ""
        reading.note(loc, "invalid_duration", f"expected {accepted}, got {_described(value)}{hint}")
        return float(least)
    if not least <= seconds <= most:
        reading.note(loc, "duration_out_of_range", f"'{shown(value)}' is out of range; expected {accepted}")
    return float(seconds)


def template(reading: Reading, value: Any, loc: Loc, roots: frozenset[str], task: str | None = None) -> Template:
    """A template of any JSON value; each faulty expression in it is noted at its own place."""
    try:
        parsed = parse_template(value)
    except ExpressionError:
        _note_faults(reading, value, loc)
        return EMPTY
    if not parsed.is_constant:
        reading.uses.append(Use(loc, parsed.references, roots, task))
    return parsed


def _note_faults(reading: Reading, value: Any, loc: Loc) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            if "${{" in key:
                reading.note((*loc, key), "invalid_key", "a key cannot hold an expression")
            _note_faults(reading, part, (*loc, key))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            _note_faults(reading, part, (*loc, position))
    else:
        try:
            parse_template(value)
        except ExpressionError as error:
            _note_expression(reading, loc, error)


def _note_expression(reading: Reading, loc: Loc, error: ExpressionError) -> None:
    reading.offsets[loc] = error.offset
    reading.note(loc, "invalid_expression", str(error))


def expression(
    reading: Reading, value: Any, loc: Loc, roots: frozenset[str], task: str | None = None
) -> Expression | None:
    """A field that takes exactly one expression."""
    if not isinstance(value, str):
        expect(reading, loc, "string", value, "that holds one expression, such as ${{ inputs.strict }}")
        return None
    try:
        parsed = parse_embedded(value)
    except ExpressionError as error:
        _note_expression(reading, loc, error)
        return None
    reading.uses.append(Use(loc, parsed.references, roots, task))
    return parsed


def constant_text(reading: Reading, value: Any, loc: Loc, example: str, instead: str) -> str:
    """Text in which an expression is refused, because it would run as code; ``instead`` says how values get there."""
    written = text(reading, value, loc, example)
    if "${{" in written.replace("$${{", ""):
        reading.offsets[loc] = written.find("${{")
        reading.note(loc, "expression_not_allowed", f"an expression cannot stand in {instead}")
        return ""
    return written
