"""I10: a task begins after what it needs has ended; runs of a workflow with one slot follow one another."""

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from faults.evidence import Evidence, Row


def needs_come_first(evidence: Evidence) -> Iterator[str]:
    needs = {
        version["id"]: {name: task.get("needs", ()) for name, task in json.loads(version["content"])["tasks"].items()}
        for version in evidence.versions
    }
    versions = {run["id"]: run["version_id"] for run in evidence.runs}
    nodes: dict[tuple[str, str], Row] = {
        (task["run_id"], task["task"]): task for task in evidence.task_runs if task["item_index"] == -1
    }
    for (run_id, name), task in nodes.items():
        if task["started_at"] is None:
            continue
        for need in needs.get(versions.get(run_id, ""), {}).get(name, ()):
            before = nodes.get((run_id, need))
            if before is None or before["finished_at"] is None or before["finished_at"] > task["started_at"]:
                yield f"I10: {name} of run {run_id} began before {need} had ended"


def single_runs_follow_one_another(evidence: Evidence) -> Iterator[str]:
    """Of workflows with one slot: runs start in the order in which they were accepted, and do not overlap."""
    names = {version["id"]: version["workflow"] for version in evidence.versions}
    runs: dict[str, list[Row]] = defaultdict(list)
    for run in evidence.runs:
        workflow = names.get(run["version_id"], "")
        if evidence.limits.get(workflow) == 1 and run["started_at"] is not None:
            runs[workflow].append(run)
    for workflow, started in runs.items():
        ordered = sorted(started, key=lambda run: run["started_at"])
        for first, second in pairwise(ordered):
            if first["finished_at"] is None or first["finished_at"] > second["started_at"]:
                yield (
                    f"I10: run {second['id']} of {workflow} started {second['started_at']}, while {first['id']} was"
                    f" live until {first['finished_at']}"
                )
