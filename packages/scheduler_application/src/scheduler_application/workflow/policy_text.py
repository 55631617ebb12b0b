"""`FirePolicy` as JSON text and back: the form in which a trigger's row keeps it. What is absent is the default."""

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from scheduler_application.json_values import json_text, json_value
from scheduler_domain.schedule.calendar import CalendarMode, Shift
from scheduler_domain.schedule.dst import DstPolicy, GapRule, RepeatRule
from scheduler_domain.schedule.fire_policy import (
    CalendarUse,
    FirePolicy,
    MisfirePolicy,
    OverlapPolicy,
)


def policy_text(policy: FirePolicy) -> str:
    return json_text(policy_values(policy))


def policy_values(policy: FirePolicy) -> dict[str, Any]:
    """``{"misfire", "overlap", "jitter"?, "max_lateness"?, "dst"?, "calendar"?, "shadow"?}``, spans in seconds."""
    values: dict[str, Any] = {"misfire": policy.misfire.value, "overlap": policy.overlap.value}
    if policy.jitter:
        values["jitter"] = policy.jitter.total_seconds()
    if policy.max_lateness is not None:
        values["max_lateness"] = policy.max_lateness.total_seconds()
    if policy.dst != DstPolicy():
        values["dst"] = _written(gap=policy.dst.gap, repeat=policy.dst.repeat)
    if policy.calendar is not None:
        values["calendar"] = _written(**{policy.calendar.mode.value: policy.calendar.name}, shift=policy.calendar.shift)
    if policy.shadow:
        values["shadow"] = True
    return values


@lru_cache(maxsize=1_024)
def policy_of(text: str) -> FirePolicy:
    """Raises `ValueError`, `KeyError` or `TypeError` for text that `policy_text` did not make."""
    values = json_value(text)
    if not isinstance(values, dict):
        raise TypeError("a policy is an object")
    return policy_from(values)


def policy_from(values: Mapping[str, Any]) -> FirePolicy:
    """The policy that `policy_values` describes."""
    lateness = values.get("max_lateness")
    return FirePolicy(
        MisfirePolicy(values["misfire"]),
        OverlapPolicy(values["overlap"]),
        timedelta(seconds=values.get("jitter", 0)),
        None if lateness is None else timedelta(seconds=lateness),
        _dst(values.get("dst", {})),
        _calendar(values["calendar"]) if "calendar" in values else None,
        values.get("shadow", False),
    )


def _dst(values: Mapping[str, str]) -> DstPolicy:
    gap, repeat = values.get("gap"), values.get("repeat")
    return DstPolicy(None if gap is None else GapRule(gap), None if repeat is None else RepeatRule(repeat))


def _calendar(values: dict[str, str]) -> CalendarUse:
    mode = next(mode for mode in CalendarMode if mode in values)
    return CalendarUse(values[mode], mode, Shift(values["shift"]) if "shift" in values else None)


def _written(**values: str | None) -> dict[str, str]:
    return {key: str(value) for key, value in values.items() if value is not None}
