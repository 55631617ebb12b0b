"""Tasks of the crash points' stories, and the ledger of what they did. It lies outside of every process."""

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from scheduler_application.ports.execution import ExecutionRequest, LogSink
from scheduler_domain.run.outcome import Cancelled, Failed, HandedBack, Outcome, Succeeded, TaskError


class Effect(NamedTuple):
    """One execution of a task run."""

    run_id: str
    task_run_id: str
    task: str
    attempt: int
    fence: int


class Effects:
    """Every effect, in order; ``released`` lets tasks that hold go on."""

    def __init__(self) -> None:
        self.begun: list[Effect] = []
        self.released = asyncio.Event()


@dataclass
class ScriptedShell:
    """Executes ``shell`` tasks by what their command says: ``true``; ``fail-once`` (its first attempt fails); ``hold``
    (until it is released or stopped); ``list`` (two items for a ``for_each``)."""

    effects: Effects
    name: str = "shell"
    serves_lanes: bool = False

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def execute(self, request: ExecutionRequest, log: LogSink) -> Outcome:
        environment = request.environment
        attempt = int(environment["ORRERY_ATTEMPT"])
        run_id, task = environment["ORRERY_RUN_ID"], environment["ORRERY_TASK"]
        self.effects.begun.append(Effect(run_id, request.task_run_id, task, attempt, request.claim_no))
        await log.write("stdout", b"begun\n")
        command = request.settings["script"]
        if command == "fail-once" and attempt == 1:
            return Failed(TaskError("exit_code", "it ended with exit code 1", exit_code=1))
        if command == "hold" and not self.effects.released.is_set():
            stopped = asyncio.create_task(request.stop.wait())
            released = asyncio.create_task(self.effects.released.wait())
            await asyncio.wait({stopped, released}, return_when=asyncio.FIRST_COMPLETED)
            for waiting in (stopped, released):
                waiting.cancel()
            if request.stop.is_set():
                return Cancelled() if request.stop_reason[0] == "cancel" else HandedBack()
        return Succeeded([1, 2] if command == "list" else {"fence": request.claim_no})
