"""What starts a workflow written in Python: each function gives one entry of a definition's ``triggers``.

Nothing is checked here: the server (or `orrery validate`) names every fault of a definition at once.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

Misfire = Literal["skip", "fire_once", "fire_all"]


def schedule(
    expression: str,
    *,
    timezone: str | None = None,
    misfire: Misfire | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """By cron: five fields, or ``@daily`` and friends, in an IANA ``timezone`` (UTC where none is given)."""
    return _entry("schedule", expression, timezone=timezone, misfire=misfire, inputs=inputs)


def every(interval: str, *, misfire: Misfire | None = None, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """At a fixed interval such as ``90s``, ``15m`` or ``1d12h``."""
    return _entry("every", interval, misfire=misfire, inputs=inputs)


def at(instant: str | datetime, *, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Once, at an instant with its offset from UTC."""
    text = instant.isoformat() if isinstance(instant, datetime) else instant
    return _entry("at", text, inputs=inputs)


def manual(*, confirm: bool = False) -> dict[str, Any]:
    """By a person; with ``confirm`` the person has to say so twice."""
    return {"manual": {"confirm": confirm}}


def _entry(kind: str, expression: str, **options: Any) -> dict[str, Any]:
    return {kind: expression} | {name: value for name, value in options.items() if value is not None}
