"""The spawner: one small process per worker that forks keepers, and catches what a killed keeper leaves.

It imports little and holds nothing of the worker, so its forks are quick and clean. Messages (sequenced packets): ``K``
and a number, with a socket: fork a keeper under that number, which serves that socket. ``S`` and a number, with a
socket: end that keeper and everything that it left, then close the socket. End of file: the worker is gone; the keepers
see that too and end their trees, and the spawner waits for them.
"""

import os
import resource
import select
import signal
import socket
import struct
import sys
from typing import NoReturn

from scheduler_infrastructure.execution.supervision import frames, tree
from scheduler_infrastructure.execution.supervision.keeper import Keeper

MESSAGE = struct.Struct("!cQ")
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Spawner:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._keepers: dict[int, int] = {}  # pid -> number
        self._wake = tree.watch_children()
        tree.become_subreaper()

    def serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._wake, self._control.fileno()], [], [])
            if self._wake in ready:
                os.read(self._wake, 512)
                if self._reap():
                    self._sweep()
            if self._control.fileno() in ready and not self._obey():
                return

    def finish(self) -> None:
        """Waits until every keeper has ended its tree; the worker is gone, so each of them does."""
        while self._keepers:
            select.select([self._wake], [], [])
            os.read(self._wake, 512)
            self._reap()
        self._sweep()

    def _obey(self) -> bool:
        data, descriptors = frames.receive_descriptors(self._control, MESSAGE.size)
        if not data:
            return False
        kind, number = MESSAGE.unpack(data)
        with socket.socket(fileno=descriptors[0]) as connection:
            if kind == b"K":
                self._fork(number, connection)
            else:
                self._end_keeper(number)
        return True

    def _fork(self, number: int, connection: socket.socket) -> None:
        try:
            pid = os.fork()
        except OSError:
            return  # The worker sees the socket close.
        if pid:
            self._keepers[pid] = number
            return
        status = 1
        try:
            self._control.close()
            os.close(self._wake)
            Keeper(connection).serve()
            status = 0
        finally:
            os._exit(status)

    def _end_keeper(self, number: int) -> None:
        for pid in [pid for pid, known in self._keepers.items() if known == number]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            del self._keepers[pid]
        self._sweep()

    def _reap(self) -> bool:
        """Collects what has ended; true when a keeper did not end by itself, so that its tree is now ours."""
        orphaned = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return orphaned
            if pid == 0:
                return orphaned
            if self._keepers.pop(pid, None) is not None and status != 0:
                orphaned = True

    def _sweep(self) -> None:
        tree.kill_all(lambda: tree.descendants(os.getpid(), self._keepers), self._reap)


def main(arguments: list[str]) -> NoReturn:
    """``arguments``: the control socket's descriptor, then one ``name=value`` per limit (``RLIMIT_NOFILE=4096``)."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for limit in arguments[1:]:
        name, _, value = limit.partition("=")
        _lower(getattr(resource, name), int(value))
    spawner = Spawner(socket.socket(fileno=int(arguments[0])))
    spawner.serve()
    spawner.finish()
    sys.exit(0)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (bounded, bounded))
