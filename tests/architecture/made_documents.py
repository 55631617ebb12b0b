"""The documents, and parts of documents, that are made from the code. ``python -m tests.architecture.made_documents``
writes them (``make docs``); `test_docs_in_step` compares."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from orrery.cli.main import COMMANDS, NOT_AVAILABLE, build_app
from scheduler_api.main import create_app
from scheduler_api.openapi import describe_api
from scheduler_domain.run.states import RUN_TRANSITIONS, TASK_TRANSITIONS, RunState, TaskState
from scheduler_domain.workflow import expression_functions
from scheduler_infrastructure.bootstrap.settings import setting_fields
from tests.api.fakes import Installation
from tests.architecture.source import ROOT

_HELP_WIDTH = 100
_METHODS = ("get", "post", "put", "delete")
_EVERYWHERE = frozenset({"project", "Idempotency-Key"})


def settings_table() -> str:
    """One row a setting, in the order of the table in the code."""
    lines = ["| setting | default | unit | meaning |", "| --- | --- | --- | --- |"]
    for name, entry in setting_fields().items():
        data = entry.metadata
        variable = f"{data['variable']}NAME" if "variable" in data else f"ORRERY_{name.upper()}"
        cells = (f"`{variable}`", _default(entry.default, data), data["unit"], data["meaning"])
        lines.append(_row(cells))
    return "\n".join(lines)


def _default(value: Any, data: Mapping[str, Any]) -> str:
    if data["shown"]:
        return str(data["shown"])
    if value is None or value == "":
        return "none"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def commands() -> str:
    """Each command with its help."""
    parts: list[str] = []
    for group, members in COMMANDS.items():
        parts.append(f"## {group}")
        for name, target in members.items():
            paths = [[name, below] for below in target] if isinstance(target, Mapping) else [[name]]
            parts += [f"### orrery {' '.join(path)}\n\n```text\n{_help(path)}\n```" for path in paths]
    refused = ", ".join(f"`{name}`" for name in NOT_AVAILABLE)
    parts.append(f"## Not available yet\n\nThese names are refused with exit code 2: {refused}.")
    return "\n\n".join(parts)


def _help(path: list[str]) -> str:
    text = StringIO()
    console = Console(file=text, width=_HELP_WIDTH, no_color=True, highlight=False)
    build_app(plain=True).help_print(path, console=console)
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())


def operations() -> str:
    """Every operation of the HTTP API, from its OpenAPI description."""
    schema = describe_api(create_app(Installation().services))
    parts: dict[str, list[str]] = {}
    for path, item in schema["paths"].items():
        for method in _METHODS:
            if method in item:
                tag = next(iter(item[method].get("tags", ())), "other")
                parts.setdefault(tag, []).append(_operation(method, path, item[method]))
    return "\n\n".join(f"## {tag.capitalize()}\n\n" + "\n\n".join(members) for tag, members in parts.items())


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    lines = [f"### `{method.upper()} {path}`", "", " ".join(_description(operation).split())]
    own = [one for one in operation.get("parameters", ()) if one["in"] == "query" and one["name"] not in _EVERYWHERE]
    lines += [""] if own else []
    lines += [f"- `?{one['name']}=` {_parameter(one)}".rstrip() for one in own]
    bodies = ", ".join(f"`{kind}`" for kind in operation.get("requestBody", {}).get("content", ()))
    success = ", ".join(status for status in operation["responses"] if status.startswith("2"))
    lines += ["", f"Answers {success}." + (f" Takes {bodies}." if bodies else "")]
    return "\n".join(lines)


def _description(operation: Mapping[str, Any]) -> str:
    return str(operation.get("description") or f"{operation['summary']}.").replace("``", "`")


def _parameter(parameter: Mapping[str, Any]) -> str:
    schema = parameter["schema"]
    limits = {"minimum": "at least", "maximum": "at most", "default": "default"}
    said = [f"{words} {schema[key]}" for key, words in limits.items() if key in schema and schema[key] != ""]
    said += ["one of " + ", ".join(f"`{one}`" for one in schema["enum"])] if "enum" in schema else []
    text = parameter.get("description", "")
    return f"{text} ({'; '.join(said)})" if said else text


def functions_table() -> str:
    """The table of functions, from the docstring beside their code."""
    rows = (line for line in (expression_functions.__doc__ or "").splitlines() if line.startswith("|"))
    return "\n".join(rows).replace("``", "`")


def state_machines() -> str:
    """Both tables as Mermaid diagrams; an arrow's text is the event that causes the move."""
    run = _diagram(RUN_TRANSITIONS, [RunState.PENDING, RunState.RUNNING])
    task = _diagram(TASK_TRANSITIONS, [TaskState.BLOCKED, TaskState.READY])
    return f"## A run\n\n{run}\n\n## A task run\n\n{task}"


def _diagram(table: Mapping[Any, Mapping[Any, Any]], first: Sequence[StrEnum]) -> str:
    lines = [f"    [*] --> {state}" for state in first]
    for state, moves in table.items():
        lines += [f"    {state} --> {target}: {event}" for event, target in moves.items()]
        lines += [] if moves else [f"    {state} --> [*]"]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


MADE: Mapping[str, Callable[[], str]] = {
    "docs/operate/settings.md": settings_table,
    "docs/reference/cli.md": commands,
    "docs/reference/http-api.md": operations,
    "docs/concepts/expressions.md": functions_table,
    "docs/concepts/runs.md": state_machines,
}
"""What stands between the two marks of each document."""

_MARKS = re.compile(r"(<!-- made from the code: [^>]* -->\n)(.*?)(\n<!-- end -->)", re.DOTALL)


def with_made_part(text: str, made: str) -> str:
    """``text`` with ``made`` between its marks; raises `ValueError` where it has not exactly one pair."""
    if len(_MARKS.findall(text)) != 1:
        raise ValueError("the document needs one pair of marks: <!-- made from the code: … --> and <!-- end -->")
    return _MARKS.sub(lambda found: f"{found[1]}\n{made}\n{found[3]}", text)


def expected() -> Iterator[tuple[Path, str]]:
    for document, make in MADE.items():
        path = ROOT / document
        yield path, with_made_part(path.read_text(), make())


if __name__ == "__main__":
    for path, text in expected():
        path.write_text(text)
