"""The cron language: what is accepted, what it means on a calendar, and what is refused with which words."""

import subprocess
import sys
from datetime import datetime

import pytest

from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.schedule.cron_parsing import MACROS, parse_cron
from tests.support.processor_time import quickest


def fires(expression: str, after: str, count: int = 3, seed: str = "") -> list[str]:
    """The next local times, as ``YYYY-MM-DD HH:MM`` with seconds where there are some."""
    cron = parse_cron(expression, seed)
    moment: datetime | None = datetime.fromisoformat(after)
    found = []
    for _ in range(count):
        assert moment is not None
        moment = cron.after(moment)
        assert moment is not None
        found.append(f"{moment:%Y-%m-%d %H:%M}" + (f":{moment:%S}" if moment.second else ""))
    return found


def days(expression: str, after: str, count: int = 4) -> list[str]:
    return [fire[:10] for fire in fires(expression, after, count)]


def problems(expression: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidDefinition) as caught:
        parse_cron(expression)
    return caught.value.problems


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/20 * * * *", ["2026-11-21 10:20", "2026-11-21 10:40", "2026-11-21 11:00"]),
        ("5-25/10,50 9 * * *", ["2026-11-22 09:05", "2026-11-22 09:15", "2026-11-22 09:25"]),
        ("0 12 * FEB-apr Mon", ["2027-02-01 12:00", "2027-02-08 12:00", "2027-02-15 12:00"]),
        ("30-30/7 08 * * *", ["2026-11-22 08:30", "2026-11-23 08:30", "2026-11-24 08:30"]),
        ("\t0   0  1\t1 * ", ["2027-01-01 00:00", "2028-01-01 00:00", "2029-01-01 00:00"]),
        ("59 23 31 12 *", ["2026-12-31 23:59", "2027-12-31 23:59", "2028-12-31 23:59"]),
        ("*/30 59 23 31 12 *", ["2026-12-31 23:59", "2026-12-31 23:59:30", "2027-12-31 23:59"]),
        ("15,45 * * * * *", ["2026-11-21 10:15:15", "2026-11-21 10:15:45", "2026-11-21 10:16:15"]),
    ],
)
def test_fields_name_the_times_that_debian_reads_from_them(expression: str, expected: list[str]) -> None:
    assert fires(expression, "2026-11-21T10:15:00") == expected


@pytest.mark.parametrize("macro", MACROS)
def test_a_macro_means_its_expression(macro: str) -> None:
    assert fires(f"{macro} ", "2026-11-21T10:15:00", 9) == fires(MACROS[macro], "2026-11-21T10:15:00", 9)


@pytest.mark.parametrize("sunday", ["0", "7", "sun", "SUN", "6-7/2,0", "7-7"])
def test_sunday_is_0_and_7(sunday: str) -> None:
    assert "2026-11-22" in days(f"0 0 * * {sunday}", "2026-11-21T00:00:00")


def test_a_range_may_end_on_7() -> None:
    assert days("0 0 * * 5-7", "2026-11-19T10:00:00") == ["2026-11-20", "2026-11-21", "2026-11-22", "2026-11-27"]


def test_two_restricted_day_fields_fire_on_either() -> None:
    assert days("0 0 13 * 5", "2026-11-01T00:00:00") == ["2026-11-06", "2026-11-13", "2026-11-20", "2026-11-27"]


@pytest.mark.parametrize("day_of_month", ["*/2", "*/1", "*/100,1-31"])
def test_a_day_field_that_begins_with_a_star_must_match_too(day_of_month: str) -> None:
    odd_mondays = [day for day in days(f"0 0 {day_of_month} * mon", "2026-11-01T00:00:00", 5) if int(day[-2:]) % 2]
    assert odd_mondays[0] == "2026-11-09"
    assert days("0 0 */2 * mon", "2026-11-01T00:00:00", 2) == ["2026-11-09", "2026-11-23"]


def test_a_star_later_in_a_list_does_not_join_the_day_fields() -> None:
    assert days("0 0 1-2,* * mon", "2026-11-03T00:00:00", 2) == ["2026-11-04", "2026-11-05"]


