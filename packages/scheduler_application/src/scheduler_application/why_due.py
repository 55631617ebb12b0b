"""What is said about due times: the ledger's rules in words, what a trigger stands at, what a moment meant to it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from scheduler_application.ports.reading import FreezeView, LedgerView, TriggerView, WorkflowView
from scheduler_application.workflow.policy_text import policy_from
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.schedule.timetable import parse_timetable

NEAR = timedelta(minutes=1)
"""A due time this close to the moment that is asked about is meant."""

RULES: Mapping[str, str] = {
    "on_time": "it was decided in time",
    "misfire:skip": "nobody decided it in time, and its misfire policy is skip",
    "misfire:fire_once": "nobody decided it in time, and its misfire policy fires the latest such time only",
    "misfire:fire_all": "nobody decided it in time, and its misfire policy fires the latest 100 such times",
    "freeze:skip": "a freeze held it, and its misfire policy is skip",
    "freeze:fire_once": "a freeze held it, and its misfire policy fires the latest such time only",
    "freeze:fire_all": "a freeze held it, and its misfire policy fires the latest 100 such times",
    "max_lateness": "it was later than the trigger's max_lateness when it could be decided",
    "overlap:skip": "a run of the same trigger was still live",
    "overlap:queue_full": "100 runs of the same trigger were live or waiting",
    "concurrency:skip": "the workflow's concurrency had no free slot",
    "paused": "the trigger was paused",
    "disabled": "the workflow was disabled",
    "undeployed": "the workflow was not deployed",
    "shadow": "the trigger is a shadow, which only records",
    "clock_change": "the local time did not exist that day, and the clock jumped by more than three hours",
    "dst:skip": "the local time did not exist that day, and the schedule says 'gap: skip'",
}
"""What each rule of the ledger means; ``calendar:NAME`` comes on top."""


def fact(code: str, text: str, **about: Any) -> dict[str, Any]:
    return {"code": code, "text": text, **about}


def ledger_fact(row: LedgerView) -> dict[str, Any]:
    due = row.due_at.isoformat()
    started = f" as run {row.run_id}" if row.run_id is not None else ""
    text = f"{row.trigger} was due at {due}: {row.outcome}{started} ({row.rule}: {_meaning(row.rule)})"
    return fact(row.outcome, text, due_at=due, rule=row.rule, run_id=row.run_id, trigger=row.trigger)


def _meaning(rule: str) -> str:
    kind, _, name = rule.partition(":")
    return f"the calendar {name} leaves the day out" if kind == "calendar" else RULES.get(rule, "no more is known")


def trigger_fact(trigger: TriggerView, freeze: FreezeView | None, now: datetime) -> dict[str, Any]:
    """What the trigger stands at. ``freeze`` is the one that holds it."""
    about = {"trigger": trigger.name, "next_at": None if trigger.next_at is None else trigger.next_at.isoformat()}
    if trigger.error is not None:
        code, text = "quarantined", f"cannot be evaluated: {trigger.error}"
    elif trigger.paused:
        code, text = "paused", "is paused"
    elif trigger.kind == "manual":
        code, text = "manual", "fires by hand only"
    elif trigger.due_at is None or trigger.next_at is None:
        code, text = "over", "has no due time any more"
    elif freeze is not None:
        code, text = "frozen", f"has been due since {trigger.due_at.isoformat()}: {held_by(freeze)}"
    elif trigger.next_at < now:
        code, text = "late", f"has been due since {trigger.due_at.isoformat()}: no dispatcher has decided it"
    else:
        code, text = "next", f"is due next at {trigger.due_at.isoformat()}"
        if trigger.next_at != trigger.due_at:
            text += f", and starts at {trigger.next_at.isoformat()} (jitter)"
    return fact(code, f"{trigger.name} {text}", **about)


def held_by(freeze: FreezeView) -> str:
    scope = "the project is" if freeze.label is None else f"workflows labelled {freeze.label} are"
    return f"{scope} frozen until {freeze.ends_at.isoformat()} ({freeze.reason}); then the misfire policy decides"


def moment_fact(
    workflow: WorkflowView,
    triggers: Sequence[TriggerView],
    freezes: Mapping[str, FreezeView],
    at: datetime,
    now: datetime,
) -> dict[str, Any]:
    """About a moment to which the ledger has no row. ``freezes`` has those that hold one of the triggers."""
    for trigger in triggers:
        due_at = _due_near(trigger, at)
        if due_at is not None:
            return _without_row(trigger, freezes.get(trigger.frozen_by or ""), due_at, now)
    return fact("not_due", f"no trigger of {workflow.name} is due within a minute of {at.isoformat()}")


def _due_near(trigger: TriggerView, at: datetime) -> datetime | None:
    if trigger.kind == "manual":
        return None
    try:
        timetable = parse_timetable(
            trigger.kind,
            trigger.expression,
            trigger.timezone,
            anchor=trigger.anchor_at,
            seed=trigger.id,
            dst=policy_from(trigger.policy).dst,
        )
        found = timetable.next_after(at - NEAR - timedelta.resolution)
    except (InvalidDefinition, OverflowError):
        return None
    return found if found is not None and found <= at + NEAR else None


def _without_row(trigger: TriggerView, freeze: FreezeView | None, due_at: datetime, now: datetime) -> dict[str, Any]:
    about = {"trigger": trigger.name, "due_at": due_at.isoformat()}
    if trigger.error is not None:
        code, text = "quarantined", f"cannot be evaluated: {trigger.error}"
    elif trigger.paused:
        code, text = "paused", f"is due at {due_at.isoformat()} and paused: it will be skipped"
    elif trigger.due_at is None or due_at < trigger.due_at:
        code, text = "not_deployed_then", f"names {due_at.isoformat()}, but was not deployed like this then"
    elif freeze is not None and due_at < freeze.ends_at:
        code, text = "frozen", f"is due at {due_at.isoformat()}: {held_by(freeze)}"
    elif due_at > now:
        code, text = "ahead", f"will be due at {due_at.isoformat()}"
    else:
        code, text = "undecided", f"is due at {due_at.isoformat()} and has not been decided yet"
    return fact(code, f"{trigger.name} {text}", **about)
