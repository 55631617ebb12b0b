"""The worker's side of supervision: starts processes through keepers, and learns when nothing of them is left.

Call order: ``open`` · any number of ``start`` · ``close``; executors share one supervisor and each opens and closes it.
"""

import asyncio
import contextlib
import itertools
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import scheduler_infrastructure
from scheduler_infrastructure.execution.supervision.keeper_link import (
    ExitReport,
    KeeperLink,
    SupervisedProcess,
    finished,
)
from scheduler_infrastructure.execution.supervision.spawner import MESSAGE

_MAX_FORKS = 3
_READY_SECONDS = 10.0
_SWEEP_SECONDS = 5.0
_CLOSE_SECONDS = 5.0
_BOOT = "import sys; sys.path.append(sys.argv[1]); from {module} import main; main(sys.argv[2:])"
_SPAWNER = "scheduler_infrastructure.execution.supervision.spawner"


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of every process of a task; ``processes`` counts all of the user's (and does not bind root)."""

    open_files: int = 4096
    file_bytes: int = 64 * 1024**3
    processes: int = 4096
    core_bytes: int = 0

    def arguments(self) -> list[str]:
        return [
            f"RLIMIT_NOFILE={self.open_files}",
            f"RLIMIT_FSIZE={self.file_bytes}",
            f"RLIMIT_NPROC={self.processes}",
            f"RLIMIT_CORE={self.core_bytes}",
        ]


class SpawnerLost(Exception):
    """The spawner ended by itself, or cannot be started."""


class Supervisor:
    """Starts process trees; ``idle_keepers`` is how many keepers wait for the next one, the others end."""

    def __init__(self, limits: Limits | None = None, *, idle_keepers: int = 32) -> None:
        self._limits = limits or Limits()
        self._idle_keepers = idle_keepers
        self._users = 0
        self._spawner: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._idle: deque[KeeperLink] = deque()
        self._busy: set[KeeperLink] = set()
        self._sweeps: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._users += 1
        if self._users == 1:
            self._start_spawner()

    async def close(self) -> None:
        """Ends what still runs, without a pause, and waits (bounded) until the spawner and all below it are gone."""
        self._users -= 1
        if self._users:
            return
        processes = [link.process for link in self._busy if link.process is not None]
        for process in processes:
            process.end(0)
        for process in processes:
            await finished(process.ended)
        if self._sweeps:
            await asyncio.wait(self._sweeps, timeout=_SWEEP_SECONDS)
        while self._idle:
            self._idle.pop().close()
        await self._end_spawner()

    async def start(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        descriptors: Sequence[int],
        *,
        batch: bool = False,
    ) -> "SupervisedProcess":
        """Starts ``argv`` in ``folder`` with exactly ``environment``; ``descriptors`` are stdout, stderr and
        optionally one to inherit, and stay the caller's to close. With ``batch`` it is scheduled as what takes the
        processor from nobody when it wakes (``SCHED_BATCH``), if this process is scheduled as usual and the system
        lets it choose. Whether it could be started is told by the `ExitReport`."""
        link = await self._keeper()
        process = SupervisedProcess(link)
        self._busy.add(link)
        try:
            await link.send_start(process, argv, environment, folder, descriptors, batch=batch)
        except OSError:
            self._lost(link)
        except BaseException:
            self._lost(link)  # A frame sent by half cannot be taken back, but the keeper can.
            raise
        return process

    async def _keeper(self) -> KeeperLink:
        """An idle keeper or a new one. A new one that does not say that it is there has started nothing, so that
        another can be tried."""
        while self._idle:
            link = self._idle.pop()
            if not link.closed:
                return link
        for _ in range(_MAX_FORKS):
            link = self._fork_keeper()
            if await link.ready(_READY_SECONDS):
                break
            if not link.closed:
                link.close()
                self._forget_spawner()  # It lives, but does not do its work.
        return link

    def _fork_keeper(self) -> KeeperLink:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        number = next(self._numbers)
        with theirs, contextlib.suppress(SpawnerLost):
            self._tell_spawner(b"K", number, theirs)
        return KeeperLink(number, ours, self._free, self._lost)

    def _free(self, link: KeeperLink) -> None:
        """The keeper has reported: its tree is gone and it can take another."""
        self._busy.discard(link)
        if self._users and len(self._idle) < self._idle_keepers:
            self._idle.append(link)
        else:
            link.close()

    def _lost(self, link: KeeperLink) -> None:
        """The keeper is gone without a report: lets the spawner end what it left, then reports in its place."""
        link.close()
        self._busy.discard(link)
        if link in self._idle:
            self._idle.remove(link)
        process = link.process
        if process is None or process.ended.done():
            return
        sweep = asyncio.get_running_loop().create_task(self._sweep(link.number, process))
        self._sweeps.add(sweep)
        sweep.add_done_callback(self._sweeps.discard)

    async def _sweep(self, number: int, process: SupervisedProcess) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, contextlib.suppress(SpawnerLost, OSError, TimeoutError):
            with theirs:
                self._tell_spawner(b"S", number, theirs)
            async with asyncio.timeout(_SWEEP_SECONDS):
                await asyncio.get_running_loop().sock_recv(ours, 1)
        process.report(ExitReport(lost=True))

    def _tell_spawner(self, kind: bytes, number: int, connection: socket.socket) -> None:
        """Sends one message; starts a new spawner where the old one is gone. Raises `SpawnerLost`."""
        for _ in range(2):
            if self._control is None and not self._users:
                break
            control = self._control or self._start_spawner()
            try:
                socket.send_fds(control, [MESSAGE.pack(kind, number)], [connection.fileno()])
            except OSError:
                self._forget_spawner()
            else:
                return
        raise SpawnerLost("the spawner cannot be started")

    def _start_spawner(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = str(Path(scheduler_infrastructure.__file__).parent.parent)
        boot = _BOOT.format(module=_SPAWNER)
        with theirs:
            self._spawner = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", boot, root, str(theirs.fileno()), *self._limits.arguments()],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.settimeout(1.0)
        self._control = ours
        asyncio.get_running_loop().add_reader(ours, self._forget_spawner)
        return ours

    def _forget_spawner(self) -> None:
        """The spawner is gone. Its keepers live on and report by themselves; those that are idle end."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        if self._spawner is not None:
            self._spawner.kill()
            self._spawner.wait()
            self._spawner = None
        while self._idle:
            self._idle.pop().close()

    async def _end_spawner(self) -> None:
        if self._control is None or self._spawner is None:
            return
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        self._control = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._spawner.wait, _CLOSE_SECONDS)
        self._spawner = None
