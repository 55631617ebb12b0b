"""The tree of commands, and the one place where a failure becomes a line on standard error and an exit code.

The command modules import no server code: what a command needs of it is imported inside that command.
"""

import asyncio
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TextIO

from cyclopts import App, CycloptsError, Group, Parameter

from orrery.cli import (
    alerts,
    backfills,
    calendars,
    cron_comparison,
    crontabs,
    definitions,
    forecast,
    freezes,
    heartbeats,
    logs,
    plan,
    runs,
    schedules,
    servers,
    why,
    workers,
    workflows,
)
from orrery.cli.failures import FAILED, INTERRUPTED, OK, USAGE, CommandFailed
from orrery.cli.output import visible
from orrery.cli.session import Session
from orrery.errors import OrreryError, Unauthorized

Command = Callable[..., Any] | Mapping[str, Callable[..., Any]]
"""A command, or the commands below a name."""

COMMANDS: dict[str, dict[str, Callable[..., Any]]] = {
    "Definitions": {
        "validate": definitions.validate,
        "plan": plan.plan,
        "deploy": definitions.deploy,
        "undeploy": definitions.undeploy,
        "schema": definitions.schema,
        "import crontab": crontabs.import_crontab,
        "import compare": cron_comparison.compare,
        "workflows": workflows.workflows,
        "show": workflows.show,
        "versions": workflows.versions,
        "enable": workflows.enable,
        "disable": workflows.disable,
    },
    "Runs": {
        "run": runs.run,
        "runs": runs.runs,
        "logs": logs.logs,
        "cancel": runs.cancel,
        "rerun": runs.rerun,
        "why": why.why,
    },
    "Schedules": {
        "next": schedules.next_fires,
        "forecast": forecast.forecast,
        "pause": schedules.pause,
        "resume": schedules.resume,
        "freeze": freezes.freeze,
        "freezes": freezes.freezes,
        "unfreeze": freezes.unfreeze,
        "backfill": backfills.backfill,
        "backfills": backfills.backfills,
        "calendars list": calendars.list_calendars,
        "calendars show": calendars.show,
        "calendars set": calendars.set_calendar,
        "calendars import": calendars.import_calendar,
        "calendars subscribe": calendars.subscribe,
        "calendars refresh": calendars.refresh,
        "calendars delete": calendars.delete,
    },
    "Alerts": {
        "alerts": alerts.alerts,
        **{f"heartbeats {name}": target for name, target in heartbeats.COMMANDS.items()},
    },
    "Workers": {
        "workers": workers.workers,
        "drain": workers.drain,
        "queues": workers.queues,
    },
    "Server": {
        "up": servers.up,
        "api": servers.api,
        "dispatcher": servers.dispatcher,
        "worker": servers.worker,
        "migrate": servers.migrate,
        "config": servers.config,
        "check": servers.check,
    },
}

OF_TWO_WORDS = {
    "heartbeats": "Jobs that live elsewhere and say that they live.",
    "calendars": "Days on which triggers are skipped, or on which alone they fire.",
    "import": "Takes over what other schedulers were told.",
}
"""What the first words of commands with two words mean."""

NOT_AVAILABLE = [
    "approve",
    "reject",
    "events",
    "replay",
    "secrets",
    "vars",
    "connections",
    "keys",
    "users",
    "roles",
    "audit",
    "environments",
    "releases",
    "promote",
    "rollback",
    "export",
    "backup",
    "restore",
]
"""Commands of later versions: refused by name."""


def build_app(*, plain: bool) -> App:
    """The commands; ``plain`` help has no boxes."""
    app = App(
        name="orrery",
        help="A distributed scheduler and workflow engine.",
        version=lambda: version("orrery"),
        exit_on_error=False,
        print_error=False,
        help_format="plaintext",
        help_formatter="plain" if plain else "default",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for order, (title, commands) in enumerate(COMMANDS.items()):
        group = Group(title, sort_key=order)
        for name, target in commands.items():
            first, _, second = name.partition(" ")
            if not second:
                app.command(target, name=first, group=group)
                continue
            if first not in app:
                app.command(App(name=first, help=OF_TWO_WORDS[first], version_flags=(), group=group))
            app[first].command(target, name=second)
    for name in NOT_AVAILABLE:
        app.command(_refusal(name), name=name, show=False)
    return app


def _refusal(name: str) -> Any:
    def refuse(*_: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
        raise CommandFailed(f"orrery {name} is not available yet in this version", exit_code=USAGE)

    return refuse


def execute(argv: Sequence[str], session: Session) -> int:
    """Runs one command line and returns its exit code; whatever goes wrong is a line on ``session.stderr``."""
    app = build_app(plain=not session.stdout.isatty())

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        config: Path | None = None,
    ) -> int:
        """Parameters
        ----------
        config
            File with settings, instead of orrery.toml in the current folder.
        """
        here = Session(session.environ, session.stdin, session.stdout, session.stderr, config)
        command, bound, ignored = app.parse_args(tokens, console=_console(here))
        given = dict.fromkeys(ignored, here)
        return _exit_code(command(*bound.args, **bound.kwargs, **given))

    try:
        return int(app.meta(argv, console=_console(session)) or OK)
    except CommandFailed as error:
        return _fail(session, error.exit_code, *error.lines)
    except CycloptsError as error:
        return _fail(session, USAGE, " ".join(str(error).split()))
    except Unauthorized as error:
        return _fail(session, FAILED, f"{error} (set ORRERY_API_KEY, or ORRERY_DATA_DIR to the server's data folder)")
    except OrreryError as error:
        return _fail(session, FAILED, str(error))


def _exit_code(result: Any) -> int:
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    return OK if result is None else int(result)


def _console(session: Session) -> Any:
    from rich.console import Console

    plain = not session.stdout.isatty() or bool(session.environ.get("NO_COLOR"))
    return Console(file=session.stdout, no_color=plain, highlight=False)


def _fail(session: Session, exit_code: int, *lines: str) -> int:
    for line in lines:
        session.stderr.write(f"orrery: {visible(line)}\n")
    return exit_code


def run(argv: Sequence[str], environ: Mapping[str, str], stdin: TextIO, stdout: TextIO, stderr: TextIO) -> int:
    """`execute`, with what the terminal may do in the middle of it: Ctrl-C and a reader that goes away."""
    session = Session(environ, stdin, stdout, stderr)
    try:
        exit_code = execute(argv, session)
        stdout.flush()
        return exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has what it wanted; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        return OK
    except Exception as error:
        if environ.get("ORRERY_LOG_LEVEL") == "debug":
            raise
        hint = "ORRERY_LOG_LEVEL=debug shows where"
        return _fail(session, FAILED, f"unexpected {type(error).__name__}: {error} ({hint})")


def main() -> None:
    sys.exit(run(sys.argv[1:], os.environ, sys.stdin, sys.stdout, sys.stderr))
