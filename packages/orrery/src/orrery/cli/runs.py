"""Runs: run, runs, cancel, rerun."""

import asyncio
from typing import Annotated

from cyclopts import Parameter

from orrery.cli.failures import FAILED, OK
from orrery.cli.inputs import read_inputs
from orrery.cli.logs import print_logs
from orrery.cli.output import lasted, moment
from orrery.cli.problems import problem_lines
from orrery.cli.session import Flag, Here
from orrery.client import AsyncClient
from orrery.errors import Invalid
from orrery.models import FINAL_RUN_STATES, Run, StartedRun, TaskRun

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0


async def run(
    name: str,
    /,
    *,
    pairs: Annotated[list[str] | None, Parameter(name=("--input", "-i"), negative=())] = None,
    inputs: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    wait: Flag = False,
    follow: Flag = False,
    json: Flag = False,
    session: Here,
) -> int:
    """Starts a workflow.

    Parameters
    ----------
    name
        Name or id of the workflow.
    pairs
        One input as key=value; JSON where the workflow declares another type than string. May be given many times.
    inputs
        File with a JSON object of inputs, or - for standard input.
    wait
        Wait for the end: exit code 0 where the run succeeded, 1 otherwise.
    follow
        Print the logs until the end, and then as --wait.
    json
        Print the run as JSON.
    """
    async with session.client() as client:
        declared = await _declared_inputs(client, name) if pairs else {}
        try:
            started = await client.start_run(name, read_inputs(pairs or (), inputs, session.stdin, declared))
        except Invalid as error:
            for line in problem_lines(name, error.problems):
                session.err.line(line)
            raise
        return await _attend(client, started, wait, follow, json, session)


async def _declared_inputs(client: AsyncClient, name: str) -> dict[str, object]:
    live = (await client.get_workflow(name))["live_version"]
    definition = (await client.get_version(name, live))["definition"] if live else None
    declared = (definition or {}).get("inputs")
    return declared if isinstance(declared, dict) else {}


async def _attend(client: AsyncClient, started: StartedRun, wait: bool, follow: bool, json: bool, session: Here) -> int:
    """Tells which run was started and, where asked, stays with it to its end."""
    if not json:
        session.out.line(started["run_id"])
        session.stdout.flush()
    if not (wait or follow):
        if json:
            session.out.json(started)
        return OK
    if follow:
        await print_logs(client, started["run_id"], None, session, json)
    ended = await _wait(client, started["run_id"])
    if json:
        session.out.json(ended)
    else:
        session.err.line(f"{ended['state']} {lasted(ended['started_at'], ended['finished_at'])}".rstrip())
    return OK if ended["state"] == "succeeded" else FAILED


async def _wait(client: AsyncClient, run_id: str) -> Run:
    pause = FIRST_PAUSE_SECONDS
    while (found := await client.get_run(run_id))["state"] not in FINAL_RUN_STATES:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
    return found


async def runs(
    *,
    workflow: str | None = None,
    state: str | None = None,
    backfill: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    json: Flag = False,
    session: Here,
) -> None:
    """Lists runs, the newest first.

    Parameters
    ----------
    workflow
        Only those of this workflow.
    state
        Only those in this state, e.g. running or failed.
    backfill
        Only those that this backfill started.
    limit
        At most so many, from 1 to 200.
    cursor
        Go on after this place: next_cursor of the page before.
    json
        Print JSON.
    """
    async with session.client() as client:
        page = await client.list_runs(workflow, state, limit, cursor, backfill)
    if json:
        return session.out.json(page)
    rows = [
        (
            item["id"],
            item["workflow"],
            item["version"],
            item["state"],
            item["trigger"] or item["started_by"],
            moment(item["created_at"]),
            lasted(item["started_at"], item["finished_at"]),
        )
        for item in page["items"]
    ]
    session.out.table(("run", "workflow", "version", "state", "by", "created", "took"), rows, empty="no runs")
    session.tell_more(page["next_cursor"])


def show_run(found: Run, json: bool, session: Here) -> None:
    """A run with its tasks, as `orrery show RUN` prints it."""
    if json:
        return session.out.json(found)
    session.out.record(
        [
            ("run", found["id"]),
            ("workflow", f"{found['workflow']} (version {found['version']})"),
            ("state", found["state"]),
            ("error", _reason(found["error"])),
            ("by", found["trigger"] or found["started_by"]),
            ("due", moment(found["due_at"])),
            ("inputs", found["inputs"]),
            ("created", moment(found["created_at"])),
            ("started", moment(found["started_at"])),
            ("finished", moment(found["finished_at"])),
            ("took", lasted(found["started_at"], found["finished_at"])),
        ]
    )
    session.out.line()
    rows = [
        (
            _task_name(task),
            task["state"],
            task["attempt"],
            moment(task["started_at"]),
            lasted(task["started_at"], task["finished_at"]),
            _reason(task["error"]),
        )
        for task in found["tasks"] or ()
    ]
    session.out.table(("task", "state", "attempt", "started", "took", "error"), rows, empty="no tasks")


def _task_name(task: TaskRun) -> str:
    return task["task"] if task["item_index"] is None else f"{task['task']}[{task['item_index']}]"


def _reason(error: dict[str, object] | None) -> str:
    return str(error.get("message") or error.get("code") or error) if error else ""


async def cancel(run: str, /, *, session: Here) -> None:
    """Ends a run and every process of its tasks.

    Parameters
    ----------
    run
        Id of the run.
    """
    async with session.client() as client:
        found = await client.cancel_run(run)
    session.out.line(f"{found['id']} {found['state']}")


async def rerun(
    run: str,
    /,
    *,
    from_failed: Flag = False,
    wait: Flag = False,
    follow: Flag = False,
    json: Flag = False,
    session: Here,
) -> int:
    """Starts a finished run again, with the same inputs and the same version.

    Parameters
    ----------
    run
        Id of the run.
    from_failed
        Keep what succeeded, and start with what failed.
    wait
        Wait for the end: exit code 0 where the new run succeeded, 1 otherwise.
    follow
        Print the logs until the end, and then as --wait.
    json
        Print the new run as JSON.
    """
    async with session.client() as client:
        return await _attend(client, await client.rerun(run, from_failed), wait, follow, json, session)
