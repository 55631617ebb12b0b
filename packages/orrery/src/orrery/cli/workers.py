"""Who executes and what waits: workers, drain, queues."""

from orrery.cli.failures import CommandFailed
from orrery.cli.output import moment
from orrery.cli.session import Flag, Here
from orrery.client import AsyncClient


async def workers(*, json: Flag = False, session: Here) -> None:
    """Lists workers.

    Parameters
    ----------
    json
        Print JSON.
    """
    async with session.client() as client:
        found = await client.list_workers()
    if json:
        return session.out.json({"items": found})
    rows = [
        (item["id"], item["name"], item["state"], f"{item['running']}/{item['slots']}", item["queues"], item["version"])
        for item in found
    ]
    session.out.table(("worker", "name", "state", "busy", "queues", "version"), rows, empty="no workers")


async def drain(worker: str, /, *, session: Here) -> None:
    """Lets a worker finish what it has and take nothing more.

    Parameters
    ----------
    worker
        Id of the worker, or its name where only one live worker has it.
    """
    async with session.client() as client:
        drained = await client.drain_worker(await _worker_id(client, worker))
    session.out.line(f"{drained['name']} {drained['id']}: {drained['state']}")


async def _worker_id(client: AsyncClient, id_or_name: str) -> str:
    named = [
        item["id"]
        for item in await client.list_workers()
        if item["name"] == id_or_name and item["state"] in ("active", "draining")
    ]
    if len(named) > 1:
        raise CommandFailed(f"{len(named)} workers are named {id_or_name}: give an id of {', '.join(named)}")
    return named[0] if named else id_or_name


async def queues(*, json: Flag = False, session: Here) -> None:
    """Lists queues: what waits, what runs, and who serves them.

    Parameters
    ----------
    json
        Print JSON.
    """
    async with session.client() as client:
        found = await client.list_queues()
    if json:
        return session.out.json({"items": found})
    rows = [
        (item["name"], item["ready"], item["running"], item["workers"], item["slots"], moment(item["oldest_ready_at"]))
        for item in found
    ]
    columns = ("queue", "waiting", "running", "workers", "slots", "waiting since")
    session.out.table(columns, rows, empty="no queues")
