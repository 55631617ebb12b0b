"""One life of the worker under one identity: register, work, and leave - or lose the lease and end everything at once.

An identity that lost its lease never comes back: what it held may be somebody else's by now.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from enum import Enum
from typing import Any

import structlog

from scheduler_application.errors import ApplicationError, Unavailable
from scheduler_application.pausing import Backoff, first_of, set_within
from scheduler_application.ports.rows import WorkerRow
from scheduler_application.run.claim import ClaimedTask
from scheduler_application.run.record import Report
from scheduler_application.worker.membership import HeartbeatAnswer
from scheduler_domain.run.outcome import Cancelled, HandedBack, Outcome
from scheduler_worker.agent import Worker
from scheduler_worker.attempt import CANCEL, LOST, SHUTDOWN, Attempt
from scheduler_worker.background import background
from scheduler_worker.claiming import Claimer, LocalIntake
from scheduler_worker.intake import Intake
from scheduler_worker.lease import Lease
from scheduler_worker.log_writer import LogWriter
from scheduler_worker.pipeline import Pipeline
from scheduler_worker.rendering import Renderer
from scheduler_worker.reporting import Reporter
from scheduler_worker.slots import Slots

LOST_GRACE_SECONDS = 1.0
"""Between TERM and KILL when the lease is lost: others may take the tasks as soon as it ends in the store too."""

UNWIND_SECONDS = 10.0
"""The longest that anything may take to end after it was told to; what takes longer is stuck."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Ending(Enum):
    """Why a life under one identity ended."""

    STOPPED = "stopped"
    LOST = "lost"


class WorkerStuck(Exception):
    """Attempts do not end although they were told to; only the end of the process ends them."""


