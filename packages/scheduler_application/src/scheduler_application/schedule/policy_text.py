"""`FirePolicy` as JSON text and back: the form in which a trigger's row keeps it. What is absent is the default."""

from datetime import timedelta
from functools import lru_cache
from typing import Any

from scheduler_application.json_values import json_text, json_value
from scheduler_domain.schedule.fire_policy import (
    CalendarMode,
    CalendarUse,
    DstPolicy,
    FirePolicy,
    Gap,
    MisfirePolicy,
    OverlapPolicy,
    Repeat,
    Shift,
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
    dst = values.get("dst", {})
    lateness = values.get("max_lateness")
    return FirePolicy(
        MisfirePolicy(values["misfire"]),
        OverlapPolicy(values["overlap"]),
        timedelta(seconds=values.get("jitter", 0)),
        None if lateness is None else timedelta(seconds=lateness),
        DstPolicy(Gap(dst["gap"]) if "gap" in dst else None, Repeat(dst["repeat"]) if "repeat" in dst else None),
        _calendar(values["calendar"]) if "calendar" in values else None,
        values.get("shadow", False),
    )


def _calendar(values: dict[str, str]) -> CalendarUse:
    mode = next(mode for mode in CalendarMode if mode in values)
    return CalendarUse(values[mode], mode, Shift(values["shift"]) if "shift" in values else None)


def _written(**values: str | None) -> dict[str, str]:
    return {key: str(value) for key, value in values.items() if value is not None}
