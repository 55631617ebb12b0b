"""Runs for due times of the past: backfill, backfills."""

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from cyclopts import Parameter

from orrery import operations
from orrery.cli.failures import FAILED, OK, UsageError
from orrery.cli.instants import read_instant
from orrery.cli.output import moment
from orrery.cli.session import Flag, Here
from orrery.client import AsyncClient
from orrery.models import Backfill, BackfillPreview

MAX_PARALLEL = 100
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0

_ACTIONS = {
    "show": operations.get_backfill,
    "pause": operations.pause_backfill,
    "resume": operations.resume_backfill,
    "cancel": operations.cancel_backfill,
}


async def backfill(
    name: str,
    /,
    *,
    start: Annotated[str, Parameter(name="--from")],
    end: Annotated[str, Parameter(name="--to")],
    trigger: str | None = None,
    only_missing: Flag = False,
    max_parallel: int = 1,
    priority: Literal["critical", "high", "normal", "low"] = "low",
    dry_run: Flag = False,
    wait: Flag = False,
    json: Flag = False,
    session: Here,
) -> int:
    """Starts runs for due times of the past, a few at a time.

    Parameters
    ----------
    name
        Name or id of the workflow.
    start
        Due times from this instant on, e.g. 2026-03-01T00:00:00Z.
    end
        Due times before this instant, which is not in the future.
    trigger
        Name of the schedule, where the workflow has several.
    only_missing
        Only due times that have no run.
    max_parallel
        At most so many runs at a time, from 1 to 100.
    priority
        Priority of the runs.
    dry_run
        Only tell what it would come to.
    wait
        Wait for the end: exit code 0 where it finished and every run succeeded, 1 otherwise.
    json
        Print JSON.
    """
    if not 1 <= max_parallel <= MAX_PARALLEL:
        raise UsageError(f"--max-parallel must be a whole number from 1 to {MAX_PARALLEL}")
    if dry_run and wait:
        raise UsageError("give either --dry-run or --wait")
    first, last = _text(read_instant(start, "--from")), _text(read_instant(end, "--to"))
    about = (name, first, last, trigger, only_missing, max_parallel, priority)
    async with session.client() as client:
        if dry_run:
            preview = await client.preview_backfill(*about)
            _print_preview(preview, json, session)
            return OK
        made = await client.start_backfill(*about)
        if not wait:
            if json:
                session.out.json(made)
            else:
                session.out.line(made["id"])
            return OK
        if not json:
            session.out.line(made["id"])
            session.stdout.flush()
        over = await _wait(client, made["id"])
    if json:
        session.out.json(over)
    else:
        session.err.line(f"{over['state']}: {_runs(over)}" + (f" ({over['reason']})" if over["reason"] else ""))
    return OK if over["state"] == "finished" and set(over["runs"] or {}) <= {"succeeded"} else FAILED


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


async def _wait(client: AsyncClient, backfill_id: str) -> Backfill:
    """Until it is over, or paused: then it does not go on by itself."""
    pause = FIRST_PAUSE_SECONDS
    while (found := await client.get_backfill(backfill_id))["state"] in ("running", "cancelling"):
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
    return found


def _print_preview(preview: BackfillPreview, json: bool, session: Here) -> None:
    if json:
        return session.out.json(preview)
    expected = preview["expected_seconds"]
    session.out.record(
        [
            ("workflow", preview["workflow"]),
            ("trigger", preview["trigger"]),
            ("due times", preview["due_times"]),
            ("without a run", preview["missing"]),
            ("to start", preview["to_start"]),
            ("first", moment(preview["first_at"])),
            ("last", moment(preview["last_at"])),
            ("at a time", preview["at_a_time"]),
            ("expected", "unknown: no run has succeeded yet" if expected is None else _span(expected)),
        ]
    )
    for queue in preview["queues"]:
        busy = f"{queue['slots']} slots, {queue['running']} running, {queue['ready']} waiting"
        session.out.line(f"queue {queue['name']}: {busy if queue['workers'] else 'no live worker serves it'}")


def _span(seconds: float) -> str:
    """``1h 5m``, ``5m 20s`` or ``20s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"


async def backfills(
    action: Literal["show", "pause", "resume", "cancel"] | None = None,
    backfill: str | None = None,
    /,
    *,
    workflow: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    json: Flag = False,
    session: Here,
) -> None:
    """Lists backfills, the newest first; or shows, pauses, resumes or cancels one.

    Parameters
    ----------
    action
        What to do with one backfill.
    backfill
        Id of that backfill.
    workflow
        Only those of this workflow.
    limit
        At most so many, from 1 to 200.
    cursor
        Go on after this place: next_cursor of the page before.
    json
        Print JSON.
    """
    if action is None:
        return await _list(workflow, limit, cursor, json, session)
    if backfill is None:
        raise UsageError(f"give the id of the backfill: orrery backfills {action} ID")
    if workflow is not None or cursor is not None:
        raise UsageError("--workflow and --cursor belong to the list")
    async with session.client() as client:
        found = await client.send(_ACTIONS[action](backfill))
    if json:
        return session.out.json(found)
    if action != "show":
        return session.out.line(f"{found['id']} {found['state']}")
    session.out.record(
        [
            ("backfill", found["id"]),
            ("workflow", found["workflow"]),
            ("trigger", found["trigger"]),
            ("state", found["state"]),
            ("reason", found["reason"]),
            ("from", moment(found["from_at"])),
            ("to", moment(found["to_at"])),
            ("only missing", found["only_missing"]),
            ("at a time", found["max_parallel"]),
            ("priority", found["priority"]),
            ("due times", found["total"]),
            ("started", found["started"]),
            ("had a run", found["skipped"]),
            ("goes on at", moment(found["next_at"])),
            ("runs", _runs(found)),
            ("by", found["created_by"]),
            ("created", moment(found["created_at"])),
            ("finished", moment(found["finished_at"])),
        ]
    )


async def _list(workflow: str | None, limit: int, cursor: str | None, json: bool, session: Here) -> None:
    async with session.client() as client:
        page = await client.list_backfills(workflow, limit, cursor)
    if json:
        return session.out.json(page)
    rows = [
        (
            item["id"],
            item["workflow"],
            item["trigger"],
            item["state"],
            f"{item['started'] + item['skipped']}/{item['total']}",
            moment(item["from_at"]),
            moment(item["to_at"]),
        )
        for item in page["items"]
    ]
    columns = ("backfill", "workflow", "trigger", "state", "handled", "from", "to")
    session.out.table(columns, rows, empty="no backfills")
    session.tell_more(page["next_cursor"])


def _runs(found: Backfill) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted((found["runs"] or {}).items())) or "no runs"
