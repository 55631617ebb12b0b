"""The concurrency of a workflow: limits, keys, conflicts; and that no slot is ever lost or taken twice."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from scheduler_application.errors import Conflict
from scheduler_application.ports.rows import LockedSlot, Slot
from scheduler_application.run.control import RerunCommand, TaskRunCommand
from scheduler_application.run.start import StartRunCommand
from scheduler_domain.run.outcome import HandedBack, Outcome, Succeeded, TimedOut
from scheduler_infrastructure.persistence.run_rows import SqlRuns
from tests.support.flows import failure, flow, lose, recover, slots, wake
from tests.support.world import ACTOR, World


def limited(limit: int = 1, tasks: Any = "a", **concurrency: Any) -> dict[str, Any]:
    return flow(tasks, inputs={"k": {"type": "string", "default": "x"}}, concurrency={"limit": limit, **concurrency})


async def started(world: World, count: int, **inputs: Any) -> list[str]:
    return [(await world.start("flow", **inputs)).run_id for _ in range(count)]


async def states(world: World, runs: list[str]) -> list[str]:
    return [(await world.run(run_id)).state for run_id in runs]


async def test_runs_over_the_limit_wait_and_follow_in_order(world: World) -> None:
    await world.deploy(limited(2))
    runs = await started(world, 5)
    assert await states(world, runs) == ["running", "running", "pending", "pending", "pending"]
    order = []
    while claimed := await world.claim():
        order.append(claimed[0].row.run_id)
        assert len(await world.rows("select id from runs where state = 'running'")) <= 2
        for task in claimed[1:]:
            await world.finish(task, HandedBack())
        await world.finish(claimed[0])
    assert order == runs
    assert await slots(world) == {"": 0}


async def test_recorded_times_follow_one_another_where_a_transaction_had_to_wait_for_another(world: World) -> None:
    """A cancel that reads the clock and then waits for a lock meets what happened after its moment."""
    await world.deploy(limited(1))
    first, second, third = await started(world, 3)
    (task,) = await world.claim()
    await world.finish(task)
    world.clock.advance(-0.5)
    await world.cancel(second)
    runs = [await world.run(run_id) for run_id in (first, second, third)]
    assert [run.state for run in runs] == ["succeeded", "cancelled", "running"]
    moments = [moment for run in runs for moment in (run.started_at, run.finished_at) if moment is not None]
    assert len(moments) == 5
    assert moments == sorted(moments)


async def test_a_run_that_had_to_wait_for_its_slot_starts_after_the_run_that_left_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that reads the clock and then waits for the slot meets an end that was stamped meanwhile."""
    await world.deploy(limited(1))
    asked_at = world.clock.now()
    lock = SqlRuns.lock_slots

    async def waited(runs: SqlRuns, wanted: Sequence[Slot]) -> dict[Slot, LockedSlot]:
        locked = await lock(runs, wanted)
        world.clock.advance(1.0)
        return locked

    monkeypatch.setattr(SqlRuns, "lock_slots", waited)
    run = await world.run((await world.start("flow")).run_id)
    later = asked_at + timedelta(seconds=1)
    assert (run.state, run.created_at, run.started_at) == ("running", asked_at, later)
    (task,) = await world.tasks(run.id)
    assert (await world.tasks(run.id))[task].ready_at == later


async def test_a_run_does_not_start_before_the_end_that_another_process_has_stamped(world: World) -> None:
    """Clocks of processes differ by what it takes to ask the store for its time."""
    await world.deploy(limited(1))
    first = (await world.start("flow")).run_id
    await world.work()
    world.clock.advance(-0.5)
    second = (await world.start("flow")).run_id
    ended = (await world.run(first)).finished_at
    assert ended is not None
    assert (await world.run(second)).started_at == ended
    assert (await world.run(second)).created_at < ended


