"""A cron expression as a value, and its evaluation on a calendar without a zone.

Everything here is naive local time; `clock_changes` knows about zones. Whether a day matches depends only on the
weekday of the month's first day and on the month's length, so the 28 possible months are worked out once, when the
expression is parsed, as bit masks (bit d: day d). The rest is looking up.
"""

from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime, timedelta

Ladder = tuple[int, ...]
"""Entry i is the smallest accepted value that is at least i, or -1; the last entry is always -1."""

SHORTEST_MONTH = 28
MONTH_LENGTHS = (28, 29, 30, 31)
_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SECOND = timedelta(seconds=1)


def ladder(mask: int, size: int) -> Ladder:
    """The ladder of the values 0 to ``size - 1`` whose bits ``mask`` has."""
    steps = [-1] * (size + 1)
    for value in range(size - 1, -1, -1):
        steps[value] = value if mask >> value & 1 else steps[value + 1]
    return tuple(steps)


def month_shape(year: int, month: int) -> int:
    """Which of the 28 possible months this is: an index into `CronExpression.days`."""
    length = _LENGTHS[month]
    if month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        length = 29
    return date(year, month, 1).weekday() * 4 + length - SHORTEST_MONTH


@dataclass(frozen=True, slots=True)
class CronExpression:
    """A parsed expression; `cron_parsing.parse_cron` makes it.

    ``days`` has one mask of days for each `month_shape`. ``wildcard`` says that the minute or hour field begins with
    ``*``: such an expression follows real time when the clock changes, any other is a fixed-time one.
    """

    text: str
    seconds: Ladder
    minutes: Ladder
    hours: Ladder
    months: Ladder
    days: tuple[int, ...]
    wildcard: bool

    def after(self, moment: datetime) -> datetime | None:
        """The first matching local time later than ``moment``; ``None`` when the calendar ends before it."""
        try:
            return self.at_or_after(moment.replace(microsecond=0, fold=0) + _SECOND)
        except OverflowError:
            return None

    def at_or_after(self, moment: datetime) -> datetime | None:
        """The first matching local time that is not before ``moment`` (a whole second)."""
        year, month, day = moment.year, moment.month, moment.day
        if self.months[month] == month:
            days = self.days[month_shape(year, month)] >> day
            if days & 1:
                time = self._time_from(moment.hour, moment.minute, moment.second)
                if time is not None:
                    return datetime(year, month, day, *time)
            days >>= 1
            if days:
                return self._start_of(year, month, day + _lowest_bit(days) + 1)
        return self._in_later_month(year, month)

    def ever_fires(self) -> bool:
        """Whether any day matches. All 14 kinds of year exist in the calendar's cycle, so these decide it."""
        return any(self._days_in(year, month) for year in _EVERY_KIND_OF_YEAR for month in set(self.months) - {-1, 0})

    def _time_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        if self.hours[hour] == hour:
            if self.minutes[minute] == minute and (found := self.seconds[second]) >= 0:
                return hour, minute, found
            if (found := self.minutes[minute + 1]) >= 0:
                return hour, found, self.seconds[0]
        if (found := self.hours[hour + 1]) >= 0:
            return found, self.minutes[0], self.seconds[0]
        return None

    def _in_later_month(self, year: int, month: int) -> datetime | None:
        while True:
            month = self.months[month + 1]
            if month < 0:
                year += 1
                month = self.months[1]
                if year > MAXYEAR:
                    return None
            days = self._days_in(year, month)
            if days:
                return self._start_of(year, month, _lowest_bit(days))

    def _days_in(self, year: int, month: int) -> int:
        return self.days[month_shape(year, month)]

    def _start_of(self, year: int, month: int, day: int) -> datetime:
        return datetime(year, month, day, self.hours[0], self.minutes[0], self.seconds[0])


def _lowest_bit(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


_EVERY_KIND_OF_YEAR = tuple({(date(y, 1, 1).weekday(), month_shape(y, 2)): y for y in range(2000, 2028)}.values())
