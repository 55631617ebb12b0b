"""Every measure once, as small as it can be, over real servers: that it measures, not what.

Each asks an installation for what it has done since the measure began, so one installation serves them all.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from benchmarks.measures.chain import chain
from benchmarks.measures.fanout import fanout
from benchmarks.measures.floor import LOOPS, floor
from benchmarks.measures.latency import latency
from benchmarks.measures.memory import memory
from benchmarks.measures.throughput import timed, warmed_up
from benchmarks.servers import Servers, using
from benchmarks.stack import Stack, running_stack
from tests.support import services

pytestmark = pytest.mark.asyncio(loop_scope="module")


def no_control(*_: str) -> None:
    """A broker of its own needs no virtual host of its own."""


@pytest.fixture(scope="module")
def own_servers(postgres_server: str) -> Iterator[Servers]:
    with services.private(services.RABBITMQ) as rabbitmq:
        yield Servers(postgres_server, rabbitmq.url, "redis://unused", no_control)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(own_servers: Servers) -> AsyncIterator[Stack]:
    with using(own_servers):
        async with running_stack() as stack:
            yield stack


async def test_throughput_counts_what_it_entered(stack: Stack) -> None:
    await warmed_up(stack)
    found = await timed(stack, 50)
    assert found["tasks"] == 50
    assert found["per_second"] > 0


async def test_latency_is_from_the_request_and_from_its_answer(stack: Stack) -> None:
    found = await latency(stack, 3)
    assert 0 < found["from_answer_ms"]["p50"] < found["from_request_ms"]["p50"]


async def test_a_chain_and_a_fan_out_end(stack: Stack) -> None:
    assert (await chain(stack, 2))["seconds"] > 0
    assert (await fanout(stack, 2))["seconds"] > 0


async def test_memory_is_told_of_every_process(stack: Stack) -> None:
    found = await memory(stack, 100)
    assert {"api", "dispatcher", "worker", "python_children"} <= found["processes"].keys()
    assert {name for name, process in found["processes"].items() if process["most_mb"] <= 1} == set()


async def test_every_loop_of_the_floor_does_its_tasks(own_servers: Servers) -> None:
    with using(own_servers):
        found = (await floor(20, engine=False))["loops"]
    assert found.keys() == LOOPS.keys()
    assert all(loop["tasks_per_second"] > 0 for loop in found.values())
