"""The cron language: text to `CronExpression`.

Five fields (minute, hour, day of month, month, day of week) with Debian's meaning, or six with seconds first, or one
of ``@yearly @annually @monthly @weekly @daily @midnight @hourly``. Sunday is 0 and 7. Day of month and day of week:
a day that either names, but when one of them begins with ``*`` a day that both name. Beyond Debian:

========== =========================================== ========================
``L``      last day of the month; ``L-2``: two earlier day of month
``15W``    working day nearest to the 15th; ``LW``     day of month
``5L``     last Friday of the month (``friL``)         day of week
``2#3``    third Tuesday of the month (``tue#3``)      day of week
``H``      a value fixed by a hash of the seed;        every field but month
           ``H/15``, ``H(0-29)``, ``H(0-29)/10``       and names
========== =========================================== ========================
"""

import difflib
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar

from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.schedule import cron_days, cron_fields
from scheduler_domain.schedule.cron import CronExpression, Ladder, ladder
from scheduler_domain.schedule.cron_days import DayRule
from scheduler_domain.schedule.cron_fields import Field, PartError, shown

Read = TypeVar("Read")

MAX_LENGTH = 256
KEPT = 4_096
"""How many expressions are kept parsed: parsing takes ten times as long as finding the next time."""

LOC = ("schedule",)
"""Where the problems say they are: the key of the expression in a trigger."""

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_BLANKS = re.compile(r"[ \t]+")
_LAST_DAY = re.compile(r"L(?:-([0-9]{1,2}))?(W?)")
_WORKING_DAY = re.compile(r"([0-9]{1,2})W")
_NTH_WEEKDAY = re.compile(r"([0-9]|[A-Za-z]{3})(?:L|#([0-9]+))", re.IGNORECASE)


def parse_cron(text: str, seed: str = "") -> CronExpression:
    """The expression that ``text`` says; ``seed``, the trigger's identity, decides what ``H`` becomes.

    Raises `InvalidDefinition` with every problem found (``invalid_cron``, ``too_long``), or with ``never_fires``
    when no calendar day can ever match.
    """
    if len(text) > MAX_LENGTH:
        raise _invalid("too_long", f"the expression has {len(text)} characters; at most {MAX_LENGTH} are accepted")
    # Without an H all triggers with this expression share it.
    return _parse(text.strip(" \t\r\n"), seed if "H" in text.upper() else "")


@lru_cache(maxsize=KEPT)
def _parse(text: str, seed: str) -> CronExpression:
    expression = _assemble(text, _split(text), seed)
    if not expression.ever_fires():
        message = f"{shown(text)} never fires: it has no date in the next 10 years, nor ever"
        raise _invalid("never_fires", message)
    return expression


def _split(text: str) -> list[str]:
    """Six fields, seconds first."""
    if text.startswith("@"):
        text = _macro(text)
    fields = _BLANKS.split(text) if text else []
    if len(fields) == 5:
        return ["0", *fields]
    if len(fields) == 6:
        return fields
    found = f"found {len(fields)}" if fields else "the text is empty"
    hint = "; years are not accepted" if len(fields) == 7 else ""
    raise _invalid("invalid_cron", f"expected 5 fields (or 6 with seconds first), {found}{hint}")


def _macro(text: str) -> str:
    if text in MACROS:
        return MACROS[text]
    word = text.split(maxsplit=1)[0]
    if word.lower() == "@every":
        advice = "for an interval use the trigger 'every', such as 'every: 15m'"
    elif word.lower() == "@reboot":
        advice = "nothing boots here; start the run by hand or by another trigger"
    elif text.lower() in MACROS:
        advice = f"write {text.lower()} in lower case"
    elif near := difflib.get_close_matches(word[:40].lower(), MACROS, n=1):
        advice = f"did you mean {near[0]}? Accepted: {', '.join(MACROS)}"
    else:
        advice = f"accepted: {', '.join(MACROS)}"
    raise _invalid("invalid_cron", f"{shown(text)} is not a schedule: {advice}")


def _assemble(text: str, fields: list[str], seed: str) -> CronExpression:
    second, minute, hour, day_of_month, month, day_of_week = fields
    problems: list[Problem] = []
    seconds = _ladder_of(cron_fields.SECOND, second, seed, problems)
    minutes = _ladder_of(cron_fields.MINUTE, minute, seed, problems)
    hours = _ladder_of(cron_fields.HOUR, hour, seed, problems)
    of_month = list(_parts(cron_fields.DAY_OF_MONTH, day_of_month, seed, _day_of_month_rule, problems))
    months = _ladder_of(cron_fields.MONTH, month, seed, problems)
    of_week = list(_parts(cron_fields.DAY_OF_WEEK, day_of_week, seed, _day_of_week_rule, problems))
    if problems:
        raise InvalidDefinition(problems)
    both = day_of_month.startswith("*") or day_of_week.startswith("*")
    days = cron_days.days_of_every_month(of_month, of_week, both=both)
    wildcard = minute.startswith("*") or hour.startswith("*")
    return CronExpression(text, seconds, minutes, hours, months, days, wildcard)


def _ladder_of(spec: Field, text: str, seed: str, problems: list[Problem]) -> Ladder:
    mask = 0
    for values in _parts(spec, text, seed, cron_fields.values_of, problems):
        mask |= values
    return ladder(mask, spec.high + 1)


def _parts(
    spec: Field, text: str, seed: str, read: Callable[[Field, str, str], Read], problems: list[Problem]
) -> Iterator[Read]:
    """What each part of the list says; parts that are wrong go to ``problems``."""
    for part in text.split(","):
        try:
            yield read(spec, part, seed)
        except PartError as refused:
            message = f"{spec.name} field, {shown(part)}: {refused}; accepted: {spec.accepted}"
            problems.append(Problem(LOC, "invalid_cron", message))


def _day_of_month_rule(spec: Field, part: str, seed: str) -> DayRule:
    if last := _LAST_DAY.fullmatch(part.upper()):
        back = int(last[1] or 0)
        if back > 30:
            raise PartError("no month has a day that far before its last")
        return cron_days.last_working_day(back) if last[2] else cron_days.last_day(back)
    if working := _WORKING_DAY.fullmatch(part.upper()):
        return cron_days.nearest_working_day(cron_fields.value_of(spec, working[1]))
    return cron_days.plain_days(cron_fields.values_of(spec, part, seed))


def _day_of_week_rule(spec: Field, part: str, seed: str) -> DayRule:
    if special := _NTH_WEEKDAY.fullmatch(part):
        weekday = cron_fields.value_of(spec, special[1]) % 7
        if special[2] is None:
            return cron_days.last_weekday(weekday)
        if special[2] not in {"1", "2", "3", "4", "5"}:
            raise PartError("the number after # is 1 to 5")
        return cron_days.nth_weekday(weekday, int(special[2]))
    if part.upper() == "L":
        raise PartError("L needs a weekday before it, such as 5L for the last Friday")
    values = cron_fields.values_of(spec, part, seed)
    return cron_days.weekdays(values | values >> 7 & 1)


def _invalid(code: str, message: str) -> InvalidDefinition:
    return InvalidDefinition([Problem(LOC, code, message)])
