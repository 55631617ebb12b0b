"""A run's log: as text, as JSON, or as it is written."""

import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer
from scheduler_api.bodies import JSON_TYPE
from scheduler_api.dependencies import CurrentActor, use
from scheduler_api.ids import run_id_of
from scheduler_api.live import Event, Streams, event_stream, streams_of, wants_events
from scheduler_api.query import CURSOR, Query, integer, text
from scheduler_api.routing import guarded_router
from scheduler_application.actor import Actor
from scheduler_application.errors import Rejected
from scheduler_application.ports.logs import LogLine
from scheduler_application.run.logs import LogPage, ReadLogs, ReadLogsCommand

MAX_LINES = 1_000
FOLLOW_SECONDS = 0.5

router = guarded_router("runs")

_QUERY = Query(
    integer("limit", "how many lines at most", low=1, high=MAX_LINES, default=MAX_LINES),
    CURSOR,
    text("task", "only this task's lines"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@router.get(
    "/runs/{run}/logs",
    openapi_extra=_QUERY.openapi,
    responses={
        200: {
            "description": "Lines of text; with Accept: text/event-stream the lines as events until the run has ended",
            "content": {"text/plain": {}, "application/json": {}, "text/event-stream": {}},
        }
    },
)
async def read_logs(
    run: str, request: Request, actor: CurrentActor, logs: Annotated[ReadLogs, use(lambda c: c.read_logs)]
) -> Response:
    """The log of a run or of one of its tasks.

    As text, the headers ``Orrery-Cursor`` and ``Orrery-Finished`` say where to go on and whether more may come; as
    events, each event's id is its cursor.
    """
    values = _QUERY.read(request)
    cursor = values["cursor"]
    events = wants_events(request)
    resume = request.headers.get("last-event-id") if events else None
    command = ReadLogsCommand(run_id_of(run), values["task"], resume or cursor, values["limit"])
    page = await _first_page(logs, command, actor, resumed=resume is not None)
    if events:
        return event_stream(request, _follow(logs, command, actor, page, streams_of(request)))
    if JSON_TYPE in request.headers.get("accept", ""):
        return answer({"items": page.lines, "next_cursor": page.cursor, "finished": page.finished})
    return _text(page, one_task=values["task"] is not None)


async def _first_page(logs: ReadLogs, command: ReadLogsCommand, actor: Actor, *, resumed: bool) -> LogPage:
    try:
        return await logs.execute(command, actor)
    except Rejected:
        if not resumed:
            raise
        # A Last-Event-ID that means nothing here (any more): the log from its start.
        return await logs.execute(ReadLogsCommand(command.run_id, command.task, None, command.limit), actor)


async def _follow(
    logs: ReadLogs, command: ReadLogsCommand, actor: Actor, page: LogPage, streams: Streams
) -> AsyncGenerator[Event, None]:
    cursor = command.cursor
    while True:
        for line in _resumable(page, cursor):
            yield Event("line", line, line.cursor or None)
        cursor = page.cursor or cursor
        if page.finished:
            yield Event("end", {"finished": True})
            return
        if not page.lines and not await streams.pause(FOLLOW_SECONDS):
            return
        page = await logs.execute(ReadLogsCommand(command.run_id, command.task, cursor, command.limit), actor)


def _resumable(page: LogPage, before: str | None) -> Iterator[LogLine]:
    """The lines, each with a cursor that loses nothing: lines that are kept together share one, which only the last of
    them may carry, so that a stream that breaks among them is resumed before them."""
    for line, following in zip_longest(page.lines, page.lines[1:]):
        if following is not None and following.cursor == line.cursor:
            yield replace(line, cursor=before or "")
        else:
            before = line.cursor
            yield line


def _text(page: LogPage, *, one_task: bool) -> Response:
    headers = {"Orrery-Finished": "true" if page.finished else "false"}
    if page.cursor is not None:
        headers["Orrery-Cursor"] = page.cursor
    body = "".join(_plain(line, one_task=one_task) + "\n" for line in page.lines)
    return Response(body, media_type="text/plain", headers=headers)


def _plain(line: LogLine, *, one_task: bool) -> str:
    """One line for people; control characters are shown, not sent to their terminals."""
    shown = _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", line.text)
    if line.truncated:
        shown += " [truncated: further output was dropped]"
    if one_task:
        return shown
    item = f"[{line.item_index}]" if line.item_index is not None else ""
    return f"{line.task}{item}: {shown}"
