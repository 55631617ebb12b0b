"""What a deploy does to the expectations of a workflow; part of its transaction."""

from datetime import datetime
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.time import Ids
from scheduler_domain.schedule.timetable import parse_timetable
from scheduler_domain.workflow.definition import ExpectationDefinition, WorkflowDefinition


async def switch_expectations(
    tx: Transaction, ids: Ids, workflow_id: str, definition: WorkflowDefinition, actor: Actor, now: datetime
) -> None:
    """Makes the definition's expectations the live ones. One that stays keeps its identity, its last verdict and, where
    its deadlines are the same, one that is not judged yet."""
    known = {row["name"]: row for row in await tx.expectations.of_workflow(workflow_id)}
    wanted = {expectation.name: expectation for expectation in definition.expect}
    await _take_away(tx, [row for name, row in known.items() if name not in wanted], now)
    fresh = []
    for name, expectation in wanted.items():
        if name in known:
            await tx.expectations.update(known[name]["id"], _changed(expectation, known[name], now))
        else:
            fresh.append(_new(expectation, ids.new(), workflow_id, actor, now))
    await tx.expectations.insert(fresh)


async def remove_expectations(tx: Transaction, workflow_id: str, now: datetime) -> None:
    """Nothing is expected of the workflow any more."""
    await _take_away(tx, await tx.expectations.of_workflow(workflow_id), now)


async def _take_away(tx: Transaction, rows: list[dict[str, Any]], now: datetime) -> None:
    """Nobody waits for these any more, so their alerts are over too."""
    active = [row["id"] for row in rows if row["active"]]
    for expectation_id in active:
        await tx.expectations.update(expectation_id, {"active": False, "next_at": None})
    await tx.alerts.resolve(active, now)


def _values(expectation: ExpectationDefinition) -> dict[str, Any]:
    return {
        "expression": expectation.expression,
        "timezone": expectation.timezone,
        "state": expectation.state.value,
        "within_seconds": expectation.within,
        "active": True,
        "error": None,
    }


def _new(
    expectation: ExpectationDefinition, expectation_id: str, workflow_id: str, actor: Actor, now: datetime
) -> dict[str, Any]:
    return {
        "id": expectation_id,
        "project_id": actor.project,
        "workflow_id": workflow_id,
        "name": expectation.name,
        **_values(expectation),
        "next_at": _first_deadline(expectation, expectation_id, now),
    }


def _changed(expectation: ExpectationDefinition, row: dict[str, Any], now: datetime) -> dict[str, Any]:
    values = _values(expectation)
    same_deadlines = all(row[key] == values[key] for key in ("expression", "timezone"))
    if same_deadlines and row["active"] and row["next_at"] is not None:
        return values
    return {**values, "next_at": _first_deadline(expectation, row["id"], now)}


def _first_deadline(expectation: ExpectationDefinition, expectation_id: str, now: datetime) -> datetime | None:
    timetable = parse_timetable("schedule", expectation.expression, expectation.timezone, seed=expectation_id)
    return timetable.next_after(now)
