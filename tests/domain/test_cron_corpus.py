"""The open cron vectors: 22 implementations' own test cases, each with what Debian's cron does with it.

The corpus is found through ``ORRERY_CORPUS``. Each test prints how many of its cases pass of how many. The classes
that are left out are stated in `INCOMPARABLE` and `differs_on_purpose`, each with its reason; nothing else is.
"""

import json
import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.schedule.cron_parsing import parse_cron
from scheduler_domain.schedule.cron_timetable import CronTimetable

DEFAULT = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"
VECTORS = Path(os.environ.get("ORRERY_CORPUS") or DEFAULT) / "cron" / "vectors.jsonl"

pytestmark = pytest.mark.skipif(not VECTORS.is_file(), reason=f"no cron vectors at {VECTORS} (ORRERY_CORPUS)")

Case = dict[str, Any]
Report = Callable[[str, int, list[str]], None]
TICK = timedelta(microseconds=1)

INCOMPARABLE = {
    "quartz": "Sunday is 1, one of the day fields must be '?', and the first pass of a repeated hour is lost",
    "zslayton6": "Sunday is 1",
    "zslayton7": "Sunday is 1, and there is a year field",
    "cronexpr7": "there is a year field",
    "gronx6y": "the sixth field is the year",
    "croniter6-seconds-last": "the sixth field is the second",
    "croniter7-seconds-last-year": "the sixth field is the second, the seventh the year",
    "apscheduler-fields": "named fields, and Monday is 0",
    "dkron": "@at and @after are triggers of their own here",
}
"""Dialects in which the same text means something else; their lines are not read."""

NAMES = re.compile("jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat", re.IGNORECASE)
EXTENSION = re.compile("[LWH#]", re.IGNORECASE)
"""Marks of the syntax that `cron_parsing` documents beyond Debian's; Debian refuses it, or skips it in silence."""


def cases() -> list[Case]:
    return [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines()] if VECTORS.is_file() else []


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]) -> Report:
    """Prints what passed past pytest's capture, and fails with the cases that did not."""

    def say(what: str, total: int, failures: list[str]) -> None:
        summary = f"{total - len(failures)} of {total}"
        record_property(what, summary)
        with capsys.disabled():
            print(f"\ncron corpus, {what}: {summary} pass")
        assert total > 0
        assert not failures, "\n".join(failures[:20])

    return say


def zone_of(case: Case) -> ZoneInfo:
    """The zone; without one, the fixed offset of the base, for which `timezone` answers like a `ZoneInfo`."""
    if "tz" in case:
        return ZoneInfo(case["tz"])
    return cast(ZoneInfo, datetime.fromisoformat(case["base"]).tzinfo or UTC)


def instant(text: str, zone: tzinfo) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def start_of(case: Case, zone: tzinfo) -> datetime:
    base = instant(case["base"], zone)
    return base - TICK if case.get("inclusive") else base


def answer(case: Case, wanted: Any) -> tuple[Any, Any]:
    """What we say and what is wanted, in a form that can be compared."""
    zone = zone_of(case)
    timetable = CronTimetable(parse_cron(case["expr"]), zone)
    if case["kind"] == "match":
        base = instant(case["base"], zone)
        return timetable.next_after(base - TICK) == base, wanted
    moment: datetime | None = start_of(case, zone)
    got: list[datetime | None] = []
    if case["kind"] == "window":
        until = instant(case["until"], zone)
        while moment is not None and (moment := timetable.next_after(moment)) is not None and moment <= until:
            got.append(moment)
        # Debian starts a job once per time that fell into the gap, all in one minute; we start it once there.
        return got, sorted({instant(text, zone) for text in wanted})
    for _ in wanted:
        moment = timetable.next_after(moment) if moment is not None else None
        got.append(moment)
    return got, [instant(text, zone) for text in wanted]


def judge(case: Case, wanted: Any) -> str | None:
    try:
        got, expected = answer(case, wanted)
    except InvalidDefinition as refused:
        got, expected = str(refused), wanted
    return None if got == expected else f"{case['id']} {case['dialect']} {case['expr']!r}: {got} is not {expected}"


def judge_all(chosen: Iterable[tuple[Case, Any]]) -> tuple[int, list[str]]:
    verdicts = [judge(case, wanted) for case, wanted in chosen]
    return len(verdicts), [verdict for verdict in verdicts if verdict]


