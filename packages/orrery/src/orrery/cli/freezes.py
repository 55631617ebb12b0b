"""Freeze windows: freeze, freezes, unfreeze."""

from datetime import UTC, datetime

from orrery.cli.failures import UsageError
from orrery.cli.instants import read_instant, read_span
from orrery.cli.output import moment
from orrery.cli.session import Flag, Here
from orrery.models import Freeze


async def freeze(
    *,
    reason: str,
    until: str | None = None,
    span: str | None = None,
    since: str | None = None,
    label: str | None = None,
    session: Here,
) -> None:
    """Holds the schedules of the project, or of its workflows with a label; what falls due meanwhile is kept for the
    misfire policies.

    Parameters
    ----------
    reason
        Why, for everybody who asks.
    until
        The instant at which it ends, e.g. 2026-12-27T06:00:00+01:00.
    span
        How long it lasts instead, e.g. 90m or 2d.
    since
        The instant at which it begins; now where none is given.
    label
        Only workflows with this label.
    """
    if (until is None) == (span is None):
        raise UsageError("give either --until INSTANT or --span DURATION")
    start = None if since is None else read_instant(since, "--since")
    if until is not None:
        end = read_instant(until, "--until")
    else:
        end = (start or datetime.now(UTC)) + read_span(span or "", "--span")
    async with session.client() as client:
        made = await client.freeze(
            reason, end.isoformat(), starts_at=None if start is None else start.isoformat(), label=label
        )
    session.out.line(f"{made['id']}: {_scope(made)} frozen until {moment(made['ends_at'])}")


async def freezes(*, json: Flag = False, session: Here) -> None:
    """Lists the freezes of the project, the newest first.

    Parameters
    ----------
    json
        Print JSON.
    """
    async with session.client() as client:
        found = await client.list_freezes()
    if json:
        return session.out.json(found)
    rows = [
        (
            item["id"],
            _scope(item),
            moment(item["starts_at"]),
            moment(item["lifted_at"] or item["ends_at"]),
            "lifted" if item["lifted_at"] else "",
            item["held"],
            item["reason"],
        )
        for item in found["items"]
    ]
    session.out.table(("freeze", "of", "from", "until", "", "held", "reason"), rows, empty="no freezes")


async def unfreeze(freeze: str, /, *, session: Here) -> None:
    """Ends a freeze now: what it held is decided by the misfire policies.

    Parameters
    ----------
    freeze
        Id of the freeze.
    """
    async with session.client() as client:
        lifted = await client.lift_freeze(freeze)
    session.out.line(f"{lifted['id']}: over since {moment(lifted['lifted_at'] or lifted['ends_at'])}")


def _scope(freeze: Freeze) -> str:
    return "the project" if freeze["label"] is None else f"label {freeze['label']}"
