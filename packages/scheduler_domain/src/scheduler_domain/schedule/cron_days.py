"""Which days of a month the two day fields of a cron expression name.

A rule takes the weekday of the month's first day (0 is Monday) and the month's length, and gives a mask of days.
Weekdays in rules count as in cron: 0 is Sunday.
"""

from collections.abc import Callable, Sequence

from scheduler_domain.schedule.cron import MONTH_LENGTHS

DayRule = Callable[[int, int], int]


def plain_days(values: int) -> DayRule:
    """The days of month whose bits are set."""
    return lambda _first, length: values & ((2 << length) - 2)


def last_day(back: int) -> DayRule:
    """``L`` and ``L-n``: the last day, or the one ``back`` days before it."""
    return lambda _first, length: 1 << (length - back) if back < length else 0


def nearest_working_day(day: int) -> DayRule:
    """``15W``: Monday to Friday nearest to the day, never in another month; nothing where the month lacks the day."""
    return lambda first, length: _nearest(day, first, length) if day <= length else 0


def last_working_day(back: int) -> DayRule:
    """``LW`` and ``L-nW``: Monday to Friday nearest to the day that `last_day` names."""
    return lambda first, length: _nearest(length - back, first, length) if back < length else 0


def weekdays(values: int) -> DayRule:
    """Every day on one of the weekdays whose bits are set."""
    return lambda first, length: sum(1 << day for day in range(1, length + 1) if values >> _weekday(day, first) & 1)


def nth_weekday(weekday: int, nth: int) -> DayRule:
    """``2#3``: the third Tuesday; nothing where the month has none."""

    def rule(first: int, length: int) -> int:
        day = _first_on(weekday, first) + 7 * (nth - 1)
        return 1 << day if day <= length else 0

    return rule


def last_weekday(weekday: int) -> DayRule:
    """``5L``: the last Friday."""

    def rule(first: int, length: int) -> int:
        day = _first_on(weekday, first)
        return 1 << day + 7 * ((length - day) // 7)

    return rule


def days_of_every_month(of_month: Sequence[DayRule], of_week: Sequence[DayRule], *, both: bool) -> tuple[int, ...]:
    """One mask for each `month_shape`: days that any rule of both fields names, or (not ``both``) of either."""
    masks = []
    for first in range(7):
        for length in MONTH_LENGTHS:
            by_month = _any_of(of_month, first, length)
            by_week = _any_of(of_week, first, length)
            masks.append(by_month & by_week if both else by_month | by_week)
    return tuple(masks)


def _any_of(rules: Sequence[DayRule], first: int, length: int) -> int:
    mask = 0
    for rule in rules:
        mask |= rule(first, length)
    return mask


def _weekday(day: int, first: int) -> int:
    return (first + day) % 7


def _first_on(weekday: int, first: int) -> int:
    return (weekday - first - 1) % 7 + 1


def _nearest(day: int, first: int, length: int) -> int:
    weekday = _weekday(day, first)
    if weekday == 6:
        day += -1 if day > 1 else 2
    elif weekday == 0:
        day += 1 if day < length else -2
    return 1 << day
