"""Whether every name in every expression of a document exists where it is used."""

from collections.abc import Mapping, Sequence
from typing import Any

from scheduler_application.workflow.fields import Loc, Reading, Use
from scheduler_domain.errors import ExpressionError
from scheduler_domain.naming import nearest, shown
from scheduler_domain.workflow.expressions import parse_template
from scheduler_domain.workflow.graph import Ancestry
from scheduler_domain.workflow.scope import RUN_FIELDS, TASK_FIELDS

Fault = tuple[str, str]


class References:
    """``ancestry`` is ``None`` where the graph itself is wrong, and then the order of tasks is not checked."""

    def __init__(self, inputs: Sequence[str], needs: Mapping[str, Sequence[str]], ancestry: Ancestry | None) -> None:
        self._inputs = inputs
        self._needs = needs
        self._ancestry = ancestry

    def check(self, reading: Reading, content: Any) -> None:
        """Notes each wrong reference at the string that holds it."""
        for use in reading.uses:
            for reference in sorted(use.references):
                fault = self._fault(reference, use)
                if fault is not None:
                    loc, offset = _holder(content, use.loc, reference)
                    reading.offsets[loc] = offset
                    reading.note(loc, *fault)

    def _fault(self, reference: tuple[str, ...], use: Use) -> Fault | None:
        root, names = reference[0], reference[1:]
        if root not in use.roots:
            return _unavailable(root, use)
        if root == "inputs" and names and names[0] not in self._inputs:
            return "invalid_reference", f"there is no input '{shown(names[0])}'{nearest(names[0], self._inputs)}"
        if root == "run" and names and names[0] not in RUN_FIELDS:
            known = f"{nearest(names[0], RUN_FIELDS)} (it has {', '.join(RUN_FIELDS)})"
            return "invalid_reference", f"run has no '{shown(names[0])}'{known}"
        if root == "secrets" and len(names) > 1:
            return "invalid_reference", "a secret is a string; write ${{ secrets.NAME }}"
        return self._task_fault(names, use) if root == "tasks" else None

    def _task_fault(self, names: Sequence[str], use: Use) -> Fault | None:
        key = names[0]
        if key not in self._needs:
            return "invalid_reference", f"there is no task '{shown(key)}'{nearest(key, self._needs)}"
        if len(names) > 1 and names[1] not in TASK_FIELDS:
            message = f"tasks.{key} has no '{shown(names[1])}'; it has {', '.join(TASK_FIELDS)}"
            return "invalid_reference", message
        if self._ancestry is None or use.task is None or self._ancestry.is_before(key, use.task):
            return None
        return "invalid_reference", f"task '{use.task}' does not come after '{key}'; name it in 'needs'"


def _unavailable(root: str, use: Use) -> Fault:
    available = f"(available here: {', '.join(sorted(use.roots))})"
    if root == "event":
        return "not_available", f"'event' is not available yet {available}"
    if root in ("item", "index"):
        return "invalid_reference", f"'{root}' exists only inside a task with 'for_each' {available}"
    if root == "secrets":
        return "invalid_reference", f"secrets cannot stand where the run's course is decided {available}"
    return "invalid_reference", f"'{root}' is not available here {available}"


def _holder(content: Any, loc: Loc, reference: tuple[str, ...]) -> tuple[Loc, int]:
    """The loc of the string at or below ``loc`` that names ``reference``, and where in it its root stands."""
    value = content
    for step in loc:
        value = value[step]
    pending: list[tuple[Any, Loc]] = [(value, loc)]
    while pending:
        value, place = pending.pop()
        if isinstance(value, dict):
            pending.extend((member, (*place, key)) for key, member in reversed(value.items()))
        elif isinstance(value, list):
            pending.extend((value[index], (*place, index)) for index in reversed(range(len(value))))
        elif isinstance(value, str) and "${{" in value and _names(value, reference):
            return place, max(value.find(reference[0], value.find("${{")), 0)
    return loc, 0


def _names(text: str, reference: tuple[str, ...]) -> bool:
    try:
        return reference in parse_template(text).references
    except ExpressionError:
        return False
