"""Hints that were lost are found again; a backlog that drains is not repeated."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from scheduler_application.errors import Unavailable
from scheduler_application.ports.messaging import Delivery, Hint, HintPublisher, Lane
from scheduler_application.run import announce
from scheduler_application.run.relay import RelayHints
from tests.support.flows import flow
from tests.support.world import World


async def relay(world: World, after: float = 0.0) -> int:
    """Turns the clock and lets the leader look for task runs without hints; how many hints were published."""
    world.clock.advance(after)
    hints = (await world.relay_hints.execute(await world.lead())).hints
    await world.announcer.idle()
    return hints


async def taken(world: World) -> list[Hint]:
    """Every hint that waits in the transport, taken and acknowledged: as if their worker had died before it claimed."""
    await world.announcer.idle()
    source = world.hub.source()
    await source.open(["default"])
    waiting = any(world.hub._lanes.waiting.values())
    deliveries: Sequence[Delivery] = await source.take(1_000_000) if waiting else []
    for delivery in deliveries:
        await delivery.ack()
    await source.close()
    return [hint for delivery in deliveries for hint in delivery.hints]


class Down:
    """A broker that is away."""

    async def publish(self, lane: Lane, hints: Sequence[Hint]) -> None:
        raise Unavailable(f"the broker does not answer about {len(hints)} hints for {lane.queue}")


class Cut:
    """A broker whose connection was cut: it refuses so many times, and then is back."""

    def __init__(self, publisher: HintPublisher, refusals: int) -> None:
        self._publisher = publisher
        self._refusals = refusals

    async def publish(self, lane: Lane, hints: Sequence[Hint]) -> None:
        self._refusals -= 1
        if self._refusals >= 0:
            raise Unavailable("the connection to the broker was cut")
        await self._publisher.publish(lane, hints)


class Slow:
    """A broker that takes its time: it was ``asked``, and answers when ``answers`` is set."""

    def __init__(self, publisher: HintPublisher) -> None:
        self._publisher = publisher
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def publish(self, lane: Lane, hints: Sequence[Hint]) -> None:
        self.asked.set()
        await self.answers.wait()
        await self._publisher.publish(lane, hints)


async def test_a_hint_that_a_cut_connection_met_does_not_wait_for_the_relay(world: World) -> None:
    world.announcer._publisher = Cut(world.announcer._publisher, refusals=announce.MOST_RETRIES)
    await world.deploy(flow())
    await world.start("flow")
    (hint,) = await taken(world)
    assert hint.claim_no == 0
    await world.start("flow")
    assert len(await taken(world)) == 1
    assert await relay(world, after=60.0) == 2  # Marked: their worker has died, and nothing else was left to tell.


async def test_a_broker_that_stays_away_is_left_to_the_relay(world: World) -> None:
    down = Cut(world.announcer._publisher, refusals=announce.MOST_RETRIES + 1)
    world.announcer._publisher = down
    await world.deploy(flow())
    await world.start("flow")
    assert await taken(world) == []
    assert await relay(world, after=4.0) == 1
    assert len(await taken(world)) == 1


async def test_what_becomes_ready_is_hinted_at_once_and_marked(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}}))
    run_id = (await world.start("flow")).run_id
    assert [hint.claim_no for hint in await taken(world)] == [0]
    assert await world.states(run_id) == {"a": "queued", "b": "blocked"}
    (a,) = await world.claim()
    await world.finish(a)
    tasks = await world.tasks(run_id)
    assert [hint.task_run_id for hint in await taken(world)] == [tasks["b"].id]


async def test_while_the_broker_is_away_task_runs_stay_ready_and_are_hinted_when_it_is_back(world: World) -> None:
    await world.deploy(flow("a b c"))
    publisher = world.announcer._publisher
    world.announcer._publisher = Down()
    run_id = (await world.start("flow")).run_id
    assert await relay(world, 4) == 3
    assert set((await world.states(run_id)).values()) == {"ready"}
    world.announcer._publisher = publisher
    assert await relay(world, 4) == 3
    assert len(await taken(world)) == 3
    assert set((await world.states(run_id)).values()) == {"queued"}
    assert await relay(world, 1) == 0


async def test_a_hint_that_is_under_way_is_not_repeated(world: World) -> None:
    await world.deploy(flow())
    await world.start("flow")
    await world.announcer.idle()
    await world.write("update task_runs set state = 'ready'")
    assert await relay(world, 2.9) == 0
    assert await relay(world, 0.2) == 1


async def test_a_backlog_is_not_given_again_while_its_hints_are_on_their_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "MANY_ON_THE_WAY", 2)
    await world.deploy(flow("a b c"))
    publisher = world.announcer._publisher
    world.announcer._publisher = Down()
    await world.start("flow")
    await world.announcer.idle()
    slow = world.announcer._publisher = Slow(publisher)
    world.clock.advance(4)
    leadership = await world.lead()
    assert (await world.relay_hints.execute(leadership)).hints == 3
    await slow.asked.wait()
    passes = [await world.relay_hints.execute(leadership) for _ in range(3)]
    assert [(relayed.hints, relayed.any_open) for relayed in passes] == [(0, True)] * 3
    slow.answers.set()
    await world.announcer.idle()
    assert len(await taken(world)) == 3


async def test_hints_that_nobody_claimed_are_published_again(world: World) -> None:
    await world.deploy(flow("a b c"))
    await world.start("flow")
    assert len(await taken(world)) == 3
    assert await relay(world, 14) == 0
    assert [await relay(world, 18) for _ in range(2)] == [3, 3]
    assert len(await taken(world)) == 6
    assert len(await world.work()) == 3


async def test_a_hint_that_was_just_too_young_does_not_wait_as_long_again(world: World) -> None:
    await world.deploy(flow())
    await world.start("flow")
    assert len(await taken(world)) == 1
    assert await relay(world, 14) == 0
    assert await relay(world, 3) == 1


async def test_what_a_broker_lost_that_was_away_for_long_is_hinted_when_it_is_back(world: World) -> None:
    await world.deploy(flow())
    await world.start("flow")
    assert len(await taken(world)) == 1
    publisher = world.announcer._publisher
    world.announcer._publisher = Down()
    for _ in range(60):
        await relay(world, 20)
    world.announcer._publisher = publisher
    await relay(world, 20)
    assert len(await taken(world)) == 1


async def test_a_repeat_that_met_no_broker_is_made_again_soon(world: World) -> None:
    """A broker that was emptied may still be away when its lost hints are repeated."""
    await world.deploy(flow())
    await world.start("flow")
    await taken(world)
    publisher = world.announcer._publisher
    world.announcer._publisher = Down()
    assert await relay(world, 18) == 1
    assert await relay(world, 3) == 0
    world.announcer._publisher = publisher
    assert await relay(world, 3) == 1
    assert len(await taken(world)) == 1
    assert [await relay(world, 3) for _ in range(4)] == [0, 0, 0, 0]


async def test_every_message_may_be_lost_and_the_run_still_ends(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}, "c": {"needs": ["b"]}}))
    run_id = (await world.start("flow")).run_id
    worker_id = await world.new_worker()
    for _ in range(3):
        await taken(world)
        await relay(world, 5)
        await taken(world)
        found = await relay(world, 20) or await relay(world, 20)
        assert found == 1
        hints = [(str(hint.task_run_id), hint.claim_no) for hint in await taken(world)]
        worker_id = await world.new_worker()
        for claimed in await world.claim_tasks.execute(worker_id, hints):
            await world.finish(claimed)
    assert (await world.run(run_id)).state == "succeeded"


async def test_a_hint_that_is_delivered_twice_is_claimed_once(world: World) -> None:
    await world.deploy(flow())
    await world.start("flow")
    hints = [(str(hint.task_run_id), hint.claim_no) for hint in await taken(world)]
    worker_id = await world.new_worker()
    assert len(await world.claim_tasks.execute(worker_id, hints * 2)) == 1
    assert await world.claim_tasks.execute(worker_id, hints) == []


async def test_of_a_backlog_that_drains_only_the_oldest_hints_are_repeated(world: World) -> None:
    await world.deploy(flow({f"t{i}": {} for i in range(3_000)}))
    await world.start("flow")
    await taken(world)
    repeated = []
    for _ in range(3):
        repeated.append(await relay(world, 20))
        for task in await world.claim(10):
            await world.finish(task)
    assert max(repeated) <= 1_000
    assert (await world.rows("select count(*) as number from task_runs where state = 'queued'"))[0]["number"] == 2_970


async def test_a_backlog_that_stands_still_is_repeated_whole(world: World) -> None:
    await world.deploy(flow({f"t{i}": {} for i in range(1_500)}))
    await world.start("flow")
    await taken(world)
    assert [await relay(world, 20) for _ in range(2)] == [1_000, 1_500]


async def test_a_backlog_of_which_a_part_was_repeated_is_not_taken_for_one_that_drains(world: World) -> None:
    await world.deploy(flow({f"t{i}": {} for i in range(1_500)}))
    await world.start("flow")
    await taken(world)
    looks = [await relay(world, 3) for _ in range(50)]
    assert [count for count in looks if count] == [1_000, 1_500, 1_500, 1_500]


async def test_a_backlog_that_stands_still_for_long_is_repeated_ever_more_rarely(world: World) -> None:
    """All workers may be busy for hours: then nothing is lost, and the broker must not fill with copies."""
    await world.deploy(flow())
    await world.start("flow")
    await world.announcer.idle()
    moments = [look * 20 for look in range(240) if await relay(world, 20)]
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses == [20, 40, 60, 120, 240, 480, 600, 600, 600, 600, 600, 600]


async def test_a_new_leader_looks_at_once(world: World) -> None:
    await world.deploy(flow())
    await world.start("flow")
    await taken(world)
    assert await relay(world, 16) == 1
    world.clock.advance(16)
    successor = RelayHints(world.store, world.clock, world.announcer)
    assert (await successor.execute(await world.lead())).hints == 1


async def test_an_idle_system_has_nothing_to_look_for(world: World) -> None:
    await world.deploy(flow())
    assert (await world.relay_hints.execute(await world.lead())).any_open is False
    await world.start("flow")
    assert (await world.relay_hints.execute(await world.lead())).any_open is True
    (task,) = await world.claim()
    assert (await world.relay_hints.execute(await world.lead())).any_open is True
    await world.finish(task)
    assert (await world.relay_hints.execute(await world.lead())).any_open is False
