"""The one question that tells whether the whole works, asked by every process that can: is anything left lying about?

It asks the store, not the parts that should have seen to it, so it notices whatever they do not notice themselves.
"""

from datetime import datetime, timedelta

from scheduler_application.errors import ApplicationError
from scheduler_application.ports.reading import QueueView, Reader
from scheduler_application.ports.time import Clock
from scheduler_application.schedule.fire import NextDue
from scheduler_domain.ids import DEFAULT_PROJECT

DUE_FOR = timedelta(seconds=10)
QUEUED_FOR = timedelta(seconds=60)


class Watchdog:
    """For readiness and alarms."""

    def __init__(self, next_due: NextDue, reader: Reader, clock: Clock) -> None:
        self._next_due = next_due
        self._reader = reader
        self._clock = clock

    async def problems(self) -> list[str]:
        """One plain sentence for each thing that should have happened by now; never raises."""
        try:
            due_at = await self._next_due.execute()
            queues = await self._reader.queues(DEFAULT_PROJECT)
        except ApplicationError as error:
            return [f"nobody knows what is due: {error}"]
        now = self._clock.now()
        return [*_late(due_at, now), *(problem for queue in queues for problem in _forgotten(queue, now))]


def _late(due_at: datetime | None, now: datetime) -> list[str]:
    if due_at is None or now - due_at <= DUE_FOR:
        return []
    return [f"something has been due for {(now - due_at).total_seconds():.0f} s and no dispatcher saw to it"]


def _forgotten(queue: QueueView, now: datetime) -> list[str]:
    """A queue whose oldest task run waits although a worker that serves it has nothing to do."""
    since = queue.oldest_ready_at
    if since is None or now - since <= QUEUED_FOR or queue.running >= queue.slots:
        return []
    waited = (now - since).total_seconds()
    return [f"the queue '{queue.name}' has waited for {waited:.0f} s although its workers have free slots"]
