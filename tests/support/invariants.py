"""What must be true of the rows between any two transactions, whatever happened. The `world` fixture asks after every
test."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from scheduler_domain.run.states import FINAL_RUN_STATES, FINAL_TASK_STATES
from tests.support.world import World

Row = Mapping[str, Any]

_FAILED = ("failed", "timed_out")
_NO_ITEM = -1


async def broken_invariants(world: World) -> list[str]:
    """One sentence for each thing that is wrong."""
    runs = await world.rows(
        "select id, workflow_id, version_id, state, slot_key, started_at, finished_at, tasks_left, tasks_failed,"
        " tasks_cancelled from all_runs"
    )
    tasks: dict[str, list[Row]] = defaultdict(list)
    for row in await world.rows(
        "select id, run_id, task, item_index, group_id, state, needs_left, worker_id, wake_at, child_run_id,"
        " finished_at from all_task_runs"
    ):
        tasks[row["run_id"]].append(row)
    needs = await _needs(world)
    ended = {run["id"] for run in runs if run["state"] in FINAL_RUN_STATES}
    found: list[str] = []
    for run in runs:
        rows = tasks[run["id"]]
        found += (f"run {run['id']} ({run['state']}): {fault}" for fault in _faults_of_run(run, rows, needs, ended))
    return found + await _faults_of_slots(world, runs)


async def _needs(world: World) -> dict[str, dict[str, Sequence[str]]]:
    """For each version, each task's needs."""
    versions = await world.rows("select id, content from versions")
    contents = {row["id"]: msgspec.json.decode(row["content"]) for row in versions}
    return {
        version: {task: body.get("needs", ()) for task, body in content["tasks"].items()}
        for version, content in contents.items()
    }


def _faults_of_run(
    run: Row, rows: Sequence[Row], needs: Mapping[str, Mapping[str, Sequence[str]]], ended: set[str]
) -> Iterator[str]:
    nodes = {row["task"]: row for row in rows if row["item_index"] == _NO_ITEM}
    yield from _faults_of_counters(run, list(nodes.values()))
    if run["state"] in FINAL_RUN_STATES:
        yield from (f"{row['task']} is still {row['state']}" for row in rows if row["state"] not in FINAL_TASK_STATES)
    elif run["state"] != "pending" and run["tasks_left"] == 0:
        yield "nothing is left, and it has not ended"
    for row in rows:
        yield from _faults_of_task(run, row, rows, ended)
    for name, node in nodes.items():
        open_needs = [need for need in needs[run["version_id"]][name] if nodes[need]["state"] not in FINAL_TASK_STATES]
        if open_needs and node["state"] not in ("blocked", "cancelled"):
            yield f"{name} is {node['state']} before {open_needs} are final"
        if node["state"] == "blocked" and node["needs_left"] != len(open_needs):
            yield f"{name} counts {node['needs_left']} needs, and {len(open_needs)} are open"
        if node["state"] == "blocked" and not open_needs and run["state"] != "pending":
            yield f"{name} is blocked by nothing"


def _faults_of_counters(run: Row, nodes: Sequence[Row]) -> Iterator[str]:
    counted = {
        "tasks_left": sum(node["state"] not in FINAL_TASK_STATES for node in nodes),
        "tasks_failed": sum(node["state"] in _FAILED for node in nodes),
        "tasks_cancelled": sum(node["state"] == "cancelled" for node in nodes),
    }
    yield from (f"{key} is {run[key]}, counted {number}" for key, number in counted.items() if run[key] != number)
    if (run["finished_at"] is not None) != (run["state"] in FINAL_RUN_STATES):
        yield f"finished_at is {run['finished_at']}"


def _faults_of_task(run: Row, row: Row, rows: Sequence[Row], ended: set[str]) -> Iterator[str]:
    name, state = row["task"], row["state"]
    if state in ("ready", "queued") and run["state"] != "running":
        yield f"{name} may be claimed"
    if state == "running" and (row["worker_id"] is None or run["state"] not in ("running", "cancelling")):
        yield f"{name} runs on {row['worker_id']}"
    if state == "retrying" and row["wake_at"] is None:
        yield f"{name} is never tried again"
    if state == "waiting" and row["wake_at"] is None:
        items = [item for item in rows if item["group_id"] == row["id"]]
        left = sum(item["state"] not in FINAL_TASK_STATES for item in items)
        if items and row["needs_left"] != left:
            yield f"{name} counts {row['needs_left']} items, and {left} are open"
        if not left and (row["child_run_id"] is None or row["child_run_id"] in ended):
            yield f"{name} waits for nothing"


async def _faults_of_slots(world: World, runs: Sequence[Row]) -> list[str]:
    held = Counter(
        (run["workflow_id"], run["slot_key"])
        for run in runs
        if run["slot_key"] is not None and run["started_at"] is not None and run["state"] not in FINAL_RUN_STATES
    )
    slots = {
        (row["workflow_id"], row["slot_key"]): row["live"]
        for row in await world.rows("select workflow_id, slot_key, live from slots")
    }
    found = [f"slot {key} counts {live}, held by {held[key]}" for key, live in slots.items() if live != held[key]]
    found += (
        f"run {run['id']} waits for a slot that nobody holds"
        for run in runs
        if run["state"] == "pending" and not slots[run["workflow_id"], run["slot_key"]]
    )
    return found
