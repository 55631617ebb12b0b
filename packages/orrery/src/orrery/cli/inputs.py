"""Inputs of a run from the command line: text that becomes what the workflow declares."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from orrery.cli.failures import UsageError


def read_inputs(pairs: Sequence[str], file: str | None, stdin: TextIO, declared: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of ``file`` (a JSON object; ``-``: standard input), and over them ``key=value`` pairs."""
    inputs = _from_file(file, stdin) if file else {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"-i {pair} must have the form key=value")
        inputs[name] = _typed(value, declared.get(name))
    return inputs


def _typed(value: str, declaration: Any) -> Any:
    """``value`` as the declared type: text stays text, all else is JSON. The server refuses what does not fit."""
    kind = declaration.get("type") if isinstance(declaration, dict) else None
    if kind in (None, "string"):
        return value
    try:
        return json.loads(value, parse_constant=_refuse)
    except ValueError:
        return value


def _refuse(constant: str) -> Any:
    """``NaN`` and ``Infinity``: Python reads them, but they are no JSON."""
    raise ValueError(f"{constant} is not JSON")


def _from_file(file: str, stdin: TextIO) -> dict[str, Any]:
    try:
        content = json.loads(
            stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"), parse_constant=_refuse
        )
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{'standard input' if file == '-' else file} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{file} must hold a JSON object of inputs")
    return content
