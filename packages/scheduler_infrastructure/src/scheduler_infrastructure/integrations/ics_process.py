"""iCalendar texts, read in a process that can be ended: see `ics_child` for why."""

import asyncio
import sys
from datetime import date
from typing import Any, Final

import msgspec

from scheduler_application.ports.calendars import EventDays
from scheduler_domain.errors import InvalidDefinition, Problem

YEARS_BACK = 2
YEARS_ON = 10
READ_SECONDS = 8.0
MAX_BYTES = 1024 * 1024
AT_ONCE = 2
"""Processes of this kind at the same time; each may use a core and a quarter of a GB."""

_CHILD: Final = "scheduler_infrastructure.integrations.ics_child"


class IcsProcess:
    """`EventReader`. ``seconds`` is how long one text may take."""

    def __init__(self, seconds: float = READ_SECONDS) -> None:
        self._seconds = seconds
        self._turns = asyncio.Semaphore(AT_ONCE)

    def window(self, today: date) -> tuple[date, date]:
        return date(today.year - YEARS_BACK, 1, 1), date(today.year + YEARS_ON, 12, 31)

    async def read(self, content: bytes, timezone: str, today: date) -> EventDays:
        if len(content) > MAX_BYTES:
            raise _refusal("too_long", f"is larger than {MAX_BYTES} bytes")
        first, last = self.window(today)
        async with self._turns:
            answer = await self._ask(content, timezone, str(first), str(last))
        if "problem" in answer:
            raise _refusal(*answer["problem"])
        days = {date.fromisoformat(day): label for day, label in answer["days"].items()}
        return EventDays(first, last, days)

    async def _ask(self, content: bytes, *arguments: str) -> Any:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _CHILD,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(self._seconds):
                output, _ = await child.communicate(content)
        except TimeoutError:
            raise _refusal("too_complex", f"takes longer than {self._seconds:g} s to work out") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        try:
            return msgspec.json.decode(output)
        except msgspec.DecodeError:
            raise _refusal("too_complex", "needs more time or memory than a calendar may") from None


def _refusal(code: str, message: str) -> InvalidDefinition:
    return InvalidDefinition([Problem(("content",), code, f"the calendar {message}")])
