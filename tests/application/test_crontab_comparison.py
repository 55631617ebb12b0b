"""What cron's log says, and how it compares with what shadow triggers predicted."""

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from scheduler_application.importing.comparison import Comparison, Predicted, compare, covered
from scheduler_application.importing.cron_log import CronLog, command_key, read_cron_log
from scheduler_domain.schedule.timetable import parse_timetable

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2027, 6, 1, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def read(lines: Iterable[str], year: int | None = None, now: datetime = NOW) -> CronLog:
    return read_cron_log(lines, BERLIN, year, now)


def traditional(instant: datetime, message: str) -> str:
    local = instant.astimezone(BERLIN)
    return f"{local:%b} {local.day:2} {local:%H:%M:%S} web1 {message}\n"


def iso(instant: datetime, message: str) -> str:
    return f"{instant.astimezone(BERLIN).isoformat(timespec='microseconds')} web1 {message}\n"


def started(user: str, command: str, program: str = "CRON[4711]") -> str:
    return f"{program}: ({user}) CMD ({command})"


def due_times(schedule: str, first: str, last: str) -> list[datetime]:
    timetable = parse_timetable("schedule", schedule, "Europe/Berlin")
    found: list[datetime] = []
    due = timetable.next_after(at(first) - timedelta(seconds=1))
    while due is not None and due <= at(last):
        found.append(due)
        due = timetable.next_after(due)
    return found


def prediction(due: list[datetime], command: str = "/srv/a", user: str | None = "root") -> Predicted:
    return Predicted(f"a-{command_key(command)}", "x", user, command, LONG_AGO, due)


def compared(predicted: list[Predicted], log: CronLog) -> Comparison:
    window = covered(log)
    assert window is not None
    return compare(predicted, log, *window)


@pytest.mark.parametrize(
    ("line", "user", "command"),
    [
        (
            "Nov 21 03:17:01 web1 CRON[123]: (root) CMD (   cd / && run-parts  --report /etc/cron.hourly)",
            "root",
            "cd / && run-parts  --report /etc/cron.hourly",
        ),
        ("Nov  1 03:17:01 web1 CROND[9]: (ada) CMD (a (b) c)", "ada", "a (b) c"),
        ("Nov  1 03:17:01 web1 /USR/SBIN/CRON[9]: (ada) CMD ((a; b))", "ada", "(a; b)"),
        ("Nov  1 03:17:01 web1 cron[9]: (ada) CMD ([77] a)", "ada", "a"),
        (
            "2026-11-21T03:17:01.123456+00:00 web1 CRON[1]: (www-data) CMD ([ -x /a ] && /a)",
            "www-data",
            "[ -x /a ] && /a",
        ),
        ("2026-11-21T03:17:01Z web1 CRON[1]: (ada) CMD (a)\r", "ada", "a"),
        ("2026-11-21T03:17:01+0100 web1 CROND[1]: (ada) CMD (a)", "ada", "a"),
        ("2026-11-21 03:17:01.5+01:00 web1 crond[1]: (ada) CMD (a)", "ada", "a"),
    ],
)
def test_a_start_is_read_from_every_usual_form(line: str, user: str, command: str) -> None:
    (start,) = read([f"{line}\n"]).starts
    assert (start.user, start.command, start.cut) == (user, command, False)


@pytest.mark.parametrize(
    "line",
    [
        "Nov 21 03:17:01 web1 CROND[9]: (ada) CMDEND (a)",
        "Nov 21 03:17:01 web1 CROND[9]: (ada) CMDOUT (a)",
        "Nov 21 03:17:01 web1 cron[9]: (ada) RELOAD (crontabs/ada)",
        "Nov 21 03:17:01 web1 CRON[9]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
        "Nov 21 03:17:01 web1 sshd[9]: (ada) CMD (a)",
        "Foo 21 03:17:01 web1 CRON[9]: (ada) CMD (a)",
        "(ada) CMD (a)",
        "2026-13-21T03:17:01Z web1 CRON[1]: (ada) CMD (a)",
        "0001-01-01T00:00:00+14:00 web1 CRON[1]: (ada) CMD (a)",
    ],
)
def test_other_lines_are_no_starts(line: str) -> None:
    assert read([line]).starts == []