def test_a_long_step_leaves_the_first_value_outside_minutes_and_seconds() -> None:
    assert fires("0 */25 */40 * *", "2026-11-21T00:00:00", 2) == ["2026-12-01 00:00", "2027-01-01 00:00"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 L * *", ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]),
        ("0 0 L-2 * *", ["2026-01-29", "2026-02-26", "2026-03-29", "2026-04-28"]),
        ("0 0 LW * *", ["2026-01-30", "2026-02-27", "2026-03-31", "2026-04-30"]),
        ("0 0 1W * *", ["2026-02-02", "2026-03-02", "2026-04-01", "2026-05-01"]),
        ("0 0 15w,l * *", ["2026-01-15", "2026-01-31", "2026-02-16", "2026-02-28"]),
        ("0 0 31W * *", ["2026-01-30", "2026-03-31", "2026-05-29", "2026-07-31"]),
        ("0 0 * * 5L", ["2026-01-30", "2026-02-27", "2026-03-27", "2026-04-24"]),
        ("0 0 * * friL", ["2026-01-30", "2026-02-27", "2026-03-27", "2026-04-24"]),
        ("0 0 * * 7L", ["2026-01-25", "2026-02-22", "2026-03-29", "2026-04-26"]),
        ("0 0 * * 2#3", ["2026-01-20", "2026-02-17", "2026-03-17", "2026-04-21"]),
        ("0 0 * * TUE#1,fri#5", ["2026-01-06", "2026-01-30", "2026-02-03", "2026-03-03"]),
    ],
)
def test_last_working_and_nth_days(expression: str, expected: list[str]) -> None:
    assert days(expression, "2026-01-01T12:00:00") == expected


@pytest.mark.parametrize("start", ["2096-02-29T00:00:00", "2097-01-01T00:00:00", "2100-02-28T23:59:00"])
def test_a_leap_day_survives_the_eight_year_gap_at_2100(start: str) -> None:
    assert fires("0 0 29 2 *", start, 1) == ["2104-02-29 00:00"]


def test_the_calendar_ends_without_an_error() -> None:
    cron = parse_cron("0 0 1 1 *")
    assert cron.after(datetime(9999, 1, 1)) is None
    assert parse_cron("* * * * *").after(datetime(9999, 12, 31, 23, 59, 59)) is None


@pytest.mark.parametrize("hashed", ["H", "H/7", "H(3-9)", "H(0-29)/10"])
def test_a_hashed_minute_depends_on_the_seed_alone(hashed: str) -> None:
    chosen = {tuple(fires(f"{hashed} 4 * * *", "2026-01-01T00:00:00", 8, f"trigger-{n}")) for n in range(100)}
    assert 2 < len(chosen) <= 60
    assert fires(f"{hashed} 4 * * *", "2026-01-01T00:00:00", 8, "a") == fires(
        f"{hashed} 4 * * *", "2026-01-01T00:00:00", 8, "a"
    )


def test_hashed_values_stay_in_their_range_and_step() -> None:
    for n in range(200):
        minutes = {int(fire[14:16]) for fire in fires("H(10-29)/10 * * * *", "2026-01-01T00:00:00", 4, str(n))}
        assert len(minutes) == 2
        assert all(10 <= minute <= 29 for minute in minutes)
        assert int(fires("0 0 H * *", "2026-01-01T00:00:00", 1, str(n))[0][8:10]) <= 28


def test_hashed_fields_differ_from_one_another() -> None:
    pairs = {tuple(fires("H H(0-23) * * *", "2026-01-01T00:00:00", 1, str(n))[0][11:].split(":")) for n in range(300)}
    assert len({(int(hour) - int(minute)) % 24 for hour, minute in pairs}) > 12


def test_a_hashed_value_is_the_same_in_another_process() -> None:
    code = "from scheduler_domain.schedule.cron_parsing import parse_cron; print(parse_cron('H H H H H', 'p/w/t'))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
        for seed in ("1", "2")
    }
    assert runs == {f"{parse_cron('H H H H H', 'p/w/t')}\n"}


@pytest.mark.parametrize("text", ["", " ", "*", "* * * *", "* * * * * * *", "0 0 1 1 * 2099 1"])
def test_a_wrong_number_of_fields_is_named(text: str) -> None:
    (problem,) = problems(text)
    assert problem.code == "invalid_cron"
    assert "expected 5 fields (or 6 with seconds first)" in problem.message


BAD_PARTS = [
    "*/0", "*/61", "*/-1", "*/", "1-", "-5", "5-1", "1-9999999", "1,,2", ",", "1/2/3", "60", "99999999999999", "5/15",
    "0/1", "R", "?", "L", "W", "5L", "1#2", "1x", "x", "*5", "**", "*-5", "1-2-3", "mon", "\u00b9",
    "\u0663", "+1", "1.5", "0x1",
    "H/0", "H/61", "H(", "H()", "H(9-3)", "H(0-60)", "HH", "~", "0-59~", "1-5/+2", "1\x00", "\ud800", "&", "1-5&",
]  # fmt: skip