async def test_each_value_of_the_key_has_a_limit_of_its_own(world: World) -> None:
    await world.deploy(limited(1, key="${{ inputs.k }}"))
    runs = [(await world.start("flow", k=key)).run_id for key in ("x", "y", "x", "z" * 500, "z" * 500)]
    assert await states(world, runs) == ["running", "running", "pending", "running", "pending"]
    assert len(await slots(world)) == 3
    await world.work()
    assert set(await states(world, runs)) == {"succeeded"}
    assert set((await slots(world)).values()) == {0}


async def test_skip_starts_nothing_and_says_so(world: World) -> None:
    await world.deploy(limited(on_conflict="skip"))
    (first,) = await started(world, 1)
    with pytest.raises(Conflict) as refusal:
        await world.start("flow")
    assert refusal.value.code == "skipped"
    assert len(await world.rows("select id from runs")) == 1
    await world.work()
    assert await states(world, [first, *await started(world, 1)]) == ["succeeded", "running"]


async def test_cancel_running_ends_the_older_run_and_the_newer_one_follows(world: World) -> None:
    await world.deploy(limited(on_conflict="cancel_running"))
    (first,) = await started(world, 1)
    (task,) = await world.claim()
    (second,) = await started(world, 1)
    assert await states(world, [first, second]) == ["cancelling", "pending"]
    assert (await world.heartbeat.execute(world.worker_id)).to_end == [task.fence]
    (third,) = await started(world, 1)
    assert await states(world, [first, second, third]) == ["cancelling", "cancelled", "pending"]
    await world.finish(task)
    assert await states(world, [first, second, third]) == ["cancelled", "cancelled", "running"]
    await world.work()
    assert await slots(world) == {"": 0}


async def test_cancel_running_needs_no_worker_where_nothing_runs_yet(world: World) -> None:
    await world.deploy(limited(on_conflict="cancel_running"))
    first, second = await started(world, 2)
    assert await states(world, [first, second]) == ["cancelled", "running"]
    assert await world.work() == ["a"]


async def test_cancel_running_keeps_the_newest_that_have_room(world: World) -> None:
    await world.deploy(limited(2, on_conflict="cancel_running"))
    runs = await started(world, 4)
    assert await states(world, runs) == ["cancelled", "cancelled", "running", "running"]


async def test_of_runs_that_start_together_cancel_running_keeps_the_newest(world: World) -> None:
    await world.deploy(limited(on_conflict="cancel_running"))
    answers = await world.start_runs.execute([StartRunCommand("flow", {})] * 3, ACTOR)
    runs = [answer.run_id for answer in answers if not isinstance(answer, BaseException)]
    assert await states(world, runs) == ["cancelled", "cancelled", "running"]
    assert await world.work() == ["a"]


async def test_runs_that_end_in_one_transaction_admit_different_runs(world: World) -> None:
    await world.deploy(limited(3))
    runs = await started(world, 7)
    claimed = await world.claim()
    assert await asyncio.gather(*(world.finish(task) for task in claimed)) == [True] * 3
    assert await states(world, runs) == ["succeeded"] * 3 + ["running"] * 3 + ["pending"]
    assert await slots(world) == {"": 3}
    await world.work()
    assert set(await states(world, runs)) == {"succeeded"}


async def test_pending_runs_that_end_at_once_admit_the_next_ones_in_the_same_transaction(world: World) -> None:
    skips = {"a": {"when": "${{ inputs.k == 'real' }}"}}
    await world.deploy(limited(1, skips))
    (first,) = await started(world, 1, k="real")
    others = await started(world, 20)
    assert await world.work() == ["a"]
    assert set(await states(world, [first, *others])) == {"succeeded"}
    assert await slots(world) == {"": 0}


async def test_cancelling_a_pending_run_takes_no_slot_and_frees_none(world: World) -> None:
    await world.deploy(limited())
    runs = await started(world, 3)
    await world.cancel(runs[1])
    assert await states(world, runs) == ["running", "cancelled", "pending"]
    assert await slots(world) == {"": 1}
    assert await world.work() == ["a", "a"]
    assert await slots(world) == {"": 0}