def test_every_line_with_a_time_says_what_the_log_covers() -> None:
    log = read(["rubbish\n", "Nov 21 00:00:01 web1 a: b\n", "Nov 21 12:00:00 web1 CRON[1]: x\n"])
    assert (log.first, log.last) == (at("2026-11-21T00:00:01+01:00"), at("2026-11-21T12:00:00+01:00"))
    assert covered(log) == (log.first, at("2026-11-21T11:59:00+01:00"))
    assert covered(read([])) is None


def test_the_year_turns_where_the_months_begin_anew() -> None:
    lines = [
        "Dec 31 23:59:01 h CRON[1]: (a) CMD (x)\n",
        "Jan  1 00:00:01 h CRON[1]: (a) CMD (x)\n",
        "Dec 31 23:59:59 h CRON[1]: (a) CMD (late)\n",
        "Feb  1 00:00:01 h CRON[1]: (a) CMD (x)\n",
    ]
    instants = [start.instants[0].astimezone(BERLIN) for start in read(lines).starts]
    assert [instant.year for instant in instants] == [2026, 2027, 2026, 2027]
    assert [start.instants[0].astimezone(BERLIN).year for start in read(lines, 2019).starts] == [2019, 2020, 2019, 2020]


@pytest.mark.parametrize(
    ("now", "year"), [("2026-11-22T00:00:00Z", 2026), ("2026-11-20T12:00:00Z", 2026), ("2026-11-19T00:00:00Z", 2025)]
)
def test_without_a_year_the_log_is_as_late_as_it_can_be(now: str, year: int) -> None:
    (start,) = read(["Nov 21 03:17:01 h CRON[1]: (a) CMD (x)\n"], now=at(now)).starts
    assert start.instants[0].year == year


def test_a_29th_of_february_is_of_a_leap_year_or_left_out() -> None:
    line = ["Feb 29 03:17:01 h CRON[1]: (a) CMD (x)\n"]
    assert len(read(line, 2028).starts) == 1
    assert read(line, 2027).starts == []


def test_a_time_that_came_twice_is_two_instants_until_the_log_is_past_the_first() -> None:
    lines = [f"Oct 25 0{time} h CRON[1]: (a) CMD (x)\n" for time in ("2:15:01", "2:45:01", "2:15:02", "2:45:02")]
    starts = read(lines, 2026).starts
    assert [len(start.instants) for start in starts] == [2, 2, 1, 1]
    assert [start.instants[-1] for start in starts[2:]] == [at("2026-10-25T01:15:02Z"), at("2026-10-25T01:45:02Z")]


NIGHTS = {
    "spring": ("2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z"),
    "autumn": ("2026-10-24T00:00:00Z", "2026-10-26T00:00:00Z"),
    "new year": ("2026-12-30T00:00:00Z", "2027-01-03T00:00:00Z"),
    "leap day": ("2028-02-28T00:00:00Z", "2028-03-02T00:00:00Z"),
}
SCHEDULES = ("30 2 * * *", "*/15 * * * *", "17 * * * *", "0 0 * * *", "59 23 31 12 *", "5 3 29 2 *")


@pytest.mark.parametrize("write", [traditional, iso])
@pytest.mark.parametrize("night", NIGHTS)
def test_a_cron_that_does_as_predicted_agrees_and_every_difference_is_found(
    night: str, write: Callable[[datetime, str], str]
) -> None:
    chance = random.Random(night)
    window = NIGHTS[night]
    predicted = [
        prediction(due_times(schedule, *window), f"/srv/job {number}") for number, schedule in enumerate(SCHEDULES)
    ]
    real = [(due + timedelta(seconds=chance.uniform(0, 20)), each.command) for each in predicted for due in each.due]
    edges = [(at(window[0]) - timedelta(hours=2), ""), (at(window[1]) + timedelta(hours=2), "")]

    def log_of(starts: list[tuple[datetime, str]]) -> CronLog:
        lines = [
            write(instant, started("root", command) if command else "cron[1]: (CRON) INFO (x)")
            for instant, command in sorted([*starts, *edges])
        ]
        return read(lines, int(window[0][:4]))

    agreed = compared(predicted, log_of(real))
    assert agreed.agrees
    assert [len(each.matched) for each in agreed.schedules] == [len(each.due) for each in predicted]
    assert agreed.unknown == {}

    missing = chance.choice([start for start in real if start[1] == "/srv/job 1"])
    extra = (at(window[0]) + timedelta(hours=5, minutes=8), "/srv/job 1")
    differing = compared(predicted, log_of([start for start in real if start != missing] + [extra]))
    (found,) = (each for each in differing.schedules if each.predicted_only or each.real_only)
    assert found.command == "/srv/job 1"
    assert [instant for instant, _ in found.real_only] == [extra[0]]
    assert len(found.predicted_only) == 1
    assert abs(found.predicted_only[0] - missing[0]) <= timedelta(hours=1, seconds=20)


