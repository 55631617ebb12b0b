"""The time zone that this machine is set to, which is the one that its cron runs in."""

from contextlib import suppress
from pathlib import Path

from orrery.cli.failures import UsageError

_ETC = Path("/etc")
_ZONES = "/zoneinfo/"


def zone_or_system(name: str | None, etc: Path = _ETC) -> str:
    """The zone ``name``, or the machine's where that is ``None``; raises `UsageError` when it is no IANA zone."""
    from scheduler_domain.errors import InvalidDefinition
    from scheduler_domain.schedule.zones import zone_named

    found = _system_zone(etc) if name is None else name
    if found is None:
        raise UsageError("the time zone of this machine cannot be told; give --timezone, e.g. Europe/Berlin")
    try:
        return zone_named(found).key
    except InvalidDefinition as error:
        raise UsageError(*(f"--timezone: {problem.message}" for problem in error.problems)) from error


def _system_zone(etc: Path) -> str | None:
    """By the link ``localtime``, or Debian's file ``timezone``."""
    with suppress(OSError):
        _, found, zone = str((etc / "localtime").readlink()).rpartition(_ZONES)
        if found:
            return zone.removeprefix("posix/")
    with suppress(OSError, UnicodeDecodeError):
        return (etc / "timezone").read_text().strip() or None
    return None
