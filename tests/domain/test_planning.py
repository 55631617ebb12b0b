"""What runs, what is skipped, what a run comes to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_domain.run.planning import Needs, group_state, may_run, run_verdict
from scheduler_domain.run.states import RunEvent, TaskState
from scheduler_domain.workflow.definition import RunIf, TaskDefinition
from scheduler_domain.workflow.expressions import parse_template

COUNTS = st.tuples(*(st.integers(0, 50) for _ in range(3))).map(
    lambda counts: Needs(total=sum(counts), failed=counts[0], skipped=counts[1])
)


def task(run_if: RunIf) -> TaskDefinition:
    return TaskDefinition("t", "shell", parse_template({"script": "true"}), run_if=run_if)


@given(COUNTS)
def test_run_if_says_what_its_name_says(needs: Needs) -> None:
    assert may_run(task(RunIf.ALL_DONE), needs)
    assert may_run(task(RunIf.ALL_SUCCEEDED), needs) == (needs.failed == needs.skipped == 0)
    assert may_run(task(RunIf.ANY_FAILED), needs) == (needs.failed > 0)
    assert may_run(task(RunIf.ANY_SUCCEEDED), needs) == (needs.total > needs.failed + needs.skipped)


@pytest.mark.parametrize("run_if", [RunIf.ALL_DONE, RunIf.ALL_SUCCEEDED])
def test_a_task_without_needs_runs(run_if: RunIf) -> None:
    assert may_run(task(run_if), Needs(0, 0, 0))


@pytest.mark.parametrize(
    ("stop_reason", "failed", "cancelled", "event"),
    [
        (None, 0, 0, RunEvent.SUCCEED),
        (None, 1, 0, RunEvent.FAIL),
        (None, 1, 5, RunEvent.FAIL),
        (None, 0, 1, RunEvent.FINISH_CANCEL),
        ("cancel", 0, 0, RunEvent.FINISH_CANCEL),
        ("cancel", 3, 0, RunEvent.FINISH_CANCEL),
        ("timeout", 0, 0, RunEvent.FINISH_TIMEOUT),
        ("timeout", 2, 2, RunEvent.FINISH_TIMEOUT),
    ],
)
def test_a_run_comes_to_what_its_tasks_came_to_unless_it_was_stopped(
    stop_reason: str | None, failed: int, cancelled: int, event: RunEvent
) -> None:
    assert run_verdict(stop_reason=stop_reason, failed=failed, cancelled=cancelled) is event


@pytest.mark.parametrize(
    ("stopping", "failed", "state"),
    [
        (False, 0, TaskState.SUCCEEDED),
        (False, 1, TaskState.FAILED),
        (True, 0, TaskState.CANCELLED),
        (True, 1, TaskState.CANCELLED),
    ],
)
def test_a_group_comes_to_what_its_items_came_to(stopping: bool, failed: int, state: TaskState) -> None:
    assert group_state(stopping=stopping, failed=failed) is state
