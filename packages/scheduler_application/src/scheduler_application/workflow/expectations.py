"""The deadlines of a document (`expect`) → `ExpectationDefinition`."""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from scheduler_application.workflow import fields
from scheduler_application.workflow.fields import Loc, Reading
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.naming import NAME, NAME_RULE, shown
from scheduler_domain.schedule.timetable import parse_timetable
from scheduler_domain.workflow.definition import ExpectationDefinition, ExpectedState

MAX_EXPECTATIONS = 20
MAX_EXPRESSION = 256
MAX_WITHIN = 366 * 86_400
KEYS = ("by", "timezone", "days", "state", "within", "name")

TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
DAYS = re.compile(r"\S+")
_TIME_RULE = "HH:MM or HH:MM:SS from 00:00 to 23:59:59"


def read_expectations(reading: Reading, value: Any) -> tuple[ExpectationDefinition, ...]:
    """One mapping, or a list of them."""
    loc: Loc = ("expect",)
    if isinstance(value, dict):
        only = _read_expectation(reading, value, loc)
        return () if only is None else (only,)
    found: dict[str, ExpectationDefinition] = {}
    example = "of expectations, or one object with 'by'"
    for place, written in enumerate(fields.sequence(reading, value, loc, example, MAX_EXPECTATIONS)):
        expectation = _read_expectation(reading, written, (*loc, place))
        if expectation is None:
            continue
        if expectation.name in found:
            message = f"two expectations are named '{expectation.name}'; give one of them another 'name'"
            reading.note((*loc, place), "duplicate_expectation", message)
        found[expectation.name] = expectation
    return tuple(found.values())


def _read_expectation(reading: Reading, value: Any, loc: Loc) -> ExpectationDefinition | None:
    written = fields.mapping(reading, value, loc, KEYS, required=("by",))
    if "by" not in written:
        return None
    key, expression = _deadlines(reading, written, loc)
    timezone = "UTC"
    if "timezone" in written:
        place = (*loc, "timezone")
        timezone = fields.text(reading, written["timezone"], place, "such as Europe/Berlin", most=MAX_EXPRESSION)
        timezone = timezone.strip() or "UTC"  # what is no text has been noted already
    default = ExpectedState.SUCCEEDED.value
    state = fields.member(reading, written.get("state", default), (*loc, "state"), ExpectedState)
    within = None
    if "within" in written:
        within = int(fields.duration(reading, written["within"], (*loc, "within"), 1, MAX_WITHIN))
    name = _default_name(state, expression, timezone)
    if "name" in written:
        name = fields.name(reading, written["name"], (*loc, "name"), NAME, NAME_RULE)
    expectation = ExpectationDefinition(name, expression, timezone, state, within)
    if expression:
        reading.expected.append((loc, key, expectation))
    return expectation


def _deadlines(reading: Reading, written: Mapping[str, Any], loc: Loc) -> tuple[str, str]:
    """The cron text of the deadlines (empty where it is wrong), and the key that is to blame where it is no cron."""
    place = (*loc, "by")
    by = fields.text(reading, written["by"], place, 'such as "06:00" or "0 6 * * MON-FRI"', most=MAX_EXPRESSION).strip()
    if ":" not in by:
        if by and "days" in written:
            message = f"'days' belongs to a time of day; the cron expression '{shown(by)}' names its own days"
            reading.note((*loc, "days"), "without_effect", message)
        return "by", by
    time = TIME_OF_DAY.fullmatch(by)
    if time is None:
        message = f"'{shown(by)}' is no time of day; accepted: {_TIME_RULE}, or a cron expression"
        reading.note(place, "invalid_time", message)
        return "by", ""
    hour, minute, second = (int(part or 0) for part in time.groups())
    days = _days(reading, written, loc)
    clock = f"{second} {minute} {hour}" if second else f"{minute} {hour}"
    return ("days" if "days" in written else "by"), (f"{clock} * * {days}" if days else "")


def _days(reading: Reading, written: Mapping[str, Any], loc: Loc) -> str:
    if "days" not in written:
        return "*"
    place = (*loc, "days")
    days = fields.text(reading, written["days"], place, "such as MON-FRI", most=MAX_EXPRESSION).strip()
    if days and not DAYS.fullmatch(days):
        message = f"'{shown(days)}' has blanks; accepted: the day-of-week field of cron, such as MON-FRI or SAT,SUN"
        reading.note(place, "invalid_days", message)
        return ""
    return days


def _default_name(state: ExpectedState, expression: str, timezone: str) -> str:
    """A name that stays over deploys as long as the deadlines and the state stay."""
    identity = f"{' '.join(expression.split())}\n{timezone}"
    return f"{state.value}-{sha256(identity.encode(errors='replace')).hexdigest()[:8]}"


def check_deadlines(reading: Reading) -> None:
    """Notes every rule of deadlines that is wrong or can never come, at the key that says it."""
    for loc, key, expectation in reading.expected:
        try:
            parse_timetable("schedule", expectation.expression, expectation.timezone)
        except InvalidDefinition as error:
            for problem in error.problems:
                place = "timezone" if problem.code == "unknown_timezone" else key
                reading.note((*loc, place), problem.code, problem.message)
