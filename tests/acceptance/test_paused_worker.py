"""A worker that stood still past its lease comes back as a stranger: what it held is somebody else's by now."""

from pathlib import Path

from tests.acceptance.conftest import Stacks
from tests.support.eventually import eventually
from tests.support.stack import SHORT_LEASES, processes_of_run

WORKFLOW = """
workflow: overtaken
triggers: [manual: {}]
tasks:
  work:
    env: {FILE: "%s"}
    shell: |
      echo "$ORRERY_FENCE $$" >> "$FILE"
      printf '"fence %%s"' "$ORRERY_FENCE" > "$ORRERY_OUTPUT"
      if [ "$ORRERY_FENCE" = 1 ]; then while [ ! -e "$FILE.go" ]; do sleep 0.1; done; fi
"""


async def test_a_late_result_changes_nothing(distributed: Stacks, tmp_path: Path) -> None:
    file = tmp_path / "effects"
    stack = distributed(**SHORT_LEASES)
    _, (first,) = await stack.start_all()
    await stack.deploy(WORKFLOW % file)
    run_id = await stack.run("overtaken")

    async def it_runs() -> bool:
        return file.exists() and len(file.read_text().splitlines()) == 1

    await eventually(it_runs, within=20)
    (mine,) = await stack.rows("select id, worker_id from task_runs")
    first.freeze()
    second = stack.start("worker")
    await second.ready()
    ended = await stack.finished(run_id, within=30)
    assert ended["state"] == "succeeded"
    assert ended["tasks"][0]["output"] == "fence 2"
    assert len(processes_of_run(run_id)) > 0, "the frozen worker's task still runs: nobody could end it"

    # Its task ends with a result of its own while the worker is frozen: that is what it wants to report on waking.
    Path(f"{file}.go").touch()
    first.thaw()

    async def registered_anew() -> bool:
        return len(first.lines("the worker is registered")) == 2

    await eventually(registered_anew, within=20)
    await first.ready()

    async def nothing_is_left() -> bool:
        return not processes_of_run(run_id)

    await eventually(nothing_is_left, within=10)
    (now,) = await stack.rows("select * from task_runs")
    assert (now["state"], now["output"], now["claim_no"], now["worker_losses"]) == ("succeeded", '"fence 2"', 2, 1)
    assert now["worker_id"] != mine["worker_id"]
    (lost,) = await stack.rows("select claim_no, outcome from attempts")
    assert (lost["claim_no"], lost["outcome"]) == (1, "lost")
    assert [line.split()[0] for line in file.read_text().splitlines()] == ["1", "2"]
    states = {str(row["id"]): row["state"] for row in await stack.rows("select id, state from workers")}
    assert states[str(mine["worker_id"])] in ("lost", "gone")
    assert sorted(states.values()).count("active") == 2


async def test_the_processes_of_a_worker_that_comes_back_too_late_are_ended(
    distributed: Stacks, tmp_path: Path
) -> None:
    file = tmp_path / "effects"
    stack = distributed(**SHORT_LEASES)
    _, (first,) = await stack.start_all()
    await stack.deploy(WORKFLOW % file)
    run_id = await stack.run("overtaken")

    async def it_runs() -> bool:
        return file.exists() and len(file.read_text().splitlines()) == 1

    await eventually(it_runs, within=20)
    first.freeze()
    await stack.start("worker").ready()
    assert (await stack.finished(run_id, within=30))["state"] == "succeeded"
    assert processes_of_run(run_id)
    first.thaw()

    async def nothing_is_left() -> bool:
        return not processes_of_run(run_id)

    await eventually(nothing_is_left, within=10)
