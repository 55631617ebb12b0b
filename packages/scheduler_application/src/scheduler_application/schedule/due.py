"""One trigger in a firing pass: what its due times come to, and the runs that they ask for."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scheduler_application.json_values import json_value
from scheduler_application.ports.calendars import Calendars
from scheduler_application.ports.observing import Tracer
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.rows import DueTrigger, Freeze, LedgerRow, TriggerMove
from scheduler_application.run.begin import Begun, RunRequest, in_its_slot, in_its_turn
from scheduler_application.run.open_runs import Engine
from scheduler_application.schedule.due_run import DueRun, request_for
from scheduler_application.workflow.live_triggers import calendar_rule, left_out_by
from scheduler_application.workflow.policy_text import policy_of
from scheduler_domain.schedule.calendar import Calendar
from scheduler_domain.schedule.fire_policy import FirePolicy, OverlapPolicy
from scheduler_domain.schedule.jitter import jitter_of
from scheduler_domain.schedule.policies import Decisions, DueOutcome, decide_due
from scheduler_domain.schedule.timetable import parse_timetable

MAX_QUEUED = 100
"""How many runs of one trigger ``overlap: queue`` keeps waiting and running."""


@dataclass(slots=True)
class DueTimes:
    """The due times of one trigger that a pass decides. ``requests`` has those that start a run, ``refusals`` the rules
    by which others do not."""

    trigger: DueTrigger
    policy: FirePolicy
    spread: timedelta
    decisions: Decisions
    requests: dict[datetime, RunRequest] = field(default_factory=dict)
    refusals: dict[datetime, str] = field(default_factory=dict)

    @property
    def move(self) -> TriggerMove:
        rows, due_at = self.decisions.rows, self.decisions.next_at
        return TriggerMove(
            self.trigger.id, due_at, None if due_at is None else due_at + self.spread, rows[-1].due_at if rows else None
        )

    def apply_overlap(self, live: int) -> None:
        """Refuses what the trigger's overlap policy does not let start while ``live`` of its runs are not over."""
        room = {OverlapPolicy.SKIP: 1, OverlapPolicy.QUEUE: MAX_QUEUED}.get(self.policy.overlap)
        if room is None:
            return
        rule = "overlap:skip" if self.policy.overlap is OverlapPolicy.SKIP else "overlap:queue_full"
        for due_at in list(self.requests)[max(0, room - live) :]:
            del self.requests[due_at]
            self.refusals[due_at] = rule

    def ledger_rows(self, begun: dict[str, Begun], now: datetime, epoch: int) -> list[LedgerRow]:
        """A row for each due time; ``begun`` is what came of the requests, by run."""
        rows = []
        for decision in self.decisions.rows:
            request = self.requests.get(decision.due_at)
            made = begun.get(request.run_id) if request is not None else None
            refused = self.refusals.get(decision.due_at) or (made.skipped_by if made is not None else None)
            rows.append(
                LedgerRow(
                    self.trigger.id,
                    decision.due_at,
                    self.trigger.project_id,
                    self.trigger.workflow_id,
                    DueOutcome.SKIPPED if refused is not None else decision.outcome,
                    refused or self._rule(decision.rule, decision.due_at),
                    made.request.run_id if made is not None and made.state is not None else None,
                    now,
                    epoch,
                )
            )
        return rows

    def _rule(self, rule: str, due_at: datetime) -> str:
        """What a freeze kept from firing on time is said to be decided by the freeze, not by a misfire."""
        start, end = self.trigger.frozen_at, self.trigger.frozen_until
        if rule != self.policy.misfire.rule or start is None or end is None:
            return rule
        frozen = start <= due_at + self.spread < end
        return f"freeze:{self.policy.misfire.value}" if frozen else rule


def freezing(trigger: DueTrigger, freezes: list[Freeze]) -> Freeze | None:
    """The freeze that holds the trigger, the one that ends last."""
    for freeze in freezes:
        if freeze.project_id == trigger.project_id and (
            freeze.label is None or freeze.label in json_value(trigger.labels)
        ):
            return freeze
    return None


class _Remembered:
    """`Calendars` of one transaction: each is asked for once, however many triggers use it."""

    def __init__(self, calendars: Calendars) -> None:
        self._calendars = calendars
        self._known: dict[tuple[str, str], Calendar] = {}

    async def calendar(self, tx: Transaction, project: str, name: str) -> Calendar:
        if (project, name) not in self._known:
            self._known[project, name] = await self._calendars.calendar(tx, project, name)
        return self._known[project, name]


class DueDecider:
    """Decides the due times of triggers in one transaction at one moment."""

    def __init__(self, tx: Transaction, engine: Engine, calendars: Calendars, tracer: Tracer, now: datetime) -> None:
        self._tx = tx
        self._engine = engine
        self._calendars = _Remembered(calendars)
        self._tracer = tracer
        self._now = now

    async def decide(self, trigger: DueTrigger, limit: int) -> DueTimes:
        """At most ``limit`` due times and a few more; raises what parsing and inputs raise."""
        policy = policy_of(trigger.policy)
        calendar = await calendar_rule(self._calendars, self._tx, trigger.project_id, policy)
        timetable = parse_timetable(
            trigger.kind,
            trigger.expression,
            trigger.timezone,
            anchor=trigger.anchor_at,
            seed=trigger.id,
            dst=policy.dst,
            calendar=calendar,
        )
        spread = jitter_of(trigger.id, policy.jitter)
        decisions = decide_due(
            timetable,
            trigger.due_at,
            self._now - spread,
            policy.misfire,
            limit=limit,
            max_lateness=policy.max_lateness,
            left_out=left_out_by(calendar, trigger.timezone),
        )
        due = DueTimes(trigger, policy, spread, decisions)
        for decision in decisions.rows:
            if trigger.skip_until is not None and decision.due_at <= trigger.skip_until:
                due.refusals[decision.due_at] = "paused"
            elif decision.outcome is DueOutcome.FIRED:
                rule = _refusal(trigger, policy)
                if rule is not None:
                    due.refusals[decision.due_at] = rule
                else:
                    due.requests[decision.due_at] = await self._request(due, decision.due_at)
        return due

    async def _request(self, due: DueTimes, due_at: datetime) -> RunRequest:
        trigger = due.trigger
        version = await self._engine.definitions.get(self._tx, trigger.version_id or "")
        started_by = f"trigger:{trigger.name}"
        due_run = DueRun(trigger.project_id, trigger.name, trigger.timezone, due_at, started_by, trigger.id)
        request = request_for(due_run, version, self._engine, self._tracer, self._now)
        if due.policy.overlap.in_turn:
            return in_its_turn(request, trigger.id, due.policy.overlap)
        return in_its_slot(request, self._now, self._engine.variables)


def _refusal(trigger: DueTrigger, policy: FirePolicy) -> str | None:
    if trigger.version_id is None:
        return "undeployed"
    if not trigger.enabled:
        return "disabled"
    return "shadow" if policy.shadow else None
