"""A task that does not want to end: it ignores SIGTERM, and what it starts leaves its session and its environment
behind. Standard library only: ``python3 -S stubborn.py MARK SECONDS``.

Everything of it has MARK among its arguments.
"""

import os
import signal
import sys
import time

_IGNORED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def _main() -> None:
    mark, seconds, *detached = sys.argv[1:]
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if not detached and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            # The standard output stays open, and nothing says any more whose child it was.
            os.execve(sys.executable, [sys.executable, "-S", __file__, mark, seconds, "detached"], {})  # noqa: S606
        os._exit(0)
    sys.stdout.write("here\n")
    sys.stdout.flush()
    time.sleep(float(seconds))


if __name__ == "__main__":
    _main()
