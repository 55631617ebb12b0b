"""A shifted timetable against its definition: move each due time of an excluded day by hand, and sort."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_domain.schedule.calendar import CalendarMode, CalendarRule, Shift
from scheduler_domain.schedule.shifted_timetable import ShiftedTimetable, first_kept
from scheduler_domain.schedule.steps import Timetable
from scheduler_domain.schedule.timetable import parse_timetable
from tests.properties.clock_changes import DAY, after_the_gap, instants_of, places, shown, until

SPAN = 6 * DAY
AROUND = 40 * DAY
KINDS = [
    ("schedule", "30 2 * * *"),
    ("schedule", "*/30 * * * *"),
    ("schedule", "15 0,1,2,23 * * *"),
    ("schedule", "0 */5 * * *"),
    ("schedule", "30 0 * * 1,4"),
    ("schedule", "RRULE:FREQ=DAILY;INTERVAL=2;BYHOUR=0,2;BYMINUTE=15"),
    ("schedule", "RRULE:FREQ=HOURLY;INTERVAL=7;BYMINUTE=0,45"),
    ("every", "5400"),
    ("every", "90001.5"),
    ("at", ""),
]


@dataclass(frozen=True)
class Days:
    """Some days of a window; outside of it as ``elsewhere`` says."""

    first: date
    pattern: tuple[bool, ...]

    def contains(self, day: date) -> bool:
        return self.pattern[(day - self.first).days % len(self.pattern)]


@st.composite
def rules(draw: st.DrawFn, first: date) -> CalendarRule:
    chance = draw(st.sampled_from([2, 4, 20]))
    pattern = tuple(draw(st.lists(st.integers(1, chance).map(lambda n: n == 1), min_size=1, max_size=40)))
    mode = draw(st.sampled_from(CalendarMode))
    return CalendarRule("c", Days(first, pattern), mode, draw(st.sampled_from(Shift)))


def target_of(rule: CalendarRule, day: date) -> date | None:
    days = [day + timedelta(days=n if rule.shift is Shift.NEXT else -n) for n in range(1, 32)]
    return next((each for each in days if not rule.excludes(each)), None)


def by_hand(base: Timetable, zone: ZoneInfo, rule: CalendarRule, start: datetime) -> tuple[set[datetime], set[date]]:
    """The due times after ``start`` within `SPAN`, and the days whose times no day could take."""
    due: set[datetime] = set()
    without: set[date] = set()
    for instant in until(base, start - AROUND, start + SPAN + AROUND):
        local = shown(instant, zone)
        if not rule.excludes(local.date()):
            due.add(instant)
            continue
        target = target_of(rule, local.date())
        if target is None:
            without.add(local.date())
            continue
        wanted = datetime.combine(target, local.time())
        if same := instants_of(wanted, zone):
            due.add(same[0])
            continue
        end, length = after_the_gap(wanted, zone)
        if length <= timedelta(hours=3):
            due.add(end)
    return {instant for instant in due if start < instant <= start + SPAN}, without


@settings(max_examples=120, deadline=None)
@given(places(before=4 * DAY), st.sampled_from(KINDS), st.data())
def test_every_due_time_of_an_excluded_day_moves_and_all_others_stay(
    place: tuple[ZoneInfo, datetime], kind: tuple[str, str], data: st.DataObject
) -> None:
    zone, start = place
    expression = kind[1] or (start + data.draw(st.timedeltas(-AROUND, AROUND))).isoformat()
    rule = data.draw(rules(start.date()))
    base = parse_timetable(kind[0], expression, zone.key, anchor=start - 50 * DAY)
    expected, _ = by_hand(base, zone, rule, start)
    assert list(until(ShiftedTimetable(base, zone, rule), start, start + SPAN)) == sorted(expected)


@settings(max_examples=60, deadline=None)
@given(places(before=4 * DAY), st.sampled_from(KINDS[:-1]), st.integers(30, 50), st.sampled_from(Shift))
def test_days_without_a_day_near_enough_are_lost_once_each(
    place: tuple[ZoneInfo, datetime], kind: tuple[str, str], length: int, shift: Shift
) -> None:
    zone, start = place
    days = tuple(n < length for n in range(200))
    rule = CalendarRule("c", Days((start + 3 * DAY).date(), days), CalendarMode.SKIP, shift)
    base = parse_timetable(kind[0], kind[1], zone.key, anchor=start - 50 * DAY)
    lost: list[datetime] = []
    moment: datetime | None = start
    while moment is not None and moment < start + 80 * DAY:
        step = ShiftedTimetable(base, zone, rule).step_after(moment)
        assert all(moment < each.at and (step.at is None or each.at < step.at) for each in step.lost)
        lost += (each.at for each in step.lost if each.rule == "calendar:c")
        moment = step.at
    firsts: dict[date, datetime] = {}
    for instant in until(base, start, start + 80 * DAY):
        firsts.setdefault(shown(instant, zone).date(), instant)
    expected = [at for day, at in firsts.items() if rule.excludes(day) and target_of(rule, day) is None]
    assert lost == expected


@settings(max_examples=60, deadline=None)
@given(places(before=4 * DAY), st.sampled_from(KINDS[:-1]), st.data())
def test_without_a_shift_the_first_due_time_that_stays_is_found(
    place: tuple[ZoneInfo, datetime], kind: tuple[str, str], data: st.DataObject
) -> None:
    zone, start = place
    rule = data.draw(rules(start.date()))
    base = parse_timetable(kind[0], kind[1], zone.key, anchor=start - 50 * DAY)
    stays = (at for at in until(base, start, start + 300 * DAY) if not rule.excludes(shown(at, zone).date()))
    assert first_kept(base, zone, rule, start).at == next(stays, None)