async def test_stopping_everything_at_once_admits_nothing_of_it(world: World) -> None:
    await world.deploy(limited(2))
    runs = await started(world, 6)
    await world.stop_workflow.execute("flow", ACTOR)
    assert set(await states(world, runs)) == {"cancelled"}
    assert await slots(world) == {"": 0}


ENDINGS = ["success", "failure", "timeout", "cancel", "cancel_task", "deadline", "poison", "skip", "wait"]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_slot_is_free_whatever_ends_the_run(world: World, ending: str) -> None:
    bodies: dict[str, Any] = {"skip": {"when": "${{ false }}"}, "wait": {"wait": {"for": "5s"}}}
    await world.deploy({**limited(1, {"a": bodies.get(ending, {})}), "timeout": "60s"})
    runs = await started(world, 2)
    for _ in runs:
        await _end(world, ending)
    assert await slots(world) == {"": 0}
    assert "pending" not in await states(world, runs)


async def _end(world: World, ending: str) -> None:
    live = await world.rows("select id from runs where state = 'running' order by id")
    match ending:
        case "success" | "failure" | "timeout":
            (task,) = await world.claim()
            outcomes: dict[str, Outcome] = {"success": Succeeded(), "failure": failure(), "timeout": TimedOut(1)}
            await world.finish(task, outcomes[ending])
        case "cancel":
            await world.cancel(live[0]["id"])
        case "cancel_task":
            task_run = (await world.tasks(live[0]["id"]))["a"]
            await world.cancel_task_run.execute(TaskRunCommand(task_run.id), ACTOR)
        case "deadline":
            world.clock.advance(60)
            await world.enforce_run_deadlines.execute(await world.lead())
        case "poison":
            for _ in range(3):
                await world.claim()
                await lose(world, world.worker_id)
                await recover(world)
        case "wait":
            await wake(world, 5)


async def test_a_new_limit_takes_effect_as_the_old_runs_leave(world: World) -> None:
    await world.deploy(limited(1))
    runs = await started(world, 4)
    await world.deploy(limited(3))
    runs += await started(world, 1)
    assert await states(world, runs) == ["running", "pending", "pending", "pending", "running"]
    await world.work()
    assert set(await states(world, runs)) == {"succeeded"}
    assert await slots(world) == {"": 0}


async def test_taking_the_limit_away_leaves_no_run_behind(world: World) -> None:
    await world.deploy(limited(1))
    runs = await started(world, 3)
    await world.deploy(flow())
    runs += await started(world, 2)
    assert len(await world.claim()) == 3
    await world.stop_workflow.execute("flow", ACTOR)
    await lose(world, world.worker_id)
    await recover(world)
    assert set(await states(world, runs)) == {"cancelled"}


@pytest.mark.parametrize("on_conflict", ["queue", "skip", "cancel_running"])
async def test_a_start_whose_commit_was_not_answered_does_not_meet_itself(world: World, on_conflict: str) -> None:
    """The transaction is run again from its beginning although it took effect: nothing may come of it twice."""
    await world.deploy(limited(on_conflict=on_conflict))
    starts = world.start_runs
    order = starts._order(StartRunCommand("flow", {}, idempotency_key="k"), ACTOR)
    (first,) = await starts._start([order])
    (again,) = await starts._start([order])
    assert again == first
    assert await states(world, [order.run_id]) == ["running"]
    assert await slots(world) == {"": 1}
    assert len(await world.rows("select key from idempotency_keys")) == 1
    assert await world.work() == ["a"]


async def test_reruns_stand_in_line_like_everything_else(world: World) -> None:
    await world.deploy(limited())
    (first,) = await started(world, 1)
    await world.work()
    await started(world, 1)
    again = await world.rerun_run.execute(RerunCommand(first), ACTOR)
    assert again.state == "pending"
    assert await world.work() == ["a", "a"]
