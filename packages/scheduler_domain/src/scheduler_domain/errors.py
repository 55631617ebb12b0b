"""Domain errors.

DomainError
├── IllegalTransition      a state machine was asked for a move that its table does not have
├── InvalidDefinition      a definition, schedule or set of inputs is wrong; carries every problem found
└── ExpressionError        an expression cannot be parsed, or failed when it was evaluated
"""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_PROBLEMS = 50
"""How many problems of one document are reported together."""


class DomainError(Exception):
    """A rule of the domain was broken."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in something a person wrote: where, what, and what is accepted.

    ``loc`` is the path from the document's root, e.g. ``("tasks", "load", "timeout")``; ``code`` is stable and
    machine-readable (``unknown_key``, ``cycle``…); ``message`` is one plain sentence; ``line`` and ``column``
    count from 1 and are absent where the source has no text form.
    """

    loc: tuple[str | int, ...]
    code: str
    message: str
    line: int | None = None
    column: int | None = None


class InvalidDefinition(DomainError):
    """Something a person wrote is wrong; ``problems`` has every fault found, at most `MAX_PROBLEMS`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("an invalid definition has at least one problem")
        self.problems = tuple(problems[:MAX_PROBLEMS])
        super().__init__("; ".join(problem.message for problem in self.problems[:3]))


class ExpressionError(DomainError):
    """An expression is malformed, or failed when evaluated; ``offset`` counts characters from 0 in its text."""

    def __init__(self, message: str, *, offset: int = 0) -> None:
        self.offset = offset
        super().__init__(message)
