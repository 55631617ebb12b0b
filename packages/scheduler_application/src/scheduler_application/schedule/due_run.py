"""The run that a due time asks for, whoever starts it: the clock or a backfill."""

from dataclasses import dataclass
from datetime import datetime

from scheduler_application.errors import NotFound
from scheduler_application.ports.observing import Tracer
from scheduler_application.run.begin import RunRequest
from scheduler_application.run.definitions import Version
from scheduler_application.run.open_runs import Engine
from scheduler_application.run.scope import run_scope
from scheduler_domain.schedule.zones import zone_named
from scheduler_domain.workflow.parameters import resolve_inputs


@dataclass(frozen=True, slots=True)
class DueRun:
    """A due time of a trigger (by its name and zone) that is to have a run. With a ``trigger_id`` it is the one run of
    this due time; those of backfills have none."""

    project_id: str
    trigger: str
    timezone: str
    due_at: datetime
    started_by: str
    trigger_id: str | None = None


def request_for(due: DueRun, version: Version, engine: Engine, tracer: Tracer, now: datetime) -> RunRequest:
    """The request, with the trigger's inputs rendered and without a slot. Raises `NotFound` where the version has no
    such trigger, and what rendering and checking inputs raises."""
    definition = next((one for one in version.definition.triggers if one.name == due.trigger), None)
    if definition is None:
        raise NotFound(f"version {version.number} has no trigger '{due.trigger}'")
    run_id = engine.ids.new()
    local = due.due_at.astimezone(zone_named(due.timezone)).isoformat()
    scope = {
        "vars": engine.variables,
        "run": run_scope(
            run_id=run_id,
            workflow=version.definition.name,
            started_by=due.started_by,
            scheduled_for=local,
            created_at=now,
            failed=False,
        ),
    }
    given = {name: template.render(scope) for name, template in definition.inputs.items()}
    return RunRequest(
        run_id=run_id,
        project_id=due.project_id,
        version=version,
        inputs=resolve_inputs(version.definition.inputs, given, scope),
        started_by=due.started_by,
        traceparent=tracer.start_trace("fire"),
        trigger_id=due.trigger_id,
        due_at=due.due_at,
        scheduled_for=local,
    )