class Tenure:
    """The worker under one identity; `live` once."""

    def __init__(self, worker: Worker, logs: LogWriter, stop: asyncio.Event) -> None:
        self._worker = worker
        self._stop = stop
        self.worker_id = worker.ids.new()
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = asyncio.Event()
        self._closing = asyncio.Event()
        self._lease = Lease(
            worker.heartbeat,
            self.worker_id,
            worker.clock,
            worker.sleep,
            worker.randomness,
            every=worker.limits.heartbeat,
            fence_after=worker.limits.self_fence,
            on_answer=self._obey_answer,
        )
        self._slots = Slots(worker.slots, worker.clock, self._begin, worker.executors.serving_lanes)
        self._claimer = Claimer(worker.claim, self.worker_id, self._slots, worker.clock, self._receive)
        self._local = LocalIntake(self._claimer, self.worker_id, self._slots, worker.queues)
        self._intake = Intake(
            worker.source,
            worker.publisher,
            worker.queues,
            self._slots,
            self._claimer,
            worker.clock,
            worker.sleep,
            worker.randomness,
        )
        self._reporter = Reporter(worker.record, self._lease.lost, worker.sleep, worker.randomness)
        self._pipeline = Pipeline(
            Renderer(worker.secrets, worker.work_root, worker.code_path, grace_seconds=worker.limits.task_grace),
            worker.executors,
            logs,
            worker.masking,
            self._reporter,
            self._slots,
            worker.clock,
            worker.tracer,
        )

    async def live(self) -> Ending:
        """Returns when the worker has left or lost its lease; then nothing of its attempts is alive. Raises what broke
        it."""
        if not await self._register():
            return Ending.STOPPED
        works = (
            self._lease.keep,
            self._lease.guard,
            self._intake.run,
            self._intake.watch,
            self._obey_commands,
            self._tidy,
        )
        async with background(*works) as broken:
            self._worker.record.hand_over_to(self._local)
            self._worker.announcer.hand_over_to(self._local.take)
            self._worker.health.serving(self._lease)
            await self._unless_lost(self._stop.wait(), self._draining.wait(), broken.wait())
            self._close()
            await self._wind_down()
            await self._abandon()
            # Before it leaves: a heartbeat under way is told then that the lease is over.
            ending = Ending.LOST if self._lease.lost.is_set() else Ending.STOPPED
            await self._leave()
        return ending

    async def _register(self) -> bool:
        """False where the worker was stopped before the store answered."""
        worker = self._worker
        row = WorkerRow(self.worker_id, worker.name, worker.version, worker.queues, worker.slots)
        backoff = Backoff(worker.randomness, first=0.5)
        while not self._stop.is_set():
            worker.health.waiting()
            started = worker.clock.monotonic()
            try:
                await worker.register.execute(row)
            except Unavailable as error:
                _log.warning("the worker cannot register yet", reason=str(error))
                await set_within(self._stop, backoff.next(), worker.sleep)
                continue
            self._lease.renewed(started)
            _log.info("the worker is registered", worker_id=self.worker_id, queues=list(worker.queues))
            return True
        return False

    # --- Work comes in ------------------------------------------------------------------------------------------

    def _receive(self, claimed: Sequence[ClaimedTask]) -> Sequence[Attempt]:
        """Attempts of what was claimed, without those that are known: a claim may be answered twice."""
        now = self._worker.clock.monotonic()
        fresh = [Attempt(task, self.worker_id, now) for task in claimed if task.fence not in self._attempts]
        self._attempts.update((attempt.fence, attempt) for attempt in fresh)
        return fresh

    def _begin(self, attempt: Attempt) -> None:
        if not self._lease.trusted:
            attempt.end(LOST)
        self._run(attempt, self._pipeline.process(attempt))

    def _run(self, attempt: Attempt, work: Coroutine[Any, Any, bool]) -> None:
        """``work`` returns whether that was the end of the attempt."""
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def forget(task: asyncio.Task[bool]) -> None:
            self._tasks.discard(task)
            if task.cancelled() or task.exception() is not None or task.result():
                self._attempts.pop(attempt.fence, None)
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("an attempt broke the worker's own code", task_run_id=attempt.fence[0], exc_info=error)

        task.add_done_callback(forget)

    # --- Work goes back or is ended --------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        """Hands back what waits too long for a slot, and whatever waits when the worker is leaving."""
        while True:
            await self._slots.filled.wait()
            if not self._closing.is_set():
                await set_within(self._closing, self._slots.next_overdue() or 0.0, self._worker.sleep)
            for attempt in self._slots.clear() if self._closing.is_set() else self._slots.overdue():
                self._run(attempt, self._settle(attempt, HandedBack()))

    async def _settle(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Records what became of an attempt that never began."""
        try:
            await self._reporter.report(Report(attempt.claimed, self.worker_id, outcome, 0.0))
        finally:
            self._slots.reported()
        return True

    def _cancel(self, fence: tuple[str, int]) -> None:
        attempt = self._attempts.get(fence)
        if attempt is None:
            return
        attempt.end(CANCEL)
        if self._slots.remove(attempt):
            self._run(attempt, self._settle(attempt, Cancelled()))

    def _obey_answer(self, answer: HeartbeatAnswer) -> None:
        for fence in answer.to_end:
            self._cancel(fence)
        if answer.draining:
            self._draining.set()
        self._recall()

    def _recall(self) -> None:
        if not self._claimer.in_doubt:
            return
        task = asyncio.create_task(self._look_up())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_up(self) -> None:
        try:
            await self._claimer.recall()
        except ApplicationError as error:
            _log.warning("claims without an answer are looked up later", reason=str(error))

    async def _obey_commands(self) -> None:
        backoff = Backoff(self._worker.randomness)
        while True:
            try:
                async for command in self._worker.signals.commands(self.worker_id):
                    backoff.reset()
                    self._obey(command)
            except ApplicationError as error:
                _log.warning("no commands are heard just now; heartbeats bring them", reason=str(error))
            await self._worker.sleep(backoff.next())

    def _obey(self, command: Mapping[str, Any]) -> None:
        match command:
            case {"kind": "cancel", "task_run_id": str(task_run_id), "claim_no": int(claim_no)}:
                self._cancel((task_run_id, claim_no))
            case {"kind": "drain"}:
                self._draining.set()
            case _:
                _log.warning("a command was not understood", kind=str(command.get("kind"))[:50])

    # --- The end ------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Takes nothing more; what has not begun goes back."""
        self._worker.health.leaving()
        self._worker.record.hand_over_to(None)
        self._worker.announcer.hand_over_to(lambda ready: ready)
        self._slots.close()
        self._closing.set()
        self._intake.stop()

    async def _wind_down(self) -> None:
        """Lets what runs end: without a limit when draining, else for the grace of a shutdown."""
        worker, limits = self._worker, self._worker.limits
        await self._unless_lost(self._intake.finished.wait(), worker.sleep(UNWIND_SECONDS))
        if self._draining.is_set() and not self._stop.is_set():
            await self._unless_lost(self._slots.emptied(), self._stop.wait())
        await self._unless_lost(self._slots.emptied(), worker.sleep(limits.shutdown_grace))
        if self._slots.idle or self._lease.lost.is_set():
            return
        for attempt in self._attempts.values():
            attempt.end(SHUTDOWN)
        await self._unless_lost(self._slots.emptied(), worker.sleep(limits.task_grace + UNWIND_SECONDS))

    async def _unless_lost(self, *waits: Awaitable[object]) -> None:
        await first_of(self._lease.lost.wait(), *waits)

    async def _abandon(self) -> None:
        """Ends all that is left and forgets its outcomes: others may own it from now on. Raises `WorkerStuck`."""
        if self._tasks and self._lease.lost.is_set():
            _log.warning(
                "the lease is lost: everything is ended", worker_id=self.worker_id, attempts=len(self._attempts)
            )
            for attempt in self._attempts.values():
                attempt.end(LOST)
            await first_of(asyncio.wait(self._tasks), self._worker.sleep(LOST_GRACE_SECONDS))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await first_of(asyncio.wait(self._tasks), self._worker.sleep(UNWIND_SECONDS))
        if self._tasks:
            raise WorkerStuck(f"{len(self._tasks)} attempts do not end")

    async def _leave(self) -> None:
        try:
            await self._worker.leave.execute(self.worker_id)
        except Unavailable as error:
            _log.warning("the worker could not leave; its lease ends by itself", reason=str(error))
        _log.info("the worker has left", worker_id=self.worker_id)
