"""Workflows of tasks that do nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.stack import Stack


def noop(call: str = "noop:nothing", needs: Sequence[str] = ()) -> dict[str, Any]:
    """A task of the `python` executor that calls a function of `code/`."""
    task: dict[str, Any] = {"python": {"call": call}}
    return task | {"needs": list(needs)} if needs else task


def workflow(stack: Stack, name: str, tasks: Mapping[str, Any]) -> dict[str, Any]:
    """A definition whose tasks go to the stack's queue."""
    return {"workflow": name, "defaults": {"queue": stack.queue.replace("_", "-")}, "tasks": dict(tasks)}
