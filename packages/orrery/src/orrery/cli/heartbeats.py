"""Jobs that live elsewhere and ping: heartbeats list, create, show, delete, pause, resume, rotate."""

from collections.abc import Callable
from typing import Any

from orrery.cli.failures import CommandFailed, UsageError
from orrery.cli.output import moment
from orrery.cli.problems import problem_lines
from orrery.cli.session import Flag, Here
from orrery.errors import Invalid
from orrery.models import Heartbeat, HeartbeatAddress


async def list_heartbeats(*, limit: int = 50, cursor: str | None = None, json: Flag = False, session: Here) -> None:
    """Lists heartbeats.

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
        page = await client.list_heartbeats(limit, cursor)
    if json:
        return session.out.json(page)
    rows = [
        (item["name"], item["state"], _times(item), item["grace"], moment(item["last_ping_at"]), _due(item))
        for item in page["items"]
    ]
    columns = ("name", "state", "times", "grace", "last ping", "due")
    session.out.table(columns, rows, empty="no heartbeats: make one with orrery heartbeats create NAME")
    session.tell_more(page["next_cursor"])


async def create(
    name: str,
    /,
    *,
    every: str | None = None,
    schedule: str | None = None,
    timezone: str | None = None,
    grace: str | None = None,
    json: Flag = False,
    session: Here,
) -> None:
    """Makes a heartbeat and prints its ping address, which is never shown again.

    Parameters
    ----------
    name
        Name of the heartbeat.
    every
        The job pings at least this often, e.g. 1h.
    schedule
        The job runs at these times: a cron expression.
    timezone
        Time zone of the schedule, e.g. Europe/Berlin; UTC where none is given.
    grace
        How late a ping may be, e.g. 10m; 5m where none is given.
    json
        Print JSON.
    """
    if (every is None) == (schedule is None):
        raise UsageError("give either --every INTERVAL or --schedule EXPR")
    given = {"every": every, "schedule": schedule, "timezone": timezone, "grace": grace}
    async with session.client() as client:
        try:
            made = await client.create_heartbeat(name, {key: text for key, text in given.items() if text is not None})
        except Invalid as error:
            for line in problem_lines(name, error.problems):
                session.err.line(line)
            raise
    _tell_address(made, json, session)


async def show(name: str, /, *, json: Flag = False, session: Here) -> None:
    """Shows a heartbeat with what its job said last.

    Parameters
    ----------
    name
        Name of the heartbeat.
    json
        Print JSON.
    """
    async with session.client() as client:
        found = await client.get_heartbeat(name)
    if json:
        return session.out.json(found)
    session.out.record(_facts(found))


async def delete(name: str, /, *, session: Here) -> None:
    """Takes a heartbeat away; its ping address is dead from then on.

    Parameters
    ----------
    name
        Name of the heartbeat.
    """
    async with session.client() as client:
        await client.delete_heartbeat(name)
    session.out.line(f"{name}: deleted")


async def pause(name: str, /, *, session: Here) -> None:
    """Awaits nothing of a heartbeat: its silence raises no alert.

    Parameters
    ----------
    name
        Name of the heartbeat.
    """
    async with session.client() as client:
        found = await client.pause_heartbeat(name)
    session.out.line(f"{found['name']}: {found['state']}")


async def resume(name: str, /, *, session: Here) -> None:
    """Awaits pings of a heartbeat again, counted from now.

    Parameters
    ----------
    name
        Name of the heartbeat.
    """
    async with session.client() as client:
        found = await client.resume_heartbeat(name)
    session.out.line(f"{found['name']}: {found['state']}, due {_due(found)}")


async def rotate(name: str, /, *, json: Flag = False, session: Here) -> None:
    """Gives a heartbeat another ping address and prints it; the one before is dead from then on.

    Parameters
    ----------
    name
        Name of the heartbeat.
    json
        Print JSON.
    """
    async with session.client() as client:
        _tell_address(await client.rotate_heartbeat(name), json, session)


COMMANDS: dict[str, Callable[..., Any]] = {
    "list": list_heartbeats,
    "create": create,
    "show": show,
    "delete": delete,
    "pause": pause,
    "resume": resume,
    "rotate": rotate,
}


def _tell_address(made: HeartbeatAddress, json: bool, session: Here) -> None:
    """Only the address goes to standard output, so that a script can take it."""
    name, path = made["heartbeat"]["name"], made["ping_path"]
    if path is None:
        raise CommandFailed(f"the answer with the ping address was lost; orrery heartbeats rotate {name} makes another")
    address = f"{session.settings.url.rstrip('/')}{path}"
    if json:
        return session.out.json({**made, "ping_url": address})
    session.out.line(address)
    session.err.line(f"{name}: due {_due(made['heartbeat'])}; the address is not shown again")


def _times(found: Heartbeat) -> str:
    return f"every {found['every']}" if found["every"] else f"{found['schedule']} {found['timezone']}"


def _due(found: Heartbeat) -> str:
    return moment(found["due_at"]) if found["down_at"] else ""


def _facts(found: Heartbeat) -> list[tuple[str, Any]]:
    took = "" if found["took_ms"] is None else f"{found['took_ms'] / 1000:.1f}s"
    cut = " (cut)" if found["message_truncated"] else ""
    return [
        ("name", found["name"]),
        ("state", found["state"]),
        ("times", _times(found)),
        ("grace", found["grace"]),
        ("due", _due(found)),
        ("last ping", moment(found["last_ping_at"])),
        ("running since", moment(found["started_at"])),
        ("took", took),
        ("last signal", f"{found['last_signal']} {moment(found['last_signal_at'])}" if found["last_signal"] else ""),
        ("last message", f"{found['last_message']}{cut}" if found["last_message"] else ""),
    ]
