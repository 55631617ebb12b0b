"""Cost follows work: a completion costs its successors, never the size of the graph."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from scheduler_application.ports.rows import AttemptEnd
from scheduler_application.run.record import Report
from scheduler_application.run.start import StartRunCommand
from scheduler_domain.run.outcome import Succeeded
from scheduler_domain.run.states import TaskState
from scheduler_infrastructure.persistence.claims import _END_ATTEMPTS
from scheduler_infrastructure.persistence.engine import Statement, both
from tests.support.counting import Count, counting
from tests.support.flows import chain, flow, lose, recover
from tests.support.many_schedules import copies
from tests.support.world import ACTOR, World

SMALL, LARGE = 100, 5_000
BACKLOG, BATCH = 800, 50


async def completion(world: World, tasks: Mapping[str, Mapping[str, Any]], name: str) -> tuple[Count, Count]:
    """What the claim of the first task and the recording of its outcome ask of the store."""
    await world.deploy(flow(tasks, name=name))
    run_id = (await world.start(name)).run_id
    await world.announcer.idle()
    (row,) = await world.rows("select id, claim_no from task_runs where run_id = $1 and task = 't0'", run_id)
    await world.new_worker()
    with counting(world) as claim:
        (claimed,) = await world.claim_tasks.execute(world.worker_id, [(row["id"], row["claim_no"])])
    with counting(world) as record:
        assert await world.finish(claimed, Succeeded({"n": 1}))
        await world.announcer.idle()
    return claim, record


def a_chain(size: int) -> dict[str, dict[str, Any]]:
    return chain(*(f"t{number}" for number in range(size)))


def a_mesh(size: int) -> dict[str, dict[str, Any]]:
    """Each task needs the three before it."""
    names = [f"t{number}" for number in range(size)]
    return {name: {"needs": names[max(0, place - 3) : place]} for place, name in enumerate(names)}


def islands(size: int) -> dict[str, dict[str, Any]]:
    return {f"t{number}": {} for number in range(size)}


@pytest.mark.parametrize("shape", [a_chain, a_mesh, islands])
async def test_a_completion_costs_its_successors_whatever_the_size_of_the_graph(world: World, shape: Any) -> None:
    small = await completion(world, shape(SMALL), "small")
    large = await completion(world, shape(LARGE), "large")
    for few, many in zip(small, large, strict=True):
        assert many.rows == few.rows
        assert many.most_rows <= 3
        assert many.statements <= 10
        assert many.read <= 30


async def test_a_completion_that_sets_many_free_is_as_many_statements_as_one_that_sets_one_free(world: World) -> None:
    def star(size: int) -> dict[str, dict[str, Any]]:
        return {"t0": {}, **{f"t{number}": {"needs": ["t0"]} for number in range(1, size)}}

    _, one = await completion(world, star(2), "one")
    _, many = await completion(world, star(1_000), "many")
    assert many.statements == one.statements
    assert many.most_rows == 999


async def test_many_outcomes_at_once_are_as_many_statements_as_one(world: World) -> None:
    await world.deploy(flow(a_chain(3)))
    counts = []
    for size in (1, 100):
        runs = [(await world.start("flow")).run_id for _ in range(size)]
        claimed = await world.claim()
        assert len(claimed) == len(runs)
        with counting(world) as count:
            reports = [Report(task, world.worker_id, Succeeded(), 0.1) for task in claimed]
            await world.record_outcomes._record(reports)
        await world.announcer.idle()
        counts.append(count.statements)
        await world.stop_workflow.execute("flow", ACTOR)
    assert counts[0] == counts[1]


@asynccontextmanager
async def statistics(world: World, table: str) -> AsyncIterator[None]:
    """What the planner knows of ``table`` is what is in it now; afterwards it knows nothing, as before."""
    await world.write(f"analyze {table}")
    try:
        yield
    finally:
        if world.database.dialect == "postgresql":
            await world.write(f"delete from pg_statistic where starelid = '{table}'::regclass")


async def test_outcomes_are_not_compared_with_all_that_runs(world: World) -> None:
    """Whatever the statistics say: they were taken when nothing ran, so that one row or none seems to be running."""
    if world.database.dialect != "postgresql":
        pytest.skip("SQLite finds rows by their keys, and has no other way")
    await world.deploy(flow())
    await world.start("flow")
    await world.work()
    explained = Statement(f"explain {_END_ATTEMPTS.postgres}", "", folds=True)
    async with statistics(world, "task_runs"):
        await world.start_runs.execute([StartRunCommand("flow", {})] * BACKLOG, ACTOR)
        claimed = await world.claim(BACKLOG)
        ends = [
            AttemptEnd(task.row.id, 1, TaskState.SUCCEEDED, None, None, None, lost=False) for task in claimed[:BATCH]
        ]
        async with world.database.transaction() as connection:
            rows = await connection.fetch_many(explained, ends, world.clock.now())
    plan = " ".join(str(value) for row in rows for value in row.values())
    assert len(claimed) == BACKLOG
    assert "ix_task_runs_running" not in plan
    assert "Join Filter" not in plan


async def test_the_end_of_an_item_costs_nothing_of_its_siblings(world: World) -> None:
    costs = []
    for size in (10, 2_000):
        each = {"needs": ["make"], "for_each": "${{ tasks.make.output }}", "max_parallel": 2}
        await world.deploy(flow({"make": {}, "each": each}, name=f"items-{size}"))
        await world.start(f"items-{size}")
        (make,) = await world.claim()
        await world.finish(make, Succeeded(list(range(size))))
        first, _ = await world.claim()
        with counting(world) as count:
            await world.finish(first)
            await world.announcer.idle()
        costs.append(count.rows)
        await world.stop_workflow.execute(f"items-{size}", ACTOR)
    assert costs[0] == costs[1]
    assert max(costs[1]) <= 2


async def test_many_versions_are_read_together(world: World) -> None:
    """By a pass that fires, by a claim and by the end of runs: none of them knows the versions yet."""
    counts = []
    for size in (5, 40):
        for number in range(size):
            await world.deploy(flow({"t": {}}, name=f"flow-{size}-{number}", triggers=[{"schedule": "0 * * * *"}]))
        world.clock.advance(3_600)
        term = await world.lead()
        world.engine.definitions._kept.clear()
        with counting(world) as fire:
            assert await world.fire_due_schedules.execute(term) == size
        await world.announcer.idle()
        await world.new_worker()
        world.engine.definitions._kept.clear()
        with counting(world) as claim:
            claimed = await world.claim()
        assert len(claimed) == size
        world.engine.definitions._kept.clear()
        with counting(world) as record:
            await world.record_outcomes._record([Report(task, world.worker_id, Succeeded(), 0.1) for task in claimed])
        await world.announcer.idle()
        counts.append((fire.statements, claim.statements, record.statements))
        await world.write("update triggers set active = $1", False)
    assert counts[0] == counts[1]


async def test_a_firing_pass_costs_what_is_due_and_not_what_exists(world: World) -> None:
    counts = []
    for size in (SMALL, LARGE):
        await world.deploy(flow(triggers=[{"schedule": "0 0 1 1 *"}]))
        await copies(world, size)
        async with statistics(world, "triggers"):  # Else the server looks by itself, at some moment or other.
            world.clock.advance(60)
            now = world.clock.now()
            first = "select id from triggers order by id limit 3"
            await world.write(f"update triggers set due_at = $1, next_at = $1 where id in ({first})", now)
            term = await world.lead()
            world.engine.definitions._kept.clear()
            with counting(world) as count:
                assert await world.fire_due_schedules.execute(term) == 3
                await world.announcer.idle()
                assert (await world.next_due.execute() or now) > now
        counts.append(count)
    small, large = counts
    assert sorted(large.rows) == sorted(small.rows)
    assert large.read <= 50


async def test_recovery_costs_what_was_lost(world: World) -> None:
    await world.deploy(flow(islands(LARGE)))
    await world.start("flow")
    await world.claim(3)
    await lose(world, world.worker_id)
    await world.lead()
    with counting(world) as count:
        assert await recover(world) == 3
    assert count.most_rows <= 3


async def plans(world: World, *statements: str) -> list[str]:
    """How the database would execute them, with sequential scans made unattractive on PostgreSQL's small tables."""
    found = []
    async with world.database.transaction() as connection:
        if connection.dialect == "postgresql":
            await connection.fetch(both("set local enable_seqscan = off"))
        for statement in statements:
            word = "explain" if connection.dialect == "postgresql" else "explain query plan"
            rows = await connection.fetch(both(f"{word} {statement}"))
            found.append(" ".join(str(value) for row in rows for value in row.values()))
    return found


