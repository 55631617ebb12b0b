"""Why something ran, did not run, or is waiting."""

from orrery.cli.failures import UsageError
from orrery.cli.session import Flag, Here, is_id
from orrery.client import AsyncClient
from orrery.errors import NotFound
from orrery.models import Explanation


async def why(
    name_or_run: str, task: str | None = None, /, *, at: str | None = None, json: Flag = False, session: Here
) -> None:
    """Explains a due time of a workflow, or the state of a run or of one of its tasks.

    Parameters
    ----------
    name_or_run
        Name or id of a workflow, or id of a run.
    task
        A task of the run.
    at
        The time in question of a workflow, e.g. 2026-03-29T01:00:00Z; the latest where none is given.
    json
        Print JSON.
    """
    async with session.client() as client:
        explanation = await _ask(client, name_or_run, task, at)
    if json:
        return session.out.json(explanation)
    session.out.line(explanation["summary"])
    for fact in explanation["facts"]:
        text = fact.get("text") or fact.get("code")
        if text != explanation["summary"]:
            session.out.line(f"  - {text}")


async def _ask(client: AsyncClient, name_or_run: str, task: str | None, at: str | None) -> Explanation:
    if is_id(name_or_run) and at is None:
        try:
            return await client.explain(run=name_or_run, task=task)
        except NotFound:
            if task is not None:
                raise
    if task is not None:
        raise UsageError(f"a TASK belongs to a run, and {name_or_run} is not the id of one")
    return await client.explain(workflow=name_or_run, at=at)
