"""What a person says of a heartbeat, read strictly: every fault at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler_application.workflow import fields
from scheduler_application.workflow.fields import Reading
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.naming import NAME, NAME_RULE
from scheduler_domain.schedule.deadlines import next_ping_due
from scheduler_domain.schedule.timetable import parse_timetable

MAX_EXPRESSION = 256
MAX_INTERVAL = 366 * 86_400
MAX_GRACE = 366 * 86_400
DEFAULT_GRACE = 300
KEYS = ("name", "every", "schedule", "timezone", "grace")


@dataclass(frozen=True, slots=True)
class HeartbeatSettings:
    """``kind`` is ``every`` (``expression`` is seconds as text) or ``schedule`` (cron); ``grace`` is seconds."""

    name: str
    kind: str
    expression: str
    timezone: str
    grace: int

    def due_after(self, heard_at: datetime, heartbeat_id: str) -> datetime | None:
        return next_ping_due(self.kind, self.expression, self.timezone, heard_at, heartbeat_id)


def read_settings(content: Mapping[str, Any], name: str | None = None) -> HeartbeatSettings:
    """``content`` is a JSON object; where ``name`` is given it need not say it. Raises `InvalidDefinition`."""
    reading = Reading()
    written = fields.mapping(reading, content, (), KEYS, required=() if name is not None else ("name",))
    chosen = name or ""
    if "name" in written:
        chosen = fields.name(reading, written["name"], ("name",), NAME, NAME_RULE)
    kind, expression, timezone = _times(reading, written)
    grace = float(DEFAULT_GRACE)
    if "grace" in written:
        grace = fields.duration(reading, written["grace"], ("grace",), 0, MAX_GRACE)
    if reading.problems:
        raise InvalidDefinition(reading.problems)
    return HeartbeatSettings(chosen, kind, expression, timezone, int(grace))


def _times(reading: Reading, written: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kind, expression and zone."""
    given = [key for key in ("every", "schedule") if key in written]
    if len(given) != 1:
        found = "has both" if given else "has neither"
        reading.note((), "exactly_one_of", f"a heartbeat has exactly one of every and schedule; this {found}")
        return "every", "", "UTC"
    if given == ["every"]:
        if "timezone" in written:
            message = "'timezone' belongs to 'schedule': an interval has none"
            reading.note(("timezone",), "without_effect", message)
        return "every", str(int(fields.duration(reading, written["every"], ("every",), 1, MAX_INTERVAL))), "UTC"
    example = 'such as "30 2 * * *" or "@daily"'
    expression = fields.text(reading, written["schedule"], ("schedule",), example, most=MAX_EXPRESSION).strip()
    zone = fields.text(reading, written.get("timezone", "UTC"), ("timezone",), "such as Europe/Berlin", most=64)
    timezone = zone.strip() or "UTC"  # what is no text has been noted already
    if expression:
        _check(reading, expression, timezone)
    return "schedule", expression, timezone


def _check(reading: Reading, expression: str, timezone: str) -> None:
    try:
        parse_timetable("schedule", expression, timezone)
    except InvalidDefinition as error:
        for problem in error.problems:
            reading.note(problem.loc, problem.code, problem.message)
