"""The end of a test process that hangs so that not even the time limit of its test frees it.

A limit raises in the test; what then cleans up may wait for the same thing again, or the event loop may swallow it.
Such a process would hold up the whole run, and whoever waits for a turn alone, for ever.
"""

import contextlib
import faulthandler
import os
import threading
from collections.abc import Iterator
from typing import TextIO

GRACE_SECONDS = 120.0
"""After the limit of a test: for its end and what cleans up after it."""

STATUS = 70
"""Of a process that was ended."""


@contextlib.contextmanager
def ended_if_it_hangs(name: str, seconds: float, report: int | TextIO) -> Iterator[None]:
    """Ends this process where the block takes longer than ``seconds``, after writing to ``report`` what every thread
    does. The one that shares out the tests then gives them to another process, and ``name`` has failed."""

    def end() -> None:
        descriptor = report if isinstance(report, int) else report.fileno()
        os.write(descriptor, f"\n{name} hung for {seconds:g} s:\n".encode())
        faulthandler.dump_traceback(descriptor)
        os._exit(STATUS)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
