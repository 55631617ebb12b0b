"""``python``: a call of a function, in a warm child process that imports from the workflow's source folder."""

import asyncio
import os
import signal
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from scheduler_application.ports.execution import ExecutionRequest, LogSink, NotBegun
from scheduler_domain.run.outcome import Outcome, Succeeded
from scheduler_infrastructure.execution.failures import failed, invalid_settings, killed, supervisor_lost, survived
from scheduler_infrastructure.execution.output import InvalidOutput, check_output
from scheduler_infrastructure.execution.stopping import stop_reason, stopped_outcome, watching
from scheduler_infrastructure.execution.supervision.keeper_link import ExitReport, finished
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from scheduler_infrastructure.execution.surroundings import Surroundings, worker_interpreter
from scheduler_infrastructure.execution.warm.pool import WarmPool
from scheduler_infrastructure.execution.warm.process import (
    NOT_BEGUN,
    Answer,
    CallFrame,
    Sent,
    WarmChild,
    WarmKey,
    start_child,
)

_DRAIN_SECONDS = 10.0
_OWN_END_SECONDS = 0.25
_MAX_RESTARTS = 3
_OF_THE_CALL = frozenset({"HOME", "TRACEPARENT", "TRACESTATE"})


class PythonSettings(msgspec.Struct, forbid_unknown_fields=True):
    """``call`` is ``package.module:function``; ``args`` are its keyword arguments."""

    call: str
    args: dict[str, Any] = {}


class PythonExecutor:
    """``interpreter`` runs the tasks (the worker's own where none is given), in at most ``max_children`` processes."""

    name = "python"
    serves_lanes = True

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        interpreter: str | None = None,
        max_children: int = 8,
        recycle_after: int = 10_000,
        idle_seconds: float = 300.0,
    ) -> None:
        self._supervisor = supervisor
        self._interpreter = interpreter or worker_interpreter()
        self._pool = WarmPool(
            lambda key: start_child(self._supervisor, self._interpreter, key),
            max_children=max_children,
            recycle_after=recycle_after,
            idle_seconds=idle_seconds,
        )

    async def open(self) -> None:
        await self._supervisor.open()

    async def close(self) -> None:
        await self._pool.close()
        await self._supervisor.close()

    async def execute(self, request: ExecutionRequest, log: LogSink) -> Outcome:
        try:
            settings = msgspec.convert(request.settings, PythonSettings)
        except msgspec.ValidationError as error:
            return invalid_settings(error)
        if problem := _malformed(settings.call):
            return failed("import_error", problem, retryable=False)
        call = _Call(self._pool, request, settings)
        with watching(request, call.stop):
            return await call.run(log)


@lru_cache(maxsize=1000)
def _malformed(call: str) -> str | None:
    module, colon, path = call.partition(":")
    if colon and all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        return None
    return f"{call[:100]!r} does not name a function; write it as package.module:function"


