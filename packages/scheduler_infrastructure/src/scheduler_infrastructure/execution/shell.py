"""``shell``: a script, run by ``/bin/sh -e`` in the attempt's folder; the script's text never comes near an argument
list.

``-e`` as CI systems do: the first command that fails fails the task.
"""

import asyncio
import os

import msgspec

from scheduler_application.ports.execution import ExecutionRequest, LogSink
from scheduler_domain.run.outcome import Outcome, Succeeded
from scheduler_infrastructure.execution.failures import failed, invalid_settings, killed, supervisor_lost, survived
from scheduler_infrastructure.execution.output import InvalidOutput
from scheduler_infrastructure.execution.stopping import stop_reason, stopped_outcome, watching
from scheduler_infrastructure.execution.streams import Pipes
from scheduler_infrastructure.execution.supervision.keeper_link import ExitReport, SupervisedProcess, finished
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from scheduler_infrastructure.execution.surroundings import Surroundings

_DRAIN_SECONDS = 10.0
_DRAIN_SECONDS_WHEN_STOPPED = 0.5
_TEMPORARY = frozenset({11, 12, 23, 24})
"""EAGAIN, ENOMEM, ENFILE, EMFILE: the machine is full, which passes."""


class ShellSettings(msgspec.Struct, forbid_unknown_fields=True):
    script: str


class ShellExecutor:
    name = "shell"
    serves_lanes = False

    def __init__(self, supervisor: Supervisor, *, interpreter: str = "/bin/sh") -> None:
        self._supervisor = supervisor
        self._interpreter = interpreter

    async def open(self) -> None:
        await self._supervisor.open()

    async def close(self) -> None:
        await self._supervisor.close()

    async def execute(self, request: ExecutionRequest, log: LogSink) -> Outcome:
        try:
            settings = msgspec.convert(request.settings, ShellSettings)
        except msgspec.ValidationError as error:
            return invalid_settings(error)
        if request.stop.is_set():
            return stopped_outcome(request, stop_reason(request))
        surroundings = Surroundings(request.work_folder)
        try:
            surroundings.make()
            _write_script(surroundings, settings.script)
        except (OSError, UnicodeEncodeError) as error:
            return failed("spawn_error", f"the work folder cannot be used: {error}")
        pipes = Pipes()
        try:
            return await self._run(request, surroundings, pipes, log)
        finally:
            await pipes.close()

    async def _run(self, request: ExecutionRequest, surroundings: Surroundings, pipes: Pipes, log: LogSink) -> Outcome:
        argv = [self._interpreter, "-e", surroundings.script]
        environment = surroundings.environment(request)
        process = await self._supervisor.start(argv, environment, surroundings.folder, pipes.writing)
        pipes.connect(log)
        reasons: list[str] = []
        report = await _until_ended(process, request, reasons)
        await pipes.drain(_DRAIN_SECONDS_WHEN_STOPPED if reasons else _DRAIN_SECONDS)
        if reasons:
            return stopped_outcome(request, reasons[0])
        return _outcome(report, surroundings, pipes.stderr_tail.text())


async def _until_ended(process: SupervisedProcess, request: ExecutionRequest, reasons: list[str]) -> ExitReport:
    """Waits for the end of the tree, and sees to it when the attempt must stop; puts the reason into ``reasons``."""

    def stop(reason: str) -> None:
        reasons.append(reason)
        process.end(request.grace)

    try:
        with watching(request, stop):
            return await asyncio.shield(process.ended)
    except asyncio.CancelledError:
        process.end(0)
        await finished(process.ended)
        raise


def _write_script(surroundings: Surroundings, script: str) -> None:
    descriptor = os.open(surroundings.script, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(script.encode())


def _outcome(report: ExitReport, surroundings: Surroundings, stderr: str | None) -> Outcome:
    if report.error is not None:
        return failed(
            "spawn_error", f"the script cannot be started: {report.error}", retryable=report.errno in _TEMPORARY
        )
    if report.status is None:
        return survived() if report.survived else supervisor_lost()
    if os.WIFSIGNALED(report.status):
        return killed(os.WTERMSIG(report.status), stderr)
    code = os.waitstatus_to_exitcode(report.status)
    if code != 0:
        return failed("exit_code", f"the script ended with exit code {code}", exit_code=code, detail=stderr)
    try:
        return Succeeded(surroundings.read_output())
    except InvalidOutput as error:
        return failed("invalid_output", str(error))
