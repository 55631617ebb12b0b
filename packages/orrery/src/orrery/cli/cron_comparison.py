"""``orrery import compare``: what shadow triggers predicted, beside what cron's log says it started."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from zoneinfo import ZoneInfo

from orrery.cli.definitions import PathOrDash
from orrery.cli.failures import FAILED, OK, CommandFailed, UsageError
from orrery.cli.instants import read_instant
from orrery.cli.session import Flag, Here
from orrery.cli.system_zone import zone_or_system
from orrery.client import AsyncClient
from orrery.models import LedgerRow, Workflow

if TYPE_CHECKING:
    from scheduler_application.importing.comparison import Compared, Comparison, Predicted
    from scheduler_application.importing.cron_log import CronLog

_PAGE = 200
_LONGEST_LINE = 65_536
_EARLIEST_YEAR, _LATEST_YEAR = 1970, 9998
_SHOWN = 20
"""Of each kind of difference of a schedule; --json has all."""


async def compare(
    *,
    syslog: PathOrDash,
    since: str | None = None,
    until: str | None = None,
    timezone: str | None = None,
    year: int | None = None,
    json: Flag = False,
    session: Here,
) -> int:
    """Compares what shadow triggers predicted with what cron's log says it started.

    Exit code 0: both say the same; 1: there is a difference.

    Parameters
    ----------
    syslog
        The log with cron's lines, or - for standard input.
    since
        From this instant, e.g. 2026-11-20T00:00:00Z; from the first line of the log where none is given.
    until
        Up to this instant; up to a minute before the last line of the log where none is given.
    timezone
        The zone of times without one (Nov 21 03:17:01); that of this machine where it is not given.
    year
        The year of the log's first line, where its times have none; the latest possible where it is not given.
    json
        Print the comparison as JSON.
    """
    zone = ZoneInfo(zone_or_system(timezone))
    if syslog.startswith("-") and syslog != "-":
        raise UsageError(f"--syslog needs a file, found the option {syslog}")
    if year is not None and not _EARLIEST_YEAR <= year <= _LATEST_YEAR:
        raise UsageError(f"--year must be from {_EARLIEST_YEAR} to {_LATEST_YEAR}")
    log = _read(syslog, zone, year, session.stdin)
    start, end = _window(log, syslog, since, until)
    async with session.client() as client:
        predicted = [each async for each in _predictions(client, start, end)]
    if not predicted:
        raise CommandFailed(
            "no shadow workflow of a crontab is live; make some: orrery import crontab … --shadow --deploy"
        )
    from scheduler_application.importing.comparison import compare as compared

    comparison = compared(predicted, log, start, end)
    if json:
        session.out.json(_facts(comparison))
    else:
        _tell(comparison, len(log.starts), zone, session)
    return OK if comparison.agrees else FAILED


def _read(file: str, zone: ZoneInfo, year: int | None, stdin: TextIO) -> "CronLog":
    from scheduler_application.importing.cron_log import TooManyStarts, read_cron_log

    try:
        with _opened(file, stdin) as stream:
            return read_cron_log(iter(lambda: stream.readline(_LONGEST_LINE), ""), zone, year, datetime.now(UTC))
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from error
    except TooManyStarts as error:
        raise CommandFailed(f"{file}: {error}; give a part of it") from error


@contextmanager
def _opened(file: str, stdin: TextIO) -> Iterator[TextIO]:
    """The log as text; bytes that are no text become escapes, as cron itself writes them."""
    source = getattr(stdin, "buffer", None)
    if file != "-":
        with Path(file).open(encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            yield stream
    elif source is None:
        yield stdin
    else:
        wrapper = TextIOWrapper(source, encoding="utf-8", errors="backslashreplace", newline="\n")
        yield wrapper
        wrapper.detach()


def _window(log: "CronLog", file: str, since: str | None, until: str | None) -> tuple[datetime, datetime]:
    from scheduler_application.importing.comparison import covered

    found = covered(log)
    if found is None:
        raise CommandFailed(f"{file} has no line that begins with a time")
    start = found[0] if since is None else read_instant(since, "--since")
    end = found[1] if until is None else read_instant(until, "--until")
    if start > end:
        raise UsageError(
            f"nothing lies between {start.isoformat()} and {end.isoformat()}: the log tells of "
            f"{found[0].isoformat()} to {found[1].isoformat()}"
        )
    return start, end


async def _predictions(client: AsyncClient, since: datetime, until: datetime) -> Any:
    """The imported workflows with a shadow trigger, and what the ledger says of their due times."""
    from scheduler_application.importing.convert import LABEL

    cursor: str | None = None
    while True:
        page = await client.list_workflows(_PAGE, cursor)
        for workflow in page["items"]:
            if workflow["live_version"] is not None and LABEL in workflow["labels"]:
                predicted = await _predicted(client, workflow, workflow["live_version"], since, until)
                if predicted is not None:
                    yield predicted
        cursor = page["next_cursor"]
        if cursor is None:
            return


async def _predicted(
    client: AsyncClient, workflow: Workflow, live: int, since: datetime, until: datetime
) -> "Predicted | None":
    from scheduler_application.importing.command_task import shadowed_command
    from scheduler_application.importing.comparison import TOLERANCE, Predicted

    definition = (await client.get_version(workflow["name"], live))["definition"]
    found = shadowed_command(definition or {})
    if found is None:
        return None
    rows = await _ledger(client, workflow["name"], since - TOLERANCE, until + TOLERANCE)
    due = [datetime.fromisoformat(row["due_at"]) for row in rows if row["rule"] == "shadow"]
    decided = {datetime.fromisoformat(row["due_at"]): row["rule"] for row in rows if row["rule"] != "shadow"}
    created = datetime.fromisoformat(workflow["created_at"])
    return Predicted(workflow["name"], found.schedule, found.user, found.command, created, due, decided)


async def _ledger(client: AsyncClient, workflow: str, since: datetime, until: datetime) -> list[LedgerRow]:
    rows: list[LedgerRow] = []
    cursor: str | None = None
    end = (until + timedelta(microseconds=1)).isoformat()
    while True:
        page = await client.read_ledger(workflow, since.isoformat(), end, _PAGE, cursor)
        rows += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return rows


def _facts(comparison: "Comparison") -> dict[str, Any]:
    return {
        "since": comparison.since.isoformat(),
        "until": comparison.until.isoformat(),
        "agrees": comparison.agrees,
        "schedules": [
            {
                "workflow": each.workflow,
                "schedule": each.schedule,
                "user": each.user,
                "command": each.command,
                "matched": [{"due": due.isoformat(), "real": real.isoformat()} for due, real in each.matched],
                "predicted_only": [due.isoformat() for due in each.predicted_only],
                "real_only": [{"real": real.isoformat(), "rule": rule} for real, rule in each.real_only],
            }
            for each in comparison.schedules
        ],
        "unknown": [
            {"user": user, "command": command, "starts": count} for (user, command), count in comparison.unknown.items()
        ],
    }


def _tell(comparison: "Comparison", starts: int, zone: ZoneInfo, session: Here) -> None:
    since, until = (_local(instant, zone) for instant in (comparison.since, comparison.until))
    session.out.line(f"{since} to {until}; {starts} starts in the log")
    session.out.line()
    rows = [
        (each.workflow, each.schedule, len(each.matched), len(each.predicted_only), len(each.real_only))
        for each in comparison.schedules
    ]
    session.out.table(("workflow", "schedule", "matched", "predicted only", "real only"), rows)
    for each in comparison.schedules:
        _tell_differences(each, zone, session)
    if comparison.unknown:
        session.out.line()
        session.out.line("Commands of cron that no shadow workflow has:")
        told = [f"{count} × ({user}) {command}" for (user, command), count in comparison.unknown.items()]
        _tell_some(told, session)


def _tell_differences(each: "Compared", zone: ZoneInfo, session: Here) -> None:
    predicted = [_local(due, zone) for due in each.predicted_only]
    real = [_local(instant, zone) + (f" (ledger: {rule})" if rule else "") for instant, rule in each.real_only]
    for title, times in (("predicted, and cron did not start it", predicted), ("cron started it, unpredicted", real)):
        if times:
            session.out.line()
            session.out.line(f"{each.workflow}: {title}:")
            _tell_some(times, session)


def _tell_some(lines: Sequence[str], session: Here) -> None:
    for line in lines[:_SHOWN]:
        session.out.line(f"  {line}")
    if len(lines) > _SHOWN:
        session.out.line(f"  and {len(lines) - _SHOWN} more (--json shows all)")


def _local(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).isoformat(sep=" ", timespec="seconds")
