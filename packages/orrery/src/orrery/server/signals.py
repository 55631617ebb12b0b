"""Running until somebody says stop: the one place where signals end a server, and all its parts together."""

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

from orrery.cli.failures import OK, CommandFailed
from scheduler_application.errors import ApplicationError

SAME_SIGNAL_SECONDS = 1.0
"""SIGTERMs this close together are one: whoever wraps the command (`uv run`, a service manager) forwards what the whole
process group has got already. A person's second Ctrl-C is meant, however quick."""

YOUNG_OBJECTS = 10_000
"""So many new objects make the collector look at the young ones: a batch of a thousand runs, most of which are gone by
counting references before it looks."""

Main = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


def run_until_stopped(main: Main) -> int:
    """Runs ``main`` with an event that SIGTERM or SIGINT sets; ``main`` then ends in its own time.

    A second signal ends the process at once. What ``main`` cannot do is one line on standard error.
    """

    async def listening() -> None:
        look_only_at_what_comes()
        with _stop_signals() as stop:
            await main(stop)

    try:
        uvloop.run(listening())
    except (ApplicationError, OSError) as error:
        raise CommandFailed(str(error)) from error
    except CommandFailed:
        raise
    except Exception:
        logging.getLogger("orrery").exception("the server ended unexpectedly")
        raise
    return OK


def look_only_at_what_comes() -> None:
    """What was imported stays as long as the process. It is most of what there is, and to look through it again and
    again would hold everything up for a tenth of a second at a time."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        stop.set()
        if number is signal.SIGTERM:
            loop.call_later(SAME_SIGNAL_SECONDS, release)
        else:
            release()

    def release() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        release()


async def run_together(stop: asyncio.Event, *parts: Awaitable[None]) -> None:
    """Runs ``parts`` until all have ended; the first that ends, well or badly, stops the others gracefully.

    Raises what the first failing part raised.
    """

    async def stopping_the_rest(part: Awaitable[None]) -> None:
        try:
            await part
        finally:
            stop.set()

    ended = await asyncio.gather(*(stopping_the_rest(part) for part in parts), return_exceptions=True)
    for result in ended:
        if isinstance(result, BaseException):
            raise result
