"""When a schedule will fire, for people: the next due times with what daylight saving does to each."""

from dataclasses import dataclass
from datetime import datetime

from scheduler_application.actor import Actor
from scheduler_application.errors import Rejected
from scheduler_application.ports.reading import Reader, TriggerView
from scheduler_application.ports.time import Clock
from scheduler_application.workflow.authoring import seen
from scheduler_domain.schedule.timetable import Fire, preview

MAX_FIRES = 100


@dataclass(frozen=True, slots=True)
class PreviewCommand:
    """``kind`` is ``schedule``, ``every`` or ``at``; ``after`` is now where it is absent; ``count`` from 1 to
    `MAX_FIRES`."""

    kind: str
    expression: str
    timezone: str = "UTC"
    after: datetime | None = None
    count: int = 10


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
        return preview(command.kind, command.expression, command.timezone, after, command.count)


class NextFires:
    """The next due times of each active trigger of a workflow that the clock satisfies."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def execute(self, command: NextCommand, actor: Actor) -> list[tuple[TriggerView, list[Fire]]]:
        """Raises `NotFound`, `Rejected`."""
        _check_count(command.count)
        workflow = await seen(self._reader, command.workflow, actor)
        clocked = [t for t in await self._reader.triggers(actor.project, workflow.id) if t.kind != "manual"]
        return [(trigger, self._fires(trigger, command.count)) for trigger in clocked]

    def _fires(self, trigger: TriggerView, count: int) -> list[Fire]:
        if trigger.paused or trigger.error is not None:
            return []
        return preview(
            trigger.kind,
            trigger.expression,
            trigger.timezone,
            self._clock.now(),
            count,
            anchor=trigger.anchor_at,
            seed=trigger.id,
        )


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_FIRES:
        raise Rejected(f"count is from 1 to {MAX_FIRES}", code="out_of_range")
