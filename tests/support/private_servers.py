"""Real servers that belong to one test, so that it can kill them.

Each lives in a folder of its own, on a port below 32768: above are the ephemeral ports, which somebody's client may
hold at any moment. None of them runs as root where there is another user to be.
"""

import contextlib
import os
import pwd
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import psutil

BOOT_SECONDS = 60.0
"""RabbitMQ needs 5 s on an idle machine."""
STOP_SECONDS = 10.0
FIRST_PORT, LAST_PORT = 20_000, 32_000


def free_port() -> int:
    """A port that nobody listens on and that no outgoing connection gets; never twice in one process, and never one
    that another process of the same test run is given."""
    first, last = _own_ports()
    while True:
        port = random.randint(first, last)
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def _own_ports() -> tuple[int, int]:
    """Between a look at a port and its use another process may look too: each of a test run has its own share."""
    share = (LAST_PORT - FIRST_PORT) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = FIRST_PORT + share * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return first, first + share - 1


_given: set[int] = set()


class PrivateServer(ABC):
    """A process tree of its own. Call order: ``start``, then anything, ``close`` at the end; also a context manager.

    The methods block: in an async test call them through `asyncio.to_thread`.
    """

    user = ""
    """Whose process it is when the tests run as root."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="orrery-test-"))
        self.log = self.folder / "server.log"
        self._process: psutil.Process | None = None

    @classmethod
    @abstractmethod
    def is_installed(cls) -> bool: ...

    @property
    @abstractmethod
    def url(self) -> str: ...

    def start(self) -> Self:
        """Returns when the server answers."""
        self._prepare()
        self._launch()
        return self

    def kill(self) -> None:
        """As a power cut does: SIGKILL to every process at once."""
        psutil.wait_procs(self._signal("kill"), timeout=STOP_SECONDS)
        self._process = None

    def restart(self) -> None:
        """Starts it again on the same port with the same data, after `kill`."""
        self._launch()

    def stop(self) -> None:
        """Freezes every process (SIGSTOP): connections stay open and nobody answers."""
        self._signal("suspend")

    def cont(self) -> None:
        self._signal("resume")

    def close(self) -> None:
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __getstate__(self) -> dict[str, object]:
        """Another process of the same test run may close the server."""
        return self.__dict__ | {"_process": self._process.pid if self._process else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._process = psutil.Process(state["_process"]) if state["_process"] else None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _prepare(self) -> None:
        """Makes what the first start needs."""

    @abstractmethod
    def _command(self) -> Sequence[str]: ...

    @classmethod
    @abstractmethod
    def answers(cls, port: int, host: str = "127.0.0.1") -> bool:
        """Whether a server of this kind there is ready for clients."""

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "LANG": "C.UTF-8"}

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment(),
                cwd=self.folder,
                start_new_session=True,
                user=self._user(),
            )
        self._process = psutil.Process(process.pid)
        # Whoever closes the server waits for it, maybe another process of the test run; this object must not complain.
        process.returncode = 0
        deadline = time.monotonic() + BOOT_SECONDS
        while not self.answers(self.port):
            if self._ends_within(0.05) or time.monotonic() > deadline:
                end = self.log.read_text(errors="replace")[-2_000:]
                self.close()
                raise RuntimeError(f"{type(self).__name__} did not start:\n{end}")

    def _run(self, *command: str) -> str:
        ended = subprocess.run(
            command,
            check=True,
            capture_output=True,
            env=self._environment(),
            cwd=self.folder,
            user=self._user(),
            text=True,
            timeout=BOOT_SECONDS,
        )
        return ended.stdout

    def _own(self, *paths: Path) -> None:
        """Gives the folder and ``paths`` to the server's user."""
        user = self._user()
        for path in (self.folder, *paths):
            if user is not None:
                shutil.chown(path, user)

    def _user(self) -> str | None:
        return self.user if os.geteuid() == 0 and _exists(self.user) else None

    def _ends_within(self, seconds: float) -> bool:
        if self._process is not None:
            with contextlib.suppress(psutil.TimeoutExpired):
                self._process.wait(seconds)
                return True
        return False

    def _processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self._process, *self._process.children(recursive=True)]
        return []

    def _signal(self, name: str) -> list[psutil.Process]:
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(process, name)()
        return processes


