"""``shell``: a script, run by ``/bin/sh -e`` in the attempt's folder; the script's text never comes near an argument
list, nor the disk.

``-e`` as CI systems do: the first command that fails fails the task. Scheduled as batch work: a worker with many
scripts at once still renews its leases in time, and interrupts none of them more often than it must.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator

import msgspec

from scheduler_application.ports.execution import ExecutionRequest, LogSink
from scheduler_domain.run.outcome import Outcome, Succeeded
from scheduler_infrastructure.execution.failures import failed, invalid_settings, killed, supervisor_lost, survived
from scheduler_infrastructure.execution.output import InvalidOutput
from scheduler_infrastructure.execution.stopping import stop_reason, stopped_outcome, watching
from scheduler_infrastructure.execution.streams import Pipes
from scheduler_infrastructure.execution.supervision.frames import INHERITED
from scheduler_infrastructure.execution.supervision.keeper_link import ExitReport, SupervisedProcess, finished
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from scheduler_infrastructure.execution.surroundings import KeptFolders, Surroundings

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
        self._folders = KeptFolders()

    async def open(self) -> None:
        await self._supervisor.open()

    async def close(self) -> None:
        await self._supervisor.close()
        await asyncio.to_thread(self._folders.close)

    async def execute(self, request: ExecutionRequest, log: LogSink) -> Outcome:
        try:
            settings = msgspec.convert(request.settings, ShellSettings)
        except msgspec.ValidationError as error:
            return invalid_settings(error)
        if request.stop.is_set():
            return stopped_outcome(request, stop_reason(request))
        try:
            script = settings.script.encode()
            surroundings = self._folders.take(request.work_folder)
        except (OSError, UnicodeEncodeError) as error:
            return failed("spawn_error", f"the work folder cannot be used: {error}")
        outcome: Outcome | None = None
        try:
            outcome = await self._run(script, request, surroundings, log)
            return outcome
        finally:
            if not (isinstance(outcome, Succeeded) and self._folders.give_back(surroundings)):
                self._folders.put_away(surroundings, request.work_folder)

    async def _run(self, script: bytes, request: ExecutionRequest, surroundings: Surroundings, log: LogSink) -> Outcome:
        pipes = Pipes()
        try:
            return await self._piped(script, request, surroundings, pipes, log)
        finally:
            await pipes.close()

    async def _piped(
        self, script: bytes, request: ExecutionRequest, surroundings: Surroundings, pipes: Pipes, log: LogSink
    ) -> Outcome:
        argv = [self._interpreter, "-e", f"/proc/self/fd/{INHERITED}"]
        environment = surroundings.environment(request)
        with _in_memory(script) as descriptor:
            descriptors = [*pipes.writing, descriptor]
            process = await self._supervisor.start(argv, environment, surroundings.folder, descriptors, batch=True)
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


@contextlib.contextmanager
def _in_memory(script: bytes) -> Iterator[int]:
    """A descriptor of a file that has no name. The shell opens it anew; what the script starts shall not have it."""
    descriptor = os.memfd_create("script")
    try:
        left = memoryview(b"exec %d<&-; %b" % (INHERITED, script))
        while left:
            left = left[os.write(descriptor, left) :]
        yield descriptor
    finally:
        os.close(descriptor)


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
