"""The triggers of the live version: what a deploy makes of their rows. Those that stay keep their identity, pause,
phase and ledger."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.errors import NotFound
from scheduler_application.ports.calendars import Calendars
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.time import Ids
from scheduler_application.workflow.policy_text import policy_of, policy_text
from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.schedule.calendar import CalendarRule
from scheduler_domain.schedule.fire_policy import FirePolicy
from scheduler_domain.schedule.jitter import jitter_of
from scheduler_domain.schedule.policies import nothing_left_out
from scheduler_domain.schedule.timetable import check_calendar, parse_timetable
from scheduler_domain.schedule.zones import zone_named
from scheduler_domain.workflow.definition import TriggerDefinition, TriggerKind, WorkflowDefinition


async def calendar_rule(
    calendars: Calendars, tx: Transaction, project_id: str, policy: FirePolicy
) -> CalendarRule | None:
    """The calendar that a policy uses, resolved; raises `NotFound`."""
    use = policy.calendar
    if use is None:
        return None
    return CalendarRule(use.name, await calendars.calendar(tx, project_id, use.name), use.mode, use.shift)


def left_out_by(calendar: CalendarRule | None, timezone: str) -> Callable[[datetime], str | None]:
    """The rule by which a calendar leaves a due time out, if it does; one with a shift has moved them all."""
    if calendar is None or calendar.shift is not None:
        return nothing_left_out
    zone = zone_named(timezone)
    return lambda due_at: calendar.ledger_rule if calendar.excludes(due_at.astimezone(zone).date()) else None


async def calendar_rules(
    calendars: Calendars, tx: Transaction, project_id: str, definition: WorkflowDefinition, now: datetime
) -> dict[str, CalendarRule]:
    """The calendars of a definition's triggers, by their names. Raises `InvalidDefinition` for calendars that are not
    there or leave nothing."""
    found: dict[str, CalendarRule] = {}
    problems: list[Problem] = []
    for place, trigger in enumerate(definition.triggers):
        loc = ("triggers", place, "calendar")
        try:
            rule = await calendar_rule(calendars, tx, project_id, trigger.policy)
            if rule is None:
                continue
            found[trigger.name] = rule
            timetable = parse_timetable(
                trigger.kind, trigger.expression, trigger.timezone, dst=trigger.policy.dst, calendar=rule
            )
            check_calendar(timetable, trigger.timezone, rule, now)
        except NotFound as error:
            problems.append(Problem(loc, "unknown_calendar", str(error)))
        except InvalidDefinition as error:
            problems += [Problem(loc, each.code, each.message) for each in error.problems]
    if problems:
        raise InvalidDefinition(problems)
    return found


@dataclass(frozen=True, slots=True)
class LiveTriggers:
    """Switches the triggers of a workflow in the transaction of its deploy."""

    tx: Transaction
    calendars: Calendars
    ids: Ids
    actor: Actor
    now: datetime

    async def switch(self, workflow_id: str, definition: WorkflowDefinition) -> None:
        """Raises `InvalidDefinition` for calendars that are not there or leave nothing."""
        rules = await calendar_rules(self.calendars, self.tx, self.actor.project, definition, self.now)
        known = {row["name"]: row for row in await self.tx.triggers.of_workflow(workflow_id)}
        wanted = {trigger.name: trigger for trigger in definition.triggers}
        for name, row in known.items():
            if name not in wanted and row["active"]:
                await self.tx.triggers.update(row["id"], {"active": False, "due_at": None, "next_at": None})
        fresh = []
        for name, trigger in wanted.items():
            if name in known:
                values = self._changed(trigger, known[name], rules.get(name))
                await self.tx.triggers.update(known[name]["id"], values)
            else:
                fresh.append(self._new(trigger, workflow_id, rules.get(name)))
        await self.tx.triggers.insert(fresh)

    def _new(self, trigger: TriggerDefinition, workflow_id: str, calendar: CalendarRule | None) -> dict[str, Any]:
        trigger_id = self.ids.new()
        return {
            "id": trigger_id,
            "project_id": self.actor.project,
            "workflow_id": workflow_id,
            "name": trigger.name,
            "kind": trigger.kind.value,
            "expression": trigger.expression,
            "timezone": trigger.timezone,
            "policy": policy_text(trigger.policy),
            "anchor_at": self.now,
            "active": True,
            "paused": False,
            **self._due_next(trigger, trigger_id, self.now, calendar),
        }

    def _changed(
        self, trigger: TriggerDefinition, row: dict[str, Any], calendar: CalendarRule | None
    ) -> dict[str, Any]:
        """What a deploy changes of a trigger that stays. Where its times are the same, a due time that is not decided
        yet stays due."""
        values: dict[str, Any] = {
            "kind": trigger.kind.value,
            "expression": trigger.expression,
            "timezone": trigger.timezone,
            "policy": policy_text(trigger.policy),
            "active": True,
            "error": None,
        }
        same_phase = all(row[key] == values[key] for key in ("kind", "expression", "timezone"))
        same_times = same_phase and _same_times(policy_of(row["policy"]), trigger.policy)
        if not (same_times and row["active"] and row["due_at"] is not None):
            anchor = row["anchor_at"] if same_phase else self.now
            values |= {"anchor_at": anchor, **self._due_next(trigger, row["id"], anchor, calendar)}
        return values

    def _due_next(
        self, trigger: TriggerDefinition, trigger_id: str, anchor: datetime, calendar: CalendarRule | None
    ) -> dict[str, Any]:
        due_at = first_due(trigger, trigger_id, anchor, self.now, calendar)
        spread = jitter_of(trigger_id, trigger.policy.jitter)
        return {"due_at": due_at, "next_at": None if due_at is None else due_at + spread, "frozen_by": None}


def _same_times(old: FirePolicy, new: FirePolicy) -> bool:
    return (old.jitter, old.dst, old.calendar) == (new.jitter, new.dst, new.calendar)


def first_due(
    trigger: TriggerDefinition,
    trigger_id: str,
    anchor: datetime,
    now: datetime,
    calendar: CalendarRule | None = None,
) -> datetime | None:
    """The first due time after ``now``; ``None`` for a trigger that the clock does not satisfy."""
    if trigger.kind is TriggerKind.MANUAL:
        return None
    timetable = parse_timetable(
        trigger.kind,
        trigger.expression,
        trigger.timezone,
        anchor=anchor,
        seed=trigger_id,
        dst=trigger.policy.dst,
        calendar=calendar,
    )
    return timetable.next_after(now)
