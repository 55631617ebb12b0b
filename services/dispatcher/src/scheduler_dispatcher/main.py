"""The dispatcher process: stands by, leads, hands the lead over. Signals and exit codes are the caller's."""

import asyncio

from scheduler_dispatcher.loops import Dispatcher
from scheduler_dispatcher.supervisor import Supervisor


async def run(dispatcher: Dispatcher, stop: asyncio.Event) -> None:
    """Works until ``stop`` is set; a leader then gives its lead back, so that another leads at once.

    Raises `DutyOverrun` when only a new process helps.
    """
    await Supervisor(dispatcher).run(stop)
