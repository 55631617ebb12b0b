"""What starts a workflow written in Python: each function gives one entry of a definition's ``triggers``.

Nothing is checked here: the server (or `orrery validate`) names every fault of a definition at once.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack


class Firing(TypedDict, total=False):
    """What may be said about the due times of a trigger, beside when they are; see the workflow reference."""

    name: str
    misfire: Literal["skip", "fire_once", "fire_all"]
    overlap: Literal["allow", "skip", "queue", "cancel_running"]
    max_lateness: str
    jitter: str
    shadow: bool
    inputs: Mapping[str, Any]


class ClockFiring(Firing, total=False):
    """`Firing` of what recurs: ``calendar`` is ``{"skip": name}`` or ``{"only": name}``, with ``shift`` or without."""

    timezone: str
    calendar: Mapping[str, str]


class ScheduleFiring(ClockFiring, total=False):
    """`ClockFiring` of cron: ``dst`` is ``{"gap": "run_after" | "skip", "repeat": "once" | "twice"}``."""

    dst: Mapping[str, str]


def schedule(expression: str, **firing: Unpack[ScheduleFiring]) -> dict[str, Any]:
    """By cron: five fields, six with seconds first, or ``@daily`` and friends, in an IANA ``timezone`` (UTC where none
    is given); or an RRULE."""
    return {"schedule": expression, **firing}


def every(interval: str, **firing: Unpack[ClockFiring]) -> dict[str, Any]:
    """At a fixed interval such as ``90s``, ``15m`` or ``1d12h``."""
    return {"every": interval, **firing}


def at(instant: str | datetime, **firing: Unpack[Firing]) -> dict[str, Any]:
    """Once, at an instant with its offset from UTC."""
    return {"at": instant.isoformat() if isinstance(instant, datetime) else instant, **firing}


def manual(*, confirm: bool = False) -> dict[str, Any]:
    """By a person; with ``confirm`` the person has to say so twice."""
    return {"manual": {"confirm": confirm}}