async def test_what_the_leader_looks_for_is_found_by_an_index_of_its_own(world: World) -> None:
    """However long the history: these indexes hold only what is open or due."""
    moment = "'2026-11-02T09:00:00.000000Z'"
    looks = {
        "ix_triggers_due": f"""
            select id from triggers
            where active and not paused and next_at is not null and next_at <= {moment} order by next_at limit 500""",
        "ix_triggers_project_due": f"""
            select id from triggers
            where active and not paused and next_at is not null and next_at <= {moment}
                and project_id = '00000000-0000-7000-8000-000000000001' order by next_at limit 500""",
        "ix_task_runs_wake": """
            select min(wake_at) from task_runs where state in ('waiting', 'retrying') and wake_at is not null""",
        "ix_runs_deadline": """
            select min(deadline_at) from runs where deadline_at is not null and finished_at is null""",
        "ix_task_runs_running": "select id from task_runs where state = 'running' and worker_id is not null",
        "ix_runs_slot": """
            select id from runs where workflow_id = '00000000-0000-7000-8000-000000000001' and slot_key = ''
                and finished_at is null and state = 'pending' order by id""",
        "ix_expectations_due": f"""
            select id from expectations where active and next_at is not null and next_at <= {moment}""",
    }
    for index, plan in zip(looks, await plans(world, *looks.values()), strict=True):
        assert index in plan, plan
