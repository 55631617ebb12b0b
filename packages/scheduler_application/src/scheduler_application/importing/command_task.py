"""An entry's command as a ``shell`` task that runs it as cron does.

The command, its input and the variables go through ``env``, so that nothing of them is taken for shell text or for an
expression. The script sets what ``env`` does not accept, goes to the home folder and hands over to the entry's shell.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler_application.importing.crontab import Entry, Form
from scheduler_application.workflow.tasks import ENV_NAME, RESERVED_ENV, RESERVED_ENV_PREFIXES

COMMAND, INPUT = "CRON_COMMAND", "CRON_STDIN"
"""The variables that hold the command and its standard input; `COMMAND` is what a comparison with cron's log reads."""
USER = "LOGNAME"
TASK = "command"

NOT_FOR_COMMANDS = frozenset({"MAILTO", "MAILFROM"})
_CRONS_PATH = "/usr/bin:/bin"
_SHELL = "/bin/sh"


def command_task(entry: Entry, form: Form) -> dict[str, Any]:
    """The task as plain data. Cron never starts a job twice, so neither does ``on_worker_loss``."""
    variables = {name: value for name, value in entry.environment.items() if name and name not in NOT_FOR_COMMANDS}
    if form is Form.ANACRON:
        script = ["cd /", _start(entry, "/bin/sh", variables)]
    else:
        variables = _crons_variables(entry, variables)
        script = [*_home(variables), 'cd "$HOME" || true', _start(entry, '"$SHELL"', variables)]
    env = {COMMAND: entry.command}
    if entry.stdin:
        env[INPUT] = entry.stdin
    env |= {name: value for name, value in variables.items() if _fits_env(name)}
    return {
        "shell": _literal("\n".join(script) + "\n"),
        "env": {name: _literal(value) for name, value in env.items()},
        "on_worker_loss": "fail",
    }


@dataclass(frozen=True, slots=True)
class ShadowedCommand:
    """``user`` is ``None`` where the import was not told whose crontab it was."""

    command: str
    user: str | None
    schedule: str


def shadowed_command(definition: Mapping[str, Any]) -> ShadowedCommand | None:
    """The command of an imported workflow whose trigger only predicts; ``None`` for every other definition."""
    schedules = [trigger.get("schedule") for trigger in definition.get("triggers", ()) if trigger.get("shadow")]
    env = definition.get("tasks", {}).get(TASK, {}).get("env", {})
    if COMMAND not in env or not schedules or schedules[0] is None:
        return None
    user = env.get(USER)
    return ShadowedCommand(_unescaped(env[COMMAND]), None if user is None else _unescaped(user), schedules[0])


def _crons_variables(entry: Entry, assigned: Mapping[str, str]) -> dict[str, str]:
    """What cron itself sets: defaults that the crontab may change, and the user's name, which it may not."""
    variables = {"SHELL": _SHELL, **assigned, "PATH": assigned.get("PATH", _CRONS_PATH)}
    variables.pop(USER, None)
    return variables if entry.user is None else {**variables, USER: entry.user}


def _home(variables: Mapping[str, str]) -> list[str]:
    """Name and home folder from the worker's accounts, where the crontab does not say them."""
    lines = [] if USER in variables else ['export LOGNAME="$(id -un)"']
    if "HOME" not in variables:
        lines += ['home="$(getent passwd "$LOGNAME" | cut -d: -f6)"', 'export HOME="${home:-$HOME}"']
    return lines


def _start(entry: Entry, shell: str, variables: Mapping[str, str]) -> str:
    special = [shlex.quote(f"{name}={value}") for name, value in variables.items() if not _fits_env(name)]
    # PATH comes first: env takes a first name that begins with '-' for an option.
    special.sort(key=lambda assignment: not assignment.startswith("PATH="))
    words = " ".join([*(["env", *special] if special else []), shell, "-c", f'"${COMMAND}"'])
    return f"printf '%s' \"${INPUT}\" | {words}" if entry.stdin else f"exec {words}"


def _fits_env(name: str) -> bool:
    if name in (COMMAND, INPUT) or name in RESERVED_ENV or name.startswith(RESERVED_ENV_PREFIXES):
        return False
    return ENV_NAME.fullmatch(name) is not None


def _literal(text: str) -> str:
    """``text`` for a field that may hold expressions."""
    return text.replace("${{", "$${{")


def _unescaped(text: str) -> str:
    return text.replace("$${{", "${{")
