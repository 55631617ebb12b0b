"""`orrery up` is killed with work under way: the next one on the same folder goes on where it was."""

from pathlib import Path

from tests.support.eventually import eventually
from tests.support.stack import SHORT_LEASES, Stack

WORKFLOWS = (
    """
workflow: long
triggers: [manual: {}]
tasks:
  work:
    env: {FILE: "%(file)s"}
    shell: |
      echo "$ORRERY_RUN_ID $ORRERY_FENCE" >> "$FILE"
      [ "$ORRERY_FENCE" -gt 1 ] || sleep 300
  after: {needs: [work], python: {call: "effects:note", args: {path: "%(file)s"}}}
""",
    """
workflow: timed
triggers: [manual: {}]
tasks:
  pause: {wait: {for: 6s}}
  after: {needs: [pause], python: {call: "effects:nothing"}}
""",
    """
workflow: stubborn
triggers: [manual: {}]
tasks:
  again:
    retry: {attempts: 3, delay: 6s, jitter: false, backoff: constant}
    python: {call: "effects:fail_until", args: {path: "%(file)s", fence: 2}}
""",
)


async def test_a_killed_system_goes_on_where_it_was(embedded: Stack, tmp_path: Path) -> None:
    file = tmp_path / "effects"
    node = embedded.start("up", **SHORT_LEASES)
    await node.ready()
    for workflow in WORKFLOWS:
        await embedded.deploy(workflow % {"file": file} if "%(" in workflow else workflow)
    runs = {name: await embedded.run(name) for name in ("long", "timed", "stubborn")}

    async def all_are_under_way() -> bool:
        states = {row["state"] for row in await embedded.rows("select state from task_runs")}
        return {"running", "waiting", "retrying"} <= states and file.exists() and runs["long"] in file.read_text()

    await eventually(all_are_under_way, within=20)
    second = embedded.cli("up", **{**SHORT_LEASES, "API_PORT": 20_001})
    assert second.returncode == 1
    assert f"another orrery up (process {node.process.pid}) uses" in second.stderr

    node.kill()
    node.relaunch()
    await node.ready()
    for name, run_id in runs.items():
        ended = await embedded.finished(run_id, within=30)
        assert ended["state"] == "succeeded", (name, ended)
    tasks = {row["task"]: row for row in await embedded.rows("select task, claim_no, attempt from task_runs")}
    assert (tasks["work"]["claim_no"], tasks["work"]["attempt"]) == (2, 1), "a loss costs no attempt"
    assert (tasks["again"]["claim_no"], tasks["again"]["attempt"]) == (2, 2)
    waits = await embedded.rows("select started_at, finished_at, created_at from task_runs where task = 'pause'")
    assert waits[0]["finished_at"] > waits[0]["created_at"]
