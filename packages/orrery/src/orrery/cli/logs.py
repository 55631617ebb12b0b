"""What tasks wrote: logs."""

from contextlib import aclosing
from json import dumps
from typing import Annotated

from cyclopts import Parameter

from orrery.cli.session import Flag, Here
from orrery.client import AsyncClient
from orrery.models import LogLine
from orrery.operations import MAX_LINES


async def logs(
    run: str,
    task: str | None = None,
    /,
    *,
    follow: Annotated[Flag, Parameter(name=("--follow", "-f"))] = False,
    json: Flag = False,
    session: Here,
) -> None:
    """Prints what the tasks of a run wrote.

    Parameters
    ----------
    run
        Id of the run.
    task
        Only this task.
    follow
        Go on until the run has ended.
    json
        Print each line as a JSON object.
    """
    async with session.client() as client:
        if follow:
            return await print_logs(client, run, task, session, json)
        cursor: str | None = None
        while True:
            page = await client.read_logs(run, task, cursor)
            for line in page["items"]:
                _print_line(line, session, json)
            cursor = page["next_cursor"]
            if len(page["items"]) < MAX_LINES:
                return None


async def print_logs(client: AsyncClient, run_id: str, task: str | None, session: Here, json: bool) -> None:
    """Prints the lines of a run as they come, until it has ended."""
    async with aclosing(client.follow_logs(run_id, task)) as lines:
        async for line in lines:
            _print_line(line, session, json)
            session.stdout.flush()


def _print_line(line: LogLine, session: Here, json: bool) -> None:
    if json:
        session.stdout.write(dumps(line, ensure_ascii=False) + "\n")
        return
    name = line["task"] if line["item_index"] is None else f"{line['task']}[{line['item_index']}]"
    mark = " [truncated: the rest went over the limit]" if line["truncated"] else ""
    session.out.line(f"{name} | {line['text']}{mark}")
