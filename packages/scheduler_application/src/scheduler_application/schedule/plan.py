"""What a deploy would change: the definition, the version, and the fire times of the next 30 days. Nothing is
written."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.errors import NotFound
from scheduler_application.json_values import json_value
from scheduler_application.ports.calendars import Calendars
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import StoredVersion
from scheduler_application.ports.time import Clock
from scheduler_application.schedule.expansion import (
    CLOCK_KINDS,
    FireRule,
    planned_fires,
    rule_of_definition,
    rule_of_row,
    undecided_after,
)
from scheduler_application.schedule.fire_changes import FireChanges, Side, differences, fires_of, no_fires, told
from scheduler_application.workflow.authoring import parsed
from scheduler_application.workflow.changes import Change, DefinitionChange, changes_between
from scheduler_application.workflow.document import Document, digest, load_definition
from scheduler_application.workflow.live_triggers import calendar_rule, calendar_rules
from scheduler_application.workflow.policy_text import policy_of
from scheduler_domain.errors import DomainError
from scheduler_domain.schedule.calendar import CalendarRule
from scheduler_domain.workflow.definition import TriggerDefinition, TriggerKind

WINDOW = timedelta(days=30)
MAX_DUE_TIMES = 200_000
"""How many due times one plan looks at, for all triggers together."""
MAX_CHANGES = 200
"""How many changes of the definition a plan lists."""

_AT_DEPLOY = "an interval counts from the deploy: these times are those of a deploy now"
_BY_IDENTITY = "H and jitter are fixed by the identity that the trigger gets at its first deploy: an example"


@dataclass(frozen=True, slots=True)
class PlanCommand:
    """The document as `DeployCommand` has it."""

    text: bytes
    format: str = "yaml"
    source: str | None = None


@dataclass(frozen=True, slots=True)
class TriggerPlan:
    """What becomes of one trigger of the clock. ``change`` is ``None`` for one that stays by its name. ``note`` says
    what is not known before the deploy."""

    trigger: str
    change: Change | None
    paused: bool
    fires: FireChanges
    truncated: bool
    note: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """``live_version`` is what is live, ``version`` what would be; ``creates_version``: it would be made for it.
    ``definition`` has the first `MAX_CHANGES` of ``definition_total`` changes. ``unchanged``: a deploy would change
    nothing."""

    workflow: str
    live_version: int | None
    version: int
    creates_version: bool
    enabled: bool
    unchanged: bool
    planned_from: datetime
    planned_until: datetime
    definition_total: int
    definition: Sequence[DefinitionChange]
    triggers: Sequence[TriggerPlan]


@dataclass(frozen=True, slots=True)
class _Deployed:
    """What a deploy of the document would meet. ``same`` is the version that has its content already; ``calendars`` are
    those of the document's triggers, ``rules`` what stored triggers fire by, both by name."""

    calendars: Mapping[str, CalendarRule]
    live: StoredVersion | None = None
    same: StoredVersion | None = None
    last_number: int = 0
    enabled: bool = True
    triggers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rules: Mapping[str, FireRule] = field(default_factory=dict)


@dataclass(slots=True)
class _Pair:
    """A trigger before and after; ``None`` where it does not fire."""

    name: str
    change: Change | None
    paused: bool
    before: FireRule | None
    after: FireRule | None
    note: str | None
    due_at: datetime | None = None
    """The first due time that is not decided."""


class PlanWorkflow:
    """Shows what `DeployWorkflow` would do with the same document at this moment. Open to whoever may see the
    workflow."""

    def __init__(self, store: Store, calendars: Calendars, clock: Clock) -> None:
        self._store = store
        self._calendars = calendars
        self._clock = clock

    async def execute(self, command: PlanCommand, actor: Actor) -> Plan:
        """Raises `InvalidDefinition` with every problem."""
        document = await parsed(command.text, command.format)
        now = self._clock.now()
        deployed = await self._store.transact(lambda tx: self._read(tx, document, command.source, actor, now))
        return await asyncio.to_thread(_plan, document, command.source, deployed, now)

    async def _read(
        self, tx: Transaction, document: Document, source: str | None, actor: Actor, now: datetime
    ) -> _Deployed:
        calendars = await calendar_rules(self._calendars, tx, actor.project, document.definition, now)
        row = await tx.workflows.find(actor.project, document.definition.name)
        if row is None:
            return _Deployed(calendars)
        live = row["live_version_id"]
        triggers = await tx.triggers.of_workflow(row["id"])
        rules = {trigger["name"]: await self._firing(tx, trigger, actor) for trigger in triggers}
        return _Deployed(
            calendars=calendars,
            live=None if live is None else await tx.workflows.version(live),
            same=await tx.workflows.version_by_digest(row["id"], digest(document.content), source),
            last_number=await tx.workflows.last_number(row["id"]),
            enabled=bool(row["enabled"]),
            triggers={trigger["name"]: trigger for trigger in triggers},
            rules={name: rule for name, rule in rules.items() if rule is not None},
        )

    async def _firing(self, tx: Transaction, row: Mapping[str, Any], actor: Actor) -> FireRule | None:
        """The rule by which a stored trigger fires now; one that the leader put aside, or would, does not."""
        if not row["active"] or row["error"] is not None or row["kind"] not in CLOCK_KINDS:
            return None
        try:
            calendar = await calendar_rule(self._calendars, tx, actor.project, policy_of(row["policy"]))
            rule = rule_of_row(row, calendar)
            rule.timetable()
        except (NotFound, DomainError, ValueError, KeyError, TypeError):
            return None
        return _unless_shadow(rule)


