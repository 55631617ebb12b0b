"""The lead: one holder, epochs that only grow, and a deposed leader that changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from scheduler_application.errors import LeadershipLost
from scheduler_application.leading import Campaign, Leadership
from scheduler_application.schedule.backfill_plan import BackfillCommand
from tests.support.flows import LONG_AGO, failure, flow, lose
from tests.support.world import ACTOR, World

LEASE, MARGIN = 6.0, 1.5


def campaign(world: World) -> Campaign:
    """Another process that wants to lead."""
    metrics = world.metrics
    return Campaign(world.store, world.clock, metrics, world.ids.new(), lease_seconds=LEASE, margin_seconds=MARGIN)


async def end_of_lease(world: World) -> None:
    """By the store's own clock, which no test can turn."""
    await world.write("update leadership set lease_until = $1", LONG_AGO)


async def test_one_of_many_leads(world: World) -> None:
    terms = await asyncio.gather(*(campaign(world).renew() for _ in range(5)))
    (term,) = [term for term in terms if term is not None]
    assert term.epoch == 1


async def test_a_term_goes_on_with_every_renewal(world: World) -> None:
    leader, other = campaign(world), campaign(world)
    first = await leader.renew()
    assert first is not None
    for _ in range(5):
        world.clock.advance(2)
        term = await leader.renew()
        assert term is not None
        assert (term.epoch, term.since) == (first.epoch, first.since)
        assert await other.renew() is None


async def test_a_term_is_trusted_until_shortly_before_its_lease_ends(world: World) -> None:
    leader = campaign(world)
    await leader.renew()
    world.clock.advance(LEASE - MARGIN - 0.1)
    assert leader.current is not None
    world.clock.advance(0.1)
    assert leader.current is None


async def test_every_change_of_leader_grows_the_epoch_also_for_the_same_holder(world: World) -> None:
    one, two = campaign(world), campaign(world)
    epochs = []
    for leader in (one, two, two, one):
        await end_of_lease(world)
        term = await leader.renew()
        assert term is not None
        epochs.append(term.epoch)
    assert epochs == [1, 2, 3, 4]


async def test_who_resigns_is_followed_at_once(world: World) -> None:
    one, two = campaign(world), campaign(world)
    await one.renew()
    assert await two.renew() is None
    await one.resign()
    assert one.current is None
    term = await two.renew()
    assert term is not None
    assert term.epoch == 2
    await one.resign()
    assert await two.renew() == term


async def test_resigning_late_does_not_end_the_successors_term(world: World) -> None:
    one, two = campaign(world), campaign(world)
    await one.renew()
    await end_of_lease(world)
    successor = await two.renew()
    await one.resign()
    assert successor is not None
    await world.store.transact(successor.check)


async def test_a_leader_that_finds_another_knows_that_it_lost(world: World) -> None:
    one, two = campaign(world), campaign(world)
    await one.renew()
    await end_of_lease(world)
    await two.renew()
    assert await one.renew() is None
    assert one.current is None


Duty = Callable[[World, Leadership], Awaitable[Any]]
DUTIES: dict[str, Duty] = {
    "fire": lambda world, term: world.fire_due_schedules.execute(term),
    "wake": lambda world, term: world.wake_due_tasks.execute(term),
    "deadlines": lambda world, term: world.enforce_run_deadlines.execute(term),
    "backfill": lambda world, term: world.advance_backfills.execute(term),
    "recover": lambda world, term: world.recover_lost_workers.execute(term),
    "relay": lambda world, term: world.relay_hints.execute(term),
}


async def work_for_every_duty(world: World) -> None:
    """A schedule that is due, a retry and a wait that are over, a run past its limit, a lost worker, a task without a
    hint, a backfill."""
    tasks = {
        "lost": {},
        "again": {"retry": {"attempts": 2, "delay": "1s"}},
        "pause": {"wait": {"for": "1s"}},
        "idle": {},
    }
    await world.deploy(flow(tasks, timeout="60s", triggers=[{"every": "1m"}]))
    await world.start("flow")
    for task in await world.claim(2):
        if task.row.task == "again":
            await world.finish(task, failure())
    await world.write("update task_runs set state = 'ready', ready_at = $1 where task = 'idle'", LONG_AGO)
    await lose(world, world.worker_id)
    world.clock.advance(61)
    now = world.clock.now()
    await world.start_backfill.execute(BackfillCommand("flow", now - timedelta(minutes=2), now), ACTOR)


async def snapshot(world: World) -> list[Any]:
    await world.announcer.idle()
    order = {
        "runs": "id",
        "task_runs": "id",
        "attempts": "task_run_id",
        "triggers": "id",
        "ledger": "due_at",
        "workers": "id",
        "backfills": "id",
    }
    return [
        [dict(row) for row in await world.rows(f"select * from {name} order by {by}")] for name, by in order.items()
    ]


@pytest.mark.parametrize("duty", DUTIES)
async def test_a_deposed_leader_changes_nothing(world: World, duty: str) -> None:
    await work_for_every_duty(world)
    await end_of_lease(world)
    deposed = await campaign(world).renew()
    await end_of_lease(world)
    successor = await campaign(world).renew()
    assert deposed is not None
    assert successor is not None
    before = await snapshot(world)
    with pytest.raises(LeadershipLost):
        await DUTIES[duty](world, deposed)
    assert await snapshot(world) == before
    await DUTIES[duty](world, successor)
    assert await snapshot(world) != before


@pytest.mark.parametrize("duty", DUTIES)
async def test_a_leader_whose_lease_ran_out_changes_nothing_even_without_a_successor(world: World, duty: str) -> None:
    await work_for_every_duty(world)
    term = await campaign(world).renew()
    assert term is not None
    await end_of_lease(world)
    before = await snapshot(world)
    with pytest.raises(LeadershipLost):
        await DUTIES[duty](world, term)
    assert await snapshot(world) == before


async def test_a_takeover_waits_for_a_write_of_the_leader_and_that_write_counts(world: World) -> None:
    """A leader that checked its epoch keeps it until its transaction ends: the two can never overlap in commit
    order."""
    leader, other = campaign(world), campaign(world)
    term = await leader.renew()
    assert term is not None
    order: list[str] = []
    checked, go_on = asyncio.Event(), asyncio.Event()

    async def write(tx: Any) -> None:
        await term.check(tx)
        checked.set()
        await go_on.wait()
        order.append("written")

    async def take_over() -> None:
        await checked.wait()
        takeover = asyncio.ensure_future(other.renew())
        asyncio.get_running_loop().call_later(0.2, go_on.set)
        await takeover
        order.append("taken over")

    await asyncio.gather(world.store.transact(write), take_over())
    assert order == ["written", "taken over"]
