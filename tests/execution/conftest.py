from collections.abc import AsyncIterator

import pytest

from scheduler_infrastructure.execution.supervision.supervisor import Supervisor


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    await supervisor.open()
    yield supervisor
    await supervisor.close()
