"""What a trigger's ``dst`` changes where clocks change. The expected instants follow from `zoneinfo` by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler_domain.schedule.dst import CLOCK_CHANGE, DST_SKIP, DstPolicy, GapRule, RepeatRule
from scheduler_domain.schedule.fire_policy import MisfirePolicy
from scheduler_domain.schedule.policies import DueDecision, DueOutcome, decide_due
from scheduler_domain.schedule.steps import Timetable
from scheduler_domain.schedule.timetable import parse_timetable, preview

SPRING, AUTUMN = ("2026-03-29T00:10", "2026-03-29T01:45"), ("2026-10-24T12:00", "2026-10-25T12:00")
CORRECTION = ("2011-12-29T00:00", "2011-12-31T12:00")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def policy(written: dict[str, str]) -> DstPolicy:
    gap, repeat = written.get("gap"), written.get("repeat")
    return DstPolicy(None if gap is None else GapRule(gap), None if repeat is None else RepeatRule(repeat))


def walk(timetable: Timetable, window: tuple[str, str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The due times after the window's start until its end, and what was lost, with its rule."""
    moment, end = utc(window[0]), utc(window[1])
    due: list[str] = []
    lost: list[tuple[str, str]] = []
    while True:
        step = timetable.step_after(moment)
        lost += [(f"{each.at:%m-%dT%H:%M:%S}", each.rule) for each in step.lost]
        if step.at is None or step.at > end:
            return due, lost
        due.append(f"{step.at:%m-%dT%H:%M}")
        moment = step.at


@pytest.mark.parametrize(
    ("expression", "dst", "due", "lost"),
    [
        pytest.param("30 2 * * *", {"gap": "skip"}, [], [("03-29T00:59:59", DST_SKIP)], id="a fixed time is left out"),
        pytest.param("30 2 * * *", {"gap": "run_after"}, ["03-29T01:00"], [], id="a fixed time fires at the end"),
        pytest.param("30 2 * * *", {"repeat": "twice"}, ["03-29T01:00"], [], id="'repeat' does not touch a gap"),
        pytest.param("*/20 2 * * *", {"gap": "run_after"}, ["03-29T01:00"], [], id="a wildcard fires once at the end"),
        pytest.param(
            "7,33 * * * *", {"gap": "run_after"},
            ["03-29T00:33", "03-29T01:00", "03-29T01:07", "03-29T01:33"], [],
            id="a wildcard hour has its own fire at the end",
        ),
        pytest.param(
            "*/30 * * * *", {"gap": "run_after"},
            ["03-29T00:30", "03-29T01:00", "03-29T01:30"], [], id="once, where a time at the end is due anyway",
        ),
        pytest.param(
            "*/30 * * * *", {"gap": "skip"}, ["03-29T00:30", "03-29T01:00", "03-29T01:30"],
            [("03-29T00:59:59", DST_SKIP)], id="what a wildcard leaves out is recorded when the trigger says so",
        ),
        pytest.param(
            "30 2,3 * * *", {"gap": "skip"}, ["03-29T01:30"],
            [("03-29T00:59:59", DST_SKIP)], id="the time after the gap stays",
        ),
    ],
)  # fmt: skip
def test_a_gap(expression: str, dst: dict[str, str], due: list[str], lost: list[tuple[str, str]]) -> None:
    assert walk(parse_timetable("schedule", expression, "Europe/Berlin", dst=policy(dst)), SPRING) == (due, lost)


@pytest.mark.parametrize(
    ("expression", "dst", "due"),
    [
        ("30 2 * * *", {"repeat": "twice"}, ["10-25T00:30", "10-25T01:30"]),
        ("30 2 * * *", {"repeat": "once"}, ["10-25T00:30"]),
        ("30 2 * * *", {"gap": "skip"}, ["10-25T00:30"]),
        ("*/30 2 * * *", {"repeat": "once"}, ["10-25T00:00", "10-25T00:30"]),
        ("*/30 2 * * *", {"repeat": "twice"}, ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30"]),
        ("0 2,3 * * *", {"repeat": "twice"}, ["10-25T00:00", "10-25T01:00", "10-25T02:00"]),
    ],
)
def test_a_repeated_hour(expression: str, dst: dict[str, str], due: list[str]) -> None:
    assert walk(parse_timetable("schedule", expression, "Europe/Berlin", dst=policy(dst)), AUTUMN) == (due, [])


def test_a_wildcard_that_runs_once_goes_on_after_the_second_pass_from_every_moment_in_it() -> None:
    timetable = parse_timetable("schedule", "*/30 * * * *", "Europe/Berlin", dst=DstPolicy(repeat=RepeatRule.ONCE))
    for minute in range(60):
        assert timetable.next_after(datetime(2026, 10, 25, 1, minute, 17, tzinfo=UTC)) == utc("2026-10-25T02:00")


@pytest.mark.parametrize(
    ("dst", "due", "lost"),
    [
        ({"repeat": "once"}, ["12-29T22:00", "12-30T22:00"], [("12-30T09:59:59", CLOCK_CHANGE)]),
        ({"gap": "skip"}, ["12-29T22:00", "12-30T22:00"], [("12-30T09:59:59", DST_SKIP)]),
        ({"gap": "run_after"}, ["12-29T22:00", "12-30T10:00", "12-30T22:00"], []),
    ],
)
def test_a_correction_is_caught_up_only_when_the_trigger_says_so(
    dst: dict[str, str], due: list[str], lost: list[tuple[str, str]]
) -> None:
    assert walk(parse_timetable("schedule", "0 12 * * *", "Pacific/Apia", dst=policy(dst)), CORRECTION) == (due, lost)


def test_the_ledger_says_that_the_trigger_wanted_it_left_out() -> None:
    timetable = parse_timetable("schedule", "30 2 * * *", "Europe/Berlin", dst=DstPolicy(GapRule.SKIP))
    due = utc("2026-03-28T01:30")
    decisions = decide_due(timetable, due, due, MisfirePolicy.FIRE_ONCE)
    left_out = DueDecision(utc("2026-03-29T01:00") - timedelta(microseconds=1), DueOutcome.SKIPPED, "dst:skip")
    assert decisions.rows[1:] == (left_out,)
    assert decisions.next_at == utc("2026-03-30T00:30")


@pytest.mark.parametrize(
    ("expression", "zone", "after", "dst", "note"),
    [
        (
            "30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00", {"gap": "skip"},
            "02:30 does not exist on 2026-03-29; skipped (dst:skip)",
        ),
        (
            "*/30 * * * *", "Europe/Berlin", "2026-03-29T01:30:00+01:00", {"gap": "run_after"},
            "02:00 and 02:30 do not exist on 2026-03-29; fires once at 03:00",
        ),
        (
            "0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00-10:00", {"gap": "run_after"},
            "12:00 does not exist on 2011-12-30; fires at 00:00 on 2011-12-31",
        ),
        (
            "30 2 * * *", "Europe/Berlin", "2026-10-25T02:30:00+02:00", {"repeat": "twice"},
            "02:30 happens twice on 2026-10-25; this is the second time",
        ),
        (
            "*/30 * * * *", "Europe/Berlin", "2026-10-25T02:00:00+02:00", {"repeat": "once"},
            "02:30 happens twice on 2026-10-25; fires the first time only",
        ),
    ],
)  # fmt: skip
def test_a_preview_explains_the_policy(expression: str, zone: str, after: str, dst: dict[str, str], note: str) -> None:
    (fire,) = preview("schedule", expression, zone, datetime.fromisoformat(after), 1, dst=policy(dst))
    assert fire.note == note