class PrivatePostgres(PrivateServer):
    """``settings`` are the server's own, each as ``name=value``; the last one counts."""

    user = "postgres"

    def __init__(self, *settings: str) -> None:
        super().__init__()
        self._settings = settings

    @classmethod
    def is_installed(cls) -> bool:
        return _postgres_binaries() is not None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _prepare(self) -> None:
        self._own()
        self._run(self._binary("initdb"), "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")

    def _command(self) -> Sequence[str]:
        # fsync guards against power cuts, not against the death of processes, which is all that happens here.
        settings = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        words = (word for setting in (*settings, *self._settings) for word in ("-c", setting))
        return (self._binary("postgres"), "-D", "data", *words)

    @classmethod
    def answers(cls, port: int, host: str = "127.0.0.1") -> bool:
        # A startup message: what is accepted is answered by a request to authenticate, anything else by an error.
        body = struct.pack("!i", 196_608) + b"user\0postgres\0database\0postgres\0\0"
        return _talks(host, port, struct.pack("!i", len(body) + 4) + body, b"R")

    def _binary(self, name: str) -> str:
        folder = _postgres_binaries()
        if folder is None:
            raise RuntimeError("PostgreSQL is not installed")
        return str(folder / name)


class PrivateRabbitMQ(PrivateServer):
    user = "rabbitmq"

    def __init__(self) -> None:
        super().__init__()
        self._node_port = free_port()
        self._epmd_port = free_port()

    @classmethod
    def is_installed(cls) -> bool:
        return _RABBITMQ.exists()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def control(self, *arguments: str) -> str:
        """What ``rabbitmqctl`` does and says, e.g. ``control("set_vm_memory_high_watermark", "0.00001")`` for a memory
        alarm."""
        return self._run("/usr/lib/rabbitmq/bin/rabbitmqctl", *arguments)

    def persist(self) -> None:
        """Writes to disk which queues there are. The broker does so twice a second, and a quorum queue that is younger
        when it is killed never has a leader again (seen with 3.10): call this between making queues and `kill`."""
        self.control("eval", "[dets:sync(Table) || Table <- dets:all()].")

    def close(self) -> None:
        super().close()
        # Erlang's port mapper detaches itself from the server that needed it.
        for process in psutil.process_iter(["name"]):
            with contextlib.suppress(psutil.Error):
                if process.info["name"] == "epmd" and process.environ().get("ERL_EPMD_PORT") == str(self._epmd_port):
                    process.kill()

    def _prepare(self) -> None:
        plugins = self.folder / "plugins"
        plugins.write_text("[].\n")
        config = self.folder / "rabbitmq.conf"
        config.write_text("loopback_users = none\n")
        self._own(plugins, config, self.log.parent)

    def _command(self) -> Sequence[str]:
        return (str(_RABBITMQ),)

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
        }

    @classmethod
    def answers(cls, port: int, host: str = "127.0.0.1") -> bool:
        return _talks(host, port, b"AMQP\x00\x00\x09\x01", b"\x01")


class PrivateRedis(PrivateServer):
    user = "redis"

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("redis-server") is not None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _prepare(self) -> None:
        self._own()

    def _command(self) -> Sequence[str]:
        return (
            "redis-server",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(self.folder),
        )

    @classmethod
    def answers(cls, port: int, host: str = "127.0.0.1") -> bool:
        return _talks(host, port, b"PING\r\n", b"+PONG")


_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Not the one on the PATH, which insists on being root or ``rabbitmq``."""


def _postgres_binaries() -> Path | None:
    """Where Debian keeps them, off the PATH, the newest version first; else where the PATH has them."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: folder.parent.name.zfill(4), reverse=True
    )
    on_path = [Path(folder) for folder in os.get_exec_path()]
    complete = (
        folder for folder in (*debian, *on_path) if (folder / "initdb").exists() and (folder / "postgres").exists()
    )
    return next(complete, None)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _talks(host: str, port: int, greeting: bytes, answer: bytes) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1.0) as connection:
        connection.sendall(greeting)
        return connection.recv(len(answer)) == answer
    return False
