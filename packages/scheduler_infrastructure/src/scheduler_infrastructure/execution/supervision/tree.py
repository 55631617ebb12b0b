"""Finding and ending process trees through ``/proc``.

Runs in the spawner and its keepers, which are child subreapers: whatever a descendant does (``setsid``, double forks),
its orphans become children of the subreaper, so the walk from parent to child in ``/proc`` finds them all.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Container

_PR_SET_CHILD_SUBREAPER = 36
_SIZEOF_SIGSET = 128
"""``sizeof(sigset_t)`` in every C library of Linux."""
_STOP_ROUNDS = 50
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05


def become_subreaper() -> None:
    """Makes orphaned descendants children of this process instead of init's (not inherited over fork)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))


def watch_children() -> int:
    """A descriptor that is readable once a child of this process has ended, until it is read. Signals of ended
    children come no other way then; what this process starts must have its mask of signals reset."""
    # Whoever started this process may ignore them, and it would then be told nothing.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    mask = ctypes.create_string_buffer(_SIZEOF_SIGSET)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sigemptyset(mask)
    libc.sigaddset(mask, int(signal.SIGCHLD))
    descriptor = libc.signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return int(descriptor)


def descendants(root: int, leave_out: Container[int] = ()) -> set[int]:
    """Every living process below ``root``; children of ``root`` in ``leave_out`` are skipped with all that is below
    them."""
    children: dict[int, list[int]] = {}
    dead: set[int] = set()
    for pid, parent, state in _processes():
        children.setdefault(parent, []).append(pid)
        if state in (b"Z", b"X"):
            dead.add(pid)
    found: set[int] = set()
    waiting = [pid for pid in children.get(root, ()) if pid not in leave_out]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting.extend(child for child in children.get(pid, ()) if child not in found)
    return found - dead


def _processes() -> list[tuple[int, int, bytes]]:
    """(pid, parent's pid, state letter) of each process; one that ends meanwhile is left out."""
    rows = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - a thousand names, many times a second
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:  # noqa: PTH123
                line = file.read(1024)
        except OSError:
            continue
        # The command's name is in parentheses and may itself contain spaces and parentheses.
        state, parent = line[line.rindex(b")") + 2 :].split(None, 2)[:2]
        rows.append((int(name), int(parent), state))
    return rows


def signal_all(pids: set[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill_all(find: Callable[[], set[int]], reap: Callable[[], object]) -> None:
    """Ends what ``find`` finds, and returns when it finds nothing more.

    Processes are stopped before they are killed: a fork bomb makes new processes faster than one can list them, but
    what is stopped makes none, so each round leaves fewer that do.
    """
    stopped: set[int] = set()
    rounds, pause = 0, _FIRST_PAUSE
    while True:
        reap()
        alive = find()
        if not alive:
            return
        fresh = alive - stopped
        if fresh and rounds < _STOP_ROUNDS:
            rounds += 1
            signal_all(fresh, signal.SIGSTOP)
            stopped |= fresh
            continue
        signal_all(alive, signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
