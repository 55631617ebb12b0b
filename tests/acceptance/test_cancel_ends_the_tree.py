"""Cancelling ends everything that a task started, however it tried to get away."""

import time
from pathlib import Path

from tests.support.eventually import eventually
from tests.support.stack import Stack, processes_of_run

GRACE_SECONDS = 1.0

WORKFLOW = """
workflow: escapes
triggers: [manual: {}]
tasks:
  tree:
    env: {MARKS: "%s"}
    shell: |
      trap '' TERM
      (trap '' TERM; touch "$MARKS/child"; while :; do sleep 300; done) &
      setsid sh -c 'trap "" TERM; touch "$MARKS/session"; while :; do sleep 300; done' &
      sh -c '(setsid sh -c "trap \\"\\" TERM; touch $MARKS/orphan; while :; do sleep 300; done" &) &'
      while :; do sleep 300; done
"""


async def test_no_process_of_a_cancelled_run_is_left(embedded: Stack, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    await embedded.start("up", TASK_GRACE_SECONDS=GRACE_SECONDS).ready()
    await embedded.deploy(WORKFLOW % marks)
    run_id = await embedded.run("escapes")

    async def all_run() -> bool:
        return {mark.name for mark in marks.iterdir()} == {"child", "session", "orphan"}

    await eventually(all_run, within=20)
    assert len(processes_of_run(run_id)) >= 4

    async with embedded.client() as client:
        assert (await client.post(f"/runs/{run_id}/cancel")).status_code == 202
    cancelled_at = time.monotonic()

    async def none_is_left() -> bool:
        return not processes_of_run(run_id)

    await eventually(none_is_left, within=GRACE_SECONDS + 2)
    print(f"\nthe tree was gone {time.monotonic() - cancelled_at:.1f} s after the cancel, grace {GRACE_SECONDS:g} s")
    ended = await embedded.finished(run_id, within=5)
    assert (ended["state"], ended["tasks"][0]["state"]) == ("cancelled", "cancelled")
