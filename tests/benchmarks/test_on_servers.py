"""Every measure once, as small as it can be, over real servers: that it measures, not what."""

from collections.abc import Iterator

import pytest

from benchmarks.measures.chain import chain
from benchmarks.measures.fanout import fanout
from benchmarks.measures.floor import LOOPS, floor
from benchmarks.measures.latency import latency
from benchmarks.measures.memory import memory
from benchmarks.measures.throughput import throughput
from benchmarks.servers import Servers, using
from tests.support import services


def no_control(*_: str) -> None:
    """A broker of its own needs no virtual host of its own."""


@pytest.fixture(scope="module")
def own_servers() -> Iterator[Servers]:
    with services.private(services.POSTGRES) as postgres, services.private(services.RABBITMQ) as rabbitmq:
        yield Servers(postgres.url, rabbitmq.url, "redis://unused", no_control)


@pytest.fixture(autouse=True)
def chosen(own_servers: Servers) -> Iterator[None]:
    with using(own_servers):
        yield


async def test_throughput_counts_what_it_entered() -> None:
    found = await throughput(50, explained=False)
    assert found["tasks"] == 50
    assert found["per_second"] > 0


async def test_latency_is_from_the_request_and_from_its_answer() -> None:
    found = await latency(3)
    assert 0 < found["from_answer_ms"]["p50"] < found["from_request_ms"]["p50"]


async def test_a_chain_and_a_fan_out_end() -> None:
    assert (await chain(2))["seconds"] > 0
    assert (await fanout(2))["seconds"] > 0


async def test_memory_is_told_of_every_process() -> None:
    found = await memory(100)
    assert {"api", "dispatcher", "worker", "python_children"} <= found["processes"].keys()
    assert all(process["most_mb"] > 1 for process in found["processes"].values())


async def test_every_loop_of_the_floor_does_its_tasks() -> None:
    found = (await floor(20, engine=False))["loops"]
    assert found.keys() == LOOPS.keys()
    assert all(loop["tasks_per_second"] > 0 for loop in found.values())
