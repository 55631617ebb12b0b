"""Instants as options of commands."""

from datetime import UTC, datetime

from orrery.cli.failures import UsageError


def read_instant(option: str, text: str) -> datetime:
    """The instant in UTC; raises `UsageError` for what is none, or has no offset."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} must be an instant such as 2026-03-29T00:00:00Z") from error
    if instant.tzinfo is None:
        raise UsageError(f"{option} needs an offset, e.g. 2026-03-29T00:00:00Z or 2026-03-29T02:00:00+02:00")
    return instant.astimezone(UTC)
