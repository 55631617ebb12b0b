"""Partitions by time: made ahead, filled from the rest, dropped whole, and never waited for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from scheduler_application.paging import PageRequest
from scheduler_application.ports.reading import RunFilter
from scheduler_application.run.prune import PruneFinished, Retention
from scheduler_infrastructure.persistence import partitions
from scheduler_infrastructure.persistence.engine import both
from scheduler_infrastructure.persistence.partitions import (
    ATTEMPTS,
    LEDGER,
    RUN_HISTORY,
    Partitioned,
    end_of,
    first_id,
    time_of,
)
from scheduler_infrastructure.persistence.schema import migrate
from tests.support.flows import flow
from tests.support.world import ACTOR, World, at_once, open_world

DAY = 86_400
MONTH = Retention(timedelta(days=30), timedelta(days=30), timedelta(days=30))


@pytest.fixture
async def world(postgres_url: str) -> AsyncIterator[World]:
    await migrate(postgres_url)
    async with open_world(postgres_url, migrated=True) as opened:
        yield opened


async def prune(world: World) -> list[str]:
    work = PruneFinished(world.store, world.clock, world.metrics, MONTH, at_once)
    return (await work.execute(await world.lead())).dropped


async def ends(world: World, kind: Partitioned) -> list[datetime]:
    async with world.database.reading() as connection:
        return await partitions.ends(connection, kind)


async def attempt(world: World, task_run_id: str) -> None:
    await world.write(
        "insert into attempts (task_run_id, claim_no, attempt, outcome, finished_at) values ($1, 1, 1, 'failed', $2)",
        task_run_id,
        world.clock.now(),
    )


async def finished_run(world: World) -> str:
    run_id = (await world.start("flow")).run_id
    await world.work()
    world.clock.advance(3_600)
    return run_id


@pytest.mark.parametrize("kind", [RUN_HISTORY, LEDGER])
def test_a_moment_lies_in_the_partition_that_ends_after_it(kind: Partitioned) -> None:
    monday = datetime(2026, 11, 23, tzinfo=UTC)
    for moment in (monday, monday - timedelta(microseconds=1), monday + timedelta(days=3)):
        end = end_of(kind, moment)
        assert end - partitions.width(kind) <= moment < end
        assert end.weekday() == 0


def test_the_least_id_of_a_moment_tells_the_moment() -> None:
    moment = datetime(2026, 11, 23, 1, 2, 3, 456_000, tzinfo=UTC)
    assert time_of(first_id(moment)) == moment
    assert first_id(moment) < first_id(moment + timedelta(milliseconds=1))


async def test_weeks_ahead_are_there_before_anything_needs_them(world: World) -> None:
    world.clock.advance(60 * DAY)
    await prune(world)
    for kind in (RUN_HISTORY, ATTEMPTS, LEDGER):
        there = await ends(world, kind)
        assert end_of(kind, world.clock.now()) in there
        assert max(there) > world.clock.now() + timedelta(days=13)


async def test_what_came_while_nobody_led_gets_its_partition_later(world: World) -> None:
    world.clock.advance(45 * DAY)
    task_run_id = world.ids.new()
    await attempt(world, task_run_id)
    assert len(await world.rows("select 1 as one from attempts_rest")) == 1
    world.clock.advance(10 * DAY)
    await prune(world)
    assert await world.rows("select 1 as one from attempts_rest") == []
    assert [row["task_run_id"] for row in await world.rows("select task_run_id from attempts")] == [task_run_id]


async def test_a_partition_that_somebody_reads_is_dropped_later_and_nobody_waits(world: World) -> None:
    await world.deploy(flow())
    await finished_run(world)
    await prune(world)
    world.clock.advance(60 * DAY)
    while await world.store.transact(lambda tx: tx.history.prepare(world.clock.now())):
        pass
    reading = asyncio.Event()
    done = asyncio.Event()

    async def reader() -> None:
        async with world.database.transaction() as connection:
            await connection.fetch(both("select count(*) as number from all_runs"))
            reading.set()
            await done.wait()

    task = asyncio.create_task(reader())
    await reading.wait()
    assert [name for name in await prune(world) if name.startswith("run_history")] == []
    done.set()
    await task
    assert any(name.startswith("run_history_to_") for name in await prune(world))


async def test_runs_of_a_week_without_a_partition_stay_until_there_is_one(world: World) -> None:
    await world.deploy(flow())
    run_id = await finished_run(world)
    reading = asyncio.Event()
    done = asyncio.Event()

    async def in_the_way() -> None:
        async with world.database.transaction() as connection:
            await connection.fetch(both("lock table run_history in share mode"))
            reading.set()
            await done.wait()

    task = asyncio.create_task(in_the_way())
    await reading.wait()
    await prune(world)
    assert [row["id"] for row in await world.rows("select id from runs")] == [run_id]
    done.set()
    await task
    await prune(world)
    assert await world.rows("select id from runs") == []
    assert (await world.run(run_id)).state == "succeeded"


async def test_starting_claiming_and_ending_need_no_history_table(world: World) -> None:
    """The locks that dropping takes are on tables that the path of a task never names."""
    await world.deploy(flow())
    await finished_run(world)
    await prune(world)
    async with world.database.transaction() as connection:
        await connection.fetch(both("lock table run_history, task_run_history in access exclusive mode"))
        await world.start("flow")
        (claimed,) = await world.claim()
        await world.finish(claimed)


async def test_a_full_page_and_a_run_by_its_id_need_only_the_weeks_around_it(world: World) -> None:
    """Whatever else history holds is not even locked, let alone planned for."""
    await world.deploy(flow())
    old = await finished_run(world)
    world.clock.advance(21 * DAY)
    new = [await finished_run(world) for _ in range(3)]
    await prune(world)
    (task,) = (await world.run(new[0])).tasks or []
    weeks = [end_of(RUN_HISTORY, time_of(run_id)) for run_id in (old, new[0])]
    assert weeks[0] + timedelta(weeks=2) < weeks[1]
    assert set(weeks) <= set(await ends(world, RUN_HISTORY))
    far = ", ".join(partitions.name_of(kind, weeks[0]) for kind in partitions.OF_FINISHED)
    async with world.database.transaction() as connection:
        await connection.fetch(both(f"lock table {far} in access exclusive mode"))
        first = await world.reader.runs(ACTOR.project, RunFilter(workflow="flow"), PageRequest(2))
        second = await world.reader.runs(ACTOR.project, RunFilter(), PageRequest(1, new[2]))
        assert [run.id for run in first.items] == new[:0:-1]
        assert [run.id for run in second.items] == new[1:2]
        assert (await world.run(new[0])).state == "succeeded"
        found = await world.reader.task_run(ACTOR.project, task.id)
        assert found is not None
        assert found.run_id == new[0]
    every = await world.reader.runs(ACTOR.project, RunFilter(), PageRequest())
    assert [run.id for run in every.items] == [*new[::-1], old]


async def test_runs_that_live_are_listed_without_a_look_into_history(world: World) -> None:
    await world.deploy(flow())
    await finished_run(world)
    await prune(world)
    live = (await world.start("flow")).run_id
    async with world.database.transaction() as connection:
        await connection.fetch(both("lock table run_history, task_run_history in access exclusive mode"))
        page = await world.reader.runs(ACTOR.project, RunFilter(states=("pending", "running")), PageRequest())
        assert [run.id for run in page.items] == [live]


async def test_reads_are_planned_for_their_arguments(world: World) -> None:
    async with world.database.reading() as connection:
        rows = await connection.fetch(both("select current_setting('plan_cache_mode') as mode"))
    assert rows[0]["mode"] == "force_custom_plan"
