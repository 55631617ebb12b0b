"""How a worker executes one attempt.

Call order: ``open`` once · then any number of ``execute`` concurrently · ``close`` once. ``execute`` never raises for
what a task does: whatever happens becomes an `Outcome`. It raises only `NotBegun`, and `asyncio.CancelledError`: then
the attempt's whole process tree is gone before the error leaves.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from scheduler_domain.run.outcome import Outcome


class Stop(asyncio.Event):
    """Set when an attempt must end. Besides those who wait for it, it calls one who watches: a task that waits costs
    more than an empty attempt does."""

    def __init__(self) -> None:
        super().__init__()
        self._watcher: Callable[[], None] | None = None

    def watch(self, watcher: Callable[[], None] | None) -> None:
        """``watcher`` is called by `set`, unless it is set already; ``None`` ends the watch."""
        self._watcher = watcher

    def set(self) -> None:
        watcher = None if self.is_set() else self._watcher
        super().set()
        if watcher is not None:
            watcher()


class NotBegun(Exception):
    """An attempt of a lane was not begun, because others are in its way; it has had no effect and may begin later."""


class Lane:
    """Attempts that take one slot together: they execute one after the other. ``holder`` is what the executor keeps for
    them, ``None`` while it keeps nothing."""

    __slots__ = ("holder", "left")

    def __init__(self) -> None:
        self.holder: object | None = None
        self.left = 0


class ExecutionRequest(msgspec.Struct, frozen=True):
    """One attempt, ready to execute: every template is rendered.

    ``settings`` is the executor's part of the definition, rendered (see `TaskDefinition.settings`). ``environment`` is
    the complete environment of a process task: the task's ``env`` plus the ``ORRERY_*`` and ``TRACEPARENT`` variables
    of `interface.md` part 6 except ``ORRERY_OUTPUT``/``ORRERY_ARTIFACTS``, which the executor adds. ``work_folder`` is
    the task's current directory, as text because most need none: the executor makes it when the task needs one (its
    parent exists), and the caller removes what is left of it afterwards. ``source`` is the folder with the workflow's
    code (``ORRERY_SOURCE``), where there is one. ``timeout`` is in seconds; ``grace`` is the pause between TERM and
    KILL. ``stop`` is set when the attempt must end: its reason (``"cancel"``, ``"shutdown"`` or ``"lost"``) is in
    ``stop_reason[0]``. ``lane`` is given only to executors that serve lanes.
    """

    project: str
    task_run_id: str
    claim_no: int
    executor: str
    settings: Any
    environment: Mapping[str, str]
    work_folder: str
    source: Path | None
    timeout: float | None
    idempotency_key: str
    grace: float = 10.0
    stop: Stop = msgspec.field(default_factory=Stop)
    stop_reason: list[str] = msgspec.field(default_factory=list)
    lane: Lane | None = None


class LogSink(Protocol):
    """Where an attempt's lines go while it executes; bounded, so that a task that prints 1 GB hurts nobody."""

    async def write(self, stream: str, data: bytes) -> None:
        """Takes raw bytes of ``stdout`` or ``stderr``; waits where the store falls behind (back-pressure)."""
        ...


class TaskExecutor(Protocol):
    """One kind of task.

    With ``serves_lanes`` it takes the requests of a `Lane` all at once, executes one at a time, and raises `NotBegun`
    for those that cannot follow quickly: nothing waits behind a slow attempt while another slot is free.
    """

    name: str
    serves_lanes: bool

    async def open(self) -> None: ...

    async def execute(self, request: ExecutionRequest, log: LogSink) -> Outcome:
        """Executes one attempt to its end, or until ``request.stop`` or the timeout ends it.

        Returns `Succeeded`, `Failed`, `TimedOut` (never later than ``timeout + grace + 2`` s), `Cancelled` (stop
        reason ``cancel``) or `HandedBack` (stop reason ``shutdown`` or ``lost``). Whatever it returns, no process of
        the attempt is alive.
        """
        ...

    async def close(self) -> None: ...
