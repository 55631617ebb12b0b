"""What a newcomer sees first: the demo in an empty folder fires by itself, and its logs can be read."""

import json

from tests.support.eventually import eventually
from tests.support.stack import Stack

WARM_SECONDS = 3.0
"""Promised for a machine that does nothing else; a busy one is given three times that."""


async def test_the_demo_fires_and_succeeds_within_a_minute_and_its_logs_can_be_read(embedded: Stack) -> None:
    node = embedded.start("up", "--demo", CODE_PATH=None)
    await node.ready(within=3 * WARM_SECONDS)

    async def a_demo_run_has_succeeded() -> bool:
        listed = embedded.cli("runs", "--state", "succeeded", "--json")
        assert listed.returncode == 0, listed.stderr
        runs.extend(json.loads(listed.stdout)["items"])
        return bool(runs)

    runs: list[dict[str, str]] = []
    await eventually(a_demo_run_has_succeeded, within=60)
    fired = runs[0]
    assert fired["started_by"].startswith("trigger:")

    logs = embedded.cli("logs", fired["id"])
    assert logs.returncode == 0, logs.stderr
    assert "looking at this machine" in logs.stdout or "collecting" in logs.stdout
    why = embedded.cli("why", fired["id"])
    assert why.returncode == 0, why.stderr

    by_hand = embedded.cli("run", "demo-on-demand", "-i", "name=Ada", "--follow")
    assert by_hand.returncode == 0, by_hand.stderr
    assert "step 3 for Ada" in by_hand.stdout

    node.terminate()
    assert await node.ended(within=30) == 0