def refusal(expression: str) -> str | None:
    try:
        parse_cron(expression)
    except InvalidDefinition as invalid:
        return str(invalid)
    return None


def test_every_line_that_debian_runs_comes_at_debians_times(report: Report) -> None:
    total, failures = judge_all((case, case["debian"]) for case in cases() if "debian" in case)
    report("against Debian", total, failures)


def test_every_window_of_the_real_daemon_has_its_starts(report: Report) -> None:
    total, failures = judge_all((case, case["expected"]) for case in cases() if case["kind"] == "window")
    report("observed windows", total, failures)


def test_what_debian_refuses_or_never_runs_or_reads_in_part_is_refused(report: Report) -> None:
    """But for the documented extensions, which mean here what their sources say (tested below)."""
    wanted = [case for case in cases() if case.get("vixie_verdict", "accept") != "accept"]
    plain = [case for case in wanted if not EXTENSION.search(NAMES.sub("", case["expr"]))]
    failures = [f"{case['id']} {case['expr']!r} is accepted" for case in plain if refusal(case["expr"]) is None]
    report("refusals", len(plain), failures)


def test_lines_that_their_source_refuses_are_refused(report: Report) -> None:
    wanted = [case for case in cases() if case["kind"] == "invalid" and "expr" in case and not is_valid_here(case)]
    failures = [f"{case['id']} {case['expr']!r} is accepted" for case in wanted if refusal(case["expr"]) is None]
    report("the sources' own refusals", len(wanted), failures)


def is_valid_here(case: Case) -> bool:
    """Seconds first is our own syntax: croner refuses it in a mode without seconds, and Quartz wants a '?'."""
    return case["expr"] in {"* * * * * *", "0 0 * * * *"} and case["dialect"] in {"croner", "quartz"}


def differs_on_purpose(case: Case) -> str | None:
    """Why the source's answer is not wanted for a line that Debian knows nothing of."""
    fields = case["expr"].split()
    day_of_month, day_of_week = (fields[-3], fields[-1]) if len(fields) >= 5 else ("*", "*")
    dialect = case["dialect"]
    both = "*" not in (day_of_month, day_of_week)
    if dialect.startswith(("cronos", "spring", "ncrontab")) and both:
        return "this source joins the day fields with AND; Debian takes OR when neither begins with *"
    if dialect.startswith("robfig") and both and "*" in (day_of_month[0], day_of_week[0]):
        return "this source takes */n for restricted; Debian joins with AND where a day field begins with *"
    if dialect == "cronos6" and "tz" in case:
        return cronos_clock_change(fields)
    return None


def cronos_clock_change(fields: list[str]) -> str | None:
    second, minute, hour = fields[:3]
    starred = minute.startswith("*") or hour.startswith("*")
    if starred and hour.startswith("*/"):
        return "Cronos starts an interval job at the end of a gap; in Debian a wildcard job has no time there"
    if not starred and any(mark in field for mark in "*-" for field in (second, minute, hour)):
        return "for Cronos a range, or * in the seconds, makes an interval job; here only * in minute or hour does"
    return None


def reads_here(case: Case) -> bool:
    """Our syntax covers the line. ``N/step`` and ``?`` are refused on purpose, as Debian does; years are not known."""
    return case["dialect"] not in INCOMPARABLE and "expr" in case and refusal(case["expr"]) is None


def test_seconds_and_the_documented_extensions_follow_their_sources(report: Report) -> None:
    wanted = [
        case
        for case in cases()
        if case["kind"] in {"next", "match"}
        and "debian" not in case
        and reads_here(case)
        and not differs_on_purpose(case)
    ]
    total, failures = judge_all((case, case["expected"]) for case in wanted)
    report("seconds first, L, W, #", total, failures)


def test_a_line_is_only_left_out_for_a_difference_of_its_kind() -> None:
    """The exceptions stay few: most of what they could excuse agrees with the source anyway."""
    excused = [case for case in cases() if case["kind"] == "next" and reads_here(case) and differs_on_purpose(case)]
    unlike = [case for case in excused if "debian" not in case and judge(case, case["expected"])]
    assert len(unlike) <= 20


def test_what_its_source_accepts_and_debian_too_is_accepted(report: Report) -> None:
    wanted = [case for case in cases() if case["kind"] == "valid" and case.get("vixie_verdict") == "accept"]
    failures = [f"{case['id']} {case['expr']!r}: {refusal(case['expr'])}" for case in wanted if refusal(case["expr"])]
    report("accepted", len(wanted), failures)
