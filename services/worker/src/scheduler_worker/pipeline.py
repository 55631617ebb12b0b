"""One attempt as a row of verbs: render, execute, report. Whatever happens becomes an outcome; nothing is raised."""

import asyncio
import logging
import os
import shutil
import stat
from pathlib import Path
from typing import Protocol

import structlog

from scheduler_application.masking import Masking
from scheduler_application.ports.execution import ExecutionRequest, LogSink, NotBegun
from scheduler_application.ports.observing import Tracer
from scheduler_application.ports.time import Clock
from scheduler_application.run.record import Report
from scheduler_domain.errors import ExpressionError
from scheduler_domain.run.outcome import Cancelled, Failed, HandedBack, Outcome, Succeeded, TaskError
from scheduler_worker.attempt import CANCEL, Attempt
from scheduler_worker.log_writer import AttemptLog, LogWriter
from scheduler_worker.rendering import Renderer
from scheduler_worker.reporting import Reporter
from scheduler_worker.slots import Slots

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_plain_log = logging.getLogger(__name__)


class Executors(Protocol):
    """All executors of a worker: opened once, closed once; in between each request goes to the one it names."""

    @property
    def serving_lanes(self) -> frozenset[str]:
        """The names of those that take the requests of a lane at once."""
        ...

    async def open(self) -> None: ...

    async def execute(self, request: ExecutionRequest, log: LogSink) -> Outcome:
        """As `TaskExecutor.execute`; an unknown executor and a fault of an executor itself are failures too."""
        ...

    async def close(self) -> None: ...


class Pipeline:
    """Takes attempts through; one per worker identity."""

    def __init__(
        self,
        renderer: Renderer,
        executors: Executors,
        logs: LogWriter,
        masking: Masking,
        reporter: Reporter,
        slots: Slots,
        clock: Clock,
        tracer: Tracer,
    ) -> None:
        self._renderer = renderer
        self._executors = executors
        self._logs = logs
        self._masking = masking
        self._reporter = reporter
        self._slots = slots
        self._clock = clock
        self._tracer = tracer

    async def process(self, attempt: Attempt) -> bool:
        """From a slot to a recorded outcome, in an asyncio task of its own; false where it went back to the slots, not
        begun. Raises only `asyncio.CancelledError`, and then nothing of it is alive."""
        row = attempt.claimed.row
        # For this attempt's own asyncio task, and so never taken back.
        structlog.contextvars.bind_contextvars(
            run_id=row.run_id, task_run_id=row.id, task=row.task, attempt=row.attempt, fence=row.claim_no
        )
        began = self._clock.monotonic()
        log = self._logs.attempt(attempt.claimed)
        try:
            outcome = await self._outcome_of(attempt, log)
            _tell(outcome)
        except NotBegun:
            self._slots.give_back(attempt)
            return False
        except BaseException:
            self._end(attempt, log)
            raise
        self._end(attempt, log)
        seconds = self._clock.monotonic() - began
        try:
            await log.stored()
            await self._reporter.report(Report(attempt.claimed, attempt.worker_id, outcome, seconds))
        finally:
            self._slots.reported()
        return True

    def _end(self, attempt: Attempt, log: AttemptLog) -> None:
        self._slots.ended(attempt)
        log.end()

    async def _outcome_of(self, attempt: Attempt, log: AttemptLog) -> Outcome:
        """What performing came to. A fault of the worker itself is a failure too: without an outcome the task run would
        stay running for as long as this worker lives."""
        try:
            return await self._perform(attempt, log)
        except NotBegun:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            _log.exception("the worker itself failed on an attempt")
            return Failed(TaskError("worker_error", f"the worker itself failed: {type(error).__name__}"))

    async def _perform(self, attempt: Attempt, log: AttemptLog) -> Outcome:
        row, task = attempt.claimed.row, attempt.claimed.task
        attributes: dict[str, str | int] = {
            "orrery.run_id": row.run_id,
            "orrery.task": row.task,
            "orrery.attempt": row.attempt,
        }
        with self._tracer.span(f"task {task.executor}", row.traceparent, attributes) as trace:
            request = self._render(attempt, trace or row.traceparent)
            if not isinstance(request, ExecutionRequest):
                return request
            try:
                outcome = await self._executors.execute(request, log)
            finally:
                await _removed(request.work_folder)
            return self._masked(outcome)

    def _render(self, attempt: Attempt, traceparent: str) -> ExecutionRequest | Outcome:
        """The request, or the outcome of an attempt that need not begin."""
        if attempt.stopped_by is not None:
            return Cancelled() if attempt.stopped_by == CANCEL else HandedBack()
        if attempt.claimed.refusal is not None:
            return Failed(attempt.claimed.refusal, retryable=False)
        try:
            return self._renderer.render(attempt, traceparent)
        except ExpressionError as error:
            return Failed(TaskError("expression_failed", self._masking.text(str(error))[:500]), retryable=False)

    def _masked(self, outcome: Outcome) -> Outcome:
        if self._masking.hides_nothing:
            return outcome
        match outcome:
            case Succeeded(output):
                return Succeeded(self._masking.value(output))
            case Failed(error, retryable):
                detail = None if error.detail is None else self._masking.cut_text(error.detail)
                message = self._masking.cut_text(error.message)
                return Failed(TaskError(error.code, message, error.exit_code, error.http_status, detail), retryable)
            case _:
                return outcome


def _tell(outcome: Outcome) -> None:
    """One line an attempt; those that succeed are too many for more than debug."""
    succeeded = isinstance(outcome, Succeeded)
    if succeeded and not _plain_log.isEnabledFor(logging.DEBUG):
        return
    tell = _log.debug if succeeded else _log.info
    tell(
        "an attempt ended",
        outcome=type(outcome).__name__,
        code=outcome.error.code if isinstance(outcome, Failed) else None,
    )


async def _removed(folder: str) -> None:
    """Removes what an attempt left on the disk; most leave nothing."""
    if os.path.lexists(folder):  # noqa: ASYNC240 - cheaper than the thread that it saves most attempts
        await asyncio.to_thread(_remove, folder)


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if not Path(folder).exists():
        return
    # The task left folders that nobody may write to, or something in its place.
    for path, folders, _ in os.walk(folder):
        for name in (".", *folders):
            inner = os.path.join(path, name)  # noqa: PTH118 - os.walk gives text
            if not os.path.islink(inner):  # noqa: PTH114
                os.chmod(inner, stat.S_IRWXU)  # noqa: PTH101
    shutil.rmtree(folder, ignore_errors=True)
    if Path(folder).exists():
        _log.warning("a work folder could not be removed", folder=folder)
