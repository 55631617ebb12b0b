"""The clock: next, pause, resume."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from cyclopts import Parameter

from orrery.cli.failures import CommandFailed, UsageError
from orrery.cli.instants import read_instant
from orrery.cli.output import moment
from orrery.cli.session import Flag, Here
from orrery.models import Fire, Trigger

MAX_FIRES = 100


async def next_fires(
    name: str | None = None,
    /,
    *,
    schedule: str | None = None,
    timezone: str = "UTC",
    after: str | None = None,
    gap: Literal["run_after", "skip"] | None = None,
    repeat: Literal["once", "twice"] | None = None,
    n: Annotated[int, Parameter(name=("-n", "--n"))] = 10,
    json: Flag = False,
    session: Here,
) -> None:
    """Shows when a workflow is due next, or when a schedule would be (this needs no server).

    Parameters
    ----------
    name
        Name or id of the workflow.
    schedule
        A cron expression instead of a workflow.
    timezone
        Time zone of the schedule, e.g. Europe/Berlin.
    after
        Due times after this instant, e.g. 2026-03-29T00:00:00Z; now where none is given.
    gap
        With --schedule: what becomes of local times that a clock change leaves out.
    repeat
        With --schedule: what becomes of local times that a clock change repeats.
    n
        How many, from 1 to 100.
    json
        Print JSON.
    """
    if (name is None) == (schedule is None):
        raise UsageError("give either the NAME of a workflow or --schedule EXPR")
    if not 1 <= n <= MAX_FIRES:
        raise UsageError(f"-n must be a whole number from 1 to {MAX_FIRES}")
    if schedule is not None:
        moment_after = datetime.now(UTC) if after is None else read_instant(after, "--after")
        return _print_fires(_preview(schedule, timezone, moment_after, n, gap, repeat), json, session)
    if (after, gap, repeat, timezone) != (None, None, None, "UTC"):
        raise UsageError("--after, --gap, --repeat and --timezone belong to --schedule")
    async with session.client() as client:
        forecasts = await client.next_fires(name or "", n)
    if json:
        return session.out.json(forecasts)
    rows = [(item["trigger"]["name"], *_fire_cells(fire)) for item in forecasts for fire in item["fires"]]
    session.out.table(("trigger", "at (UTC)", "local", "note"), rows, empty="never: no live trigger of the clock")


def _preview(
    schedule: str, timezone: str, after: datetime, count: int, gap: str | None, repeat: str | None
) -> list[Fire]:
    from scheduler_domain.errors import InvalidDefinition
    from scheduler_domain.schedule.dst import DstPolicy, GapRule, RepeatRule
    from scheduler_domain.schedule.timetable import preview

    dst = DstPolicy(None if gap is None else GapRule(gap), None if repeat is None else RepeatRule(repeat))
    try:
        fires = preview("schedule", schedule, timezone, after, count, dst=dst)
    except InvalidDefinition as error:
        raise CommandFailed(*(problem.message for problem in error.problems)) from error
    return [
        {"at": fire.at.isoformat().replace("+00:00", "Z"), "local": fire.local.isoformat(), "note": fire.note}
        for fire in fires
    ]


def _print_fires(fires: list[Fire], json: bool, session: Here) -> None:
    if json:
        return session.out.json({"fires": fires})
    session.out.table(("at (UTC)", "local", "note"), [_fire_cells(fire) for fire in fires], empty="never")


def _fire_cells(fire: Fire) -> tuple[str, str, str]:
    local = datetime.fromisoformat(fire["local"]).isoformat(sep=" ", timespec="seconds")
    return moment(fire["at"]), local, fire["note"] or ""


async def pause(name: str, /, *, session: Here) -> None:
    """Stops the triggers of a workflow; people can still start it.

    Parameters
    ----------
    name
        Name or id of the workflow.
    """
    async with session.client() as client:
        _tell(await client.pause(name), "paused", session)


async def resume(name: str, /, *, session: Here) -> None:
    """Lets the triggers of a workflow fire again.

    Parameters
    ----------
    name
        Name or id of the workflow.
    """
    async with session.client() as client:
        _tell(await client.resume(name), "resumed", session)


def _tell(triggers: list[Trigger], done: str, session: Here) -> None:
    for trigger in triggers:
        following = f", next {moment(trigger['next_at'])}" if trigger["next_at"] and not trigger["paused"] else ""
        session.out.line(f"{trigger['workflow']} {trigger['name']}: {done}{following}")
    if not triggers:
        session.out.line("no live triggers")
