"""Real servers as fixtures, and what every test may ask for."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key  # Where the terminal is while output is captured.

from tests.support import distribution, hanging, services, stores
from tests.support.invariants import broken_invariants
from tests.support.private_servers import PrivateServer
from tests.support.world import World, open_world

ON_SERVERS = {"postgres_server", "rabbitmq_url", "redis_url", "private_postgres", "private_rabbitmq", "private_redis"}
QUEUES = ("default", "other")
"""The queues whose lanes are cleaned up after a test; tests of the broker use these names."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "services: needs a real server (set by itself)")
    config.addinivalue_line("markers", "alone: measures time; no other test of the run is under way meanwhile")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return distribution.processes(config.args, config.invocation_params.dir)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> distribution.Distribution:
    config.option.loadscopereorder = False
    return distribution.Distribution(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        distribution.in_order(items)
    for item in items:
        callspec = getattr(item, "callspec", None)
        on_postgres = callspec is not None and callspec.params.get("store_url") == "postgresql"
        if on_postgres or ON_SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    marker = item.get_closest_marker("timeout")
    limit = float(item.config.getini("timeout") if marker is None else marker.args[0])
    report = item.config.stash[fault_handler_stderr_fd_key]
    with hanging.ended_if_it_hangs(item.nodeid, limit + hanging.GRACE_SECONDS, report):
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if report.longrepr]
    missing = [reason.removeprefix("Skipped: ") for reason in skipped if services.MISSING in reason]
    if missing:
        terminalreporter.section("SKIPPED FOR WANT OF SERVERS", sep="!", red=True, bold=True)
        for reason in sorted(set(missing)):
            terminalreporter.write_line(f"{missing.count(reason)} tests skipped, {reason}.", red=True, bold=True)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(autouse=True)
def _turn(request: pytest.FixtureRequest, run_folder: Path) -> Iterator[None]:
    with distribution.turn(run_folder, alone=request.node.get_closest_marker(distribution.ALONE) is not None):
        yield


@pytest.fixture(scope="session")
def postgres_server(run_folder: Path) -> Iterator[str]:
    """The URL of a server where databases may be made."""
    with services.running(services.POSTGRES, run_folder) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    with services.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stores.migrated_sqlite(tmp_path_factory.mktemp("sqlite-template"))


@pytest.fixture(scope="session")
def postgres_store(postgres_server: str) -> Iterator[str]:
    """The URL of this process's own migrated database; whoever uses it empties it."""
    with stores.migrated_postgres(postgres_server) as url:
        yield url


@pytest.fixture(params=stores.STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty store; every test that asks for it runs on both databases."""
    if request.param == "sqlite":
        yield stores.copied_sqlite(request.getfixturevalue("sqlite_template"), tmp_path / "store")
        return
    url = request.getfixturevalue("postgres_store")
    yield url
    stores.empty_postgres(url)


@pytest.fixture
async def world(store_url: str) -> AsyncIterator[World]:
    """All use cases over `store_url`, on a clock that the test turns."""
    async with open_world(store_url, migrated=True) as opened:
        yield opened
        assert await broken_invariants(opened) == []


@pytest.fixture(scope="session")
def rabbitmq_url(run_folder: Path) -> Iterator[str]:
    """The URL of a broker that others use too: everything made there begins with `broker_namespace`."""
    with services.running(services.RABBITMQ, run_folder) as url:
        yield url


@pytest.fixture
def broker_namespace(rabbitmq_url: str) -> Iterator[str]:
    with services.fresh_namespace(rabbitmq_url, *QUEUES) as namespace:
        yield namespace


@pytest.fixture(scope="session")
def redis_url(run_folder: Path) -> Iterator[str]:
    """The URL of a Redis that others use too."""
    with services.running(services.REDIS, run_folder) as url:
        yield url


@pytest.fixture
def private_postgres() -> Iterator[PrivateServer]:
    with services.private(services.POSTGRES) as server:
        yield server


@pytest.fixture
def private_rabbitmq() -> Iterator[PrivateServer]:
    with services.private(services.RABBITMQ) as server:
        yield server


@pytest.fixture
def private_redis() -> Iterator[PrivateServer]:
    with services.private(services.REDIS) as server:
        yield server
