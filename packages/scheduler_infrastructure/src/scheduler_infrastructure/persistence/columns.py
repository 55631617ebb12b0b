"""Column types that behave alike on both dialects: ids and JSON are text in Python, instants are aware and in UTC."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import DateTime, Dialect, Text
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

_PLAIN_TYPES = {
    **dict.fromkeys(("state", "scheduled_for", "started_by", "inputs", "slot_key", "traceparent"), "text"),
    **dict.fromkeys(("task", "queue", "item", "output", "error"), "text"),
    **dict.fromkeys(("priority", "depth"), "smallint"),
    **dict.fromkeys(("tasks_total", "tasks_left", "tasks_failed", "tasks_cancelled"), "int"),
    **dict.fromkeys(("item_index", "needs_left", "claim_no"), "int"),
    "lost": "boolean",
}


def type_of(column: str) -> str:
    """PostgreSQL's type of a column of runs or task runs."""
    return _PLAIN_TYPES.get(column, "timestamptz" if column.endswith("_at") else "uuid")


class _NativeUuid(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "UUID"


class Id(TypeDecorator[str]):
    """An identifier: ``uuid`` on PostgreSQL, text on SQLite, canonical text in Python."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(_NativeUuid() if dialect.name == "postgresql" else Text())


class Instant(TypeDecorator[datetime]):
    """An instant: ``timestamptz`` on PostgreSQL, fixed-width text (which sorts by time) on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(DateTime(timezone=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return instant_to_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None or isinstance(value, datetime):
            return value
        return instant_from_text(value)


def instant_to_text(moment: datetime) -> str:
    """``2026-03-29T01:00:00.000000Z``: fixed width, so that text order is time order."""
    return _text_in_utc(moment if moment.tzinfo is UTC else moment.astimezone(UTC))


@lru_cache(maxsize=256)
def _text_in_utc(moment: datetime) -> str:
    """Kept, as the rows of a transaction share their instants. (In other zones two instants can compare equal.)"""
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def instant_from_text(text: str) -> datetime:
    return datetime.fromisoformat(text)
