"""What a worker goes on with: claimed in the transaction that records what made it ready, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scheduler_application.errors import Unavailable
from scheduler_application.ports.persistence import Store
from scheduler_application.ports.rows import UnhintedTask
from scheduler_application.run.claim import ClaimedTask, Fence
from scheduler_application.run.record import RecordOutcomes, Report
from scheduler_domain.run.outcome import Succeeded
from tests.support.observed_store import ObservedStore
from tests.support.world import World, open_world, sqlite_url

FORK = {
    "workflow": "fork",
    "tasks": {
        "a": {"shell": "true"},
        "b": {"shell": "echo $WORD", "env": {"WORD": "${{ tasks.a.output.word }}"}, "needs": ["a"]},
        "c": {"shell": "true", "needs": ["a"]},
    },
}


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    url = sqlite_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with open_world(url) as opened:
        await opened.deploy(FORK)
        yield opened


class Room:
    """A `LocalWorker` with room for so many at once."""

    def __init__(self, worker_id: str, room: int) -> None:
        self.worker_id = worker_id
        self.room = room
        self.received: list[ClaimedTask] = []
        self.doubted: list[Fence] = []

    def choose(self, ready: Sequence[UnhintedTask]) -> Sequence[UnhintedTask]:
        chosen = ready[: self.room]
        self.room -= len(chosen)
        return chosen

    def receive(self, chosen: int, claimed: Sequence[ClaimedTask]) -> None:
        self.room += chosen - len(claimed)
        self.received += claimed

    def doubt(self, fences: Sequence[Fence], reason: BaseException) -> None:
        self.doubted += fences


class Twice:
    """A `Store` whose first commit loses its answer, so that it runs the transaction again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def transact(self, work: Any) -> Any:
        await self._store.transact(work)
        return await self._store.transact(work)


class Breaks:
    """A `Store` whose transactions are cut off before their commit."""

    def __init__(self, store: Store, error: BaseException) -> None:
        self._store = store
        self._error = error

    async def transact(self, work: Any) -> Any:
        async def cut_off(tx: Any) -> Any:
            await work(tx)
            raise self._error

        return await self._store.transact(cut_off)


async def _a_of_fork(world: World) -> tuple[str, Report]:
    """A run whose first task is to be recorded."""
    run_id = (await world.start("fork")).run_id
    (claimed,) = await world.claim()
    return run_id, Report(claimed, world.worker_id, Succeeded({"word": "hello"}), 0.1)


def _recording(world: World, store: Any, room: Room) -> RecordOutcomes:
    record = RecordOutcomes(store, world.engine, world.clock, world.announcer, world.metrics, world.claim_tasks)
    record.hand_over_to(room)
    return record


async def test_what_there_is_room_for_is_claimed_with_the_outcome_and_the_rest_is_hinted(world: World) -> None:
    run_id, report = await _a_of_fork(world)
    room = Room(world.worker_id, 1)
    assert await _recording(world, world.store, room).execute(report)
    (b,) = room.received
    assert (b.row.task, b.row.claim_no, room.room) == ("b", 1, 0)
    assert b.scope["tasks"]["a"]["output"] == {"word": "hello"}
    await world.announcer.idle()
    assert await world.states(run_id) == {"a": "succeeded", "b": "running", "c": "queued"}
    source = world.hub.source()
    await source.open(["default"])
    hints = [str(hint.task_run_id) for one in await source.take(10) for hint in one.hints]
    await source.close()
    assert (await world.tasks(run_id))["c"].id in hints
    assert b.row.id not in hints
    await world.finish(b)
    await world.work()
    assert (await world.run(run_id)).state == "succeeded"


async def test_a_worker_without_room_is_not_given_anything(world: World) -> None:
    run_id, report = await _a_of_fork(world)
    room = Room(world.worker_id, 0)
    assert await _recording(world, world.store, room).execute(report)
    assert (room.received, room.doubted) == ([], [])
    await world.announcer.idle()
    assert await world.states(run_id) == {"a": "succeeded", "b": "queued", "c": "queued"}


async def test_a_worker_whose_lease_is_over_gets_nothing_and_its_room_is_free_again(world: World) -> None:
    run_id, report = await _a_of_fork(world)
    await world.write("update workers set state = 'draining'")
    room = Room(world.worker_id, 2)
    assert await _recording(world, world.store, room).execute(report)
    assert (room.received, room.room) == ([], 2)
    await world.announcer.idle()
    assert await world.states(run_id) == {"a": "succeeded", "b": "queued", "c": "queued"}


async def test_a_transaction_that_the_store_tries_again_hands_over_what_the_first_try_took(world: World) -> None:
    run_id, report = await _a_of_fork(world)
    room = Room(world.worker_id, 2)
    # The second try finds the outcome recorded: to its caller it came too late.
    assert not await _recording(world, Twice(world.store), room).execute(report)
    assert sorted(task.row.task for task in room.received) == ["b", "c"]
    assert await world.states(run_id) == {"a": "succeeded", "b": "running", "c": "running"}


async def test_what_got_no_answer_is_in_doubt_and_its_room_is_free_again(world: World) -> None:
    run_id, report = await _a_of_fork(world)
    room = Room(world.worker_id, 2)
    store = ObservedStore(world.store)
    store.lose_answers = 1
    with pytest.raises(Unavailable):
        await _recording(world, store, room).execute(report)
    tasks = await world.tasks(run_id)
    assert room.doubted == sorted((tasks[key].id, 0) for key in ("b", "c"))
    assert (room.received, room.room) == ([], 2)
    recalled = await world.claim_tasks.recall(world.worker_id, room.doubted)
    assert sorted(task.row.task for task in recalled) == ["b", "c"]


@pytest.mark.parametrize("error", [Unavailable("cut off"), asyncio.CancelledError()], ids=["unavailable", "cancelled"])
async def test_a_transaction_that_was_cut_off_leaves_everything_as_it_was(world: World, error: BaseException) -> None:
    run_id, report = await _a_of_fork(world)
    room = Room(world.worker_id, 2)
    with pytest.raises(type(error)):
        await _recording(world, Breaks(world.store, error), room).execute(report)
    assert await world.states(run_id) == {"a": "running", "b": "blocked", "c": "blocked"}
    assert (room.received, room.room) == ([], 2)
    assert await world.claim_tasks.recall(world.worker_id, room.doubted) == []
