"""Many schedules, as deploying them one by one would leave them: each is a workflow with one live version.

They are copies of a workflow that was deployed through the API, so every column is what the system itself wrote, beside
identity, name, project and times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg

from benchmarks.stack import Stack

COPIED_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class Schedules:
    """Copies of a deployed workflow. The times are SQL over ``n``, the number of the copy from 0 on."""

    template: str
    count: int
    first_at: datetime
    apart: float
    """Seconds between the due times of one copy and the next."""
    every: float | None = None
    """The interval in seconds; without it the expression is the template's."""
    project_id: str | None = None


async def deploy_template(stack: Stack, name: str, trigger: Mapping[str, Any], queue: str | None = None) -> None:
    """Deploys a workflow of one no-op task with one trigger, which itself is switched off: only copies fire."""
    task = {"python": {"call": "noop:nothing"}, "queue": queue or stack.queue.replace("_", "-")}
    await stack.deploy({"workflow": name, "triggers": [{"name": "clock", **trigger}], "tasks": {"t": task}})
    await stack.database.execute(
        "update triggers set active = false where workflow_id = (select id from workflows where name = $1)", name
    )


async def new_project(stack: Stack, name: str) -> str:
    """The id of a project of its own."""
    project_id = str(uuid4())
    await stack.database.execute("insert into projects values ($1, $2, clock_timestamp())", project_id, name)
    return project_id


async def copy(stack: Stack, schedules: Schedules) -> None:
    """Writes the rows, newest statistics included. The dispatcher is not told: it looks within 5 s."""
    database = stack.database
    workflow_id = await database.fetchval("select id from workflows where name = $1", schedules.template)
    mark = uuid4().hex[:8]
    # Keys are right by construction; checking a million of them would take most of the time.
    await database.execute("set session_replication_role = replica")
    for start in range(0, schedules.count, COPIED_AT_ONCE):
        end = min(start + COPIED_AT_ONCE, schedules.count) - 1
        await _copy(database, schedules, workflow_id, mark, (start, end))
    await database.execute("set session_replication_role = origin")
    for table in ("workflows", "versions", "triggers"):
        await database.execute(f"vacuum analyze {table}", timeout=600)


async def _copy(
    database: asyncpg.Connection, schedules: Schedules, workflow_id: str, mark: str, numbers: tuple[int, int]
) -> None:
    async with database.transaction():
        workflow = {
            "id": _identity(mark, 1),
            "live_version_id": _identity(mark, 2),
            "name": f"'{schedules.template}-{mark}-' || n",
            "project_id": f"'{schedules.project_id}'" if schedules.project_id else "project_id",
        }
        version = {"id": _identity(mark, 2), "workflow_id": _identity(mark, 1)}
        due_at = f"('{schedules.first_at.isoformat()}'::timestamptz + make_interval(secs => n * {schedules.apart}))"
        trigger = {
            "id": _identity(mark, 3),
            "workflow_id": _identity(mark, 1),
            "project_id": workflow["project_id"],
            "active": "true",
            "next_at": due_at,
            "due_at": due_at,
        }
        if schedules.every is not None:
            trigger["expression"] = f"'{schedules.every:g}'"
            trigger["anchor_at"] = f"{due_at} - make_interval(secs => {schedules.every})"
        for table, where, changed in (
            ("workflows", "id = $1", workflow),
            ("versions", "workflow_id = $1", version),
            ("triggers", "workflow_id = $1", trigger),
        ):
            names = [row[0] for row in await database.fetch(_COLUMNS, table)]
            values = ", ".join(changed.get(name, name) for name in names)
            await database.execute(
                f"insert into {table} ({', '.join(names)})"  # noqa: S608 - names are the schema's
                f" select {values} from {table} cross join generate_series({numbers[0]}, {numbers[1]}) as n"
                f" where {where}",
                workflow_id,
                timeout=120,
            )


_COLUMNS = """
    select column_name from information_schema.columns where table_schema = 'public' and table_name = $1
    order by ordinal_position"""


def _identity(mark: str, kind: int) -> str:
    """SQL for a version 7 UUID of its own for every number."""
    return f"('{mark}-0000-7{kind:03d}-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