def _plan(document: Document, source: str | None, deployed: _Deployed, now: datetime) -> Plan:
    until = now + WINDOW
    live, same = deployed.live, deployed.same
    changed = _definition_changes(document, source, live)
    triggers = _planned_triggers(_pairs(document, deployed, now), now, until)
    is_live = live is not None and same is not None and live.id == same.id
    return Plan(
        workflow=document.definition.name,
        live_version=None if live is None else live.number,
        version=deployed.last_number + 1 if same is None else same.number,
        creates_version=same is None,
        enabled=deployed.enabled,
        unchanged=is_live and not any(trigger.fires.any for trigger in triggers),
        planned_from=now,
        planned_until=until,
        definition_total=len(changed),
        definition=changed[:MAX_CHANGES],
        triggers=triggers,
    )


def _definition_changes(document: Document, source: str | None, live: StoredVersion | None) -> list[DefinitionChange]:
    if live is None:
        return changes_between(None, document)
    content = json_value(live.content)
    found = changes_between(Document(load_definition(content), content), document)
    if source != live.source:
        found.append(DefinitionChange(("source",), Change.CHANGED, live.source, source))
    return found


def _pairs(document: Document, deployed: _Deployed, now: datetime) -> list[_Pair]:
    """The triggers of the clock, before and after a deploy at ``now``; those that would go come last."""
    wanted = {trigger.name: trigger for trigger in document.definition.triggers if trigger.kind in CLOCK_KINDS}
    pairs = [_pair(trigger, deployed, now) for trigger in wanted.values()]
    for name, row in deployed.triggers.items():
        if name not in wanted and row["active"] and row["kind"] in CLOCK_KINDS:
            rule = deployed.rules.get(name)
            pairs.append(_Pair(name, Change.REMOVED, bool(row["paused"]), rule, None, None, row["due_at"]))
    return pairs


def _pair(trigger: TriggerDefinition, deployed: _Deployed, now: datetime) -> _Pair:
    """As a deploy keeps or makes the trigger: its identity where its name is known, its phase where it fires on the
    same."""
    name = trigger.name
    row, calendar = deployed.triggers.get(name), deployed.calendars.get(name)
    if row is None:
        after = rule_of_definition(trigger, now, "", calendar)
        note = _AT_DEPLOY if trigger.kind is TriggerKind.EVERY else None
        if after.hashed or after.policy.jitter:
            note = _BY_IDENTITY if note is None else f"{note}; {_BY_IDENTITY}"
        return _Pair(name, Change.ADDED, False, None, _unless_shadow(after), note)
    written = (trigger.kind.value, trigger.expression, trigger.timezone)
    same_phase = written == (row["kind"], row["expression"], row["timezone"])
    after = rule_of_definition(trigger, row["anchor_at"] if same_phase else now, row["id"], calendar)
    note = _AT_DEPLOY if trigger.kind is TriggerKind.EVERY and not same_phase else None
    change = None if row["active"] else Change.ADDED
    before = deployed.rules.get(name)
    return _Pair(name, change, bool(row["paused"]), before, _unless_shadow(after), note, row["due_at"])


def _unless_shadow(rule: FireRule) -> FireRule | None:
    return None if rule.policy.shadow else rule


def _planned_triggers(pairs: Sequence[_Pair], now: datetime, until: datetime) -> list[TriggerPlan]:
    """In the order of ``pairs``. The sparse ones are looked at first, so that a dense one gets what they leave of the
    budget instead of taking it from them."""
    budget = MAX_DUE_TIMES
    planned: dict[str, TriggerPlan] = {}
    for place, pair in enumerate(sorted(pairs, key=lambda pair: _density(pair, now, until))):
        share = budget // (len(pairs) - place)
        plan, cost = _planned(pair, now, until, share)
        planned[pair.name] = plan
        budget -= cost
    return [planned[pair.name] for pair in pairs]


def _density(pair: _Pair, now: datetime, until: datetime) -> float:
    """Due times a second, roughly: by the first two."""
    return sum(_rate(rule, now, until) for rule in (pair.before, pair.after) if rule is not None)


def _rate(rule: FireRule, now: datetime, until: datetime) -> float:
    first = [fire.due_at for fire in islice(planned_fires(rule, now, until), 2)]
    return 1 / (first[1] - first[0]).total_seconds() if len(first) > 1 else 0.0


def _planned(pair: _Pair, now: datetime, until: datetime, share: int) -> tuple[TriggerPlan, int]:
    """The plan of one trigger, and how many due times it cost."""
    begun = now if pair.before is None else undecided_after(pair.before, pair.due_at, now)
    same = pair.before is not None and pair.after is not None and _times(pair.before) == _times(pair.after)
    before = _side(pair.before, begun, until, share if same else share // 2)
    # A deploy that changes the times forgets what has not started yet; one that does not leaves it due.
    after = before if same else _side(pair.after, now, until, share // 2)
    fires = told(differences(before, after), before, after)
    cost = before.cost if same else before.cost + after.cost
    return TriggerPlan(pair.name, pair.change, pair.paused, fires, fires.until < until, pair.note), cost


def _times(rule: FireRule) -> tuple[object, ...]:
    policy = rule.policy
    phase = rule.anchor if rule.kind == TriggerKind.EVERY else None
    return rule.kind, rule.expression, rule.timezone, phase, policy.jitter, policy.dst, policy.calendar


def _side(rule: FireRule | None, after: datetime, until: datetime, limit: int) -> Side:
    return no_fires(until) if rule is None else fires_of(rule, after, until, limit)
