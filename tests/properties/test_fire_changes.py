"""What appears, vanishes and moves, applied to the old fires, gives the new ones."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_application.schedule.expansion import FireRule, planned_fires
from scheduler_application.schedule.fire_changes import (
    SHOWN,
    Differences,
    FireChanges,
    Side,
    differences,
    fires_of,
    no_fires,
    told,
)
from scheduler_domain.schedule.calendar import CalendarMode, CalendarRule, Shift
from scheduler_domain.schedule.fire_policy import FirePolicy

LIMIT = 400
FIELDS = ("0", "30", "5,50", "*/20", "H", "15-45/10")
HOURS = ("*", "2", "1-4", "*/6", "H", "0,23")
DAYS = ("*", "1", "15-20")
WEEKDAYS = ("*", "MON-FRI", "sun")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Kiritimati")
BEGINNINGS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))


class OddDays:
    """`Calendar`."""

    def contains(self, day: date) -> bool:
        return bool(day.day % 2)


@st.composite
def rules(draw: st.DrawFn, calendar: bool = True) -> FireRule:
    kind = draw(st.sampled_from(["schedule", "schedule", "every", "at"]))
    anchor = draw(BEGINNINGS)
    if kind == "schedule":
        fields = (FIELDS, HOURS, DAYS, ("*",), WEEKDAYS)
        expression = " ".join(draw(st.sampled_from(field)) for field in fields)
    elif kind == "every":
        expression = str(draw(st.integers(60, 200_000)))
    else:
        expression = anchor.isoformat()
    policy = FirePolicy(jitter=timedelta(seconds=draw(st.sampled_from([0, 0, 600, 86_400]))))
    rule = FireRule(kind, expression, draw(st.sampled_from(ZONES)), policy, anchor, draw(st.sampled_from("ab")))
    if calendar and draw(st.booleans()):
        mode = draw(st.sampled_from(CalendarMode))
        return replace(rule, calendar=CalendarRule("odd", OddDays(), mode, draw(st.sampled_from([None, *Shift]))))
    return rule


def starts(side: Side, until: datetime) -> list[datetime]:
    return [fire.starts_at for fire in side.fires if fire.due_at <= until]


def applied(old: list[datetime], found: Differences) -> Counter[datetime]:
    """The old starts with what changes: every one that goes away must have been there."""
    left = Counter(old)
    moves = list(chain.from_iterable(found.move.values()))
    for gone in [*chain.from_iterable(found.vanish.values()), *(before for before, _ in moves)]:
        assert left[gone] == 1
        del left[gone]
    left.update([*chain.from_iterable(found.appear.values()), *(after for _, after in moves)])
    return left


@settings(max_examples=300, deadline=None)
@given(rules(), rules(), BEGINNINGS, st.integers(1, 30))
def test_the_changes_applied_to_the_old_fires_give_the_new(
    before: FireRule, after: FireRule, begin: datetime, days: int
) -> None:
    until = begin + timedelta(days=days)
    old, new = fires_of(before, begin, until, LIMIT), fires_of(after, begin, until, LIMIT)
    found = differences(old, new)
    common = min(old.until, new.until)
    assert applied(starts(old, common), found) == Counter(starts(new, common))
    assert found.unchanged == len(set(starts(old, common)) & set(starts(new, common)))
    assert max(old.cost, new.cost) <= LIMIT
    check_told(told(found, old, new), found)


def check_told(changes: FireChanges, found: Differences) -> None:
    """The totals and the days count all that the lists may cut off."""
    assert changes.appear_total == sum(map(len, found.appear.values())) == sum(day.appear for day in changes.days)
    assert changes.vanish_total == sum(map(len, found.vanish.values())) == sum(day.vanish for day in changes.days)
    assert changes.move_total == sum(map(len, found.move.values())) == sum(day.move for day in changes.days)
    assert len(changes.appear) == min(SHOWN, changes.appear_total)
    assert len(changes.vanish) == min(SHOWN, changes.vanish_total)
    assert len(changes.move) == min(SHOWN, changes.move_total)
    assert all(time.at == time.local.astimezone(UTC) for time in (*changes.appear, *changes.vanish))


@settings(max_examples=50, deadline=None)
@given(rules(calendar=False), BEGINNINGS, st.integers(1, 200))
def test_a_window_that_is_cut_off_has_all_that_is_due_up_to_its_end(
    rule: FireRule, begin: datetime, limit: int
) -> None:
    until = begin + timedelta(days=10)
    side = fires_of(rule, begin, until, limit)
    assert list(side.fires) == list(planned_fires(rule, begin, side.until))
    assert side.cost == len(side.fires) <= limit


@settings(max_examples=50, deadline=None)
@given(rules(), BEGINNINGS)
def test_a_rule_that_stays_changes_nothing_and_one_without_another_appears_or_vanishes_wholly(
    rule: FireRule, begin: datetime
) -> None:
    until = begin + timedelta(days=5)
    side = fires_of(rule, begin, until, LIMIT)
    assert differences(side, side) == Differences(unchanged=len(side.fires))
    come, gone = differences(no_fires(until), side), differences(side, no_fires(until))
    assert list(chain.from_iterable(come.appear.values())) == [fire.starts_at for fire in side.fires]
    assert come.appear == gone.vanish
    assert not any((come.vanish, come.move, gone.appear, gone.move))
