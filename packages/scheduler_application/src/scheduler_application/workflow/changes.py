"""What differs between two definitions, path by path."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scheduler_application.workflow.document import Document, digest

LONGEST_VALUE = 200
"""Characters of a value that are shown; what is longer ends in ``…``."""


class Change(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class DefinitionChange:
    """``path`` leads into the document (a trigger stands there under its name, not its place). ``before`` and ``after``
    are JSON text; ``None`` where there is nothing."""

    path: tuple[str, ...]
    change: Change
    before: str | None
    after: str | None


def changes_between(before: Document | None, after: Document) -> list[DefinitionChange]:
    """Every difference, in the order of the new document and then of the old one; ``None``: there was no document."""
    old = {} if before is None else _with_named_triggers(before)
    return list(_differences((), old, _with_named_triggers(after)))


def _with_named_triggers(document: Document) -> dict[str, Any]:
    """The content with its triggers by name: moving one in the list changes nothing."""
    content = dict(document.content)
    if "triggers" in content:
        names = [trigger.name for trigger in document.definition.triggers]
        content["triggers"] = dict(zip(names, content["triggers"], strict=True))
    return content


def _differences(
    path: tuple[str, ...], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[DefinitionChange]:
    for key, value in after.items():
        place = (*path, key)
        if key not in before:
            yield DefinitionChange(place, Change.ADDED, None, _shown(value))
        elif isinstance(value, dict) and isinstance(before[key], dict):
            yield from _differences(place, before[key], value)
        # As a version's digest tells contents apart: to Python, 1 equals 1.0 and true.
        elif digest(value) != digest(before[key]):
            yield DefinitionChange(place, Change.CHANGED, _shown(before[key]), _shown(value))
    for key, value in before.items():
        if key not in after:
            yield DefinitionChange((*path, key), Change.REMOVED, _shown(value), None)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
