"""When a schedule will fire, for people: the next due times with what clock changes, calendars, jitter and
freezes do to each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scheduler_application.actor import Actor
from scheduler_application.errors import Rejected
from scheduler_application.ports.calendars import Calendars
from scheduler_application.ports.persistence import Store
from scheduler_application.ports.reading import FreezeView, Reader, TriggerView
from scheduler_application.ports.time import Clock
from scheduler_application.workflow.authoring import seen
from scheduler_application.workflow.live_triggers import calendar_rule
from scheduler_application.workflow.policy_text import policy_from
from scheduler_domain.schedule.dst import DEBIAN, DstPolicy
from scheduler_domain.schedule.fire_policy import FirePolicy
from scheduler_domain.schedule.jitter import jitter_of
from scheduler_domain.schedule.timetable import Fire, preview

MAX_FIRES = 100


@dataclass(frozen=True, slots=True)
class PreviewCommand:
    """``kind`` is ``schedule``, ``every`` or ``at``; ``after`` is now where it is absent; ``count`` from 1 to
    `MAX_FIRES`; ``dst`` is for ``schedule`` only."""

    kind: str
    expression: str
    timezone: str = "UTC"
    after: datetime | None = None
    count: int = 10
    dst: DstPolicy = DEBIAN


@dataclass(frozen=True, slots=True)
class NextCommand:
    workflow: str
    count: int = 10


class PreviewSchedule:
    """The next due times of an expression that nobody needs to have saved."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def execute(self, command: PreviewCommand) -> list[Fire]:
        """Raises `InvalidDefinition` for what is wrong or never fires, `Rejected` for a count out of bounds."""
        _check_count(command.count)
        after = command.after or self._clock.now()
        return preview(command.kind, command.expression, command.timezone, after, command.count, dst=command.dst)


class NextFires:
    """The next due times of each active trigger of a workflow that the clock satisfies."""

    def __init__(self, store: Store, reader: Reader, calendars: Calendars, clock: Clock) -> None:
        self._store = store
        self._reader = reader
        self._calendars = calendars
        self._clock = clock

    async def execute(self, command: NextCommand, actor: Actor) -> list[tuple[TriggerView, list[Fire]]]:
        """Raises `NotFound`, `Rejected`."""
        _check_count(command.count)
        workflow = await seen(self._reader, command.workflow, actor)
        clocked = [t for t in await self._reader.triggers(actor.project, workflow.id) if t.kind != "manual"]
        freezes = [
            freeze
            for freeze in await self._reader.freezes_ahead(actor.project, self._clock.now())
            if freeze.label is None or freeze.label in workflow.labels
        ]
        return [(trigger, await self._fires(trigger, command.count, freezes, actor)) for trigger in clocked]

    async def _fires(self, trigger: TriggerView, count: int, freezes: Sequence[FreezeView], actor: Actor) -> list[Fire]:
        if trigger.paused or trigger.error is not None:
            return []
        policy = policy_from(trigger.policy)
        calendar = None
        if policy.calendar is not None:
            calendar = await self._store.transact(lambda tx: calendar_rule(self._calendars, tx, actor.project, policy))
        spread = jitter_of(trigger.id, policy.jitter)
        fires = preview(
            trigger.kind,
            trigger.expression,
            trigger.timezone,
            self._clock.now(),
            count,
            anchor=trigger.anchor_at,
            seed=trigger.id,
            dst=policy.dst,
            calendar=calendar,
        )
        return [replace(fire, note=_note(fire, policy, spread, freezes)) for fire in fires]


def _note(fire: Fire, policy: FirePolicy, spread: timedelta, freezes: Sequence[FreezeView]) -> str | None:
    notes = [fire.note] if fire.note is not None else []
    starts_at = fire.at + spread
    if spread:
        notes.append(f"starts at {starts_at:%H:%M:%S} UTC (jitter)")
    freeze = next((one for one in freezes if one.starts_at <= starts_at < one.ends_at), None)
    if freeze is not None:
        until = freeze.ends_at.isoformat()
        notes.append(f"held by a freeze until {until} ({freeze.reason}), then misfire: {policy.misfire}")
    if policy.shadow:
        notes.append("only recorded (shadow)")
    return "; ".join(notes) or None


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_FIRES:
        raise Rejected(f"count is from 1 to {MAX_FIRES}", code="out_of_range")
