"""Workflows for tests of the engine, in which a test decides what every task comes to; and what to do to their
workers."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from scheduler_application.run.claim import ClaimedTask
from scheduler_application.schedule.calendars import SaveCalendarCommand
from scheduler_domain.run.outcome import Failed, Outcome, Succeeded, TaskError
from tests.support.world import ACTOR, World

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def flow(tasks: Mapping[str, Any] | str = "a", name: str = "flow", **more: Any) -> dict[str, Any]:
    """A document; ``tasks`` are bodies by name (a shell task where none has an executor), or names without needs: ``"a
    b"``."""
    bodies: Mapping[str, Any] = {key: {} for key in tasks.split()} if isinstance(tasks, str) else tasks
    return {"workflow": name, "tasks": {key: _body(body) for key, body in bodies.items()}, **more}


def chain(*names: str, **body: Any) -> dict[str, dict[str, Any]]:
    """Tasks, each of which needs the one before it."""
    return {name: {**body, **({"needs": [names[i - 1]]} if i else {})} for i, name in enumerate(names)}


def _body(body: Mapping[str, Any]) -> dict[str, Any]:
    executors = {"shell", "http", "database", "python", "workflow", "wait"}
    return dict(body) if executors & body.keys() else {"shell": "true", **body}


def failure(exit_code: int = 1, *, retryable: bool = True) -> Failed:
    return Failed(TaskError("exit_code", f"it ended with exit code {exit_code}", exit_code=exit_code), retryable)


def results(**outcomes: Outcome) -> Callable[[ClaimedTask], Outcome]:
    """For `World.work`: outcomes by task, success for all others."""
    return lambda claimed: outcomes.get(claimed.row.task, Succeeded())


async def list_days(world: World, calendar: str, *days: date) -> None:
    """Makes a calendar of the project that has these days."""
    definition = {"kind": "dates", "dates": [day.isoformat() for day in days]}
    await world.save_calendar.execute(SaveCalendarCommand(calendar, definition), ACTOR)


async def lose(world: World, worker_id: str) -> None:
    """The worker stops heartbeating and its lease is over: by the store's own clock, which no test can turn."""
    await world.write("update workers set lease_until = $1 where id = $2", LONG_AGO, worker_id)


async def recover(world: World) -> int:
    return await world.recover_lost_workers.execute(await world.lead())


async def wake(world: World, after: float = 0.0) -> int:
    """Turns the clock and lets the leader wake what is due."""
    world.clock.advance(after)
    return await world.wake_due_tasks.execute(await world.lead())


async def slots(world: World) -> dict[str, int]:
    """How many runs hold each concurrency key."""
    return {row["slot_key"]: row["live"] for row in await world.rows("select slot_key, live from slots")}
