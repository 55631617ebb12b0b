"""The servers that a benchmark uses: those that are there, or others of its own."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from tests.support.private_servers import PrivatePostgres, PrivateRabbitMQ, PrivateRedis

CONTROL_SECONDS = 120.0
LOCAL = ("127.0.0.1", "localhost", "::1")

Control = Callable[..., str | None]
"""What `rabbitmqctl --quiet` with these arguments prints; None where it cannot be used or failed."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they answer, and how the broker is ruled."""

    postgres_url: str
    rabbitmq_url: str
    redis_url: str
    control: Control
    own: bool = False
    """Whether nobody else uses them."""


def servers() -> Servers:
    """Those of the `own_servers` around the caller; else what the environment names, or the standard ports."""
    return _current.get() or Servers(
        os.environ.get("ORRERY_BENCH_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"),
        os.environ.get("ORRERY_BENCH_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/"),
        os.environ.get("ORRERY_BENCH_REDIS_URL", "redis://127.0.0.1:6379"),
        _control_here,
    )


@contextlib.contextmanager
def own_servers(*, statements: bool) -> Iterator[None]:
    """Starts them with their default durability and lets `servers` name them; ``statements`` counts statements too,
    which costs PostgreSQL a few percent."""
    with (
        _DurablePostgres(statements=statements) as postgres,
        _OwnRabbitMQ() as rabbitmq,
        PrivateRedis() as redis,
        using(Servers(postgres.url, rabbitmq.url, redis.url, rabbitmq.asked, own=True)),
    ):
        yield


@contextlib.contextmanager
def using(chosen: Servers) -> Iterator[None]:
    """Lets `servers` return ``chosen``."""
    token = _current.set(chosen)
    try:
        yield
    finally:
        _current.reset(token)


def server_process(url: str, default_port: int) -> psutil.Process | None:
    """The process that listens at ``url``, with all its children that server; None unless it is on this machine and
    may be looked at."""
    parts = urlsplit(url)
    if parts.hostname not in LOCAL:
        return None
    with contextlib.suppress(psutil.Error):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.pid and found.laddr[1:] == (parts.port or default_port,):
                return psutil.Process(found.pid)
    return None


def server_processes() -> dict[str, psutil.Process]:
    """PostgreSQL's and RabbitMQ's, as far as they are on this machine."""
    found = {
        "postgresql": server_process(servers().postgres_url, 5432),
        "rabbitmq": server_process(servers().rabbitmq_url, 5672),
    }
    return {name: process for name, process in found.items() if process is not None}


_current: ContextVar[Servers | None] = ContextVar("servers", default=None)


class _DurablePostgres(PrivatePostgres):
    """Keeps what it has committed, as a server that is installed does."""

    def __init__(self, *, statements: bool) -> None:
        super().__init__()
        self._statements = statements

    def _command(self) -> Sequence[str]:
        command = [word for word in super()._command() if word != "fsync=off"]
        settings = ["fsync=on"]
        if self._statements:
            settings += ["-c", "shared_preload_libraries=pg_stat_statements"]
        return [*command, *settings]


class _OwnRabbitMQ(PrivateRabbitMQ):
    def asked(self, *arguments: str) -> str | None:
        command = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", *arguments]
        return _printed(command, env=self._environment(), cwd=str(self.folder), user=self._user())


def _control_here(*arguments: str) -> str | None:
    """The broker on this machine's standard port, which only root may rule."""
    local = urlsplit(servers().rabbitmq_url).hostname in LOCAL
    if not local or os.geteuid() != 0 or shutil.which("rabbitmqctl") is None:
        return None
    return _printed(["rabbitmqctl", "--quiet", *arguments])


def _printed(
    command: Sequence[str], *, env: dict[str, str] | None = None, cwd: str | None = None, user: str | None = None
) -> str | None:
    done = subprocess.run(
        command, capture_output=True, timeout=CONTROL_SECONDS, check=False, env=env, cwd=cwd, user=user
    )
    return done.stdout.decode() if done.returncode == 0 else None
