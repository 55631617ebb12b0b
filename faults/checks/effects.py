"""I5, I6, I10, I11: what the outside world saw agrees with what was recorded."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from faults.effects import Effect
from faults.evidence import Evidence, Row

Place = tuple[str, str, int]


def effects_are_had_once(evidence: Evidence) -> Iterator[str]:
    """I5. One fence has its effect at most once, and a second fence only where the database says what became of the
    first: its worker was lost, or it was handed back."""
    tasks = {_place(task): task for task in evidence.task_runs}
    ended = {(row["task_run_id"], row["claim_no"]) for row in evidence.attempts}
    known = evidence.effects[: evidence.effects_before]
    had = Counter((_place_of(e), e.fence) for e in known if e.kind == "effect" and e.accepted)
    for (place, fence), count in had.items():
        task = tasks.get(place)
        if task is None:
            yield f"I5: {place[1]} of run {place[0]} had an effect and has no row"
        elif fence is None:
            if count > 1 + len([1 for key in ended if key[0] == task["id"]]):
                yield f"I5: {place[1]} of run {place[0]} had its effect {count} times in {task['claim_no']} claims"
        else:
            if count > 1:
                yield f"I5: {place[1]} of run {place[0]} had its effect {count} times under fence {fence}"
            if fence > task["claim_no"]:
                yield f"I6: {place[1]} of run {place[0]} had an effect under fence {fence}; it was never claimed so"
            if fence < task["claim_no"] and (task["id"], fence) not in ended:
                yield f"I5: {place[1]} of run {place[0]} had an effect under fence {fence}, which ended in no record"


def successes_had_their_effect(evidence: Evidence) -> Iterator[str]:
    """I5, I6. A task that succeeded had its effect under the fence that succeeded, and its output is that attempt's."""
    had: dict[Place, set[int | None]] = defaultdict(set)
    for effect in evidence.effects:
        if effect.kind == "effect" and effect.accepted:
            had[_place_of(effect)].add(effect.fence)
    for task in evidence.task_runs:
        if task["state"] != "succeeded":
            continue
        fences, fence = had.get(_place(task), set()), _fence_of(task)
        if fence is not None and fence != task["claim_no"]:
            yield (
                f"I6: {task['task']} of run {task['run_id']} has the output of fence {fence} and was claimed "
                f"{task['claim_no']} times"
            )
        if fences and task["claim_no"] not in fences and None not in fences:
            yield (
                f"I5: {task['task']} of run {task['run_id']} succeeded under fence {task['claim_no']}, and its effects "
                f"were under {sorted(fence for fence in fences if fence is not None)}"
            )


def executed_tasks_were_seen(evidence: Evidence) -> Iterator[str]:
    """I5. No task succeeds without having been executed: those whose output names a fence tell the effect server."""
    seen = {_place_of(effect) for effect in evidence.effects if effect.kind == "effect"}
    silent = _silent_tasks(evidence)
    for task in evidence.task_runs:
        if task["state"] == "succeeded" and _fence_of(task) is not None and _place(task) not in seen:
            if (task["run_id"], task["task"]) in silent:
                continue
            yield f"I5: {task['task']} of run {task['run_id']} succeeded and nobody saw it"


def fences_grow(evidence: Evidence) -> Iterator[str]:
    """I6. A fence never falls, and the effect server never accepted a smaller one after a larger."""
    for change in evidence.changes:
        before, after = change["fence_before"], change["fence"]
        if before is not None and after is not None and after < before:
            yield f"I6: the fence of {change['of']} {change['key']} fell from {before} to {after}"
    largest: dict[Place, int] = {}
    for effect in evidence.effects:
        if effect.fence is None or not effect.accepted:
            continue
        place = _place_of(effect)
        if effect.fence < largest.get(place, 0):
            yield f"I6: an effect of {effect.task} of run {effect.run_id} under fence {effect.fence} came too late"
        largest[place] = max(effect.fence, largest.get(place, 0))


def limits_hold(evidence: Evidence) -> Iterator[str]:
    """I10, I11. What names a group is never inside more often than the group's limit. An attempt whose worker died
    never says that it left: it is gone when its next fence enters, or when it is recorded as ended."""
    ended = {run["id"]: run["finished_at"] for run in evidence.runs if run["finished_at"] is not None}
    for group, limit in evidence.limits.items():
        inside: dict[Place, Effect] = {}
        for effect in evidence.effects:
            if effect.held != group or effect.kind == "effect" or not effect.accepted:
                continue
            place = _place_of(effect)
            if effect.kind == "exit":
                inside.pop(place, None)
                continue
            inside[place] = effect
            others = [other for at, other in inside.items() if at != place and not _is_over(ended, other, effect)]
            if len(others) >= limit:
                others_named = ", ".join(other.run_id for other in others)
                yield f"I11: run {effect.run_id} entered {group} while {others_named} was inside; the limit is {limit}"


def _is_over(ended: Mapping[str, datetime], earlier: Effect, later: Effect) -> bool:
    """Whether the run of ``earlier`` had ended, by the database, before ``later`` entered."""
    return earlier.run_id in ended and ended[earlier.run_id].timestamp() <= later.wall


def _silent_tasks(evidence: Evidence) -> set[tuple[str, str]]:
    """Tasks of which the effect server hears nothing: what only prints."""
    quiet: dict[str, set[str]] = {
        version["id"]: {
            name for name, task in json.loads(version["content"])["tasks"].items() if "effect:show" in json.dumps(task)
        }
        for version in evidence.versions
    }
    return {(run["id"], name) for run in evidence.runs for name in quiet.get(run["version_id"], ())}


def _fence_of(task: Row) -> int | None:
    try:
        output = json.loads(task["output"] or "null")
    except ValueError:
        return None
    fence = output.get("fence") if isinstance(output, Mapping) else None
    return int(fence) if isinstance(fence, int) else None


def _place(task: Row) -> Place:
    return (task["run_id"], task["task"], task["item_index"])


def _place_of(effect: Effect) -> Place:
    return (effect.run_id, effect.task, effect.item)
