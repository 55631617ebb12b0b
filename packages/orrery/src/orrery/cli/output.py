"""What commands print: tables and records for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

STATE_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "timed_out": "red",
    "lost": "red",
    "cancelled": "yellow",
    "cancelling": "yellow",
    "retrying": "yellow",
    "running": "cyan",
}


class Output:
    """Writes to one stream: coloured on a terminal, plain aligned text elsewhere and where ``NO_COLOR`` is set."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()
        self._styled = self.is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"

    def line(self, text: str = "") -> None:
        """One line as it is; control characters are made visible on a terminal, where they could rewrite the screen."""
        self._stream.write(f"{visible(text) if self.is_terminal else text}\n")

    def json(self, value: Any) -> None:
        self._stream.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "nothing") -> None:
        """``rows`` under ``columns``; the sentence ``empty`` where there is none."""
        cells = [[_cell(value) for value in row] for row in rows]
        if not cells:
            self.line(empty)
        elif self._styled:
            self._rich_table(columns, cells)
        else:
            self._plain_table([[column.upper() for column in columns], *cells])

    def record(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Names and values, one line each; what is ``None`` or empty is left out."""
        shown = [(name, _cell(value)) for name, value in pairs if value not in (None, "", [], {})]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.line(f"{name:<{width}}  {value}")

    def _plain_table(self, rows: Sequence[Sequence[str]]) -> None:
        widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
        for row in rows:
            self.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def _rich_table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*columns, box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*(Text(visible(cell), style=STATE_STYLES.get(cell, "")) for cell in row))
        Console(file=self._stream, highlight=False).print(table)


def visible(text: str) -> str:
    """``text`` with control characters but the tab written as escapes."""
    return "".join(char if char.isprintable() or char == "\t" else ascii(char)[1:-1] for char in text)


def moment(text: str | None) -> str:
    """An instant of the API to the second, in UTC: ``2026-03-29 01:00:00Z``."""
    if not text:
        return ""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except ValueError:
        return text


def lasted(started: str | None, finished: str | None) -> str:
    """How long something took, e.g. ``1m 5s``; empty while it lasts."""
    if not started or not finished:
        return ""
    seconds = (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
