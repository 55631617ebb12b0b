"""Messages are hints: losing all of them loses nothing, and a message delivered twice does nothing."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from scheduler_domain.ids import TaskRunId
from scheduler_domain.workflow.definition import Priority

MAX_HINTS_PER_MESSAGE = 200


class Hint(NamedTuple):
    """``task_run_id`` may be claimed, as long as its fence still is ``claim_no``."""

    task_run_id: TaskRunId
    claim_no: int


@dataclass(frozen=True, slots=True)
class Lane:
    """Where hints wait: one broker queue per (queue, priority)."""

    queue: str
    priority: Priority


class HintPublisher(Protocol):
    async def publish(self, lane: Lane, hints: Sequence[Hint]) -> None:
        """Puts ``hints`` on the lane, at most `MAX_HINTS_PER_MESSAGE` in a message, and returns when every message is
        confirmed.

        Makes the lane's queue where it does not exist. Raises `Unconfirmed` when the answer did not come in
        time (the hints may be there), `Unavailable` when the broker cannot be reached or the breaker is open.
        """
        ...


class Delivery(Protocol):
    """One message taken from a lane."""

    @property
    def lane(self) -> Lane: ...
    @property
    def hints(self) -> Sequence[Hint]: ...

    async def ack(self) -> None:
        """Done with it. A failure (the connection went away meanwhile) is swallowed: the message comes again and does
        nothing."""
        ...

    async def give_back(self) -> None:
        """Puts the message back where others can take it; failures are swallowed as in `ack`."""
        ...


class HintSource(Protocol):
    """A worker's intake. Malformed messages go to the dead-letter queue with a reason and never reach the caller."""

    async def open(self, queues: Sequence[str]) -> None:
        """Starts to take from every lane of ``queues``; declares what does not exist."""
        ...

    async def take(self, max_hints: int) -> list[Delivery]:
        """Waits for at least one delivery, then returns what has already arrived, up to about ``max_hints`` hints
        (one message more at most). Highest priority first; one take in ten starts from the lowest, so that nothing
        starves. Survives reconnects."""
        ...

    async def pause(self) -> None:
        """Takes nothing more and gives back what it holds, so that other workers get it; the next `take` resumes."""
        ...

    async def close(self) -> None:
        """Takes nothing more and gives back what it holds. Idempotent."""
        ...

    async def healthy(self) -> bool:
        """Whether the broker itself sees this source's consumers (R13). Raises `Unavailable` where the broker is away,
        which says nothing about the consumers: they come back with it."""
        ...


class Signals(Protocol):
    """Small messages that may be lost: wake-ups for the leader, commands for one worker."""

    async def wake_dispatchers(self) -> None:
        """Tells every dispatcher that something may be due earlier than it thinks. Never raises."""
        ...

    async def command(self, worker_id: str, command: Mapping[str, Any]) -> None:
        """Sends ``command`` (``{"kind": "cancel", "task_run_id": …, "claim_no": …}`` or ``{"kind": "drain"}``) to one
        worker. Never raises: the worker learns the same from its next heartbeat."""
        ...

    def dispatcher_wakes(self) -> AsyncIterator[None]:
        """Yields at every wake-up, several at once may be one. Survives reconnects and then yields once, as one may
        have been missed."""
        ...

    def commands(self, worker_id: str) -> AsyncIterator[Mapping[str, Any]]:
        """Yields the commands for one worker. Survives reconnects."""
        ...


class LiveUpdates(Protocol):
    """What watchers see at once; what is lost here is found by asking the store."""

    async def publish(self, changes: Sequence[Mapping[str, Any]]) -> None:
        """Tells watchers of ``changes`` (each has ``project``, ``kind``, ``id``, ``state`` and, for task runs,
        ``run_id``). Never raises, never takes longer than 100 ms."""
        ...

    def subscribe(self, project: str) -> AsyncIterator[Mapping[str, Any]]:
        """Yields the project's changes from now on; slow readers lose the oldest."""
        ...


class DependencyProbe(Protocol):
    """Anything that can be asked whether it works: the store, the broker, Redis."""

    name: str

    async def check(self) -> None:
        """Returns within 2 s when it works; raises `Unavailable` with one plain sentence otherwise."""
        ...
