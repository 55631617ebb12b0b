"""Faults of a document as compilers print them: ``file:line:column: message``."""

from collections.abc import Iterable

from orrery.errors import ProblemDetail


def problem_lines(label: str, problems: Iterable[ProblemDetail], *, positions: bool = True) -> list[str]:
    """One line per fault; without ``positions``, or where it has none, the path inside the document stands for it."""
    return [f"{_place(label, problem, positions)}: {problem.message}" for problem in problems]


def _place(label: str, problem: ProblemDetail, positions: bool) -> str:
    if positions and problem.line is not None:
        return f"{label}:{problem.line}:{problem.column or 1}"
    path = ".".join(str(part) for part in problem.loc if part != "body")
    return f"{label}: {path}" if path else label
