"""The lead: one holder, epochs that only grow, and a deposed leader that changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduler_application.errors import LeadershipLost
from scheduler_application.leading import Campaign, Leadership
from scheduler_application.schedule.backfill_plan import BackfillCommand
from tests.support.flows import LONG_AGO, failure, flow, lose
from tests.support.world import ACTOR, World

LEASE, MARGIN, SETTLES = 6.0, 1.5, 15.0


def campaign(world: World) -> Campaign:
    """Another process that wants to lead."""
    how = {"lease_seconds": LEASE, "margin_seconds": MARGIN, "settle_seconds": SETTLES}
    return Campaign(world.store, world.clock, world.metrics, world.ids.new(), **how)


async def end_of_lease(world: World, ended: datetime = LONG_AGO) -> None:
    """By the store's own clock, which no test can turn."""
    await world.write("update leadership set lease_until = $1", ended)


async def ended_before(world: World, seconds: float) -> None:
    """The lease ended so many seconds ago, by the store's own clock."""
    now = (await world.rows("select clock_timestamp() as now_at"))[0]["now_at"]
    await end_of_lease(world, now - timedelta(seconds=seconds))


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
        assert (term.epoch, term.settled_at) == (first.epoch, first.settled_at)
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


@pytest.mark.parametrize(("vacant", "settles"), [(0.5, 0), (3.5, 0), (4.5, SETTLES), (3_600, SETTLES)])
async def test_a_term_that_follows_at_once_is_settled_and_one_after_a_gap_takes_a_workers_lease(
    world: World, vacant: float, settles: float
) -> None:
    """A gap of more than four seconds, after a lease of six: a worker that had its lease renewed five seconds before
    that one may have lost it to a store that was away, or to its clock."""
    one, two = campaign(world), campaign(world)
    first = await one.renew()
    assert first is not None
    assert first.settled_at - world.clock.monotonic() == pytest.approx(SETTLES)
    await ended_before(world, vacant)
    term = await two.renew()
    assert term is not None
    assert term.settled_at - world.clock.monotonic() == pytest.approx(settles)


async def test_who_resigns_before_it_is_settled_is_not_followed_by_one_that_is(world: World) -> None:
    one, two, three = campaign(world), campaign(world), campaign(world)
    await one.renew()
    await one.resign()
    term = await two.renew()
    assert term is not None
    assert term.settled_at > world.clock.monotonic()
    world.clock.advance(SETTLES)
    await two.resign()
    after = await three.renew()
    assert after is not None
    assert after.settled_at <= world.clock.monotonic()


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
