"""An executor that does what the test says, and one that can be asked what it was given."""

import asyncio
from collections.abc import Awaitable, Callable

from scheduler_application.ports.execution import ExecutionRequest, LogSink
from scheduler_domain.run.outcome import Cancelled, HandedBack, Outcome, Succeeded

Script = Callable[[ExecutionRequest, LogSink], Awaitable[Outcome]]


async def succeed(request: ExecutionRequest, log: LogSink) -> Outcome:
    return Succeeded()


async def until_stopped(request: ExecutionRequest, log: LogSink) -> Outcome:
    """Executes until it is told to end, and then does so at once."""
    await request.stop.wait()
    return Cancelled() if request.stop_reason[0] == "cancel" else HandedBack()


def until(release: asyncio.Event) -> Script:
    """Executes until ``release`` is set, and succeeds."""

    async def wait(request: ExecutionRequest, log: LogSink) -> Outcome:
        del request, log
        await release.wait()
        return Succeeded()

    return wait


class Scripted:
    """An `Executors`: every request goes to ``script``, whatever executor it names."""

    def __init__(self, script: Script = succeed) -> None:
        self.script = script
        self.requests: list[ExecutionRequest] = []
        self.running = 0
        self.most_running = 0
        self.cancelled = 0
        self.serving_lanes: frozenset[str] = frozenset()
        self.is_open = False
        self._changed = asyncio.Event()

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def execute(self, request: ExecutionRequest, log: LogSink) -> Outcome:
        self.requests.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self._changed.set()
        try:
            return await self.script(request, log)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
            self._changed.set()

    async def until(self, condition: Callable[["Scripted"], bool]) -> None:
        """Returns when ``condition`` holds; asked whenever an execution begins or ends."""
        while not condition(self):
            self._changed.clear()
            await self._changed.wait()

    async def begun(self, number: int) -> None:
        await self.until(lambda executor: len(executor.requests) >= number)
