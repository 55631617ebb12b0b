"""Recurrence rules: the examples of RFC 5545 (3.8.5.3), what is refused, and what clocks do to them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.schedule.dst import DEBIAN, DstPolicy, GapRule, RepeatRule
from scheduler_domain.schedule.rrule_parsing import parse_rrule
from scheduler_domain.schedule.timetable import parse_timetable, preview

BERLIN = ZoneInfo("Europe/Berlin")
RFC_START = "DTSTART:19970902T090000"


def times(text: str, count: int, after: datetime = datetime(1960, 1, 1)) -> list[datetime]:
    """The first ``count`` local times after ``after``."""
    rule = parse_rrule(text, BERLIN)
    found: list[datetime] = []
    moment: datetime | None = after
    while len(found) < count and moment is not None and (moment := rule.after(moment)) is not None:
        found.append(moment)
    return found


@pytest.mark.parametrize(
    ("rule", "dates"),
    [
        ("FREQ=DAILY;COUNT=3", "09-02 09-03 09-04"),
        ("FREQ=DAILY;INTERVAL=2", "09-02 09-04 09-06 09-08"),
        ("FREQ=DAILY;INTERVAL=10;COUNT=5", "09-02 09-12 09-22 10-02 10-12"),
        ("FREQ=WEEKLY;COUNT=10", "09-02 09-09 09-16 09-23 09-30 10-07 10-14 10-21 10-28 11-04"),
        ("FREQ=WEEKLY;INTERVAL=2;WKST=SU", "09-02 09-16 09-30 10-14 10-28 11-11"),
        ("FREQ=WEEKLY;UNTIL=19971007T000000;WKST=SU;BYDAY=TU,TH",
         "09-02 09-04 09-09 09-11 09-16 09-18 09-23 09-25 09-30 10-02"),
        ("FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH", "09-02 09-04 09-16 09-18 09-30 10-02 10-14 10-16"),
        ("FREQ=MONTHLY;BYMONTHDAY=-3", "09-28 10-29 11-28 12-29"),
        ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15", "09-02 09-15 10-02 10-15 11-02 11-15 12-02 12-15"),
        ("FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15", "09-10 09-11 09-12 09-13 09-14 09-15"),
        ("FREQ=MONTHLY;INTERVAL=2;BYDAY=TU", "09-02 09-09 09-16 09-23 09-30 11-04"),
        ("FREQ=MONTHLY;BYDAY=TU,WE,TH;BYSETPOS=3;COUNT=3", "09-04 10-07 11-06"),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "09-29 10-30 11-27 12-30"),
        ("FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "09-13 10-11 11-08 12-13"),
        ("FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "09-15 09-30 10-15 10-30 11-15"),
    ],
)  # fmt: skip
def test_the_standards_examples_within_1997(rule: str, dates: str) -> None:
    wanted = dates.split()
    assert [f"{at:%m-%d}" for at in times(f"{RFC_START} RRULE:{rule}", len(wanted))] == wanted


@pytest.mark.parametrize(
    ("start", "rule", "dates"),
    [
        ("19970905", "FREQ=MONTHLY;COUNT=10;BYDAY=1FR", "1997-09-05 1997-10-03 1997-11-07 1997-12-05 1998-01-02"),
        ("19970907", "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU", "1997-09-07 1997-09-28 1997-11-02 1997-11-30"),
        ("19970922", "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "1997-09-22 1997-10-20 1997-11-17 1997-12-22 1998-01-19"),
        ("19970610", "FREQ=YEARLY;COUNT=10;BYMONTH=6,7", "1997-06-10 1997-07-10 1998-06-10 1998-07-10"),
        ("19970310", "FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3", "1997-03-10 1999-01-10 1999-02-10 1999-03-10"),
        ("19970101", "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
         "1997-01-01 1997-04-10 1997-07-19 2000-01-01 2000-04-09 2000-07-18 2003-01-01"),
        ("19970519", "FREQ=YEARLY;BYDAY=20MO", "1997-05-19 1998-05-18 1999-05-17"),
        ("19970512", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "1997-05-12 1998-05-11 1999-05-17"),
        ("19970313", "FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "1997-03-13 1997-03-20 1997-03-27 1998-03-05 1998-03-12"),
        ("19970902", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "1998-02-13 1998-03-13 1998-11-13 1999-08-13 2000-10-13"),
        ("19961105", "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
         "1996-11-05 2000-11-07 2004-11-02"),
        ("19970805", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
         "1997-08-05 1997-08-10 1997-08-19 1997-08-24"),
        ("19970805", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
         "1997-08-05 1997-08-17 1997-08-19 1997-08-31"),
        ("19980101", "FREQ=YEARLY;UNTIL=20000131T140000Z;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA",
         "1998-01-01 1998-01-02 1998-01-03"),
    ],
)  # fmt: skip
def test_the_standards_examples_over_years(start: str, rule: str, dates: str) -> None:
    wanted = dates.split()
    found = times(f"DTSTART:{start}T090000\nRRULE:{rule}", len(wanted))
    assert [f"{at:%Y-%m-%d}" for at in found] == wanted
    assert {at.hour for at in found} == {9}


@pytest.mark.parametrize(
    ("rule", "clock"),
    [
        ("FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T170000", "09:00 12:00 15:00"),
        ("FREQ=MINUTELY;INTERVAL=15;COUNT=6", "09:00 09:15 09:30 09:45 10:00 10:15"),
        ("FREQ=MINUTELY;INTERVAL=90;COUNT=4", "09:00 10:30 12:00 13:30"),
        ("FREQ=DAILY;BYHOUR=9,10;BYMINUTE=0,20,40", "09:00 09:20 09:40 10:00 10:20 10:40 09:00"),
        ("FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10", "09:00 09:20 09:40 10:00 10:20 10:40 09:00"),
    ],
)
def test_the_standards_examples_within_a_day(rule: str, clock: str) -> None:
    wanted = clock.split()
    assert [f"{at:%H:%M}" for at in times(f"{RFC_START} RRULE:{rule}", len(wanted))] == wanted


def test_without_a_start_the_phase_counts_from_the_first_of_january_1970() -> None:
    after = datetime(2026, 1, 1)
    assert times("RRULE:FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9", 2, after) == [
        datetime(2026, 1, 30, 9),
        datetime(2026, 2, 27, 9),
    ]
    # 1 January 1970 was a Thursday; 2026-01-08 is 2,923 weeks later.
    assert times("RRULE:FREQ=WEEKLY", 1, after) == [datetime(2026, 1, 8)]
    assert times("RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", 2, after) == [datetime(2026, 1, 12), datetime(2026, 1, 26)]
    assert times("RRULE:FREQ=YEARLY", 1, after) == [datetime(2027, 1, 1)]


def test_an_old_start_keeps_its_phase() -> None:
    rule = "DTSTART:19050607T080901 RRULE:FREQ=SECONDLY;INTERVAL=1000003"
    (found,) = times(rule, 1, datetime(2026, 1, 1))
    assert (found - datetime(1905, 6, 7, 8, 9, 1)) % timedelta(seconds=1_000_003) == timedelta()
    assert datetime(2026, 1, 1) < found <= datetime(2026, 1, 1) + timedelta(seconds=1_000_003)


def test_nothing_is_due_before_the_start_and_the_start_only_when_the_rule_names_it() -> None:
    assert times("DTSTART:20260107T090000 RRULE:FREQ=WEEKLY;BYDAY=MO", 1) == [datetime(2026, 1, 12, 9)]


@pytest.mark.parametrize(
    ("until", "last"),
    [
        ("20260103", datetime(2026, 1, 3, 23, 30)),
        ("20260103T233000", datetime(2026, 1, 3, 23, 30)),
        ("20260103T232959", datetime(2026, 1, 2, 23, 30)),
        ("20260103T223000Z", datetime(2026, 1, 3, 23, 30)),
        ("20260103T222959Z", datetime(2026, 1, 2, 23, 30)),
    ],
)
def test_until_takes_a_whole_day_a_local_time_or_utc_and_is_inclusive(until: str, last: datetime) -> None:
    assert times(f"DTSTART:20260101T233000 RRULE:FREQ=DAILY;UNTIL={until}", 9)[-1] == last


def test_single_times_are_left_out_and_added() -> None:
    text = (
        "DTSTART:20260101T090000\r\nRRULE:FREQ=DAILY;COUNT=4\r\n"
        "EXDATE:20260102T090000,20260109T090000\r\nRDATE:20260102T101500,20300101T000000"
    )
    assert times(text, 9) == [
        datetime(2026, 1, 1, 9),
        datetime(2026, 1, 2, 10, 15),
        datetime(2026, 1, 3, 9),
        datetime(2026, 1, 4, 9),
        datetime(2030, 1, 1),
    ]


def test_a_rule_goes_on_to_the_end_of_the_calendar() -> None:
    for rule in (
        "FREQ=SECONDLY",
        "FREQ=DAILY",
        "FREQ=WEEKLY;BYDAY=FR;BYSETPOS=1",
        "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=31",
    ):
        assert times(f"RRULE:{rule}", 999, datetime(9999, 12, 31, 23, 59, 58))[1:] == []
        timetable = parse_timetable("schedule", f"RRULE:{rule}", "Asia/Tokyo")
        assert timetable.next_after(datetime(9999, 12, 31, 23, tzinfo=UTC)) is None


def problems(text: str, zone: str = "UTC") -> tuple[Problem, ...]:
    with pytest.raises(InvalidDefinition) as caught:
        parse_timetable("schedule", text, zone)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("RRULE:FREQ=SOMETIMES", "SECONDLY, MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY"),
        ("RRULE:BYDAY=MO", "FREQ is missing"),
        ("RRULE:", "a part is empty"),
        ("RRULE:FREQ=DAILY;", "a part is empty"),
        ("RRULE:FREQ=DAILY;FREQ=DAILY", "FREQ is given twice"),
        ("RRULE:FREQ=DAILY;BYHUOR=9", "did you mean BYHOUR?"),
        ("RRULE:FREQ=DAILY;BYHOUR", "write BYHOUR=…"),
        ("RRULE:FREQ=YEARLY;BYEASTER=-2", "use a calendar"),
        ("RRULE:FREQ=DAILY;BYHOUR=24", "'24' is not accepted: 0 to 23"),
        ("RRULE:FREQ=DAILY;BYHOUR=9,,10", "'' is not accepted"),
        ("RRULE:FREQ=MINUTELY;BYSECOND=60", "0 to 59"),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=0", "1 to 31 and, from the end, -1 to -31"),
        ("RRULE:FREQ=MONTHLY;BYDAY=6MO", "more than 5 times"),
        ("RRULE:FREQ=MONTHLY;BYDAY=0MO", "is not a weekday"),
        ("RRULE:FREQ=MONTHLY;BYDAY=MON", "is not a weekday"),
        ("RRULE:FREQ=WEEKLY;BYDAY=1MO", "MONTHLY or YEARLY only"),
        ("RRULE:FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO", "without BYWEEKNO"),
        ("RRULE:FREQ=MONTHLY;BYWEEKNO=1", "FREQ=YEARLY only"),
        ("RRULE:FREQ=DAILY;BYYEARDAY=1", "BYYEARDAY is not accepted with FREQ=DAILY"),
        ("RRULE:FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY is not accepted with FREQ=WEEKLY"),
        ("RRULE:FREQ=DAILY;BYSETPOS=1", "give one"),
        ("RRULE:FREQ=DAILY;INTERVAL=0", "a whole number from 1"),
        ("RRULE:FREQ=YEARLY;INTERVAL=11", "at most 10 with FREQ=YEARLY"),
        ("RRULE:FREQ=DAILY;INTERVAL=\u0665", "a whole number"),
        ("RRULE:FREQ=WEEKLY;WKST=XX", "MO, TU, WE"),
        ("RRULE:FREQ=DAILY;COUNT=3", "COUNT needs a DTSTART"),
        ("DTSTART:20260101T090000 RRULE:FREQ=DAILY;COUNT=3;UNTIL=20270101", "exclude each other"),
        ("DTSTART:20260101T090000 RRULE:FREQ=DAILY;COUNT=1001", "from 1 to 1000"),
        ("DTSTART:20260101T090000 RRULE:FREQ=YEARLY;COUNT=100", "more than 40 years"),
        ("RRULE:FREQ=DAILY;UNTIL=2026-12-31", "20261231 (the whole day)"),
        ("RRULE:FREQ=DAILY;UNTIL=20261331", "not on the calendar"),
        ("DTSTART:20260101T090000Z RRULE:FREQ=DAILY", "timezone rules"),
        ("DTSTART;TZID=Europe/Berlin:20260101T090000 RRULE:FREQ=DAILY", "timezone rules"),
        ("DTSTART:20260101 RRULE:FREQ=DAILY", "such as 20260101T090000"),
        ("DTSTART:20260229T090000 RRULE:FREQ=DAILY", "not on the calendar"),
        ("DTSTART:18991231T090000 RRULE:FREQ=DAILY", "before 1900-01-01"),
        ("RRULE:FREQ=DAILY EXDATE:20260101", "EXDATE"),
        ("RRULE:FREQ=DAILY RRULE:FREQ=WEEKLY", "one RRULE"),
        ("DTSTART:20260101T090000", "the rule is missing"),
        ("DTSTART:20260101T090000 FREQ=DAILY", "write RRULE: before the rule"),
        ("FREQ=DAILY", "write RRULE: before the rule"),
        ("RRULE:FREQ=DAILY EXRULE:FREQ=WEEKLY", "EXDATE or a calendar"),
        ("RRULE:FREQ=DAILY BYHOUR=9", "is not understood"),
        ("RRULE:FREQ=DAILY;BYMONTHDAY=" + ",".join(["1"] * 200), "at most 256"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_is_accepted(text: str, says: str) -> None:
    (problem,) = problems(text)
    assert (problem.loc, problem.code) == (("schedule",), "invalid_rrule")
    assert says in problem.message
    assert len(problem.message) < 300


def test_all_problems_are_reported_together() -> None:
    found = problems("DTSTART:20260101T090000Z RRULE:FREQ=DALY;BYHOUR=25;X=1", "Nowhere")
    assert [problem.loc for problem in found] == [("schedule",)] * 4 + [("timezone",)]


@pytest.mark.parametrize(
    "text",
    [
        "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=31;BYDAY=5MO;BYMONTH=4",
        "RRULE:FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29",
        "RRULE:FREQ=DAILY;INTERVAL=7;BYDAY=MO",
        "RRULE:FREQ=HOURLY;INTERVAL=24;BYHOUR=5",
        "RRULE:FREQ=SECONDLY;INTERVAL=2;BYSECOND=1",
        "RRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6",
        "RRULE:FREQ=DAILY;BYHOUR=9;BYSETPOS=2",
        "DTSTART:20260101T000000 RRULE:FREQ=DAILY;UNTIL=20251231",
        "DTSTART:20260101T000000 RRULE:FREQ=DAILY;COUNT=1 EXDATE:20260101T000000",
    ],
)
def test_a_rule_without_a_date_is_refused(text: str) -> None:
    (problem,) = problems(text)
    assert (problem.loc, problem.code) == (("schedule",), "never_fires")


def due(text: str, after: str, count: int, dst: DstPolicy = DEBIAN) -> list[str]:
    fires = preview("schedule", text, "Europe/Berlin", datetime.fromisoformat(after), count, dst=dst)
    return [f"{fire.at:%m-%dT%H:%M}" for fire in fires]


def test_a_daily_rule_is_a_fixed_time_where_clocks_change() -> None:
    rule = "RRULE:FREQ=DAILY;BYHOUR=2;BYMINUTE=30"
    assert due(rule, "2026-03-28T12:00:00Z", 2) == ["03-29T01:00", "03-30T00:30"]
    assert due(rule, "2026-03-28T12:00:00Z", 1, DstPolicy(GapRule.SKIP)) == ["03-30T00:30"]
    assert due(rule, "2026-10-24T12:00:00Z", 2) == ["10-25T00:30", "10-26T01:30"]
    assert due(rule, "2026-10-24T12:00:00Z", 2, DstPolicy(repeat=RepeatRule.TWICE)) == ["10-25T00:30", "10-25T01:30"]


def test_an_hourly_rule_follows_real_time_where_clocks_change() -> None:
    rule = "RRULE:FREQ=HOURLY;BYMINUTE=30"
    assert due(rule, "2026-03-29T00:00:00Z", 3) == ["03-29T00:30", "03-29T01:30", "03-29T02:30"]
    after_gap = DstPolicy(GapRule.RUN_AFTER)
    assert due(rule, "2026-03-29T00:00:00Z", 3, after_gap) == ["03-29T00:30", "03-29T01:00", "03-29T01:30"]
    assert due(rule, "2026-10-25T00:00:00Z", 3) == ["10-25T00:30", "10-25T01:30", "10-25T02:30"]
    assert due(rule, "2026-10-25T00:00:00Z", 2, DstPolicy(repeat=RepeatRule.ONCE)) == ["10-25T00:30", "10-25T02:30"]


def test_a_preview_explains_a_rules_gap() -> None:
    rule = "RRULE:FREQ=DAILY;BYHOUR=2;BYMINUTE=0,30"
    (fire,) = preview("schedule", rule, "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), 1)
    assert fire.note == "02:00 and 02:30 do not exist on 2026-03-29; fires once at 03:00"
