"""What somebody must be told of: alerts."""

from typing import Annotated

from cyclopts import Parameter

from orrery.cli.output import moment
from orrery.cli.session import Flag, Here

OnlyOpen = Annotated[bool, Parameter(name="--open", negative=(), show_default=False)]


async def alerts(
    *,
    is_open: OnlyOpen = False,
    kind: str | None = None,
    workflow: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    json: Flag = False,
    session: Here,
) -> None:
    """Lists alerts, the newest first.

    Parameters
    ----------
    is_open
        Only those that are open.
    kind
        Only those of this kind, e.g. expectation_missed or heartbeat_missed.
    workflow
        Only those of this workflow.
    limit
        At most so many, from 1 to 200.
    cursor
        Go on after this place: next_cursor of the page before.
    json
        Print JSON.
    """
    async with session.client() as client:
        page = await client.list_alerts(kind, True if is_open else None, workflow, limit, cursor)
    if json:
        return session.out.json(page)
    rows = [
        (moment(item["at"]), item["kind"], moment(item["resolved_at"]) or "open", item["message"])
        for item in page["items"]
    ]
    session.out.table(("at", "kind", "resolved", "message"), rows, empty="no alerts")
    session.tell_more(page["next_cursor"])
