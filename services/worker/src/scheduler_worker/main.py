"""The worker process, from its first registration to its leave. Signals and exit codes are the caller's."""

import asyncio

import structlog

from scheduler_worker.agent import Worker
from scheduler_worker.log_writer import LogWriter
from scheduler_worker.tenure import Ending, Tenure

LOGS_STORED_WITHIN_SECONDS = 5.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def run(worker: Worker, stop: asyncio.Event) -> None:
    """Works until ``stop`` is set or the worker is drained, under a new identity whenever its lease was lost.

    Returns when nothing of its tasks is alive. Raises `WorkerStuck` or `IntakeBroken` when only a new process helps.
    """
    logs = LogWriter(
        worker.logs,
        worker.masking,
        worker.clock,
        worker.sleep,
        worker.randomness,
        limit_bytes=worker.limits.log_bytes,
    )
    worker.work_root.mkdir(parents=True, exist_ok=True, mode=0o700)
    await worker.executors.open()
    writing = asyncio.create_task(logs.run())
    try:
        while await Tenure(worker, logs, stop).live() is Ending.LOST and not stop.is_set():
            _log.warning("the worker starts again under a new identity")
    finally:
        await logs.close(LOGS_STORED_WITHIN_SECONDS)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await worker.executors.close()
