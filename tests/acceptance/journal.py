"""A client that starts runs at a steady pace and keeps what it was promised."""

import asyncio
import itertools
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

import httpx2

from tests.support.stack import Stack

REPEATED_EVERY = 10
"""One in so many of the requests with a key is sent twice, as a client does that lost the answer."""


class Load:
    """Starts ``rate`` runs a second while the block lasts: of ``workflows`` in turn, every other one under a key."""

    def __init__(self, stack: Stack, rate: float, workflows: tuple[str, ...]) -> None:
        self._stack = stack
        self._pause = 1 / rate
        self._workflows = itertools.cycle(workflows)
        self._stopping = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self.accepted: dict[str, str] = {}
        """The workflow of every run that was promised."""
        self.refused: Counter[int] = Counter()
        self.slowest = 0.0
        self.seconds = 0.0

    async def __aenter__(self) -> Self:
        self._client = self._stack.client()
        self._started = time.monotonic()
        self._task = asyncio.create_task(self._keep_pace())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        await self._task
        await asyncio.gather(*self._sending)
        self.seconds = time.monotonic() - self._started
        await self._client.aclose()

    async def _keep_pace(self) -> None:
        for number in itertools.count():
            due = self._started + number * self._pause
            try:
                await asyncio.wait_for(self._stopping.wait(), max(due - time.monotonic(), 0))
            except TimeoutError:
                pass
            else:
                return
            sending = asyncio.create_task(self._send(number, next(self._workflows)))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)

    async def _send(self, number: int, workflow: str) -> None:
        headers = {"Idempotency-Key": f"load {number}"} if number % 2 else {}
        run_id = await self._start(workflow, headers)
        if run_id is not None and headers and number // 2 % REPEATED_EVERY == 0:
            assert await self._start(workflow, headers) == run_id, "one key started two runs"

    async def _start(self, workflow: str, headers: dict[str, str]) -> str | None:
        started = time.monotonic()
        answer: httpx2.Response = await self._client.post(f"/workflows/{workflow}/run", json={}, headers=headers)
        self.slowest = max(self.slowest, time.monotonic() - started)
        if answer.status_code != 202:
            self.refused[answer.status_code] += 1
            return None
        content: dict[str, Any] = answer.json()
        self.accepted[content["run_id"]] = workflow
        return str(content["run_id"])
