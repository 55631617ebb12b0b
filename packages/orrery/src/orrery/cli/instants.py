"""Instants and spans as people give them to commands."""

import re
from datetime import UTC, datetime, timedelta

from orrery.cli.failures import UsageError

_SPAN = re.compile(r"(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?")


def read_instant(text: str, option: str) -> datetime:
    """An ISO 8601 instant with its offset, as UTC; raises `UsageError` that names ``option``."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} must be an instant such as 2026-03-29T00:00:00Z") from error
    if instant.tzinfo is None:
        raise UsageError(f"{option} needs an offset, e.g. 2026-03-29T00:00:00Z or 2026-03-29T02:00:00+02:00")
    return instant.astimezone(UTC)


def read_span(text: str, option: str) -> timedelta:
    """A duration such as ``90s``, ``15m`` or ``1d12h``; raises `UsageError` that names ``option``."""
    found = _SPAN.fullmatch(text)
    if not text or found is None:
        raise UsageError(f"{option} must be a duration such as 90s, 15m, 2h or 1d12h")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
