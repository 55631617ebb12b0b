"""A definition is checked against the names that a run really has."""

from datetime import UTC, datetime

from scheduler_application.ports.rows import SettledTask
from scheduler_application.run.scope import run_scope, tasks_scope
from scheduler_domain.run.states import TaskState
from scheduler_domain.workflow.scope import RUN_FIELDS, TASK_FIELDS


def test_a_run_has_every_field_that_a_definition_may_name() -> None:
    scope = run_scope(
        run_id="r",
        workflow="w",
        started_by="admin",
        scheduled_for=None,
        created_at=datetime(2026, 11, 20, tzinfo=UTC),
        failed=False,
    )
    assert set(scope) == set(RUN_FIELDS)
    assert all(isinstance(value, str) for value in scope.values())


def test_a_finished_task_has_every_field_that_a_definition_may_name() -> None:
    scope = tasks_scope([SettledTask("r", "extract", 0, TaskState.SUCCEEDED, '{"rows": 1}')])
    assert set(scope["extract"]) == set(TASK_FIELDS)
    assert scope["extract"]["output"] == {"rows": 1}