def _of_the_call(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that differ between calls that may share a process."""
    return {name: value for name, value in environment.items() if name.startswith("ORRERY_") or name in _OF_THE_CALL}


def _shared(environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """The variables that are the same for all calls that may share a process."""
    return frozenset(
        [pair for pair in environment.items() if not pair[0].startswith("ORRERY_") and pair[0] not in _OF_THE_CALL]
    )


_RESTLESS_SOURCE = failed("import_error", "the source folder changes faster than it can be imported")


class _Call:
    """One attempt, from waiting for a child to the outcome."""

    def __init__(self, pool: WarmPool, request: ExecutionRequest, settings: PythonSettings) -> None:
        self._pool = pool
        self._request = request
        self._settings = settings
        self._reason: str | None = stop_reason(request) if request.stop.is_set() else None
        self._ended_by_us = False
        self._child: WarmChild | None = None
        self._sent: Sent | None = None
        self._waiting: asyncio.Future[WarmChild | None] | None = None
        self._source = "" if request.source is None else str(request.source)
        self._key = WarmKey(request.project, self._source, _shared(request.environment))

    def _frame(self, child: WarmChild) -> CallFrame:
        """The call as ``child`` gets it, in a folder that the child keeps: making and removing one for each call costs
        more than an empty function does, and waits for the disk's journal besides."""
        surroundings = child.surroundings
        if surroundings is None:
            folder, name = os.path.split(self._request.work_folder)
            surroundings = child.surroundings = Surroundings(f"{folder}/python-{name}")
        environment = {"HOME": surroundings.folder}
        if self._source:
            environment["ORRERY_SOURCE"] = self._source
        environment |= _of_the_call(self._request.environment)
        environment["ORRERY_OUTPUT"] = surroundings.output
        environment["ORRERY_ARTIFACTS"] = surroundings.artifacts
        return CallFrame(self._settings.call, self._settings.args, environment, surroundings.folder)

    def stop(self, reason: str) -> None:
        self._reason = reason
        if self._child is not None and self._sent is not None:
            self._child.stop(self._sent, self._request.grace)
        elif self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def run(self, log: LogSink) -> Outcome:
        """Raises `NotBegun` where the attempt has a lane and others are in its way."""
        problem = _RESTLESS_SOURCE
        for _ in range(_MAX_RESTARTS):
            try:
                child = self._joined() or self._taken() or await self._wait_for_child()
            except OSError as error:
                return failed("spawn_error", f"the Python process cannot be started: {error}")
            if child is None or self._reason is not None:
                self._give(child)
                return stopped_outcome(self._request, self._reason or stop_reason(self._request))
            try:
                sent = child.call(self._frame(child), log)
            except BaseException:
                self._give(child)
                raise
            self._child, self._sent = child, sent
            try:
                answer = await self._answer(child, sent)
                if answer is not NOT_BEGUN and (answer is None or answer.kind != "stale"):
                    return await self._outcome(child, sent, answer)
                if answer is not NOT_BEGUN:
                    await self._end(child, sent)
                elif self._reason is not None:
                    return stopped_outcome(self._request, self._reason)
                elif self._request.lane is not None:
                    raise NotBegun
                else:
                    problem = failed("spawn_error", "the Python process ended before the call could begin")
            finally:
                child.release(sent)
                self._child = self._sent = None
                self._give(child)
        return problem

    def _joined(self) -> WarmChild | None:
        """The child that the lane has, where it has one already. A child that is still to come is not waited for: it
        takes as long to start as many calls."""
        lane = self._request.lane
        if lane is None or self._reason is not None:
            return None
        if lane.holder is None:
            lane.holder = self
            return None
        held = lane.holder
        if not isinstance(held, WarmChild) or held.key != self._key:
            raise NotBegun
        return held

    def _taken(self) -> WarmChild | None:
        child = self._pool.take(self._key) if self._reason is None else None
        if child is not None and self._request.lane is not None:
            self._request.lane.holder = child
        return child

    def _give(self, child: WarmChild | None) -> None:
        """Gives the child back after the last call that lined up."""
        if child is not None and child.in_use:
            return
        lane = self._request.lane
        if lane is not None and lane.holder in (self, child):
            lane.holder = None
        if child is not None:
            self._pool.give(child)

    async def _wait_for_child(self) -> WarmChild | None:
        if self._reason is not None:
            return None
        self._waiting = self._pool.wait(self._key)
        try:
            child = await self._waiting
        except asyncio.CancelledError:
            if self._waiting.done() and not self._waiting.cancelled() and (given := self._waiting.result()):
                self._pool.give(given)
            raise
        if child is not None and self._request.lane is not None:
            self._request.lane.holder = child
        return child

    async def _answer(self, child: WarmChild, sent: Sent) -> Answer | None:
        """The answer, when what the call printed is on its way to the log."""
        try:
            answer = await sent.answer
            if child.has_log_of(sent) and (forwarding := child.log.drain()):
                await asyncio.wait({forwarding}, timeout=_DRAIN_SECONDS if self._reason is None else 0.5)
            return answer
        except asyncio.CancelledError:
            child.stop(sent, 0)
            if child.has_log_of(sent):
                child.end(0)
            if not child.usable:
                await finished(child.process.ended)
            raise

    async def _outcome(self, child: WarmChild, sent: Sent, answer: Answer | None) -> Outcome:
        if answer is None or sent.stopped:
            report = await self._end_of_silence(child, sent)
            if self._reason is not None:
                return stopped_outcome(self._request, self._reason)
            return self._ended_without_answer(report, child)
        if answer.doubt is not None or answer.kind == "import_error":
            await self._end(child, sent)
        return self._answered(answer, child)

    async def _end_of_silence(self, child: WarmChild, sent: Sent) -> ExitReport:
        """The report on a child that gave no answer: it is ending, or else it closed its connection and is ended."""
        if not sent.stopped:
            ended, _ = await asyncio.wait({child.process.ended}, timeout=_OWN_END_SECONDS)
            self._ended_by_us = not ended
        return await self._end(child, sent)

    async def _end(self, child: WarmChild, sent: Sent) -> ExitReport:
        """Waits until nothing of the child's tree is left, which a stop has already seen to; else it is ended at
        once."""
        if not sent.stopped:
            child.end(0)
        return await finished(child.process.ended)

    def _answered(self, answer: Answer, child: WarmChild) -> Outcome:
        if answer.kind == "ok":
            try:
                if answer.written and child.surroundings is not None:
                    return Succeeded(child.surroundings.read_output())
                if answer.output is not None:
                    check_output(answer.output)
            except InvalidOutput as error:
                return failed("invalid_output", str(error))
            return Succeeded(answer.output)
        if answer.kind == "exit":
            return failed("exit_code", answer.message, exit_code=answer.exit_code, detail=answer.detail)
        return failed(answer.kind, answer.message, retryable=answer.kind != "import_error", detail=answer.detail)

    def _ended_without_answer(self, report: ExitReport, child: WarmChild) -> Outcome:
        stderr = child.log.tail.text()
        if report.error is not None:
            return failed("spawn_error", f"the Python process cannot be started: {report.error}")
        if report.status is None:
            return survived() if report.survived else supervisor_lost()
        if self._ended_by_us and report.status == signal.SIGKILL:
            return failed("no_result", "the process closed its connection to the worker, and was ended", detail=stderr)
        if os.WIFSIGNALED(report.status):
            return killed(os.WTERMSIG(report.status), stderr)
        code = os.waitstatus_to_exitcode(report.status)
        if code == 0 and child.surroundings is not None and child.surroundings.has_output():
            return self._answered(Answer("ok", written=True), child)
        message = f"the process ended with exit code {code} before the function returned"
        return failed("exit_code" if code else "no_result", message, exit_code=code, detail=stderr)
