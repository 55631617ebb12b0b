"""Pure decisions about a graph: what runs, what is skipped, what a run comes to."""

from dataclasses import dataclass

from scheduler_domain.run.states import RunEvent, TaskState
from scheduler_domain.workflow.definition import RunIf, TaskDefinition

MAX_ITEMS = 10_000
"""The most items that one ``for_each`` may have."""

MAX_DEPTH = 10
"""How deep child runs may start child runs."""

UNREADABLE = "unreadable"
"""The reason to stop a run whose stored definition cannot be read any more: it fails."""

FAILURES = frozenset({TaskState.FAILED, TaskState.TIMED_OUT, TaskState.CANCELLED})
"""Final states that count as a failed need."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What all needs of a task came to."""

    total: int
    failed: int
    skipped: int

    @property
    def succeeded(self) -> int:
        return self.total - self.failed - self.skipped


def may_run(task: TaskDefinition, needs: Needs) -> bool:
    """Whether ``run_if`` lets the task run; ``when`` is asked after it."""
    match task.run_if:
        case RunIf.ALL_SUCCEEDED:
            return needs.succeeded == needs.total
        case RunIf.ANY_FAILED:
            return needs.failed > 0
        case RunIf.ANY_SUCCEEDED:
            return needs.succeeded > 0
        case RunIf.ALL_DONE:
            return True


def run_verdict(*, stop_reason: str | None, failed: int, cancelled: int) -> RunEvent:
    """What a run comes to whose tasks are all final. A stopped run ends as it was stopped, whatever its last tasks
    did."""
    if stop_reason == "timeout":
        return RunEvent.FINISH_TIMEOUT
    if stop_reason == UNREADABLE:
        return RunEvent.FAIL
    if stop_reason is not None:
        return RunEvent.FINISH_CANCEL
    if failed:
        return RunEvent.FAIL
    return RunEvent.FINISH_CANCEL if cancelled else RunEvent.SUCCEED


def group_state(*, stopping: bool, failed: int) -> TaskState:
    """What a ``for_each`` task comes to whose items are all final."""
    if stopping:
        return TaskState.CANCELLED
    return TaskState.FAILED if failed else TaskState.SUCCEEDED
