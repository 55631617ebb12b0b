"""JSON text → plain data, refusing what Python's decoder lets through."""

import json
from typing import Any

from scheduler_application.workflow.places import Places
from scheduler_application.workflow.yaml_text import read_yaml
from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.naming import shown

_LONGEST_NUMBER = 20


def load_json(text: str) -> Any:
    """The value of ``text``; raises `InvalidDefinition` (``malformed_json``, ``duplicate_key``…)."""
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse, parse_int=_integer, parse_float=_number
        )
    except json.JSONDecodeError as error:
        problem = Problem((), "malformed_json", f"the text is not JSON: {error.msg}", error.lineno, error.colno)
    except RecursionError:
        problem = Problem((), "nesting_too_deep", "the document is nested deeper than 32 levels")
    raise InvalidDefinition([problem])


def json_places(text: str, root: Any) -> Places:
    """The places of JSON ``text``, found by reading it as YAML, which JSON almost is; empty where that fails."""
    places = Places(text)
    try:
        # JSON's white space may hold tabs, its strings cannot; YAML's may not.
        read_yaml(text.replace("\t", " "), places)
    except InvalidDefinition:
        return Places(text, root)
    return places


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidDefinition([Problem((), "duplicate_key", f"the key '{shown(twice)}' stands in one object twice")])
    return found


def _refuse(name: str) -> Any:
    raise InvalidDefinition([Problem((), "malformed_json", f"the text is not JSON: {name} is not a value")])


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise InvalidDefinition([Problem((), "number_too_long", f"a number has more than {_LONGEST_NUMBER} digits")])
    return int(digits)


def _number(text: str) -> float:
    value = float(text)
    if not abs(value) < float("inf"):
        raise InvalidDefinition([Problem((), "number_out_of_range", f"{shown(text)} is out of range")])
    return value
