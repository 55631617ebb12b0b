"""I1, I2, I15: every accepted run ends once, for good, and within its attempts."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from faults.evidence import Evidence
from scheduler_domain.run.states import FINAL_RUN_STATES, FINAL_TASK_STATES

POISON_LOSSES = 3


def accepted_runs_end(evidence: Evidence) -> Iterator[str]:
    """I1. A run of the load ends as succeeded: its tasks do not fail by themselves. It may be cancelled by whoever
    asked for it, and fail where it lost its worker three times."""
    runs = {run["id"]: run for run in evidence.runs}
    for exchange in evidence.journal:
        if exchange.run_id is not None and exchange.run_id not in runs:
            yield f"I1: run {exchange.run_id}, promised by request {exchange.number}, does not exist"
    if not evidence.drained:
        return
    cancelled = _cancelled_by_the_client(evidence)
    poisoned = {task["run_id"] for task in evidence.task_runs if task["worker_losses"] >= POISON_LOSSES}
    for run in runs.values():
        if run["state"] not in FINAL_RUN_STATES:
            yield f"I1: run {run['id']} is still {run['state']}"
        elif run["state"] == "cancelled" and run["id"] in cancelled:
            continue
        elif run["state"] != "succeeded" and run["id"] not in poisoned:
            why = run["error"] or _errors(evidence, run["id"])
            yield f"I1: run {run['id']} ended as {run['state']} by itself: {why}"


def runs_end_once(evidence: Evidence) -> Iterator[str]:
    """I1. The witness in the database saw each run come into a final state exactly once."""
    ends = Counter(
        change["key"] for change in evidence.changes if change["of"] == "runs" and change["after"] in FINAL_RUN_STATES
    )
    for run in evidence.runs:
        if run["state"] in FINAL_RUN_STATES and ends[run["id"]] != 1:
            yield f"I1: run {run['id']} came into a final state {ends[run['id']]} times"


def final_states_absorb(evidence: Evidence) -> Iterator[str]:
    """I2. Nothing leaves a final state."""
    final: dict[str, set[str]] = {"runs": set(FINAL_RUN_STATES), "task_runs": set(FINAL_TASK_STATES)}
    for change in evidence.changes:
        if change["before"] in final.get(change["of"], ()) and change["after"] != change["before"]:
            yield (
                f"I2: {change['of']} {change['key']} went from {change['before']} to {change['after']} "
                f"under fence {change['fence']}"
            )


def counters_agree(evidence: Evidence) -> Iterator[str]:
    """I1. A run's counters say what its task runs are, and a final run has no task run that is not."""
    tasks: dict[str, list[Any]] = {}
    for task in evidence.task_runs:
        tasks.setdefault(task["run_id"], []).append(task)
    for run in evidence.runs:
        rows = tasks.get(run["id"], [])
        nodes = [row for row in rows if row["item_index"] == -1]
        left = sum(row["state"] not in FINAL_TASK_STATES for row in nodes)
        if run["tasks_left"] != left:
            yield f"I1: run {run['id']} counts {run['tasks_left']} tasks left, and {left} are"
        if run["state"] in FINAL_RUN_STATES:
            for row in rows:
                if row["state"] not in FINAL_TASK_STATES:
                    yield f"I1: run {run['id']} is {run['state']} and its task {row['task']} is {row['state']}"


def attempts_are_bounded(evidence: Evidence) -> Iterator[str]:
    """I15. There are as many attempts as the policy says, one without any; losses and hand-backs cost none, and the
    third loss is the last. Every claim but the last has left its row."""
    allowed = _allowed_attempts(evidence)
    past = Counter(row["task_run_id"] for row in evidence.attempts)
    for task in evidence.task_runs:
        where = f"{task['task']} of run {task['run_id']}"
        most = allowed.get((task["run_id"], task["task"]), 1)
        if task["attempt"] > most:
            yield f"I15: {where} was tried {task['attempt']} times, and its policy allows {most}"
        if task["worker_losses"] > POISON_LOSSES:
            yield f"I15: {where} lost {task['worker_losses']} workers"
        if task["claim_no"] and past[task["id"]] not in (task["claim_no"] - 1, task["claim_no"]):
            yield f"I15: {where} was claimed {task['claim_no']} times and has {past[task['id']]} past attempts"


def _allowed_attempts(evidence: Evidence) -> dict[tuple[str, str], int]:
    """By run and task, where the task has a retry policy."""
    policies: dict[str, dict[str, int]] = {
        version["id"]: {
            name: int(task["retry"]["attempts"])
            for name, task in json.loads(version["content"])["tasks"].items()
            if task.get("retry")
        }
        for version in evidence.versions
    }
    return {
        (run["id"], name): most for run in evidence.runs for name, most in policies.get(run["version_id"], {}).items()
    }


def _cancelled_by_the_client(evidence: Evidence) -> set[str]:
    asked = [exchange.path.split("/") for exchange in evidence.journal if exchange.path.endswith("/cancel")]
    return {parts[-2] for parts in asked if len(parts) >= 2}


def _errors(evidence: Evidence, run_id: str) -> str:
    errors = {str(task["error"]) for task in evidence.task_runs if task["run_id"] == run_id and task["error"]}
    return json.dumps(sorted(errors))
