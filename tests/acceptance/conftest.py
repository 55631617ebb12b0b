"""One broker for the stories that only use it; stories that kill a server start their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import services
from tests.support.private_servers import PrivateServer
from tests.support.stack import Stack, running_stack

CODE = Path(__file__).parent / "code"
"""What the python tasks of the stories call."""

Stacks = Callable[..., Stack]


@pytest.fixture(scope="session")
def story_broker() -> Iterator[PrivateServer]:
    """Every system names its queues alike, so another system's broker is no place for a story."""
    with services.private(services.RABBITMQ) as server:
        yield server


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[Stacks]:
    """Makes installations in this test's folder; all their processes are ended afterwards."""
    with ExitStack() as cleanup:

        def make(**settings: object) -> Stack:
            return cleanup.enter_context(running_stack(tmp_path, **settings))

        yield make


@pytest.fixture
def embedded(stacks: Stacks) -> Stack:
    return stacks(CODE_PATH=CODE)


@pytest.fixture
def distributed(stacks: Stacks, postgres_url: str, story_broker: PrivateServer, redis_url: str) -> Stacks:
    """Makes an installation on shared servers; its settings may be changed."""

    def make(**settings: object) -> Stack:
        urls = {"DATABASE_URL": postgres_url, "BROKER_URL": story_broker.url, "REDIS_URL": redis_url}
        return stacks(**{**urls, "CODE_PATH": CODE, **settings})

    return make
