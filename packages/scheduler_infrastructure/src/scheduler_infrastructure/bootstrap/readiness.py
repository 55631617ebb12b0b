"""Whether a process can do its work: each part is asked, at most once a second, within two seconds."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler_application.errors import ApplicationError
from scheduler_application.ports.messaging import DependencyProbe
from scheduler_application.ports.time import Clock

FRESH_SECONDS = 1.0
DEADLINE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Part:
    """One dependency; what is not ``required`` may be away without making the process unready."""

    probe: DependencyProbe
    required: bool


class Readiness:
    """Answers `/readyz` and the like: (name, works, one sentence) for each part."""

    def __init__(self, parts: Sequence[Part], clock: Clock) -> None:
        self._parts = parts
        self._clock = clock
        self._answer: list[tuple[str, bool, str]] = []
        self._asked_at = float("-inf")
        self._turn = asyncio.Lock()

    async def check(self) -> list[tuple[str, bool, str]]:
        async with self._turn:
            if self._clock.monotonic() - self._asked_at >= FRESH_SECONDS:
                self._answer = list(await asyncio.gather(*(self._ask(part) for part in self._parts)))
                self._asked_at = self._clock.monotonic()
            return self._answer

    @staticmethod
    async def _ask(part: Part) -> tuple[str, bool, str]:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await part.probe.check()
        except TimeoutError:
            return part.probe.name, not part.required, f"did not answer within {DEADLINE_SECONDS:g} s"
        except ApplicationError as error:
            return part.probe.name, not part.required, str(error)
        return part.probe.name, True, "answers"
