"""More schedules than a test could deploy one by one."""

from typing import Any

from sqlalchemy import insert

from scheduler_infrastructure.persistence.tables import projects, triggers, workflows
from tests.support.world import World

INSERTED_AT_ONCE = 100


async def copies(world: World, count: int, project: str | None = None, **trigger: Any) -> None:
    """``count`` more workflows with the version and the trigger of ``flow``, which is deployed.

    ``trigger`` are values of the copied triggers' rows. With ``project`` they belong to a new one of this name.
    """
    (workflow,) = await world.rows("select * from workflows where name = 'flow'")
    (original,) = await world.rows("select * from triggers where workflow_id = $1", workflow["id"])
    project_id = workflow["project_id"] if project is None else world.ids.new()
    if project is not None:
        row = {"id": project_id, "name": project, "created_at": world.clock.now()}
        async with world.database.transaction() as connection:
            await connection.run(insert(projects).values(row))
    columns = {column.name: original[column.name] for column in triggers.c}
    for start in range(0, count, INSERTED_AT_ONCE):
        ids = [(world.ids.new(), world.ids.new()) for _ in range(min(INSERTED_AT_ONCE, count - start))]
        own = [{"id": first, "name": f"copy-{first}", "project_id": project_id} for first, _ in ids]
        times = [{"id": second, "workflow_id": first, "project_id": project_id, **trigger} for first, second in ids]
        async with world.database.transaction() as connection:
            await connection.run(insert(workflows).values([{**workflow, **values} for values in own]))
            await connection.run(insert(triggers).values([{**columns, **values} for values in times]))
