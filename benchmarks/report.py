"""How figures are printed: tables for people, one line of JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

NAME_WIDTH = 36


def outline(figures: Mapping[str, Any], name: str = "") -> str:
    """One figure a line; groups of figures are indented below their name."""
    lines = [name] if name else []
    indent = "  " if name else ""
    for key, value in rounded(dict(figures)).items():
        if isinstance(value, dict) and "p50" not in value:
            lines += [indent + line for line in outline(value, key).splitlines()]
        elif isinstance(value, dict):
            shown = "  ".join(f"{inner} {item:>9,}" for inner, item in value.items())
            lines.append(f"{indent}{key:<{NAME_WIDTH}}{shown}")
        elif isinstance(value, list):
            continue
        else:
            lines.append(f"{indent}{key:<{NAME_WIDTH}}{shown_number(value):>13}")
    return "\n".join(lines)


def columns(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows below heads; texts to the left, numbers to the right."""
    cells = [list(heads), *([shown_number(cell) for cell in row] for row in rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(heads))]
    texts = {number for row in rows for number, cell in enumerate(row) if isinstance(cell, str)}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number in texts else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def shown_number(value: Any) -> str:
    """Three digits that mean something, whole numbers whole, and a dash for what was not measured."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def last_line(name: str, figures: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    """The line of JSON that ends every measure."""
    return json.dumps(rounded({"benchmark": name, **figures, **machine}))


def rounded(value: Any) -> Any:
    """The same with numbers rounded to what they mean."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
