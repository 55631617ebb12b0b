"""What a backfill would come to, before anybody asks for it: its due times, those without a run, and how long it
takes."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from scheduler_application.actor import Actor
from scheduler_application.errors import Conflict, Rejected
from scheduler_application.paging import PageRequest
from scheduler_application.ports.calendars import Calendars
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.reading import QueueView, Reader, RunFilter
from scheduler_application.ports.time import Clock
from scheduler_application.run.definitions import Version
from scheduler_application.run.open_runs import Engine
from scheduler_application.schedule.due_times import due_times
from scheduler_application.workflow.live_triggers import calendar_rule
from scheduler_application.workflow.policy_text import policy_of
from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.run.states import RunState
from scheduler_domain.schedule.calendar import CalendarRule
from scheduler_domain.workflow.definition import Priority, TriggerKind

MAX_DUE_TIMES = 100_000
"""How many due times the range of a backfill may have, those that a calendar leaves out among them."""

LONGEST_RANGE = timedelta(days=3_660)
MAX_PARALLEL = 100

_SAMPLE = 50
_COMPARED_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class BackfillCommand:
    """Runs of the live version of ``workflow`` (a name or an id) for the due times of ``trigger`` (a name; the only
    schedule where absent) from ``from_at`` on and before ``to_at``: at most ``max_parallel`` at a time."""

    workflow: str
    from_at: datetime
    to_at: datetime
    trigger: str | None = None
    only_missing: bool = False
    max_parallel: int = 1
    priority: str = Priority.LOW


@dataclass(frozen=True, slots=True)
class BackfillPreview:
    """``to_start`` of the ``due_times`` would get a run: all, or those that are ``missing`` one. Seconds are ``None``
    where no run of the workflow has succeeded yet; ``queues`` are those of its tasks."""

    workflow: str
    trigger: str
    from_at: datetime
    to_at: datetime
    due_times: int
    missing: int
    to_start: int
    first_at: datetime | None
    last_at: datetime | None
    at_a_time: int
    """``max_parallel``, or less where the workflow's concurrency says so."""
    mean_run_seconds: float | None
    expected_seconds: float | None
    queues: list[QueueView]


class PlannedTrigger(NamedTuple):
    """The trigger of a plan, in the form that its due times are computed from."""

    trigger_id: str
    name: str
    kind: str
    expression: str
    timezone: str
    policy: str
    anchor_at: datetime


class BackfillPlan(NamedTuple):
    workflow_id: str
    version: Version
    trigger: PlannedTrigger
    due_ats: Sequence[datetime]


