"""The executors of a worker by name."""

import logging
from collections.abc import Iterable

from scheduler_application.ports.execution import ExecutionRequest, LogSink, NotBegun, TaskExecutor
from scheduler_domain.run.outcome import Outcome
from scheduler_infrastructure.execution.failures import failed

_log = logging.getLogger(__name__)


class ExecutorRegistry:
    """Opens and closes its executors together and hands each request to the one that it names."""

    def __init__(self, executors: Iterable[TaskExecutor]) -> None:
        self._executors = {executor.name: executor for executor in executors}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._executors)

    @property
    def serving_lanes(self) -> frozenset[str]:
        """The names of those that take the requests of a lane at once."""
        return frozenset(name for name, executor in self._executors.items() if executor.serves_lanes)

    async def open(self) -> None:
        """Opens all; when one cannot be opened, those that are open are closed again."""
        opened: list[TaskExecutor] = []
        try:
            for executor in self._executors.values():
                await executor.open()
                opened.append(executor)
        except BaseException:
            for executor in reversed(opened):
                await executor.close()
            raise

    async def close(self) -> None:
        for executor in reversed(self._executors.values()):
            try:
                await executor.close()
            except Exception:  # noqa: BLE001 - the others must be closed too
                _log.exception("the %s executor could not be closed", executor.name)

    async def execute(self, request: ExecutionRequest, log: LogSink) -> Outcome:
        """As `TaskExecutor.execute`; a fault of an executor itself becomes a failure too, so that one task cannot
        take the worker down."""
        executor = self._executors.get(request.executor)
        if executor is None:
            known = ", ".join(sorted(self._executors))
            message = f"this worker has no executor {request.executor[:100]!r}; it has {known}"
            return failed("unknown_executor", message, retryable=False)
        try:
            return await executor.execute(request, log)
        except NotBegun:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            _log.exception("the %s executor failed on task run %s", executor.name, request.task_run_id)
            return failed("executor_error", f"the executor itself failed: {type(error).__name__}")
