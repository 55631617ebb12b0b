"""Reads settings from the environment and ``orrery.toml``, and finds everything that is wrong with them at once."""

import difflib
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any

from scheduler_infrastructure.bootstrap.setting_values import database

PREFIX = "ORRERY_"
DEFAULT_FILE = Path("orrery.toml")
MAX_VALUE_BYTES = 64 * 1024

NOT_AVAILABLE = frozenset({"secret_key", "secret_key_file"})
"""Settings of later versions: refused, because here they would have no effect."""

TASK_VARIABLES = frozenset(
    f"{PREFIX}{name}"
    for name in ("RUN_ID", "TASK", "ATTEMPT", "FENCE", "IDEMPOTENCY_KEY", "OUTPUT", "ARTIFACTS", "SOURCE")
)
"""What a task finds in its environment: not settings, and present whenever a task itself calls ``orrery``."""

_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_.*)?$|_PORT_[0-9]+_(TCP|UDP)(_.*)?$")
_SERVICE_LINK_HINT = "Kubernetes sets it for a Service; put enableServiceLinks: false in the pod"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_CONNECTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


class FoundSettings:
    """What the sources hold so far: typed ``values`` by field, the ``sources`` they came from, and every problem."""

    def __init__(self, table: Mapping[str, Field[Any]]) -> None:
        self.table = table
        self.named: dict[str, dict[str, str]] = {
            name: {} for name, entry in table.items() if "variable" in entry.metadata
        }
        self.values: dict[str, Any] = dict(self.named)
        self.sources: dict[str, str] = {}
        self.problems: list[str] = []

    def take(self, name: str, value: object, label: str, source: str) -> None:
        """One setting by its field's name; ``label`` is what the person wrote."""
        try:
            self.values[name] = self.table[name].metadata["parse"](value)
            self.sources[name] = source
        except ValueError as error:
            hint = f" ({_SERVICE_LINK_HINT})" if source == "environment" and str(value).startswith("tcp://") else ""
            self.problems.append(f"{label} {error}{hint}")

    def take_named(self, table: str, key: str, value: object, label: str, source: str) -> None:
        """One entry of ``secrets``, ``vars`` or ``connections``."""
        problem = _named_problem(table, key, value)
        if problem:
            self.problems.append(f"{label} {problem}")
            return
        self.named[table][key] = str(value)
        self.sources[f"{table}.{key}"] = source

    def refuse_unknown(self, label: str, name: str, known: list[str]) -> None:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        self.problems.append(f"{label} is not a setting" + (f"; did you mean {nearest[0]}?" if nearest else ""))


def read_sources(
    table: Mapping[str, Field[Any]], environ: Mapping[str, str], config_file: Path | None
) -> FoundSettings:
    """Reads the file first and the environment over it."""
    found = FoundSettings(table)
    _read_file(found, config_file)
    _read_environment(found, environ)
    return found


def _read_environment(found: FoundSettings, environ: Mapping[str, str]) -> None:
    names = {f"{PREFIX}{name.upper()}": name for name in found.table if name not in found.named}
    prefixes = {found.table[name].metadata["variable"]: name for name in found.named}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in TASK_VARIABLES:
            continue
        value = environ[variable]
        prefix = next((prefix for prefix in prefixes if variable.startswith(prefix)), None)
        if prefix is not None:
            found.take_named(prefixes[prefix], variable.removeprefix(prefix), value, variable, "environment")
        elif variable in names:
            if value:
                found.take(names[variable], value, variable, "environment")
        elif variable.removeprefix(PREFIX).lower() in NOT_AVAILABLE:
            found.problems.append(f"{variable} is not available yet: there is no vault in this version")
        elif _SERVICE_LINK.search(variable):
            found.problems.append(f"{variable} is not a setting ({_SERVICE_LINK_HINT})")
        else:
            found.refuse_unknown(variable, variable, [*names, *prefixes])


def _read_file(found: FoundSettings, config_file: Path | None) -> None:
    file = config_file or DEFAULT_FILE
    if config_file is None and not file.exists():
        return
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        mode = file.stat().st_mode
    except OSError as error:
        found.problems.append(f"{file} cannot be read: {error.strerror}")
        return
    except ValueError as error:
        found.problems.append(f"{file} is not valid TOML: {error}")
        return
    if mode & stat.S_IROTH and _holds_secrets(document):
        found.problems.append(f"{file} holds secrets and everyone may read it: chmod o-r {file}")
    for key, value in document.items():
        _read_key(found, file, key, value)


def _read_key(found: FoundSettings, file: Path, key: str, value: object) -> None:
    label = f"{file}: {key}"
    if key in NOT_AVAILABLE:
        found.problems.append(f"{label} is not available yet: there is no vault in this version")
    elif key not in found.table:
        found.refuse_unknown(label, key, list(found.table))
    elif key not in found.named:
        found.take(key, value, label, file.name)
    elif not isinstance(value, dict):
        found.problems.append(f"{label} must be a table: [{key}]")
    else:
        for name, item in value.items():
            found.take_named(key, name, item, f"{label}.{name}", file.name)


def _holds_secrets(document: Mapping[str, Any]) -> bool:
    named = any(document.get(name) for name in ("secrets", "connections", "api_key"))
    return named or any(
        isinstance(value, str) and re.search(r"://[^/@]*:[^/@]+@", value) for value in document.values()
    )


def _named_problem(table: str, key: str, value: object) -> str | None:
    pattern = _CONNECTION_NAME if table == "connections" else _NAME
    if not pattern.fullmatch(key):
        return "needs a name of letters, digits and '_' (connections also '-'), at most 100 characters"
    if not isinstance(value, str) or "\x00" in value or len(value.encode()) > MAX_VALUE_BYTES:
        return f"must be text of at most {MAX_VALUE_BYTES} bytes"
    if table == "secrets" and not value:
        return "must not be empty"
    if table == "connections":
        try:
            database(value)
        except ValueError as error:
            return str(error)
    return None
