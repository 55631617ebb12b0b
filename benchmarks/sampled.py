"""`python -m benchmarks.sampled FILE COMMAND …`: an `orrery` command that notes where its main thread spends processor
time, from SIGUSR1 on, and writes it to FILE when it ends.

FILE has collapsed stacks, as flame graphs are made of: frames from the outermost on, joined by ``;``, and microseconds.
Time in C, a system call or the event loop counts for the Python function that called it.
"""

import runpy
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType

PERIOD_SECONDS = 0.001

Stack = tuple[CodeType, ...]
"""From the innermost frame on."""


class Sampler:
    """Looks a thousand times a second. A look counts for the processor time since the one before: waiting is free."""

    def __init__(self) -> None:
        self._seconds: dict[Stack, float] = defaultdict(float)
        self._looked = 0.0

    def install(self) -> None:
        signal.signal(signal.SIGALRM, self._look)
        signal.signal(signal.SIGUSR1, self._begin)

    def collapsed(self) -> str:
        signal.setitimer(signal.ITIMER_REAL, 0)
        lines = [
            f"{';'.join(_name(code) for code in reversed(stack))} {seconds * 1e6:.0f}"
            for stack, seconds in self._seconds.items()
        ]
        return "\n".join(sorted(lines)) + "\n"

    def _begin(self, _: int, __: FrameType | None) -> None:
        self._looked = time.thread_time()
        signal.setitimer(signal.ITIMER_REAL, PERIOD_SECONDS, PERIOD_SECONDS)

    def _look(self, _: int, frame: FrameType | None) -> None:
        spent = time.thread_time() - self._looked
        stack = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        self._seconds[tuple(stack)] += spent
        self._looked = time.thread_time()


def _name(code: CodeType) -> str:
    file = code.co_filename.split("/site-packages/")[-1].split("/src/")[-1].split("/lib/python")[-1]
    return f"{file}:{code.co_firstlineno} {code.co_qualname}".replace(";", ",")


def main() -> None:
    path = Path(sys.argv[1])
    sys.argv = ["orrery", *sys.argv[2:]]
    sampler = Sampler()
    sampler.install()
    try:
        runpy.run_module("orrery", run_name="__main__", alter_sys=True)
    finally:
        path.write_text(sampler.collapsed())


if __name__ == "__main__":
    main()
