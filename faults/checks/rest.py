"""I8, I9, I13, I16, I17, I18: nothing is stuck, left behind, torn or told."""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from faults.evidence import Evidence, Row
from faults.workload import LINES
from scheduler_domain.run.states import FINAL_RUN_STATES

ORPHAN_SECONDS = 20.0
WAITING_SECONDS = 60.0
LOOKS_APART_SECONDS = 5.0
"""Looks that are further apart say nothing of the time between them."""


def no_orphan_lasts(evidence: Evidence) -> Iterator[str]:
    """I8. Counted from the end of the worker's lease, or from when the leader of the day could know."""
    longest = _longest(sample.orphans for sample in evidence.samples)
    for task, seconds in longest.items():
        if seconds > ORPHAN_SECONDS:
            yield f"I8: task run {task} was running for {seconds:.0f} s without a worker"


def nothing_waits_beside_a_free_slot(evidence: Evidence) -> Iterator[str]:
    """I9. Only looks one after another count in which a slot was free each time: between two tasks of a backlog there
    is one for a moment."""
    since: dict[str, float] = {}
    worst: dict[str, float] = {}
    before = None
    for sample in evidence.samples:
        if before is not None and sample.at - before > LOOKS_APART_SECONDS:
            since = {}
        before = sample.at
        since = {task: since.get(task, sample.at) for task in sample.waiting}
        worst |= {task: sample.at - start for task, start in since.items() if sample.at - start > WAITING_SECONDS}
    for task, seconds in worst.items():
        yield f"I9: task run {task} waited {seconds:.0f} s while a worker had a free slot"


def queues_are_empty(evidence: Evidence) -> Iterator[str]:
    """I13. Dead letters are only those that somebody planted."""
    for name, count in (evidence.queues or {}).items():
        allowed = evidence.planted_dead if name.endswith(".dead") else 0
        if count > allowed:
            yield f"I13: queue {name} holds {count} messages"


def hints_reached_a_worker(evidence: Evidence) -> Iterator[str]:
    """I13. At rest nothing waits to be claimed."""
    if evidence.drained:
        for task in evidence.task_runs:
            if task["state"] in ("ready", "queued", "running"):
                yield f"I13: {task['task']} of run {task['run_id']} is {task['state']}"


def logs_have_no_gap(evidence: Evidence) -> Iterator[str]:
    """I16. Chunks of an attempt are numbered without a gap, and an attempt that succeeded has every line it printed."""
    chunks: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in evidence.logs:
        chunks[row["task_run_id"], row["claim_no"]].append(row)
    for (task, claim), rows in chunks.items():
        numbers = [row["seq"] for row in rows]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[0] > 1:
            yield f"I16: the log of claim {claim} of task run {task} has chunks {numbers}"
    for row in evidence.task_runs:
        if row["task"] == "talk" and row["state"] == "succeeded":
            yield from _missing_lines(row, chunks.get((row["id"], row["claim_no"]), []))


def _missing_lines(task: Row, rows: list[Row]) -> Iterator[str]:
    if any(row["truncated"] for row in rows):
        return
    text = _text(rows)
    missing = [number for number in range(1, LINES + 1) if f"line {number} of" not in text]
    if missing:
        yield f"I16: the log of {task['task']} of run {task['run_id']} lacks lines {missing}"


def _text(rows: Sequence[Row]) -> str:
    return b"".join(bytes(row["data"]) for row in rows).decode(errors="replace")


def the_secret_is_told_nowhere(evidence: Evidence) -> Iterator[str]:
    """I17. Neither as it is nor turned around, in base64, hex or percent signs."""
    shapes = _shapes(evidence.canary)
    places: list[tuple[str, str]] = [
        *((f"the log of {name}", text) for name, text in evidence.node_logs.items()),
        *((f"the log of task run {row['task_run_id']}", _text([row])) for row in evidence.logs),
        *((f"task run {row['id']}", f"{row['output']} {row['error']}") for row in evidence.task_runs),
        *((f"run {row['id']}", str(row["error"])) for row in evidence.runs),
        *((f"the answer to request {exchange.number}", json.dumps(exchange.answer)) for exchange in evidence.journal),
    ]
    for place, text in places:
        if any(shape in text for shape in shapes):
            yield f"I17: {place} tells the secret"


def nothing_is_left_alive(evidence: Evidence) -> Iterator[str]:
    """I18. No process of a run that has ended, and none that is dead and not collected."""
    final = {run["id"] for run in evidence.runs if run["state"] in FINAL_RUN_STATES}
    for run_id in evidence.leftovers:
        if run_id in final:
            yield f"I18: a process of run {run_id} lives although the run has ended"
    if evidence.drained:
        for pid in evidence.zombies:
            yield f"I18: process {pid} is a zombie"


def _shapes(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {secret, secret[::-1], encoded, secret.encode().hex(), quote(secret, safe="")}


def _longest(samples: Iterable[Mapping[str, float]]) -> dict[str, float]:
    longest: dict[str, float] = {}
    for sample in samples:
        for task, seconds in sample.items():
            longest[task] = max(seconds, longest.get(task, 0.0))
    return longest
