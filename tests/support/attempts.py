"""Attempts for executors to execute, the log they write to, and what they leave behind."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import psutil

from scheduler_application.ports.execution import ExecutionRequest


class CollectedLog:
    """Keeps the last 100 kB of each stream and counts all of it; ``seen`` waits for a text."""

    def __init__(self) -> None:
        self.size = 0
        self._streams: dict[str, bytes] = {}
        self._arrived = asyncio.Event()

    async def write(self, stream: str, data: bytes) -> None:
        self.size += len(data)
        self._streams[stream] = (self._streams.get(stream, b"") + data)[-100_000:]
        self._arrived.set()

    def text(self, stream: str = "stdout") -> str:
        return self._streams.get(stream, b"").decode()

    async def seen(self, text: str, *, within: float = 20.0) -> None:
        async with asyncio.timeout(within):
            while text not in self.text():
                self._arrived.clear()
                await self._arrived.wait()


class StuckLog:
    """A store that does not answer any more."""

    async def write(self, stream: str, data: bytes) -> None:
        await asyncio.Event().wait()


def an_attempt(executor: str, settings: Any, folder: Path, **changes: Any) -> ExecutionRequest:
    """An attempt with a run id of its own, by which `left_behind` finds its processes; ``env`` adds variables."""
    run_id = str(uuid.uuid4())
    values: dict[str, Any] = {
        "project": "default",
        "task_run_id": str(uuid.uuid4()),
        "claim_no": 1,
        "executor": executor,
        "settings": settings,
        "environment": {"ORRERY_RUN_ID": run_id, **changes.pop("env", {})},
        "work_folder": str(folder / run_id),
        "source": None,
        "timeout": None,
        "idempotency_key": f"key-{run_id}",
        "grace": 0.5,
    }
    return ExecutionRequest(**{**values, **changes})


def stop(attempt: ExecutionRequest, reason: str) -> None:
    attempt.stop_reason.append(reason)
    attempt.stop.set()


def left_behind(attempt: ExecutionRequest) -> list[psutil.Process]:
    """Living processes that have the attempt's run id in the environment with which they were started."""
    return [process for process in psutil.process_iter() if _run_of(process) == attempt.environment["ORRERY_RUN_ID"]]


def _run_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("ORRERY_RUN_ID")
    except psutil.Error:
        return None
