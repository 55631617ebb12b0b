"""What a worker may claim, on both databases, and what it finds again after an answer that never came."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scheduler_application.errors import Unavailable
from scheduler_application.ports.persistence import Transaction
from scheduler_application.run.claim import ClaimTasks
from tests.support.observed_store import ObservedStore
from tests.support.world import World, open_world, sqlite_url

FAN = {"workflow": "fan", "tasks": {f"t{n}": {"shell": "true"} for n in range(3)}}


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    url = sqlite_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with open_world(url) as opened:
        await opened.deploy(FAN)
        await opened.new_worker()
        yield opened


async def _hints(world: World) -> list[tuple[str, int]]:
    await world.start("fan")
    await world.announcer.idle()
    rows = await world.rows("select id, claim_no from task_runs where state in ('ready', 'queued') order by id")
    return [(row["id"], row["claim_no"]) for row in rows]


async def test_a_claim_whose_answer_was_lost_is_recalled_by_its_worker_alone(world: World) -> None:
    store = ObservedStore(world.store)
    claims = ClaimTasks(store, world.engine, world.clock, world.metrics)
    hints = await _hints(world)
    store.lose_answers = 1
    with pytest.raises(Unavailable):
        await claims.execute(world.worker_id, hints[:2])
    recalled = await claims.recall(world.worker_id, hints)
    assert sorted(task.fence for task in recalled) == [(task_run, claim_no + 1) for task_run, claim_no in hints[:2]]
    assert recalled[0].version.definition.name == "fan"
    former = world.worker_id
    assert await claims.recall(await world.new_worker(), hints) == []
    world.worker_id = former


async def test_what_has_ended_is_not_recalled(world: World) -> None:
    hints = await _hints(world)
    claimed = await world.claim_tasks.execute(world.worker_id, hints)
    await world.finish(claimed[0])
    recalled = await world.claim_tasks.recall(world.worker_id, hints)
    assert {task.fence for task in recalled} == {task.fence for task in claimed[1:]}


async def test_a_claim_that_the_store_tries_again_answers_with_what_the_first_try_took(world: World) -> None:
    class Twice:
        """A `Store` whose first commit succeeds and loses its answer, so that it runs the transaction again."""

        async def transact(self, work: object) -> object:
            await world.store.transact(work)  # type: ignore[arg-type]
            return await world.store.transact(work)  # type: ignore[arg-type]

    claims = ClaimTasks(Twice(), world.engine, world.clock, world.metrics)  # type: ignore[arg-type]
    hints = await _hints(world)
    claimed = await claims.execute(world.worker_id, hints)
    assert sorted(task.fence for task in claimed) == [(task_run, claim_no + 1) for task_run, claim_no in hints]


async def test_something_is_open_while_a_task_run_waits_for_a_worker_or_runs(world: World) -> None:
    async def any_open() -> bool:
        async def ask(tx: Transaction) -> bool:
            return await tx.claims.any_open()

        return await world.store.transact(ask)

    assert not await any_open()
    hints = await _hints(world)
    assert await any_open()
    claimed = await world.claim_tasks.execute(world.worker_id, hints)
    assert await any_open()
    for task in claimed:
        await world.finish(task)
    assert not await any_open()
