"""What cron says in the system's log about the commands that it started.

Read are lines of Debian's cron and of cronie, with the traditional time (``Nov 21 03:17:01``: no year, no zone) or with
ISO 8601. All else in the log only tells the time that it covers.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler_application.importing.percent import split_percent

MAX_STARTS = 1_000_000

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_TRADITIONAL = re.compile(r"([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ")
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})) "
)
_STARTED = re.compile(r"\S+ \S*cron\S*: \(([^)]*)\) CMD \((?:\[[0-9]+\] )?(.*)", re.IGNORECASE | re.DOTALL)
_HALF_A_YEAR = 6
_OUT_OF_ORDER = timedelta(minutes=2)
_BLANKS = re.compile(r"(?:\s|\^I|#011)+")


class TooManyStarts(ValueError):
    """The log has more than `MAX_STARTS` starts."""


@dataclass(frozen=True, slots=True)
class CronStart:
    """One start. ``instants`` (UTC) are two where the log's time came twice that night and nothing tells which it is.

    ``keys`` are the command, and the command as it is where the log has what follows a ``%`` too, both as
    `command_key` makes them. ``cut``: the log has only the beginning.
    """

    instants: tuple[datetime, ...]
    user: str
    command: str
    keys: frozenset[str]
    cut: bool = False


@dataclass(slots=True)
class CronLog:
    """``first`` and ``last`` are the earliest instants of the first and last line with a time, of any program."""

    starts: list[CronStart] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Stamp:
    """A local time whose year counts from that of the log's first line, or an instant."""

    years: int = 0
    parts: tuple[int, ...] = ()
    instant: datetime | None = None


def command_key(command: str) -> str:
    """The command as cron logs it, without differences in blanks: control characters and other bytes are escaped."""
    logged = "".join(_logged(byte) for byte in command.encode("utf-8", "surrogateescape"))
    return _BLANKS.sub(" ", logged).strip()


def _logged(byte: int) -> str:
    if byte >= 0x7F:
        return "^?" if byte == 0x7F else f"\\{byte:03o}"
    return chr(byte) if byte >= 0x20 else f"^{chr(byte + 0x40)}"


def read_cron_log(lines: Iterable[str], zone: ZoneInfo, year: int | None, now: datetime) -> CronLog:
    """The starts in ``lines``, in their order.

    ``zone`` is that of traditional times, ``year`` that of the first of them; without it the last one is the latest
    that is not more than a day after ``now``. Raises `TooManyStarts`.
    """
    starts: list[tuple[_Stamp, str, str]] = []
    ends: list[_Stamp] = []
    for stamp, started in _stamped(lines):
        ends[1:] = [stamp]
        if started is not None:
            starts.append((stamp, *started))
        if len(starts) > MAX_STARTS:
            raise TooManyStarts(f"the log has more than {MAX_STARTS} starts")
    if not ends:
        return CronLog()
    base = year if year is not None else _likely_year(ends[-1], zone, now)
    first, last = (_instants(stamp, base, zone) for stamp in (ends[0], ends[-1]))
    log = CronLog(first=min(first, default=None), last=max(last, default=None))
    floor = datetime.min.replace(tzinfo=UTC) + _OUT_OF_ORDER
    for stamp, user, text in starts:
        if instants := _not_before(floor, _instants(stamp, base, zone)):
            floor = max(floor, instants[0])
            log.starts.append(_start(instants, user, text))
    return log


def _not_before(floor: datetime, instants: tuple[datetime, ...]) -> tuple[datetime, ...]:
    """Of a time that came twice, the first is out where the log was past it already."""
    later = instants[1:]
    return later if later and instants[0] < floor - _OUT_OF_ORDER else instants


def _stamped(lines: Iterable[str]) -> Iterator[tuple[_Stamp, tuple[str, str] | None]]:
    """The time of each line that has one, with user and command where cron started something."""
    years, month = 0, 0
    for line in lines:
        if found := _ISO.match(line):
            instant = _instant(found[1])
            if instant is None:
                continue
            stamp = _Stamp(instant=instant)
        elif (found := _TRADITIONAL.match(line)) and found[1] in _MONTHS:
            parts = (_MONTHS[found[1]], *(int(part) for part in found.groups()[1:]))
            # Lines may change places around midnight: after January there may be one more of December.
            turn = 0 if not month else _turn(month, parts[0])
            stamp = _Stamp(years + turn, parts)
            years, month = (years + turn, parts[0]) if turn >= 0 else (years, month)
        else:
            continue
        started = _STARTED.match(line, found.end())
        yield stamp, None if started is None else (started[1], started[2].rstrip("\r\n"))


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace(",", ".")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _turn(before: int, month: int) -> int:
    if before - month > _HALF_A_YEAR:
        return 1
    return -1 if month - before > _HALF_A_YEAR else 0


def _likely_year(last: _Stamp, zone: ZoneInfo, now: datetime) -> int:
    """The year of the first line for which the last is as late as it can be."""
    this = now.astimezone(zone).year
    for year in (this + 1, this):
        instants = _instants(last, year - last.years, zone)
        if instants and instants[0] <= now + timedelta(days=1):
            return year - last.years
    return this - 1 - last.years


def _instants(stamp: _Stamp, base: int, zone: ZoneInfo) -> tuple[datetime, ...]:
    """None for a day that the year does not have."""
    if stamp.instant is not None:
        return (stamp.instant,)
    month, day, hour, minute, second = stamp.parts
    try:
        local = datetime(base + stamp.years, month, day, hour, minute, min(second, 59), tzinfo=zone)
    except ValueError:
        return ()
    return tuple(dict.fromkeys(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)))


def _start(instants: tuple[datetime, ...], user: str, text: str) -> CronStart:
    command, closed = (text.rstrip()[:-1], True) if text.rstrip().endswith(")") else (text, False)
    keys = frozenset({command_key(command), command_key(split_percent(command)[0])})
    return CronStart(instants, user, command.strip(), keys, not closed)
