"""The end of a test process that hangs so that not even the time limit of its test frees it.

A limit raises in the test; what then cleans up may wait for the same thing again, or the event loop may swallow it.
Such a process would hold up the whole run, and whoever waits for a turn alone, for ever.
"""

import asyncio
import contextlib
import faulthandler
import gc
import os
import threading
from collections.abc import Iterator

GRACE_SECONDS = 120.0
"""After the limit of a test: for its end and what cleans up after it."""

STATUS = 70
"""Of a process that was ended."""


@contextlib.contextmanager
def ended_if_it_hangs(name: str, seconds: float, report: int) -> Iterator[None]:
    """Ends this process where the block takes longer than ``seconds``, after writing to the descriptor ``report`` what
    every thread and every task of a loop does. The one that shares out the tests then gives them to another process,
    and ``name`` has failed."""

    def end() -> None:
        try:
            os.write(report, f"\n{name} hung for {seconds:g} s:\n".encode())
            faulthandler.dump_traceback(report)
            with os.fdopen(report, "w", closefd=False) as file:
                for task in [one for one in gc.get_objects() if isinstance(one, asyncio.Task) and not one.done()]:
                    task.print_stack(file=file)
        finally:
            os._exit(STATUS)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