@pytest.mark.parametrize("part", BAD_PARTS)
def test_a_wrong_part_is_named_with_its_field_and_what_is_accepted(part: str) -> None:
    (first, *_) = problems(f"{part} * * * *")
    assert first.code == "invalid_cron"
    assert first.message.startswith("minute field, ")
    assert "accepted: 0-59" in first.message
    assert first.loc == ("schedule",)


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("0 24 * * *", "hour"),
        ("0 */0 * * *", "hour"),
        ("0 0 0 * *", "day of month"),
        ("0 0 32 * *", "day of month"),
        ("0 0 32W * *", "day of month"),
        ("0 0 L-31 * *", "day of month"),
        ("0 0 15W-20 * *", "day of month"),
        ("0 0 1#2 * *", "day of month"),
        ("0 0 * 0 *", "month"),
        ("0 0 * 13 *", "month"),
        ("0 0 * janu *", "month"),
        ("0 0 * jan/2 *", "month"),
        ("0 0 * L *", "month"),
        ("0 0 * * 8", "day of week"),
        ("0 0 * * 8L", "day of week"),
        ("0 0 * * L", "day of week"),
        ("0 0 * * 5#6", "day of week"),
        ("0 0 * * 5#0", "day of week"),
        ("0 0 * * mon#-1", "day of week"),
        ("0 0 * * MON-SUN", "day of week"),
        ("0 0 * * 7-wed", "day of week"),
        ("0 0 * * */mon", "day of week"),
        ("*/60 * * * * *", "second"),
    ],
)
def test_every_field_refuses_what_is_not_its_own(expression: str, field: str) -> None:
    (problem,) = problems(expression)
    assert problem.message.startswith(f"{field} field, ")


def test_all_wrong_parts_are_reported_at_once() -> None:
    found = [problem.message.split(":")[0] for problem in problems("61,x 24 * 13 *")]
    assert found == ["minute field, '61'", "minute field, 'x'", "hour field, '24'", "month field, '13'"]


def test_a_value_with_a_step_is_shown_how_to_write_it() -> None:
    assert "write 5-59/15" in problems("5/15 * * * *")[0].message


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("@every 5m", "every"),
        ("@every", "every"),
        ("@reboot", "boot"),
        ("@Daily", "@daily in lower case"),
        ("@dayly", "@daily"),
        ("@foo", "@hourly"),
        ("@yearly !", "@yearly"),
        ("@", "@hourly"),
        ("@ daily", "@daily"),
    ],
)
def test_an_unknown_macro_is_refused_with_advice(text: str, advice: str) -> None:
    (problem,) = problems(text)
    assert problem.code == "invalid_cron"
    assert advice in problem.message


@pytest.mark.parametrize("text", ["0" * 5000, "0," * 127 + "0 0 * * *", " " * 257, "*" * 10_000])
def test_more_than_256_characters_are_refused(text: str) -> None:
    (problem,) = problems(text)
    assert problem.code == "too_long"
    assert "256" in problem.message


def test_256_characters_are_accepted() -> None:
    assert parse_cron(("0," * 120 + "0 0 * * *").ljust(256)).minutes[0] == 0


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 30 2 *",
        "0 0 31 4 *",
        "0 0 31 2,4,6,9,11 *",
        "0 0 31 feb */1",
        "0 0 L-30 2,4,6 *",
        "0 0 31W 4 *",
        "* * * 30 2 *",
    ],
)
def test_what_never_fires_is_refused_within_milliseconds(expression: str) -> None:
    (problem,) = problems(expression)
    assert quickest(lambda: problems(expression)) < 0.05
    assert problem.code == "never_fires"
    assert "no date in the next 10 years" in problem.message


@pytest.mark.parametrize("expression", ["0 0 29 2 *", "0 0 29 2 */7", "0 0 30 2 mon", "0 0 L-28 2 *", "0 0 * 2 0#5"])
def test_what_fires_rarely_is_accepted(expression: str) -> None:
    assert parse_cron(expression).after(datetime(2026, 1, 1)) is not None


@pytest.mark.parametrize("text", ["\x00" * 200, "\x1b[31m * * * *", "<script> * * * *", "5\u00a0* * * *", "5\n* * * *"])
def test_a_message_escapes_and_shortens_what_it_repeats(text: str) -> None:
    for problem in problems(text):
        assert problem.message.isprintable()
        assert len(problem.message) < 300
