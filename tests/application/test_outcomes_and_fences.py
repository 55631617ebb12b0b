"""An outcome is recorded once, by the holder of its fence."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from scheduler_application.run.claim import ClaimedTask
from scheduler_application.run.record import Report
from scheduler_domain.run.outcome import Failed, HandedBack, Outcome, Succeeded, TaskError
from tests.support.flows import failure, flow, lose, recover
from tests.support.world import World


async def started(world: World, **body: Any) -> tuple[str, ClaimedTask]:
    """A run of ``a`` and of ``b`` behind it, and the claim of ``a``."""
    await world.deploy(flow({"a": body, "b": {"needs": ["a"]}}))
    run_id = (await world.start("flow")).run_id
    (claimed,) = await world.claim()
    return run_id, claimed


async def everything(world: World) -> list[Any]:
    """Every row that an outcome could change."""
    await world.announcer.idle()
    tables = {"runs": "id", "task_runs": "id", "attempts": "task_run_id, claim_no", "slots": "workflow_id, slot_key"}
    return [
        [dict(row) for row in await world.rows(f"select * from {name} order by {by}")] for name, by in tables.items()
    ]


OUTCOMES = [Succeeded({"late": True}), failure(), HandedBack()]


@pytest.mark.parametrize("late", OUTCOMES)
async def test_an_outcome_with_a_stale_fence_changes_nothing(world: World, late: Outcome) -> None:
    _, first = await started(world)
    await world.finish(first, HandedBack())
    (second,) = await world.claim()
    assert second.row.claim_no == first.row.claim_no + 1
    before = await everything(world)
    assert await world.finish(first, late) is False
    assert await everything(world) == before
    assert await world.finish(second) is True


@pytest.mark.parametrize("late", OUTCOMES)
async def test_an_outcome_that_was_recorded_is_not_recorded_again(world: World, late: Outcome) -> None:
    _, claimed = await started(world)
    assert await world.finish(claimed, Succeeded("first")) is True
    before = await everything(world)
    assert await world.finish(claimed, late) is False
    assert await everything(world) == before


async def test_two_reports_at_once_are_one_outcome(world: World) -> None:
    _, claimed = await started(world)
    answers = await asyncio.gather(world.finish(claimed), world.finish(claimed))
    assert answers[0] is True
    assert await world.work() == ["b"]


@pytest.mark.parametrize("late", OUTCOMES)
async def test_a_worker_that_comes_back_after_its_successor_changes_nothing(world: World, late: Outcome) -> None:
    run_id, paused = await started(world)
    await lose(world, world.worker_id)
    assert await recover(world) == 1
    before = await everything(world)
    assert await world.finish(paused, late) is False
    assert await everything(world) == before
    await world.new_worker()
    assert await world.work() == ["a", "b"]
    assert await world.finish(paused, late) is False
    assert (await world.run(run_id)).state == "succeeded"


async def test_an_outcome_of_a_fence_from_the_future_changes_nothing(world: World) -> None:
    _, claimed = await started(world)
    future = replace(claimed, row=claimed.row._replace(claim_no=claimed.row.claim_no + 1))
    assert await world.finish(future) is False
    assert await world.finish(claimed) is True


async def test_outcomes_of_many_runs_are_recorded_together_and_stale_ones_among_them_are_told(world: World) -> None:
    await world.deploy(flow())
    for _ in range(30):
        await world.start("flow")
    claimed = await world.claim()
    for task in claimed[:10]:
        await world.finish(task)
    answers = await asyncio.gather(*(world.finish(task) for task in claimed))
    assert answers == [False] * 10 + [True] * 20
    assert len(await world.rows("select id from runs where state = 'succeeded'")) == 30


async def test_an_outcome_of_a_run_that_is_gone_is_stale(world: World) -> None:
    _, claimed = await started(world)
    await world.write("delete from task_runs")
    await world.write("delete from runs")
    assert await world.finish(claimed) is False


async def code_of(world: World, output: Any) -> str:
    run_id, claimed = await started(world, retry=3)
    assert await world.finish(claimed, Succeeded(output)) is True
    task = (await world.tasks(run_id))["a"]
    await world.cancel(run_id) if task.state == "succeeded" else None
    return str((task.error or {"code": task.state})["code"])


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("x" * 65_534, "succeeded"),
        ("x" * 65_535, "output_too_large"),
        ("ä" * 32_767, "succeeded"),
        ("ä" * 32_768, "output_too_large"),
        ({"a": "b\0"}, "invalid_output"),
        ({"a\0": 1}, "invalid_output"),
        ("\\\0", "invalid_output"),
        ("\\u0000", "succeeded"),
        ("\\\\u0000", "succeeded"),
        ("\ud800", "invalid_output"),
        (object(), "invalid_output"),
        ({(1, 2): 3}, "invalid_output"),
        (nested(100_000), "invalid_output"),
        (2**100, "succeeded"),
        ("\U0001f600 \u2028 \x7f \x1b", "succeeded"),
        (False, "succeeded"),
    ],
    ids=lambda value: str(value)[:12].encode("ascii", "backslashreplace").decode() if isinstance(value, str) else None,
)
async def test_an_output_that_cannot_be_kept_fails_the_attempt_with_the_reason(
    world: World, output: Any, code: str
) -> None:
    assert await code_of(world, output) == code


async def test_an_output_is_kept_as_it_was(world: World) -> None:
    run_id, claimed = await started(world)
    output = {"ä": ["\u2028", None, 1.5, -(2**63), 2**53 + 1, {"": []}, "\\u0000"], "z": False}
    await world.finish(claimed, Succeeded(output))
    assert (await world.tasks(run_id))["a"].output == output


async def test_an_error_with_every_character_is_kept(world: World) -> None:
    run_id, claimed = await started(world)
    error = TaskError("exit_code", "nul \0 and \u2028", exit_code=3, detail="\x1b[31m" + "x" * 4_000)
    await world.finish(claimed, Failed(error, retryable=False))
    assert (await world.tasks(run_id))["a"].error == error.to_json()


async def test_one_outcome_that_cannot_be_kept_holds_up_no_other(world: World) -> None:
    await world.deploy(flow("a b c"))
    run_id = (await world.start("flow")).run_id
    outcomes = [Succeeded(nested(100_000)), Succeeded("fine"), Succeeded("x" * 100_000)]
    reports = zip(await world.claim(), outcomes, strict=True)
    assert await asyncio.gather(*(world.finish(task, outcome) for task, outcome in reports)) == [True] * 3
    assert await world.states(run_id) == {"a": "failed", "b": "succeeded", "c": "failed"}


async def test_a_report_by_another_task_runs_id_changes_nothing(world: World) -> None:
    """A fence is a pair: the number alone opens nothing."""
    _, claimed = await started(world)
    other = (await world.rows("select id from task_runs where task = 'b'"))[0]["id"]
    report = Report(replace(claimed, row=claimed.row._replace(id=other)), world.worker_id, Succeeded(), 0.1)
    assert await world.record_outcomes.execute(report) is False


async def test_a_claim_that_was_committed_and_not_answered_is_recalled(world: World) -> None:
    await world.deploy(flow())
    await world.start("flow")
    row = (await world.rows("select id, claim_no from task_runs"))[0]
    worker_id = await world.new_worker()
    hints = [(row["id"], row["claim_no"])]
    assert len(await world.claim_tasks.execute(worker_id, hints)) == 1
    (recalled,) = await world.claim_tasks.recall(worker_id, hints)
    assert await world.claim_tasks.recall(world.ids.new(), hints) == []
    assert await world.finish(recalled) is True
    assert await world.claim_tasks.recall(worker_id, hints) == []
