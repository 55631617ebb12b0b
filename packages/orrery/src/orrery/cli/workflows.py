"""Workflows that a server knows: workflows, show, versions, enable, disable."""

from typing import Any

from orrery.cli.output import moment
from orrery.cli.runs import show_run
from orrery.cli.session import Flag, Here, is_id
from orrery.client import AsyncClient
from orrery.errors import NotFound
from orrery.models import Trigger, Workflow


async def workflows(*, limit: int = 50, cursor: str | None = None, json: Flag = False, session: Here) -> None:
    """Lists workflows.

    Parameters
    ----------
    limit
        At most so many, from 1 to 200.
    cursor
        Go on after this place: next_cursor of the page before.
    json
        Print JSON.
    """
    async with session.client() as client:
        page = await client.list_workflows(limit, cursor)
    if json:
        return session.out.json(page)
    rows = [
        (item["name"], item["live_version"], item["enabled"], moment(item["updated_at"]), item["description"])
        for item in page["items"]
    ]
    columns = ("name", "version", "enabled", "changed", "description")
    session.out.table(columns, rows, empty="no workflows: deploy one with orrery deploy FILE")
    session.tell_more(page["next_cursor"])


async def show(name_or_run: str, /, *, json: Flag = False, session: Here) -> None:
    """Shows a workflow with its triggers, or a run with its tasks.

    Parameters
    ----------
    name_or_run
        Name or id of a workflow, or id of a run.
    json
        Print JSON.
    """
    async with session.client() as client:
        if is_id(name_or_run):
            try:
                return show_run(await client.get_run(name_or_run), json, session)
            except NotFound:
                pass  # the id of a workflow then, or of nothing
        await _show_workflow(client, name_or_run, json, session)


async def _show_workflow(client: AsyncClient, name: str, json: bool, session: Here) -> None:
    workflow = await client.get_workflow(name)
    triggers = await client.list_triggers(name)
    if json:
        return session.out.json({**workflow, "triggers": triggers})
    session.out.record(_facts(workflow))
    session.out.line()
    rows = [(item["name"], item["kind"], item["expression"], item["timezone"], _next(item)) for item in triggers]
    session.out.table(("trigger", "kind", "expression", "zone", "next"), rows, empty="no live triggers")


def _facts(workflow: Workflow) -> list[tuple[str, Any]]:
    draft = "differs from the live version" if workflow["draft_digest"] != workflow["live_digest"] else ""
    return [
        ("name", workflow["name"]),
        ("id", workflow["id"]),
        ("description", workflow["description"]),
        ("live version", workflow["live_version"] or "none: not deployed"),
        ("enabled", workflow["enabled"]),
        ("draft", draft),
        ("created", moment(workflow["created_at"])),
        ("changed", moment(workflow["updated_at"])),
    ]


def _next(trigger: Trigger) -> str:
    return "paused" if trigger["paused"] else moment(trigger["next_at"])


async def versions(
    name: str, /, *, limit: int = 50, cursor: str | None = None, json: Flag = False, session: Here
) -> None:
    """Lists the versions of a workflow, the newest first.

    Parameters
    ----------
    name
        Name or id of the workflow.
    limit
        At most so many, from 1 to 200.
    cursor
        Go on after this place: next_cursor of the page before.
    json
        Print JSON.
    """
    async with session.client() as client:
        page = await client.list_versions(name, limit, cursor)
    if json:
        return session.out.json(page)
    rows = [
        (item["number"], item["live"], moment(item["created_at"]), item["created_by"], item["digest"][:12])
        for item in page["items"]
    ]
    session.out.table(("version", "live", "created", "by", "digest"), rows, empty="no versions: never deployed")
    session.tell_more(page["next_cursor"])


async def enable(name: str, /, *, session: Here) -> None:
    """Lets a workflow start again.

    Parameters
    ----------
    name
        Name or id of the workflow.
    """
    async with session.client() as client:
        workflow = await client.enable(name)
    session.out.line(f"{workflow['name']}: enabled")


async def disable(name: str, /, *, session: Here) -> None:
    """Stops a workflow from starting, by the clock and by people; what runs goes on.

    Parameters
    ----------
    name
        Name or id of the workflow.
    """
    async with session.client() as client:
        workflow = await client.disable(name)
    session.out.line(f"{workflow['name']}: disabled")
