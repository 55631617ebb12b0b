"""One story with whatever is injected into it, and what was found wrong afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import structlog

from faults.inprocess.accounts import faults_found
from faults.inprocess.processes import Installation, NeverSo, Process
from faults.inprocess.stories import STORIES, Client
from faults.seam_table import SEAMS
from faults.seams import Injection, Switchboard
from tests.support.clock import ManualClock

SETTLED_SECONDS = 60.0
"""By then every run has ended, by the trial's own clock."""

JUST_BEFORE_NINE = datetime(2026, 11, 2, 8, 59, 57, tzinfo=UTC)


@dataclass(slots=True)
class Verdict:
    """``wrong`` has a sentence for each thing that is; ``done`` is what was injected."""

    wrong: list[str]
    done: list[Injection]
    deaths: int
    reached: dict[str, int] = field(default_factory=dict)


async def tried(story: str, url: str, folder: Path, injections: Sequence[Injection] = ()) -> Verdict:
    """Tells ``story`` to an installation over the migrated, empty store at ``url``, then stops it and looks."""
    board = Switchboard(SEAMS, tuple(injections), _die)
    clock = ManualClock(JUST_BEFORE_NINE)
    async with Installation.opened(url, folder, clock) as site:
        client = Client(site)
        wrong = []
        with board.installed():
            try:
                await STORIES[story](client)
                await site.until(lambda: _is_over(site), within=SETTLED_SECONDS)
            except NeverSo as error:
                wrong.append(f"{story}: {error}")
            for process in list(site.processes.values()):
                await process.leave()
        wrong += await faults_found(client)
        return Verdict(wrong, board.done, site.deaths, dict(board.reached))


def be_quiet() -> None:
    """From now on what services log, while they are broken on purpose, is not written."""
    structlog.configure(processors=[_dropped])


def _dropped(*_: object) -> dict[str, object]:
    raise structlog.DropEvent


def _die() -> NoReturn:
    Process.current.get().crash()


async def _is_over(site: Installation) -> bool:
    """Nothing is open, and nobody is about to be started again."""
    dead = any(process.died.is_set() for process in site.processes.values())
    return not dead and not await site.rows("select 1 as x from runs where finished_at is null limit 1")
