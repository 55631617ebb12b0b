"""A store that stands still: said by the health ports, answered with 503, and over as soon as it goes on."""

import asyncio
import time
from functools import partial

from tests.acceptance.conftest import CODE, Stacks
from tests.support.eventually import eventually
from tests.support.private_servers import PrivateServer
from tests.support.stack import Node, Stack

NOTICED_SECONDS = 10.0
ANSWERED_SECONDS = 5.0

WORKFLOW = """
workflow: before-and-after
triggers: [manual: {}]
tasks:
  first: {wait: {for: 2s}}
  second: {needs: [first], python: {call: "effects:nothing"}}
"""


async def test_a_frozen_store_is_told_within_ten_seconds_and_forgotten_by_itself(
    stacks: Stacks, private_postgres: PrivateServer, story_broker: PrivateServer
) -> None:
    stack = stacks(DATABASE_URL=private_postgres.url, BROKER_URL=story_broker.url, CODE_PATH=CODE)
    dispatchers, workers = await stack.start_all()
    await stack.deploy(WORKFLOW)
    accepted = await stack.run("before-and-after")
    assert stack.api is not None
    nodes = (stack.api, *dispatchers, *workers)

    await asyncio.to_thread(private_postgres.stop)
    frozen_at = time.monotonic()
    requests = [asyncio.create_task(_starts(stack)) for _ in range(5)]
    for node in nodes:
        await eventually(partial(_is_failing, node), within=frozen_at + NOTICED_SECONDS - time.monotonic())
    answers = [*await asyncio.gather(*requests), await _starts(stack)]
    await asyncio.to_thread(private_postgres.cont)

    assert {(status, kind) for status, kind, _ in answers} == {(503, "application/problem+json")}
    slowest = max(seconds for _, _, seconds in answers)
    print(f"\nfrozen store: the slowest 503 took {slowest:.1f} s")
    assert slowest <= ANSWERED_SECONDS
    for node in nodes:
        await node.ready(within=20)
    assert (await stack.finished(accepted, within=30))["state"] == "succeeded"
    assert (await stack.finished(await stack.run("before-and-after"), within=30))["state"] == "succeeded"


async def _is_failing(node: Node) -> bool:
    return await node.probe("/readyz", timeout=NOTICED_SECONDS) == 503


async def _starts(stack: Stack) -> tuple[int, str, float]:
    started = time.monotonic()
    async with stack.client() as client:
        answer = await client.post("/workflows/before-and-after/run", json={})
    return answer.status_code, answer.headers["content-type"], time.monotonic() - started
