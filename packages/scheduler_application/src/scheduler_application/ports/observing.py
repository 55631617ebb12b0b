"""What operators watch. Adapters must cost microseconds and never raise."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol


class Metrics(Protocol):
    def fired(self, outcome: str, lateness_seconds: float) -> None:
        """A due time was decided: ``fired``, ``skipped`` or ``missed``; how long after the due time."""
        ...

    def claimed(self, queue: str, count: int, waited_seconds: float) -> None:
        """Task runs were claimed; the longest that one of them waited since it became ready."""
        ...

    def attempt_ended(self, executor: str, outcome: str, seconds: float) -> None: ...

    def run_ended(self, state: str, seconds: float) -> None: ...

    def put_aside(self, kind: str, count: int) -> None:
        """Rows (``run``, ``trigger``) that cannot be read were taken out of everybody's way."""
        ...

    def clock_stepped(self) -> None:
        """The database's clock was set by seconds or more: what is due was moved by as much."""
        ...

    def leading(self, leads: bool, epoch: int) -> None: ...

    def worker_lost(self, task_runs: int) -> None: ...

    def published(self, hints: int, failed: bool) -> None: ...

    def alert_raised(self, kind: str) -> None: ...

    def pruned(self, what: str, count: int) -> None:
        """So many rows of ``what`` were deleted, moved out of the way (``moved_runs``), or dropped with a whole piece
        (``partitions``)."""
        ...

    def batch(self, name: str, size: int, seconds: float) -> None:
        """A group commit (``start``, ``claim``, ``record``, ``fire``, ``backfill``, ``judge``) took ``size`` items in
        ``seconds``."""
        ...


class Tracer(Protocol):
    """One trace per run, from the request or the due time to the task's own process; nearly free while nobody collects.

    A context is the text of a W3C ``traceparent`` (https://www.w3.org/TR/trace-context/): a column of the run, and an
    environment variable or a header of the task.
    """

    def start_trace(self, name: str, incoming: str | None = None) -> str:
        """The context for what begins now: a child of ``incoming``, the caller's ``traceparent``, where that is well
        formed, and otherwise the root of a new trace."""
        ...

    def span(
        self, name: str, parent: str | None, attributes: Mapping[str, str | int | float | bool] | None = None
    ) -> AbstractContextManager[str | None]:
        """Spans a block under ``parent``; its value is the context for whatever the block starts. An error that leaves
        the block marks the span by the error's class, never by its text, which may hold a secret."""
        ...