class PlanBackfill:
    """Changes nothing; who may see the workflow may ask."""

    def __init__(self, store: Store, reader: Reader, engine: Engine, calendars: Calendars, clock: Clock) -> None:
        self._store = store
        self._reader = reader
        self._engine = engine
        self._calendars = calendars
        self._clock = clock

    async def execute(self, command: BackfillCommand, actor: Actor) -> BackfillPreview:
        """Raises as `plan`."""
        plan = await self.plan(command, actor)
        missing = await self._missing(plan)
        definition = plan.version.definition
        limit = definition.concurrency.limit if definition.concurrency and not definition.concurrency.key else None
        at_a_time = min(command.max_parallel, limit or command.max_parallel)
        to_start = missing if command.only_missing else len(plan.due_ats)
        mean = await self._mean_run_seconds(plan, actor)
        names = {task.queue for task in definition.tasks.values() if task.needs_worker}
        known = {queue.name: queue for queue in await self._reader.queues(actor.project)}
        return BackfillPreview(
            workflow=definition.name,
            trigger=plan.trigger.name,
            from_at=command.from_at,
            to_at=command.to_at,
            due_times=len(plan.due_ats),
            missing=missing,
            to_start=to_start,
            first_at=plan.due_ats[0] if plan.due_ats else None,
            last_at=plan.due_ats[-1] if plan.due_ats else None,
            at_a_time=at_a_time,
            mean_run_seconds=mean,
            expected_seconds=None if mean is None else round(math.ceil(to_start / at_a_time) * mean, 3),
            queues=[known.get(name) or QueueView(name, 0, 0, None, 0, 0) for name in sorted(names)],
        )

    async def plan(self, command: BackfillCommand, actor: Actor) -> BackfillPlan:
        """Raises `InvalidDefinition` for a wrong range or number, `Rejected` (``reference_not_found``,
        ``trigger_needed``, ``no_schedule``, ``too_many_runs``) and `Conflict` (``not_deployed``, ``disabled``)."""
        self._check(command)
        workflow_id, version, trigger, calendar = await self._store.transact(lambda tx: self._find(tx, command, actor))
        due_ats = await asyncio.to_thread(_due_times, trigger, calendar, command.from_at, command.to_at)
        return BackfillPlan(workflow_id, version, trigger, due_ats)

    def _check(self, command: BackfillCommand) -> None:
        problems = []
        if command.from_at >= command.to_at:
            problems.append(Problem(("from",), "invalid_window", "from must be before to"))
        elif command.to_at - command.from_at > LONGEST_RANGE:
            message = f"the range must not be longer than {LONGEST_RANGE.days} days"
            problems.append(Problem(("from",), "range_too_long", message))
        if command.to_at > self._clock.now():
            message = "to must not be in the future: what is still to come fires by itself"
            problems.append(Problem(("to",), "in_the_future", message))
        if not 1 <= command.max_parallel <= MAX_PARALLEL:
            message = f"max_parallel must be from 1 to {MAX_PARALLEL}"
            problems.append(Problem(("max_parallel",), "number_out_of_range", message))
        if command.priority not in tuple(Priority):
            message = f"there is no priority '{command.priority[:100]}' (accepted: {', '.join(Priority)})"
            problems.append(Problem(("priority",), "unknown_priority", message))
        if problems:
            raise InvalidDefinition(problems)

    async def _find(
        self, tx: Transaction, command: BackfillCommand, actor: Actor
    ) -> tuple[str, Version, PlannedTrigger, CalendarRule | None]:
        live = (await tx.workflows.live(actor.project, [command.workflow])).get(command.workflow)
        if live is None:
            raise Rejected(f"there is no workflow '{command.workflow[:100]}'", code="reference_not_found")
        if live.version_id is None:
            raise Conflict(f"the workflow '{live.name}' is not deployed", code="not_deployed")
        if not live.enabled:
            raise Conflict(f"the workflow '{live.name}' is disabled", code="disabled")
        rows = await tx.triggers.of_workflow(live.id)
        clocked = {row["name"]: row for row in rows if row["active"] and row["kind"] != TriggerKind.MANUAL}
        name = _chosen(command.trigger, list(clocked))
        row = clocked[name]
        values = (row[field] for field in ("id", "name", "kind", "expression", "timezone", "policy", "anchor_at"))
        calendar = await calendar_rule(self._calendars, tx, actor.project, policy_of(row["policy"]))
        return live.id, await self._engine.definitions.get(tx, live.version_id), PlannedTrigger(*values), calendar

    async def _missing(self, plan: BackfillPlan) -> int:
        missing = 0
        for start in range(0, len(plan.due_ats), _COMPARED_AT_ONCE):
            page = plan.due_ats[start : start + _COMPARED_AT_ONCE]
            compare = partial(_covered, trigger_id=plan.trigger.trigger_id, due_ats=page)
            missing += len(page) - len(await self._store.transact(compare))
        return missing

    async def _mean_run_seconds(self, plan: BackfillPlan, actor: Actor) -> float | None:
        """Of the latest runs that succeeded."""
        where = RunFilter(workflow=plan.workflow_id, states=(RunState.SUCCEEDED,))
        runs = (await self._reader.runs(actor.project, where, PageRequest(_SAMPLE))).items
        took = [
            (run.finished_at - run.started_at).total_seconds() for run in runs if run.started_at and run.finished_at
        ]
        return round(sum(took) / len(took), 3) if took else None


async def _covered(tx: Transaction, trigger_id: str, due_ats: Sequence[datetime]) -> set[datetime]:
    return await tx.backfills.covered(trigger_id, None, due_ats)


def _chosen(wanted: str | None, names: Sequence[str]) -> str:
    if wanted is not None and wanted not in names:
        raise Rejected(f"the live version has no schedule '{wanted[:100]}'", code="reference_not_found")
    if not names:
        raise Rejected("the live version has no schedule: only due times can be backfilled", code="no_schedule")
    if wanted is None and len(names) > 1:
        listed = ", ".join(f"'{name}'" for name in sorted(names)[:10])
        raise Rejected(
            f"the workflow has {len(names)} schedules: name the trigger, one of {listed}", code="trigger_needed"
        )
    return wanted or names[0]


def _due_times(
    trigger: PlannedTrigger, calendar: CalendarRule | None, start: datetime, end: datetime
) -> list[datetime]:
    found: list[datetime] = []
    for number, (due_at, counts) in enumerate(due_times(trigger, calendar, start, end)):
        if number == MAX_DUE_TIMES:
            about = round(MAX_DUE_TIMES * ((end - start) / (due_at - start)))
            raise Rejected(
                f"the range has about {about:,} due times; at most {MAX_DUE_TIMES:,} are accepted", code="too_many_runs"
            )
        if counts:
            found.append(due_at)
    return found
