"""The queues in which the first tasks of a run wait for a worker."""

from collections.abc import Mapping
from typing import Any

from scheduler_domain.workflow.definition import DEFAULT_QUEUE, ENGINE_EXECUTORS


def root_queues(content: Mapping[str, Any]) -> frozenset[str]:
    """Those of a version's ``content``: of its tasks that need no other and that a worker executes.

    Read from the plain data, because a forecast asks thousands of versions for nothing else.
    """
    otherwise = content.get("defaults", {}).get("queue", DEFAULT_QUEUE)
    roots = (task for task in content["tasks"].values() if not task.get("needs"))
    return frozenset(task.get("queue", otherwise) for task in roots if not ENGINE_EXECUTORS & task.keys())
