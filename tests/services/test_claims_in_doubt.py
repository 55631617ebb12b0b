"""A claim that was committed and whose worker does not know it: nobody else would ever find it."""

import asyncio
from collections.abc import Collection, Sequence

from scheduler_application.ports.persistence import Transaction
from scheduler_application.run.claim import ClaimedTask, ClaimTasks, Fence
from tests.services.stage import ONE_TASK, Stage, chain, fan
from tests.support.scripted import until


async def test_a_claim_whose_answer_was_lost_is_found_again(stage: Stage) -> None:
    await stage.world.deploy(ONE_TASK)
    async with stage.worker():
        await stage.store.settled()
        stage.store.lose_answers = 1
        run = await stage.world.start("one")
        await stage.store.settled()
        assert stage.store.lose_answers == 0
        assert (await stage.world.states(run.run_id))["only"] == "running"
        assert stage.executors.requests == []
        stage.clock.advance(3.0)
        assert await stage.ended(run.run_id) == "succeeded"
    assert len(stage.executors.requests) == 1


async def test_a_successor_that_was_claimed_with_an_outcome_whose_answer_was_lost_is_found_again(stage: Stage) -> None:
    release = asyncio.Event()
    stage.executors.script = until(release)
    await stage.world.deploy(chain(2))
    run_id = (await stage.world.start("chain")).run_id
    async with stage.worker():
        await stage.executors.begun(1)
        stage.store.lose_answers = 1
        release.set()
        await stage.store.settled()
        assert (await stage.world.states(run_id)) == {"t0": "succeeded", "t1": "running"}
        assert len(stage.executors.requests) == 1
        stage.clock.advance(3.0)
        assert await stage.ended(run_id) == "succeeded"
    assert len(stage.executors.requests) == 2


class _NeverWithOutcomes(ClaimTasks):
    """Cannot claim in the transaction of another use case."""

    async def within(
        self, tx: Transaction, worker_id: str, hints: Collection[Fence], tried: set[Fence]
    ) -> list[ClaimedTask]:
        tried.update(hints)
        raise RuntimeError("a bug")


async def test_an_outcome_does_not_wait_for_what_cannot_be_claimed_with_it(stage: Stage) -> None:
    claims = _NeverWithOutcomes(stage.store, stage.world.engine, stage.clock, stage.world.metrics)
    await stage.world.deploy(chain(3))
    run_id = (await stage.world.start("chain")).run_id
    async with stage.worker(record_claims=claims):
        assert await stage.ended(run_id) == "succeeded"


class _BreaksOnce(ClaimTasks):
    """Raises what nobody expects, after its first claim was committed."""

    broke = False

    async def execute(self, worker_id: str, hints: Sequence[Fence]) -> list[ClaimedTask]:
        claimed = await super().execute(worker_id, hints)
        if claimed and not self.broke:
            self.broke = True
            raise RuntimeError("a bug")
        return claimed


async def test_a_claim_that_broke_after_its_commit_is_found_again(stage: Stage) -> None:
    """Nobody else would ever find it: this worker lives, and its lease covers what it claimed."""
    await stage.world.deploy(fan(3))
    claims = _BreaksOnce(stage.store, stage.world.engine, stage.clock, stage.world.metrics)
    async with stage.worker(claim=claims):
        await stage.store.settled()
        run = await stage.world.start("fan")
        await stage.store.settled()
        assert claims.broke
        stage.clock.advance(3.0)
        assert await stage.ended(run.run_id) == "succeeded"
    assert len(stage.executors.requests) == 3
