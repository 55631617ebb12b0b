"""The planned fires of a trigger: what the clock will ask of it in a window, one after the other in order of time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from scheduler_application.workflow.live_triggers import left_out_by
from scheduler_application.workflow.policy_text import policy_of
from scheduler_domain.schedule.calendar import CalendarRule
from scheduler_domain.schedule.fire_policy import FirePolicy
from scheduler_domain.schedule.jitter import jitter_of
from scheduler_domain.schedule.steps import Timetable
from scheduler_domain.schedule.timetable import parse_timetable
from scheduler_domain.schedule.zones import zone_named
from scheduler_domain.workflow.definition import TriggerDefinition, TriggerKind

CLOCK_KINDS = frozenset(TriggerKind) - {TriggerKind.MANUAL}
"""The kinds of trigger that the clock satisfies."""


class PlannedFire(NamedTuple):
    """One due time (UTC). ``starts_at`` is later by the trigger's jitter; ``left_out`` is the rule by which nothing
    starts then, e.g. ``calendar:holidays-de``."""

    due_at: datetime
    starts_at: datetime
    left_out: str | None


@dataclass(frozen=True, slots=True)
class FireRule:
    """All that decides when one trigger fires. ``seed`` is its identity, ``anchor`` the phase of an interval,
    ``calendar`` the one that its policy uses."""

    kind: str
    expression: str
    timezone: str
    policy: FirePolicy
    anchor: datetime
    seed: str
    calendar: CalendarRule | None = None

    @property
    def spread(self) -> timedelta:
        """How much later than due it starts."""
        return jitter_of(self.seed, self.policy.jitter)

    @property
    def zone(self) -> ZoneInfo:
        return zone_named(self.timezone)

    @property
    def hashed(self) -> bool:
        """Whether its identity decides when it is due: ``H`` stands in its cron expression."""
        parts = (part for written in self.expression.split() for part in written.split(","))
        return self.kind == TriggerKind.SCHEDULE and any(part[:1] in ("H", "h") for part in parts)

    def timetable(self) -> Timetable:
        """Raises `InvalidDefinition`."""
        return parse_timetable(
            self.kind,
            self.expression,
            self.timezone,
            anchor=self.anchor,
            seed=self.seed,
            dst=self.policy.dst,
            calendar=self.calendar,
        )


def rule_of_row(row: Mapping[str, Any], calendar: CalendarRule | None = None) -> FireRule:
    """The rule of a stored trigger of the clock; raises what `policy_of` raises."""
    policy = policy_of(row["policy"])
    return FireRule(row["kind"], row["expression"], row["timezone"], policy, row["anchor_at"], row["id"], calendar)


def rule_of_definition(
    trigger: TriggerDefinition, anchor: datetime, seed: str, calendar: CalendarRule | None = None
) -> FireRule:
    """The rule that a trigger of the clock has once it is deployed under the identity ``seed``."""
    return FireRule(trigger.kind.value, trigger.expression, trigger.timezone, trigger.policy, anchor, seed, calendar)


def planned_fires(
    rule: FireRule, after: datetime, until: datetime, timetable: Timetable | None = None
) -> Iterator[PlannedFire]:
    """The fires that are due later than ``after`` and not later than ``until``, those that are left out among them.

    ``timetable`` is that of ``rule``, where the caller has it already. Whoever asks bounds how many it takes: a window
    may hold millions. Raises `InvalidDefinition` for a rule that cannot be read.
    """
    timetable = timetable or rule.timetable()
    spread = rule.spread
    left_out = left_out_by(rule.calendar, rule.timezone)
    due = timetable.next_after(after)
    while due is not None and due <= until:
        yield PlannedFire(due, due + spread, left_out(due))
        due = timetable.next_after(due)


def undecided_after(rule: FireRule, due_at: datetime | None, now: datetime) -> datetime:
    """Where the due times begin of which nothing has started at ``now``: jitter keeps some from before it.

    ``due_at`` is the first that is not decided, as the trigger's row has it; due times that are late by more than the
    jitter are the misfire policy's and are left out.
    """
    return now if due_at is None else max(now - rule.spread, due_at - timedelta.resolution)
