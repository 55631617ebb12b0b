"""Recording outcomes: many attempts in one transaction, and in the same transaction what they set free and what of it
the worker goes on with."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from scheduler_application.batching import Batcher
from scheduler_application.errors import Unavailable
from scheduler_application.json_values import json_text
from scheduler_application.ports.observing import Metrics
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import AttemptEnd, PastAttempt, SettledTask, Slot, UnhintedTask
from scheduler_application.ports.time import Clock
from scheduler_application.run.advance import advance
from scheduler_application.run.announce import Announcer
from scheduler_application.run.claim import ClaimedTask, ClaimTasks
from scheduler_application.run.hand_over import HandOver, LocalWorker
from scheduler_application.run.open_runs import (
    MAX_OUTPUT_BYTES,
    Engine,
    OpenRuns,
    error_text,
)
from scheduler_application.run.progress import Progress
from scheduler_domain.run.outcome import (
    Failed,
    HandedBack,
    Outcome,
    Succeeded,
    TaskError,
)
from scheduler_domain.run.retry import Verdict, judge
from scheduler_domain.run.states import FINAL_TASK_STATES, TaskState

MAX_RECORDED = 500
"""The most outcomes that one transaction records."""

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL in JSON text, and not the six characters themselves, whose backslash is escaped."""


class Report(msgspec.Struct, frozen=True):
    """What an attempt came to. It carries what the claim said, so that recording asks the store nothing twice."""

    claimed: ClaimedTask
    worker_id: str
    outcome: Outcome
    seconds: float


class End(NamedTuple):
    """One verdict about an attempt that was running under ``claim_no``."""

    id: str
    run_id: str
    task: str
    item_index: int
    group_id: str | None
    claim_no: int
    attempt: int
    worker_id: str
    queue: str
    priority: int
    started_at: datetime | None
    verdict: Verdict
    output: str | None
    lost: bool


class RecordOutcomes:
    """For workers. An outcome is recorded once, by the holder of its fence; a stale one changes nothing and is
    answered with false."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        clock: Clock,
        announcer: Announcer,
        metrics: Metrics,
        claims: ClaimTasks,
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._announcer = announcer
        self._metrics = metrics
        self._claims = claims
        self._worker: LocalWorker | None = None
        self._batcher: Batcher[Report, bool] = Batcher(self._record, limit=MAX_RECORDED, gathering=True)

    def hand_over_to(self, worker: LocalWorker | None) -> None:
        """What outcomes make ready is offered to this process's own worker first."""
        self._worker = worker

    async def execute(self, report: Report) -> bool:
        """Whether the outcome was recorded; raises `Unavailable`, and may then be repeated."""
        return await self._batcher.submit(report)

    async def idle(self) -> None:
        """Returns when every outcome that was handed in is recorded."""
        await self._batcher.idle()

    async def _record(self, reports: Sequence[Report]) -> Sequence[bool]:
        began = self._clock.monotonic()
        written, progress = await self._written(reports)
        self._metrics.batch("record", len(reports), self._clock.monotonic() - began)
        for report in reports:
            outcome = type(report.outcome).__name__.lower()
            self._metrics.attempt_ended(report.claimed.task.executor, outcome, report.seconds)
        self._announcer.tell(progress)
        return [report.claimed.row.id in written for report in reports]

    async def _written(self, reports: Sequence[Report]) -> tuple[set[str], Progress]:
        if self._worker is None:
            return await self._store.transact(lambda tx: self._write(tx, reports))
        hand_over = HandOver(self._claims, self._worker)
        try:
            done = await self._store.transact(lambda tx: self._write(tx, reports, hand_over))
        except BaseException as error:
            hand_over.fail(error)
            if not hand_over.tried or isinstance(error, Unavailable) or not isinstance(error, Exception):
                raise
            # An outcome does not wait for a task run that cannot be claimed.
            return await self._store.transact(lambda tx: self._write(tx, reports))
        hand_over.commit()
        return done

    async def _write(
        self, tx: Transaction, reports: Sequence[Report], hand_over: HandOver | None = None
    ) -> tuple[set[str], Progress]:
        runs = OpenRuns(tx, self._engine, self._clock)
        slots: list[Slot] = [slot for slot in (report.claimed.slot for report in reports) if slot is not None]
        await runs.lock((report.claimed.row.run_id for report in reports), slots)
        ends = [self._judge(runs, report) for report in reports if report.claimed.row.run_id in runs]
        written = await write_ends(runs, ends)
        progress = await advance(runs)
        if hand_over is not None:
            await hand_over.claim(tx, progress)
        return written, progress

    def _judge(self, runs: OpenRuns, report: Report) -> End:
        row = report.claimed.row
        outcome, output = _bounded(report.outcome)
        verdict = judge(
            outcome,
            report.claimed.task.retry,
            attempt=row.attempt,
            now=runs.now,
            stopping=runs[row.run_id].stopping,
            uniform=self._engine.randomness.uniform,
        )
        return End(
            row.id,
            row.run_id,
            row.task,
            row.item_index,
            row.group_id,
            row.claim_no,
            row.attempt,
            report.worker_id,
            row.queue,
            row.priority,
            row.started_at,
            verdict,
            output if verdict.state is TaskState.SUCCEEDED else None,
            lost=False,
        )


