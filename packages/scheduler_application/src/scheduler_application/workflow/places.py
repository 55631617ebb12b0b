"""Where in a text each part of a document stands, so that a problem can name its line and column."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from scheduler_domain.errors import Problem

AT_KEY = frozenset(
    {
        "duplicate_task",
        "invalid_env",
        "invalid_key",
        "not_available",
        "reserved_name",
        "unknown_executor",
        "unknown_key",
        "without_effect",
    }
)
"""Codes of problems that are about a key, not about its value."""


class Mark(NamedTuple):
    """Lines and columns from 0. ``key`` is where a member's key begins (of an element: the element itself)."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(slots=True)
class Places:
    """``marks`` has one entry per container, by the id of its object, which ``root`` keeps alive."""

    text: str
    root: Any = None
    marks: dict[int, dict[Any, Mark]] = field(default_factory=dict)

    def placed(self, problem: Problem, offset: int | None = None) -> Problem:
        """``problem`` with the line and column of the deepest part of its ``loc`` that the text has.

        ``offset`` counts characters in the string at fault; it moves the column where the string stands on one line.
        """
        found, value = Mark((0, 0), (0, 0)), self.root
        for step in problem.loc:
            mark = self.marks.get(id(value), {}).get(step)
            if mark is None:
                break
            found, value = mark, value[step]
        if problem.code in AT_KEY or isinstance(value, dict | list):
            line, column = found.key
        else:
            line, column = found.value
            if offset and isinstance(value, str):
                column += self._shift(line, column, value, offset)
        return replace(problem, line=line + 1, column=column + 1)

    def _shift(self, line: int, column: int, value: str, offset: int) -> int:
        lines = self.text.splitlines()
        rest = lines[line][column:] if line < len(lines) else ""
        if rest.startswith(value):
            return offset
        return offset + 1 if rest[1:].startswith(value) and rest[0] in "\"'" else 0
