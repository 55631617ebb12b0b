"""Real PostgreSQL, RabbitMQ and Redis for tests, wherever they are to be had.

In this order: the server that an environment variable names; Debian's binaries, started privately; a container, where
an engine answers. Otherwise the test is skipped and says how to get them, or fails where servers are required
(``ORRERY_TEST_REQUIRE_SERVICES=1`` or ``CI=true``).
"""

import asyncio
import contextlib
import fcntl
import os
import pickle
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import asyncpg
import pytest

from tests.support.private_servers import PrivatePostgres, PrivateRabbitMQ, PrivateRedis, PrivateServer

__all__ = ["POSTGRES", "RABBITMQ", "REDIS", "PrivatePostgres", "PrivateRabbitMQ", "PrivateRedis", "PrivateServer"]

T = TypeVar("T")

CONTAINER_SECONDS = 60.0
APART_SECONDS = 60.0
ASK_SECONDS = 30.0
"""What prepares and cleans up asks of a server; no test is about that, and the machine may stand still for a while."""

MISSING = "no real server: "
"""How the reason of every skipped test begins that needed one."""


@dataclass(frozen=True, slots=True)
class Service:
    """A kind of server, and where one comes from."""

    name: str
    variable: str
    private: type[PrivateServer]
    package: str
    image: str
    container_port: int
    container_environment: tuple[tuple[str, str], ...]
    url: str
    """With the place for ``{address}``."""


POSTGRES = Service(
    "PostgreSQL",
    "ORRERY_TEST_POSTGRES_URL",
    PrivatePostgres,
    "postgresql",
    "postgres:16",
    5432,
    (("POSTGRES_HOST_AUTH_METHOD", "trust"),),
    "postgresql://postgres@{address}/postgres",
)
RABBITMQ = Service(
    "RabbitMQ",
    "ORRERY_TEST_RABBITMQ_URL",
    PrivateRabbitMQ,
    "rabbitmq-server",
    "rabbitmq:3.13",
    5672,
    (),
    "amqp://guest:guest@{address}/",
)
REDIS = Service(
    "Redis", "ORRERY_TEST_REDIS_URL", PrivateRedis, "redis-server", "redis:7", 6379, (), "redis://{address}/0"
)


def are_required() -> bool:
    return os.environ.get("ORRERY_TEST_REQUIRE_SERVICES") == "1" or os.environ.get("CI") == "true"


def give_up(service: Service) -> NoReturn:
    """Skips or fails the test that asked for ``service``."""
    reason = (
        f"{MISSING}{service.name}. Name a running one in {service.variable}, or install Debian's {service.package}, "
        "or start a container engine"
    )
    if are_required():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextlib.contextmanager
def running(service: Service, shared: Path) -> Iterator[str]:
    """The URL of a server for the whole test run; ``shared`` is a folder that all processes of the run see."""
    named = os.environ.get(service.variable)
    if named:
        yield named
    elif service.private.is_installed():
        with _shared_private(service, shared) as url:
            yield url
    else:
        with _container(service) as url:
            yield url


@contextlib.contextmanager
def private(service: Service) -> Iterator[PrivateServer]:
    """A server of one test's own, already started."""
    if not service.private.is_installed():
        give_up(service)
    with service.private() as server:
        yield server


@contextlib.contextmanager
def fresh_database(server_url: str, *, template: str = "template1") -> Iterator[str]:
    """The URL of a new database, a copy of ``template``; dropped afterwards, whoever is still connected."""
    name = f"orrery_test_{uuid.uuid4().hex}"
    on_server(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        on_server(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@contextlib.contextmanager
def fresh_namespace(url: str, *queues: str) -> Iterator[str]:
    """A prefix for everything that a test makes in the broker; afterwards the lanes of ``queues`` are deleted."""
    namespace = f"test-{uuid.uuid4().hex[:12]}"
    try:
        yield namespace
    finally:
        apart(lambda: _delete_namespace(url, namespace, queues))


async def _delete_namespace(url: str, namespace: str, queues: tuple[str, ...]) -> None:
    priorities = ("critical", "high", "normal", "low")
    connection = await aio_pika.connect(url, timeout=ASK_SECONDS)
    async with connection, connection.channel() as channel:
        for queue in queues:
            for priority in priorities:
                await channel.queue_delete(f"{namespace}.tasks.{queue}.{priority}")
        await channel.queue_delete(f"{namespace}.dead")
        for exchange in ("dead", "wakes", "commands"):
            await channel.exchange_delete(f"{namespace}.{exchange}")


def on_server(url: str, statement: str) -> None:
    """Runs SQL outside any test's loop."""

    async def execute() -> None:
        connection = await asyncpg.connect(url, timeout=ASK_SECONDS)
        try:
            await connection.execute(statement, timeout=ASK_SECONDS)
        finally:
            await connection.close()

    apart(execute)


def apart(work: Callable[[], Awaitable[T]]) -> T:
    """Runs ``work`` in a loop of its own, as a fixture may be set up while the test's loop already exists. Whoever is
    asked and does not answer costs `APART_SECONDS` and a `TimeoutError`."""

    async def run() -> T:
        async with asyncio.timeout(APART_SECONDS):
            return await work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


@contextlib.contextmanager
def _shared_private(service: Service, folder: Path) -> Iterator[str]:
    """One server for all processes of a run: the first starts it, the last closes it."""
    path = folder / f"{service.name}.server"
    with _locked(path):
        server, users = pickle.loads(path.read_bytes()) if path.exists() else (service.private().start(), 0)
        path.write_bytes(pickle.dumps((server, users + 1)))
    try:
        yield server.url
    finally:
        with _locked(path):
            server, users = pickle.loads(path.read_bytes())
            path.write_bytes(pickle.dumps((server, users - 1)))
            if users == 1:
                path.unlink()
                server.close()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _container(service: Service) -> Iterator[str]:
    container = _start_container(service)
    if container is None:
        give_up(service)
    try:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(service.container_port))
        deadline = time.monotonic() + CONTAINER_SECONDS
        while not service.private.answers(port, host):
            assert time.monotonic() < deadline, f"the container of {service.name} does not answer"
            threading.Event().wait(0.1)
        yield service.url.format(address=f"{host}:{port}")
    finally:
        container.stop()


def _start_container(service: Service) -> Any:
    # Asked first, as a client that finds nobody leaves its socket behind, and that is held against some later test.
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return None
    # An engine that may not be used makes even the constructor raise what it likes.
    with contextlib.suppress(Exception):
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(service.image).with_exposed_ports(service.container_port)
        for name, value in service.container_environment:
            container = container.with_env(name, value)
        return container.start()
    return None
