"""Task logs: appended while a task executes, kept, paged and bounded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Some bytes of one stream of one attempt. ``seq`` counts an attempt's chunks from 1 without gaps; ``truncated``
    marks the place from which an attempt's further output was dropped because it went over the bound."""

    project: str
    run_id: str
    task_run_id: str
    claim_no: int
    seq: int
    stream: str
    at: datetime
    data: bytes
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line for readers. ``cursor`` resumes after it."""

    cursor: str
    task: str
    item_index: int | None
    task_run_id: str
    attempt: int
    stream: str
    at: datetime
    text: str
    truncated: bool = False


class LogStore(Protocol):
    async def append(self, chunks: Sequence[LogChunk]) -> None:
        """Stores chunks of many attempts in one transaction; a chunk that is already there is left alone."""
        ...

    async def read(
        self,
        project: str,
        run_id: str,
        *,
        task: str | None,
        after: str | None,
        limit: int,
    ) -> list[LogChunk]:
        """Chunks of a run in order of arrival, after the cursor ``after`` (``at|task_run_id|claim_no|seq``), at most
        ``limit``."""
        ...
