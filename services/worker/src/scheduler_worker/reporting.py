"""Outcomes are kept until the store has them, or until they are nobody's business any more."""

import asyncio

import structlog

from scheduler_application.errors import Unavailable
from scheduler_application.pausing import Backoff, Sleep
from scheduler_application.ports.time import Randomness
from scheduler_application.run.record import RecordOutcomes, Report
from scheduler_domain.run.outcome import Failed, TaskError

TRIES_OF_AN_OUTCOME = 3

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Reporter:
    """Records outcomes of one worker identity; ``lost`` is set when its lease is over: then somebody else owns them."""

    def __init__(self, record: RecordOutcomes, lost: asyncio.Event, sleep: Sleep, randomness: Randomness) -> None:
        self._record = record
        self._lost = lost
        self._sleep = sleep
        self._randomness = randomness

    async def report(self, report: Report) -> None:
        """Returns when the outcome is recorded, refused as stale, or not this worker's any more."""
        backoff = Backoff(self._randomness, longest=3.0)
        failures = 0
        while not self._lost.is_set():
            try:
                if not await self._record.execute(report):
                    _log.info("an outcome came too late and changed nothing", outcome=type(report.outcome).__name__)
                return
            except Unavailable as error:
                _log.warning("an outcome is not recorded yet", reason=str(error))
            except Exception:  # noqa: BLE001 - an outcome is kept, whatever stands in its way
                _log.exception("an outcome could not be recorded", outcome=type(report.outcome).__name__)
                failures += 1
                if failures == TRIES_OF_AN_OUTCOME:
                    report = _unrecordable(report)
            await self._sleep(backoff.next())


def _unrecordable(report: Report) -> Report:
    """What is recorded in the place of an outcome that the store refuses: the task run must not hang for it."""
    error = TaskError("unrecordable", "the outcome could not be recorded; the worker's log says why")
    return Report(report.claimed, report.worker_id, Failed(error, retryable=False), report.seconds)
