"""Evidence of a small system in which everything is right, for tests that plant what is wrong."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from faults.effects import Effect
from faults.evidence import Evidence
from faults.journal import Exchange
from faults.workload import LINES

T0 = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
RUN, TASK, TRIGGER = "run-1", "task-1", "trigger-1"


def second(number: float) -> datetime:
    return T0 + timedelta(seconds=number)


def exchange(number: int = 1, **changed: Any) -> Exchange:
    """A run that was asked for and promised."""
    usual = Exchange(number, T0.timestamp(), "POST", "/workflows/single/run", None, {}, 202, {"run_id": RUN}, None, 0.1)
    return replace(usual, **changed)


def effect(number: int = 1, **changed: Any) -> Effect:
    usual = Effect(number, "effect", RUN, "one", -1, 1, 1, "", accepted=True, wall=second(2).timestamp(), mono=2.0)
    return replace(usual, **changed)


def change(of: str, before: str | None, after: str, fence: int | None = None, **changed: Any) -> dict[str, Any]:
    """What the witness in the database writes down."""
    keys = {"runs": RUN, "task_runs": TASK, "leadership": "dispatcher"}
    usual = {"id": 1, "of": of, "key": keys[of], "before": before, "after": after, "fence": fence}
    return {**usual, "fence_before": fence, "at": second(3), "committed_at": second(3), **changed}


def run(**changed: Any) -> dict[str, Any]:
    usual = {
        "id": RUN,
        "workflow_id": "workflow-1",
        "version_id": "version-1",
        "state": "succeeded",
        "trigger_id": None,
        "due_at": None,
        "slot_key": None,
        "tasks_left": 0,
        "tasks_failed": 0,
        "tasks_cancelled": 0,
        "created_at": second(0),
        "started_at": second(0),
        "finished_at": second(3),
        "error": None,
    }
    return {**usual, **changed}


def task_run(**changed: Any) -> dict[str, Any]:
    usual = {
        "id": TASK,
        "run_id": RUN,
        "task": "one",
        "item_index": -1,
        "state": "succeeded",
        "claim_no": 1,
        "attempt": 1,
        "worker_losses": 0,
        "output": json.dumps({"fence": changed.get("claim_no", 1)}),
        "error": None,
        "started_at": second(1),
        "finished_at": second(3),
    }
    return {**usual, **changed}


def attempt(**changed: Any) -> dict[str, Any]:
    return {"task_run_id": TASK, "claim_no": 1, "attempt": 1, "worker_id": "w", "outcome": "lost", **changed}


def trigger(**changed: Any) -> dict[str, Any]:
    usual = {
        "id": TRIGGER,
        "workflow": "tick",
        "name": "tick",
        "kind": "every",
        "expression": "PT1S",
        "timezone": "UTC",
    }
    return {**usual, "expression": "1s", "anchor_at": T0, **changed}


def decision(number: int, **changed: Any) -> dict[str, Any]:
    """The ledger's row of the due time so many seconds after the start, which fired ``fired-<number>``."""
    usual = {
        "trigger_id": TRIGGER,
        "due_at": second(number),
        "outcome": "fired",
        "run_id": f"fired-{number}",
        "decided_at": second(number + 0.1),
        "epoch": 1,
        "committed_at": second(number + 0.1),
    }
    return {**usual, **changed}


def fired(number: int, **changed: Any) -> dict[str, Any]:
    """The run of that due time."""
    due = second(number)
    usual = {
        "trigger_id": TRIGGER,
        "due_at": due,
        "started_at": second(number + 0.2),
        "finished_at": second(number + 1),
    }
    return run(**{"id": f"fired-{number}", **usual, **changed})


def version(tasks: Mapping[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    content = json.dumps({"tasks": tasks or {"one": {}}})
    return {"id": "version-1", "workflow": "single", "content": content, **changed}


def chunk(seq: int, text: str, **changed: Any) -> dict[str, Any]:
    return {"task_run_id": TASK, "claim_no": 1, "seq": seq, "data": text.encode(), "truncated": False, **changed}


def printed() -> str:
    return "".join(f"line {number} of {LINES}\n" for number in range(1, LINES + 1))


def good(**changed: Any) -> Evidence:
    """One run by hand, done and drained, and three due times that fired."""
    usual: dict[str, Any] = {
        "now": second(60),
        "runs": [run(), *(fired(number) for number in (1, 2, 3))],
        "task_runs": [task_run()],
        "ledger": [decision(number) for number in (1, 2, 3)],
        "triggers": [trigger()],
        "versions": [version()],
        "changes": [
            change("leadership", None, "a", 1, at=second(0), committed_at=second(0)),
            change("runs", "running", "succeeded"),
            *(change("runs", "running", "succeeded", key=f"fired-{number}") for number in (1, 2, 3)),
        ],
        "effects": [effect()],
        "journal": [exchange()],
        "queues": {"orrery.tasks.default.normal": 0, "orrery.dead": 0},
        "drained": True,
        "schedules_stopped_at": second(3.5),
    }
    return Evidence(**{**usual, **changed})
