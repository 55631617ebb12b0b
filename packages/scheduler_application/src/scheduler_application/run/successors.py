"""First step of `advance`: what became final lowers the counters of its successors, of its group and of its run."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from scheduler_application.json_values import json_text, json_value
from scheduler_application.ports.rows import BlockedTask, CountDown, GroupCount, Resolution, SettledTask
from scheduler_application.run.open_runs import (
    MAX_COLLECTED_BYTES,
    OpenRuns,
    error_text,
)
from scheduler_application.run.unreadable import UNREADABLE_VALUE
from scheduler_domain.run.outcome import TaskError
from scheduler_domain.run.planning import FAILURES, group_state
from scheduler_domain.run.states import TaskState


async def count_down(runs: OpenRuns) -> None:
    """Works off ``runs.settled``; whose turn has come is in ``runs.unblocked`` afterwards."""
    settled, runs.settled = runs.settled, []
    groups: dict[str, list[SettledTask]] = defaultdict(list)
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for result in settled:
        if result.group_id is not None:
            groups[result.group_id].append(result)
            continue
        run = runs[result.run_id]
        run.count(result.state)
        for successor in run.successors(result.task):
            count = counts[result.run_id, successor]
            count[0] += 1
            count[1] += result.state in FAILURES
            count[2] += result.state is TaskState.SKIPPED
    if counts:
        runs.unblocked += await runs.tx.graph.count_down(
            [CountDown(run_id, task, *figures) for (run_id, task), figures in sorted(counts.items())]
        )
    if groups:
        await _count_groups(runs, groups)


async def _count_groups(runs: OpenRuns, groups: Mapping[str, Sequence[SettledTask]]) -> None:
    finished = await runs.tx.graph.count_groups(
        [
            GroupCount(group_id, len(items), sum(item.state in FAILURES for item in items))
            for group_id, items in sorted(groups.items())
        ]
    )
    over = {group.id for group in finished}
    for group_id, items in groups.items():
        task = runs[items[0].run_id].task(items[0].task)
        if group_id not in over and task.max_parallel is not None:
            runs.unblocked += await runs.tx.graph.next_items(group_id, len(items))
    if finished:
        await _close_groups(runs, finished)


async def _close_groups(runs: OpenRuns, groups: Sequence[BlockedTask]) -> None:
    outputs: dict[str, list[Any]] = defaultdict(list)
    unreadable: dict[str, TaskError] = {}
    for item in await runs.tx.graph.item_results([group.id for group in groups]):
        try:
            outputs[item.group_id or ""].append(json_value(item.output))
        except ValueError as reason:
            message = f"the output of its item {item.item_index} cannot be read: {reason}"
            unreadable[item.group_id or ""] = TaskError(UNREADABLE_VALUE, message)
    resolutions = []
    for group in groups:
        cancelled = group.cancel_requested and group.needs_failed > 0
        state = group_state(stopping=runs[group.run_id].stopping or cancelled, failed=group.needs_failed)
        text = json_text(outputs[group.id])
        error = unreadable.get(group.id)
        fits = len(text.encode()) <= MAX_COLLECTED_BYTES
        if state is TaskState.FAILED:
            error = TaskError("items_failed", f"{group.needs_failed} of its items did not succeed")
        elif error is not None:
            state = TaskState.FAILED
        elif not fits:
            state = TaskState.FAILED
            error = TaskError(
                "output_too_large",
                f"its items' outputs exceed {MAX_COLLECTED_BYTES} bytes together",
            )
        kept = text if fits and group.id not in unreadable else None
        resolutions.append(Resolution(group.id, state, output=kept, error=error_text(error)))
    await runs.resolve({group.id: group for group in groups}, resolutions)
