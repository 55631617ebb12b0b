"""A keeper: runs one process tree at a time, and reports only when no process of it is left.

It lives for many tasks, because making a process from a Python process costs more than the task often does. Starting
goes through ``posix_spawn`` (vfork below): no Python code runs between fork and exec. When its worker is gone (the
socket closes) it ends the tree and itself.
"""

import os
import select
import signal
import socket
import time
from typing import Any

from scheduler_infrastructure.execution.supervision import frames, tree

LEFTOVER_GRACE = 1.0
"""Seconds between TERM and KILL for what a task leaves behind, and for all of it when the worker is gone."""
_SIGNALS_OF_PYTHON = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD]


class Keeper:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._wake = tree.watch_children()
        tree.become_subreaper()
        self._events = select.poll()
        self._events.register(self._wake, select.POLLIN)
        self._events.register(control, select.POLLIN)
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._usual = _step_back()
        self._main = 0
        self._report: dict[str, Any] = {}
        self._worker_gone = False
        self._deadline: float | None = None

    def serve(self) -> None:
        """Runs what the worker asks for until the worker is gone."""
        self._send({"ready": True})
        while not self._worker_gone:
            frame, descriptors = frames.receive(self._control)
            if frame is None:
                return
            if "argv" not in frame:
                continue  # An "end" that crossed the report of the process it was meant for.
            try:
                self._main = _spawn(frame, [self._null, *descriptors], None if frame["batch"] else self._usual)
            except (OSError, ValueError) as error:
                self._send({"errno": getattr(error, "errno", None) or 0, "error": str(error)})
                continue
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            self._watch()
            self._send(self._report)

    def _watch(self) -> None:
        """Returns when the process and everything below it are gone."""
        self._report, self._deadline = {}, None
        while True:
            if self._deadline is not None and time.monotonic() >= self._deadline:
                tree.kill_all(lambda: tree.descendants(os.getpid()), self._reap)
            else:
                self._wait()
            if not self._reap():
                return
            if self._report and self._deadline is None:
                self._terminate(LEFTOVER_GRACE)

    def _wait(self) -> None:
        milliseconds = None if self._deadline is None else max(0.0, self._deadline - time.monotonic()) * 1000
        ready = {descriptor for descriptor, _ in self._events.poll(milliseconds)}
        if self._wake in ready:
            os.read(self._wake, 512)
        if self._control.fileno() in ready:
            self._obey()

    def _obey(self) -> None:
        frame, _ = frames.receive(self._control)
        if frame is None:
            self._worker_gone = True
            self._events.unregister(self._control)
            self._terminate(LEFTOVER_GRACE)
        elif "end" in frame:
            self._terminate(frame["end"])

    def _terminate(self, grace: float) -> None:
        if grace > 0:
            found = tree.descendants(os.getpid())
            tree.signal_all(found, signal.SIGTERM)
            tree.signal_all(found, signal.SIGCONT)  # What is stopped does not notice TERM.
        wanted = time.monotonic() + grace
        self._deadline = wanted if self._deadline is None else min(self._deadline, wanted)

    def _reap(self) -> bool:
        """Collects what has ended, and tells whether anything is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._main:
                cpu = usage.ru_utime + usage.ru_stime
                self._report = {"status": status, "cpu": cpu, "rss": usage.ru_maxrss}

    def _send(self, frame: dict[str, Any]) -> None:
        try:
            self._control.sendall(frames.encode(frame))
        except OSError:
            self._worker_gone = True


_Scheduling = tuple[int, os.sched_param]


def _step_back() -> _Scheduling | None:
    """From here on this process takes the processor from nobody when it wakes (``SCHED_BATCH``, see sched(7)): it does
    so twice a task, and each time would interrupt the worker or a task in what they do.

    Returns how it was scheduled before; ``None`` where somebody has chosen a policy for it, or it may not choose.
    """
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        return None
    usual = os.SCHED_OTHER, os.sched_param(0)
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, usual[1])
    except OSError:
        return None
    return usual


def _spawn(frame: dict[str, Any], descriptors: list[int], scheduling: _Scheduling | None) -> int:
    """Starts the process in its own session, scheduled as this one where nothing else is said; raises `OSError` or
    `ValueError`."""
    null, out, err = descriptors[:3]
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
    # Received numbers ascend, so none of these overwrites one that is still to be copied.
    for number, descriptor in enumerate(descriptors[3:], frames.INHERITED):
        actions.append((os.POSIX_SPAWN_DUP2, descriptor, number))
    chosen: dict[str, Any] = {} if scheduling is None else {"scheduler": scheduling}
    # posix_spawn cannot change the folder; a keeper has one task at a time, so its own folder will do.
    os.chdir(frame["cwd"])
    try:
        return os.posix_spawn(
            frame["argv"][0],
            frame["argv"],
            frame["env"],
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_SIGNALS_OF_PYTHON,
            **chosen,
        )
    finally:
        os.chdir("/")
