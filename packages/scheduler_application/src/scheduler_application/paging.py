"""Pages by cursor: a cursor is the last row's sort key, opaque to callers, so that no page repeats or skips a row."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


@dataclass(frozen=True, slots=True)
class PageRequest:
    """``limit`` from 1 to `MAX_LIMIT`; ``cursor`` as a former page's ``next_cursor`` gave it."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """``next_cursor`` is ``None`` on the last page."""

    items: list[T]
    next_cursor: str | None = None
