"""Tasks whose effects can be counted: a line in a file that everybody appends to."""

import os
import time


def nothing() -> None:
    """A task that only exists."""


def note(path: str, word: str = "done") -> None:
    """Appends ``run task fence word seconds`` in one write, which appenders do not tear apart."""
    names = ("ORRERY_RUN_ID", "ORRERY_TASK", "ORRERY_FENCE")
    line = " ".join([*(os.environ[name] for name in names), word, f"{time.time():.6f}"])
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def fail_until(path: str, fence: int) -> int:
    """Fails below ``fence``; notes every call."""
    note(path, "called")
    own = int(os.environ["ORRERY_FENCE"])
    if own < fence:
        raise RuntimeError(f"not before {fence}")
    return own


def traceparent() -> str:
    return os.environ["TRACEPARENT"]
