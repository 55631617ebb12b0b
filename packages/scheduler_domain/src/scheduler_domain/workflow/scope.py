"""The names that expressions can read. What makes a scope and what checks a definition both follow these tables.

A scope is ``{root: value}``. ``inputs`` and ``vars`` are objects by name; ``tasks`` is an object by task key whose
values have `TASK_FIELDS`; ``run`` has `RUN_FIELDS`; ``item`` and ``index`` exist inside a ``for_each`` only.
"""

ROOTS = ("inputs", "tasks", "run", "event", "secrets", "vars", "item", "index")

NAMED_ROOTS = frozenset({"tasks", "secrets", "vars"})
"""Roots of which one member must be named in the text, so that what an expression needs is known before it runs."""

RUN_FIELDS = ("id", "workflow", "started_by", "scheduled_for", "created_at", "state")
"""All are strings. ``scheduled_for`` is the due time in the trigger's zone as ISO 8601 with offset (for a run that
nothing scheduled: the time of its making); ``state`` is what the run would come to if it ended now."""

TASK_FIELDS = ("state", "output")
"""``state`` is a task state; ``output`` is the JSON value (of a ``for_each`` task a list, one per item) or ``None``."""
