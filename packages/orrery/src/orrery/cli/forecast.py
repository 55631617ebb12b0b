"""How many runs the clock will start and when: forecast."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TextIO

from orrery.cli.failures import UsageError
from orrery.cli.output import moment
from orrery.cli.session import Flag, Here, Session
from orrery.models import Advice, Forecast

MAX_HOURS = 168
PLAIN_WIDTH = 80
"""Columns where the output is no terminal."""
SHOWN = 10

_LABEL = "2026-11-02 09h  "
_BLOCKS = "·░▒▓█"
_LETTERS = ".-+*#"


async def forecast(*, hours: int = 24, queue: str | None = None, json: Flag = False, session: Here) -> None:
    """Shows how many runs the clock will start, minute by minute, against the slots of live workers, and which
    schedules to spread.

    Parameters
    ----------
    hours
        How far to look ahead, from 1 to 168.
    queue
        Only workflows whose first tasks wait in this queue.
    json
        Print JSON.
    """
    if not 1 <= hours <= MAX_HOURS:
        raise UsageError(f"--hours must be a whole number from 1 to {MAX_HOURS}")
    async with session.client() as client:
        found = await client.forecast(hours, queue)
    if json:
        return session.out.json(found)
    for line in forecast_lines(found, _width(session), _shades(session.stdout)):
        session.out.line(line)


def _width(session: Session) -> int:
    columns = session.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(session.stdout.fileno()).columns if session.out.is_terminal else PLAIN_WIDTH
    except OSError:
        return PLAIN_WIDTH


def _shades(stream: TextIO) -> str:
    """Blocks, or letters for a stream that cannot carry them."""
    try:
        _BLOCKS.encode(stream.encoding or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return _LETTERS
    return _BLOCKS


def forecast_lines(forecast: Forecast, width: int, shades: str) -> Iterator[str]:
    """The forecast for people, on lines of ``width`` columns as far as the map is concerned; ``shades`` are five, the
    first for nothing."""
    of = f" in queue {forecast['queue']}" if forecast["queue"] is not None else ""
    span = f"from {moment(forecast['planned_from'])} to {moment(forecast['planned_until'])}"
    yield f"{forecast['total']} planned starts{of} {span}, {_slots(forecast['slots'])}"
    if forecast["truncated"]:
        yield "there are too many due times to look further ahead"
    peak = forecast["peak"]
    if peak is None:
        return
    yield f"at most {peak['starts']} in one minute, at {moment(peak['at'])}"
    if forecast["without_history"]:
        yield f"{_count(forecast['without_history'], 'workflow')} never ran: how long is not known"
    yield ""
    yield from _map_lines(forecast, width, shades)
    yield ""
    yield from _queue_lines(forecast)
    yield from _crowded_lines(forecast)
    yield from _advice_lines(forecast)


def _slots(slots: int) -> str:
    return f"{slots} slots" if slots else "no live worker serves them"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _map_lines(forecast: Forecast, width: int, shades: str) -> Iterator[str]:
    """A row for each hour (UTC), a column for each minute, or for more where there is no room; a cell has the starts of
    its fullest minute."""
    minutes = next(size for size in (1, 5, 15, 60) if 60 // size <= width - len(_LABEL) or size == 60)
    scale = forecast["slots"] or max(forecast["starts"])
    against = "slots" if forecast["slots"] else "the fullest minute"
    begin = datetime.fromisoformat(forecast["planned_from"]).astimezone(UTC)
    marks = "".join(f"{minute:02d}".ljust(max(15 // minutes, 1)) for minute in range(0, 60, max(15, minutes)))
    yield f"{'hour (UTC)':<{len(_LABEL)}}{marks.rstrip()}"
    for label, row in _rows(forecast["starts"], begin):
        cells = [row[place : place + minutes] for place in range(0, 60, minutes)]
        yield f"{label}{''.join(_cell(cell, scale, shades) for cell in cells)}".rstrip()
    legend = f"{shades[0]} none  {shades[1]} to 25 %  {shades[2]} to 50 %  {shades[3]} to 100 %  {shades[4]} over"
    yield f"starts in {'one minute' if minutes == 1 else f'the fullest of {minutes} minutes'} to {against}: {legend}"


def _rows(starts: Sequence[int], begin: datetime) -> Iterator[tuple[str, list[int | None]]]:
    """Whole hours; minutes outside the forecast are ``None``."""
    padded: list[int | None] = [*([None] * begin.minute), *starts]
    padded += [None] * (-len(padded) % 60)
    first = int(begin.timestamp()) // 3600
    for place in range(0, len(padded), 60):
        hour = datetime.fromtimestamp((first + place // 60) * 3600, UTC)
        yield hour.strftime("%Y-%m-%d %Hh").ljust(len(_LABEL)), padded[place : place + 60]


def _cell(minutes: Sequence[int | None], scale: int, shades: str) -> str:
    known = [starts for starts in minutes if starts is not None]
    if not known:
        return " "
    share = max(known) / scale
    return shades[sum(share > bound for bound in (0, 0.25, 0.5, 1))]


def _queue_lines(forecast: Forecast) -> Iterator[str]:
    for queue in forecast["queues"]:
        peak = queue["peak"]
        most = f"at most {peak['starts']} at {moment(peak['at'])}"
        yield (
            f"queue {queue['queue']}: {_count(queue['starts'], 'start')}, {most}, {_slots(queue['slots'])}, "
            f"{_count(queue['crowded'], 'crowded minute')}"
        )


def _crowded_lines(forecast: Forecast) -> Iterator[str]:
    if not forecast["crowded"]:
        return
    yield ""
    yield f"{_count(forecast['crowded_total'], 'crowded minute')}:"
    for minute in forecast["crowded"][:SHOWN]:
        yield f"  {moment(minute['at'])}  {minute['starts']} starts, about {minute['busy']:g} slots busy"
    if forecast["crowded_total"] > SHOWN:
        yield f"  … and {forecast['crowded_total'] - SHOWN} more"


def _advice_lines(forecast: Forecast) -> Iterator[str]:
    if not forecast["advice"]:
        return
    yield ""
    yield "spread these, one after the other:"
    for advice in forecast["advice"][:SHOWN]:
        yield f"  {_advice(advice)}"
    if forecast["advice_total"] > SHOWN:
        yield f"  … and {forecast['advice_total'] - SHOWN} more (--json has {len(forecast['advice'])})"
    last = forecast["advice"][-1]["peak_after"]
    yield f"after {_count(len(forecast['advice']), 'change')}: at most {last} in one minute"


def _advice(advice: Advice) -> str:
    change = ", ".join(f"{key}: {_yaml(value)}" for key, value in advice["change"].items())
    return (
        f"{advice['workflow']} {advice['trigger']} ({advice['expression']}): {change}; "
        f"then at most {advice['peak_after']} in one minute"
    )


def _yaml(value: str) -> str:
    return f'"{value}"' if " " in value else value
