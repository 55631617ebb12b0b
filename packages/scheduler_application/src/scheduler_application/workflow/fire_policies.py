"""What a trigger says about its due times, beside when they are → `FirePolicy`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from scheduler_application.workflow import fields
from scheduler_application.workflow.fields import Loc, Reading
from scheduler_domain.naming import NAME, NAME_RULE
from scheduler_domain.schedule.calendar import CalendarMode, Shift
from scheduler_domain.schedule.dst import DstPolicy, GapRule, RepeatRule
from scheduler_domain.schedule.fire_policy import (
    CalendarUse,
    FirePolicy,
    MisfirePolicy,
    OverlapPolicy,
)

LONGEST_JITTER = 86_400
LONGEST_LATENESS = 366 * 86_400
CALENDAR_KEYS = (*(mode.value for mode in CalendarMode), "shift")
DST_KEYS = ("gap", "repeat")


def read_fire_policy(reading: Reading, written: Mapping[str, Any], loc: Loc) -> FirePolicy:
    """The policy in a trigger's keys; which of them its kind has is checked already."""
    default = FirePolicy()
    lateness = _span(reading, written, loc, "max_lateness", LONGEST_LATENESS)
    return FirePolicy(
        misfire=fields.member(reading, written.get("misfire", default.misfire.value), (*loc, "misfire"), MisfirePolicy),
        overlap=fields.member(reading, written.get("overlap", default.overlap.value), (*loc, "overlap"), OverlapPolicy),
        jitter=_span(reading, written, loc, "jitter", LONGEST_JITTER) or default.jitter,
        max_lateness=lateness,
        dst=_dst(reading, written["dst"], (*loc, "dst")) if "dst" in written else default.dst,
        calendar=_calendar(reading, written["calendar"], (*loc, "calendar")) if "calendar" in written else None,
        shadow=fields.boolean(reading, written.get("shadow", default.shadow), (*loc, "shadow")),
    )


def _span(reading: Reading, written: Mapping[str, Any], loc: Loc, key: str, longest: int) -> timedelta | None:
    if key not in written:
        return None
    return timedelta(seconds=fields.duration(reading, written[key], (*loc, key), 1, longest))


def _dst(reading: Reading, value: Any, loc: Loc) -> DstPolicy:
    written = fields.mapping(reading, value, loc, DST_KEYS)
    if isinstance(value, dict) and not value:
        reading.note(loc, "missing_key", f"'dst' says nothing (accepted: {', '.join(DST_KEYS)})")
    return DstPolicy(
        fields.member(reading, written["gap"], (*loc, "gap"), GapRule) if "gap" in written else None,
        fields.member(reading, written["repeat"], (*loc, "repeat"), RepeatRule) if "repeat" in written else None,
    )


def _calendar(reading: Reading, value: Any, loc: Loc) -> CalendarUse | None:
    written = fields.mapping(reading, value, loc, CALENDAR_KEYS)
    modes = [mode for mode in CalendarMode if mode.value in written]
    if len(modes) != 1:
        if isinstance(value, dict):
            reading.note(loc, "exactly_one_of", "a calendar is given by exactly one of skip, only")
        return None
    key = modes[0].value
    name = fields.name(reading, written[key], (*loc, key), NAME, NAME_RULE)
    shift = fields.member(reading, written["shift"], (*loc, "shift"), Shift) if "shift" in written else None
    return CalendarUse(name, modes[0], shift)