def test_a_match_is_at_most_a_minute_away_and_used_once() -> None:
    due = [at("2026-11-21T03:00:00Z"), at("2026-11-21T03:01:00Z"), at("2026-11-21T03:02:00Z")]
    seconds = (-60, 122, 125, 190)
    lines = [iso(due[0] + timedelta(seconds=offset), started("root", "/srv/a")) for offset in seconds]
    edges = [iso(due[0] + timedelta(hours=hours), "x: y") for hours in (-1, 1)]
    (found,) = compared([prediction(due)], read([edges[0], *lines, edges[1]])).schedules
    assert found.matched == [
        (due[0], due[0] - timedelta(seconds=60)),
        (due[2], due[0] + timedelta(seconds=122)),
    ]
    assert found.predicted_only == [due[1]]
    assert [instant for instant, _ in found.real_only] == [due[0] + timedelta(seconds=offset) for offset in (125, 190)]


def test_commands_match_by_user_and_without_differences_in_blanks_or_escapes() -> None:
    due = [at("2026-11-21T03:00:00Z")]
    commands = {
        "cd /  &&\trun-parts": "   cd / && run-parts",
        "echo café": "echo caf\\303\\251",
        "date +%d": "date +\\%d",
        "cat": "cat%one%two",
        "x" * 50: "x" * 45,
    }
    predicted = [prediction(due, command) for command in commands]
    lines = [iso(due[0], started("root", logged)) for logged in commands.values()]
    lines[-1] = lines[-1].replace(")\n", "\n")
    edges = [iso(due[0] + timedelta(hours=hours), "x: y") for hours in (-1, 1)]
    assert compared(predicted, read([edges[0], *lines, edges[1]])).agrees
    foreign = compared(predicted, read([edges[0], iso(due[0], started("bob", "cat")), edges[1]]))
    assert [each.predicted_only for each in foreign.schedules] == [due] * len(commands)
    assert foreign.unknown == {("bob", "cat"): 1}
    anyone = compared([prediction(due, "cat", None)], read([edges[0], iso(due[0], started("bob", "cat")), edges[1]]))
    assert anyone.agrees


def test_two_schedules_of_one_command_share_its_starts() -> None:
    first, second = at("2026-11-21T03:00:00Z"), at("2026-11-21T15:00:00Z")
    lines = [
        iso(first, "x: y"),
        *(iso(each, started("root", "/srv/a")) for each in (first, second)),
        iso(second, "x: y"),
    ]
    log = read([*lines, iso(second + timedelta(hours=1), "x: y")])
    assert compared([prediction([first]), prediction([second])], log).agrees


def test_the_ends_of_the_window_and_of_a_schedule_tear_nothing_apart() -> None:
    due = [at("2026-11-21T03:00:00Z"), at("2026-11-21T04:00:00Z"), at("2026-11-21T05:00:00Z")]
    log = read(iso(each + timedelta(seconds=1), started("root", "/srv/a")) for each in due)
    (found,) = compared([prediction(due)], log).schedules
    assert (len(found.matched), found.predicted_only, found.real_only) == (1, [], [])
    later = Predicted("a", "x", "root", "/srv/a", due[1] + timedelta(minutes=1), due[2:])
    (found,) = compare([later], log, due[0], due[2]).schedules
    assert (len(found.matched), found.predicted_only, found.real_only) == (1, [], [])


def test_a_real_start_that_the_ledger_decided_otherwise_says_by_which_rule() -> None:
    due = at("2026-11-21T03:00:00Z")
    each = Predicted("a", "x", "root", "/srv/a", LONG_AGO, [], {due: "paused"})
    log = read([iso(due - timedelta(hours=1), "x: y"), iso(due, started("root", "/srv/a"))])
    (found,) = compare([each], log, due - timedelta(hours=1), due).schedules
    assert found.real_only == [(due, "paused")]
