"""Real processes that kill themselves at a point, and what the next one makes of what they left."""

import signal

import httpx2
import pytest

from tests.support.stack import SHORT_LEASES, Stack, running_stack

FLOW = """
workflow: chained
tasks:
  a: {shell: "true", on_worker_loss: retry}
  b: {shell: "true", on_worker_loss: retry, needs: [a]}
"""


@pytest.mark.parametrize(
    "seam",
    ["run.insert/after_commit", "claim/after_commit", "task/after_effect", "result/after_commit"],
)
async def test_a_process_that_kills_itself_loses_nothing(seam: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_stack(tmp_path_factory.mktemp("seamed"), **SHORT_LEASES) as stack:
        node = stack.start("up", seams=["--crash-at", seam])
        await node.ready()
        await stack.deploy(FLOW)
        await _ask(stack)
        assert await node.ended(within=30) == -signal.SIGKILL
        node.relaunch()
        await node.ready()
        run_id = await _ask(stack)
        assert (await stack.finished(run_id, within=30))["state"] == "succeeded"
        rows = await stack.rows("select state from runs")
        assert [row["state"] for row in rows] == ["succeeded"]


async def _ask(stack: Stack) -> str:
    """Starts the run under its key; whoever answers says the same run. Without an answer, an empty text."""
    async with stack.client() as client:
        try:
            answer = await client.post("/workflows/chained/run", json={}, headers={"Idempotency-Key": "the one"})
        except httpx2.TransportError:
            return ""
    return str(answer.json()["run_id"])