async def write_ends(runs: OpenRuns, ends: Sequence[End]) -> set[str]:
    """Writes verdicts about running attempts of open runs, and hands in what they settle; the ids that were written."""
    states = await runs.tx.claims.end_attempts(
        [
            AttemptEnd(
                end.id,
                end.claim_no,
                end.verdict.state,
                end.output,
                error_text(end.verdict.error),
                end.verdict.wake_at,
                end.lost,
            )
            for end in ends
        ],
        runs.now,
    )
    past = []
    for end in ends:
        state = states.get(end.id)
        if state is None:
            continue
        runs.changed_task(end.run_id, end.id, end.task, state)
        if state in FINAL_TASK_STATES:
            runs.settled.append(SettledTask(end.run_id, end.task, end.item_index, state, end.output, end.group_id))
            continue
        past.append(_past(end, runs.now))
        runs.progress.wakes(end.verdict.wake_at)
        if state is TaskState.READY:
            runs.progress.ready.append(UnhintedTask(end.id, end.claim_no, end.queue, end.priority))
    if past:
        await runs.tx.claims.remember_attempts(past)
    return set(states)


def _past(end: End, now: datetime) -> PastAttempt:
    unfinished = "lost" if end.lost else "handed_back"
    outcome = "failed" if end.verdict.state is TaskState.RETRYING else unfinished
    error = error_text(end.verdict.error)
    return PastAttempt(
        end.id,
        end.claim_no,
        end.attempt,
        end.worker_id,
        outcome,
        error,
        end.started_at,
        now,
    )


def _bounded(outcome: Outcome) -> tuple[Outcome, str | None]:
    """The outcome with its output as JSON text; what is too long or no JSON fails the attempt, with the reason."""
    if not isinstance(outcome, Succeeded) or outcome.output is None:
        return outcome, None
    try:
        text = json_text(outcome.output)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return _refused("invalid_output", f"the output is not JSON: {error}"), None
    size = len(text.encode())
    if size > MAX_OUTPUT_BYTES:
        return _refused(
            "output_too_large", f"the output has {size} bytes; at most {MAX_OUTPUT_BYTES} are accepted"
        ), None
    if _NUL.search(text):
        return _refused("invalid_output", "the output holds a NUL character"), None
    return outcome, text


def _refused(code: str, message: str) -> Failed:
    return Failed(TaskError(code, message), retryable=False)


def handed_back(claimed: ClaimedTask, worker_id: str) -> Report:
    """The report of an attempt that never began."""
    return Report(claimed, worker_id, HandedBack(), 0.0)
