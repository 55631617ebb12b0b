"""What must be true after a story, whatever happened in it: asked of the store, of the clients and of the ledger of
effects."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import msgspec

from faults.inprocess.processes import Installation
from faults.inprocess.stories import UNCOUNTED, Client
from scheduler_domain.run.states import FINAL_RUN_STATES, FINAL_TASK_STATES
from tests.support.invariants import broken_invariants


async def faults_found(client: Client) -> list[str]:
    """One sentence for each thing that is wrong."""
    site = client.site
    found = await broken_invariants(cast("Any", site))
    found += [fault async for fault in _runs(client)]
    tasks = await site.rows("select id, run_id, task, state, claim_no, output from task_runs")
    found += _effects(site, tasks)
    found += [fault async for fault in _ledger(site)]
    return found


async def _runs(client: Client) -> AsyncIterator[str]:
    rows = await client.site.rows("select r.id, r.state, w.name from runs r join workflows w on w.id = r.workflow_id")
    known = {str(row["id"]) for row in rows}
    for key, run_id in client.accepted.items():
        if run_id not in known:
            yield f"the run {run_id} that '{key}' was promised is gone"
    for row in rows:
        wanted = client.ends.get(row["name"], "succeeded")
        if row["state"] not in FINAL_RUN_STATES:
            yield f"a run of {row['name']} is {row['state']} for ever"
        elif row["state"] != wanted:
            yield f"a run of {row['name']} is {row['state']}, not {wanted}"
    counted = Counter(row["name"] for row in rows if row["name"] not in UNCOUNTED)
    if counted != client.starts:
        yield f"there are {dict(counted)} runs, asked for were {dict(client.starts)}"


def _effects(site: Installation, tasks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    fences: dict[str, list[int]] = defaultdict(list)
    for effect in site.effects.begun:
        fences[effect.task_run_id].append(effect.fence)
    for row in tasks:
        begun = fences.get(str(row["id"]), [])
        if len(begun) != len(set(begun)):
            yield f"{row['task']} had its effect twice under one fence: {begun}"
        if begun != sorted(begun):
            yield f"{row['task']} began under an older fence after a newer one: {begun}"
        if row["state"] not in FINAL_TASK_STATES:
            yield f"{row['task']} is {row['state']} for ever"
        output = msgspec.json.decode(row["output"]) if row["output"] else None
        if row["state"] == "succeeded" and isinstance(output, dict) and "fence" in output:
            if output["fence"] != row["claim_no"]:
                yield f"{row['task']} has the result of fence {output['fence']} under {row['claim_no']}"
            if begun and row["claim_no"] != max(begun):
                yield f"{row['task']} succeeded under {row['claim_no']}, and {max(begun)} had its effect"


async def _ledger(site: Installation) -> AsyncIterator[str]:
    ledger = await site.rows("select trigger_id, due_at, outcome, run_id, epoch, decided_at from ledger")
    fired = {(str(row["trigger_id"]), row["due_at"]): row["run_id"] for row in ledger if row["outcome"] == "fired"}
    runs = await site.rows(
        "select id, trigger_id, due_at from runs where trigger_id is not null and backfill_id is null"
    )
    started = {(str(row["trigger_id"]), row["due_at"]): row["id"] for row in runs}
    if len(runs) != len(started):
        yield "a due time has two runs"
    if fired != started:
        yield f"the ledger fired {len(fired)} due times, and {len(started)} have runs"
    epochs = [row["epoch"] for row in sorted(ledger, key=lambda row: (row["decided_at"], row["due_at"]))]
    if epochs != sorted(epochs):
        yield f"an older epoch decided after a newer one: {epochs}"
    due: dict[str, list[Any]] = defaultdict(list)
    for row in ledger:
        due[str(row["trigger_id"])].append(row["due_at"])
    for times in due.values():
        ordered = sorted(times)
        steps = {second - first for first, second in pairwise(ordered)}
        if len(steps) > 1:
            yield f"due times are missing: {ordered}"
