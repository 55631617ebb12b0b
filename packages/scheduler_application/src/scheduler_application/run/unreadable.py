"""What stands in for a version that cannot be read any more: its runs are ended as others are, and nothing of them
starts."""

from scheduler_application.run.definitions import Version
from scheduler_domain.workflow.definition import OnWorkerLoss, TaskDefinition, WorkflowDefinition
from scheduler_domain.workflow.expressions import parse_template

UNREADABLE_VALUE = "unreadable"
"""The code of the error about a stored value (inputs, an item, an output) that is no JSON any more."""

_NOTHING = parse_template({})


def unreadable_version(version_id: str, workflow_id: str) -> Version:
    """A version without tasks."""
    return Version(version_id, workflow_id, 0, WorkflowDefinition("", {}), None)


def unknown_task(key: str) -> TaskDefinition:
    """A task that a version does not have although a task run is named so: nobody can execute it."""
    return TaskDefinition(key, "unknown", _NOTHING, on_worker_loss=OnWorkerLoss.FAIL)
