"""Instants as callers write them, in addresses and in bodies."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

INSTANT_EXPECTED = "expected an instant with an offset, like 2026-03-29T01:00:00Z, from 1970 to 2199"

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)")
YEARS = range(1970, 2200)


def parse_instant(text: str) -> datetime | None:
    """The instant that ``text`` is, as UTC; ``None`` where it is none, or has no offset."""
    if not _INSTANT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.year in YEARS else None


def _read(value: Any) -> datetime:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "expected a text")
    moment = parse_instant(value)
    if moment is None:
        raise PydanticCustomError("invalid_instant", INSTANT_EXPECTED)
    return moment


BodyInstant = Annotated[datetime, BeforeValidator(_read), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A field of a body: the instant as UTC."""
