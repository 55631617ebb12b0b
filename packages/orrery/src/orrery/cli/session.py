"""What every command gets from `main`: the surroundings of the process, its settings and a client."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter

from orrery.cli.failures import UsageError
from orrery.cli.output import Output
from orrery.client import AsyncClient
from orrery.connection import Connection, local_admin_key

if TYPE_CHECKING:
    from scheduler_infrastructure.bootstrap.settings import Settings

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class Session:
    """One run of the command line. ``config`` is the file that ``--config`` named."""

    environ: Mapping[str, str]
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    config: Path | None = None

    @cached_property
    def out(self) -> Output:
        return Output(self.stdout, self.environ)

    @cached_property
    def err(self) -> Output:
        return Output(self.stderr, self.environ)

    @cached_property
    def settings(self) -> "Settings":
        from scheduler_infrastructure.bootstrap.settings import SettingsError, load_settings

        try:
            return load_settings(self.environ, self.config)
        except SettingsError as error:
            raise UsageError(*error.problems) from error

    def client(self) -> AsyncClient:
        """A client for the server that the settings name, with the local admin's key where no other is set."""
        settings = self.settings
        return AsyncClient(Connection(settings.url, settings.api_key or local_admin_key(settings.data_dir)))

    def announce(self, text: str) -> None:
        """One line from a server: written at once, and never a reason to end when nobody reads any more."""
        with suppress(BrokenPipeError):
            self.out.line(text)
            self.stdout.flush()

    def tell_more(self, next_cursor: str | None) -> None:
        """Says that a list goes on; on standard error, where no script reads it as a row."""
        if next_cursor:
            self.err.line(f"more: --cursor {next_cursor}")


def is_id(name_or_id: str) -> bool:
    """Whether ``name_or_id`` has the form of an id; names are never so long and hyphenated alike."""
    return _ID.fullmatch(name_or_id) is not None


Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
"""An option that is there or not; there is no --no-… form."""

Here = Annotated[Session, Parameter(parse=False)]
"""The session as a parameter of a command: filled by `main`, never from the command line."""
