"""Which schedules to spread, how, and what becomes of the fullest minute: computed with the times they would have."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

from scheduler_application.schedule.expansion import FireRule
from scheduler_application.schedule.load import MINUTE
from scheduler_application.workflow.triggers import default_name
from scheduler_domain.workflow.definition import TriggerKind

JITTER = timedelta(minutes=10)
_SHORTEST_JITTER = timedelta(minutes=2)
MAX_ADVICE = 500
_MACROS = {"@hourly": "0 * * * *"}


@dataclass(frozen=True, slots=True)
class PlannedSchedule:
    """A trigger and its starts in the window of a forecast: seconds after its first minute, in order."""

    workflow: str
    name: str
    rule: FireRule
    starts: Sequence[float]


@dataclass(frozen=True, slots=True)
class Advice:
    """One schedule to spread. ``change`` has the keys of the trigger that change (a ``name`` keeps the identity of one
    that had none). ``crowded_starts`` counts its starts in crowded minutes. ``peak_after`` is the most starts in one
    minute once this advice and all before it are followed."""

    workflow: str
    trigger: str
    expression: str
    change: dict[str, str]
    crowded_starts: int
    peak_after: int


def advise(
    schedules: Iterable[PlannedSchedule],
    counts: Sequence[int],
    crowded: Iterable[int],
    starts_of: Callable[[FireRule], Iterable[float]],
) -> tuple[list[Advice], int]:
    """The advice about ``schedules``, whose starts are ``counts`` by minute: the first `MAX_ADVICE`, those that crowd
    the most first, and how many there are. ``starts_of`` gives the starts that a rule would have in the same window.
    """
    minutes = set(crowded)
    found = []
    for schedule in schedules:
        inside = sum(int(start // MINUTE) in minutes for start in schedule.starts)
        spread = spread_out(schedule) if inside else None
        if spread is not None:
            found.append((inside, schedule, *spread))
    found.sort(key=lambda entry: (-entry[0], entry[1].workflow, entry[1].name))
    left = list(counts)
    advice = []
    for inside, schedule, change, rule in found[:MAX_ADVICE]:
        for start in schedule.starts:
            left[int(start // MINUTE)] -= 1
        for start in starts_of(rule):
            left[int(start // MINUTE)] += 1
        expression = schedule.rule.expression
        advice.append(Advice(schedule.workflow, schedule.name, expression, change, inside, max(left)))
    return advice, len(found)


def spread_out(schedule: PlannedSchedule) -> tuple[dict[str, str], FireRule] | None:
    """What to change of a schedule so that it starts at a time of its own, and its rule then; ``None`` where it is
    spread already, or fires so often that it would make no difference."""
    rule = schedule.rule
    if rule.policy.jitter or rule.hashed:
        return None
    hashed = _hashed_minute(rule.expression) if rule.kind == TriggerKind.SCHEDULE else None
    if hashed is not None:
        change = {"schedule": hashed}
        if schedule.name == default_name(TriggerKind.SCHEDULE, rule.expression, rule.timezone):
            change["name"] = schedule.name
        return change, replace(rule, expression=hashed)
    gap = min((timedelta(seconds=later - start) for start, later in pairwise(schedule.starts)), default=JITTER)
    window = timedelta(minutes=min(JITTER, gap) // timedelta(minutes=1))
    if window < _SHORTEST_JITTER:
        return None
    jitter = f"{window // timedelta(minutes=1)}m"
    return {"jitter": jitter}, replace(rule, policy=replace(rule.policy, jitter=window))


def _hashed_minute(expression: str) -> str | None:
    """An hourly expression with ``H`` as its minute; ``None`` for one that is not hourly at a fixed minute."""
    fields = _MACROS.get(expression.strip(), expression).split()
    if len(fields) not in (5, 6):
        return None
    *seconds, minute, hour, day, month, weekday = fields
    if not minute.isdecimal() or hour != "*":
        return None
    return " ".join([*seconds, "H", hour, day, month, weekday])
