"""Who leads does every duty in time, who stands by waits, and nobody does a stale thing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler_application.alert.judge import JudgeDeadlines
from scheduler_application.errors import Unavailable
from scheduler_application.leading import Campaign, Leadership
from scheduler_application.ports.rows import WorkerRow
from scheduler_application.run.announce import Announcer
from scheduler_application.run.control import EnforceRunDeadlines, StopRuns
from scheduler_application.run.prune import PruneFinished, Retention
from scheduler_application.run.relay import RelayHints
from scheduler_application.run.wake import WakeDueTasks
from scheduler_application.schedule.backfill import AdvanceBackfills
from scheduler_application.schedule.backfill_plan import BackfillCommand
from scheduler_application.schedule.calendar_texts import RefreshDueCalendars
from scheduler_application.schedule.calendars import SaveCalendarCommand
from scheduler_application.schedule.fire import FireDueSchedules, NextDue
from scheduler_application.watchdog import Watchdog
from scheduler_application.worker.recover import RecoverLostWorkers
from scheduler_dispatcher.health import DispatcherHealth
from scheduler_dispatcher.loops import Dispatcher
from scheduler_dispatcher.main import run
from scheduler_dispatcher.supervisor import STEP_SECONDS, DutyOverrun
from scheduler_domain.run.outcome import Failed, TaskError
from scheduler_infrastructure.persistence.columns import instant_to_text
from scheduler_infrastructure.telemetry.untraced import Untraced
from tests.services.stage import ONE_TASK, Stage
from tests.support.observed_store import ObservedStore
from tests.support.world import ACTOR, Low, at_once

EVERY_MINUTE = {"workflow": "tick", "triggers": [{"every": "1m"}], "tasks": {"only": {"shell": "true"}}}


class Running:
    """A dispatcher's ``run`` under way, over a store of its own that can be taken away."""

    def __init__(self, stage: Stage) -> None:
        world, clock = stage.world, stage.clock
        self.stage = stage
        self.store = store = ObservedStore(world.store)
        self.stop = asyncio.Event()
        self.health = DispatcherHealth(clock)
        hub, metrics, engine = world.hub, world.metrics, world.engine
        self.announcer = says = Announcer(hub.publisher, hub.signals, hub.live, store, clock, metrics)
        self.campaign = Campaign(
            store, clock, metrics, world.ids.new(), lease_seconds=6.0, margin_seconds=1.5, settle_seconds=15.0
        )
        self.dispatcher = Dispatcher(
            campaign=self.campaign,
            fire=FireDueSchedules(store, engine, world.calendars, clock, says, metrics, Untraced()),
            wake=WakeDueTasks(store, engine, clock, says),
            deadlines=EnforceRunDeadlines(store, StopRuns(store, engine, clock, says), clock),
            backfills=AdvanceBackfills(
                store, engine, world.calendars, clock, says, metrics, Untraced(), StopRuns(store, engine, clock, says)
            ),
            judge=JudgeDeadlines(store, world.ids, clock, says, metrics),
            next_due=NextDue(store),
            relay=RelayHints(store, clock, says),
            recover=RecoverLostWorkers(store, engine, clock, says, metrics),
            calendars=RefreshDueCalendars(store, clock, world.calendar_texts),
            prune=PruneFinished(store, clock, metrics, Retention(), at_once),
            watchdog=Watchdog(NextDue(store), world.reader, clock),
            signals=hub.signals,
            clock=clock,
            randomness=Low(),
            health=self.health,
            sleep=clock.sleep,
        )
        self.task: asyncio.Task[None] | None = None

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        await self.store.until(condition)

    async def leads(self) -> None:
        async def is_leading() -> bool:
            return self.campaign.current is not None

        await self.store.until(is_leading)

    async def stopped(self) -> None:
        self.stop.set()
        assert self.task is not None
        await self.task


@asynccontextmanager
async def dispatching(stage: Stage, **changes: Any) -> AsyncIterator[Running]:
    running = Running(stage)
    running.task = asyncio.create_task(run(replace(running.dispatcher, **changes), running.stop))
    try:
        yield running
    finally:
        running.stop.set()
        await asyncio.gather(running.task, return_exceptions=True)
        await running.announcer.close()


async def _runs(stage: Stage) -> int:
    return len(await stage.world.rows("select id from runs"))


async def _turn(stage: Stage, running: Running, condition: Callable[[], Awaitable[bool]], within: float) -> float:
    """Turns the clock from one sleeper to the next until ``condition`` holds; the seconds that this took."""
    turned = 0.0
    await running.store.settled()
    while not await condition():
        step = stage.clock.next_wake()
        assert step is not None
        turned += step
        assert turned <= within, f"not so within {within:g} s"
        stage.clock.advance(step)
        await running.store.settled()
    return turned


async def test_a_schedule_fires_the_moment_it_is_due(stage: Stage) -> None:
    async with dispatching(stage) as running:
        await running.leads()
        await stage.world.deploy(EVERY_MINUTE)
        due_at = (await stage.world.rows("select next_at from triggers"))[0]["next_at"]
        fired = await _turn(stage, running, lambda: _has_runs(stage, 1), 61)
        assert stage.clock.now() - due_at < timedelta(milliseconds=5)
        assert fired == pytest.approx(60, abs=1)
    assert (await stage.world.rows("select outcome from ledger"))[0]["outcome"] == "fired"


async def test_a_deadline_is_judged_the_moment_it_comes(stage: Stage) -> None:
    async def has_alert() -> bool:
        return bool(await stage.world.rows("select id from alerts"))

    async with dispatching(stage) as running:
        await running.leads()
        await stage.world.deploy({**ONE_TASK, "expect": {"by": "* * * * *"}})
        await _turn(stage, running, has_alert, 61)
        (row,) = await stage.world.rows("select deadline_at from alerts")
        assert stage.clock.now() - row["deadline_at"] < timedelta(milliseconds=5)


async def test_a_calendar_is_read_again_soon_after_it_is_due(stage: Stage) -> None:
    text = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nEND:VCALENDAR\n"
    await stage.world.save_calendar.execute(SaveCalendarCommand("fairs", {"kind": "ics", "content": text}), ACTOR)
    async with dispatching(stage) as running:
        await running.leads()
        due_at = stage.clock.now() + timedelta(seconds=20)
        await stage.world.write("update calendars set refresh_at = $1, error = 'old'", instant_to_text(due_at))

        async def is_read() -> bool:
            return (await stage.world.rows("select error from calendars"))[0]["error"] is None

        assert 20 <= await _turn(stage, running, is_read, 31) <= 30


async def _has_runs(stage: Stage, number: int) -> bool:
    return await _runs(stage) >= number


async def test_an_idle_leader_does_not_poll(stage: Stage) -> None:
    async with dispatching(stage) as running:
        await running.leads()
        await running.store.settled()
        before = running.store.transactions
        elapsed = 0.0
        while elapsed < 60:
            step = stage.clock.next_wake()
            assert step is not None
            elapsed += max(step, 0.0)
            stage.clock.advance(step)
            await running.store.settled()
        # 30 renewals, 12 looks of six transactions, 12 of the relay, 12 for backfills, 15 of recovery, 6 for
        # calendars, 6 of the watchdog.
        assert running.store.transactions - before < 162


async def test_a_deploy_wakes_the_leader_before_its_next_look(stage: Stage) -> None:
    async with dispatching(stage) as running:
        await running.leads()
        await stage.clock.slept_on(5.0)
        await stage.world.deploy({**EVERY_MINUTE, "triggers": [{"every": "1s"}]})
        await stage.clock.slept_on(1.0)


async def _backfilled(stage: Stage, hours: int, most: int) -> str:
    """A backfill of the last hours of a new workflow; its id."""
    hourly = {**EVERY_MINUTE, "workflow": "hourly", "triggers": [{"schedule": "0 * * * *"}]}
    await stage.world.deploy(hourly)
    now = stage.clock.now()
    command = BackfillCommand("hourly", now - timedelta(hours=hours), now, max_parallel=most)
    return (await stage.world.start_backfill.execute(command, ACTOR)).id


async def test_a_backfill_begins_at_once_and_follows_its_runs(stage: Stage) -> None:
    async with dispatching(stage) as running:
        await running.leads()
        await stage.clock.slept_on(5.0)
        backfill_id = await _backfilled(stage, hours=4, most=2)
        await running.until(lambda: _has_runs(stage, 2))
        await stage.world.work()
        assert await _turn(stage, running, lambda: _has_runs(stage, 4), 2.0) <= 1.0
        await stage.world.work()

        async def finished() -> bool:
            view = await stage.world.reader.backfill(ACTOR.project, backfill_id)
            return view is not None and view.state == "finished"

        assert await _turn(stage, running, finished, 2.0) <= 1.0


async def test_a_backfill_under_way_makes_no_schedule_late(stage: Stage) -> None:
    async with dispatching(stage) as running:
        await running.leads()
        await _backfilled(stage, hours=4, most=2)
        await running.until(lambda: _has_runs(stage, 2))
        await stage.world.deploy(EVERY_MINUTE)
        due_at = (await stage.world.rows("select min(next_at) as next_at from triggers"))[0]["next_at"]
        await _turn(stage, running, lambda: _has_runs(stage, 3), 61)
        assert stage.clock.now() - due_at < timedelta(milliseconds=5)


async def test_only_one_of_two_leads_and_the_other_takes_over_at_once_when_it_stops(stage: Stage) -> None:
    async with dispatching(stage) as first:
        await first.leads()
        async with dispatching(stage) as second:
            await second.store.until(lambda: _answered(second))
            assert second.campaign.current is None
            stage.clock.advance(0.3)
            await first.stopped()
            await second.leads()
            assert second.campaign.current is not None
            assert second.campaign.current.epoch == 2


async def _answered(running: Running) -> bool:
    return running.store.transactions >= 1


async def test_a_standby_takes_over_when_the_leader_is_gone_for_a_lease(stage: Stage) -> None:
    async with dispatching(stage) as first:
        await first.leads()
        async with dispatching(stage) as second:
            await second.store.until(lambda: _answered(second))
            first.store.away = True

            async def taken_over() -> bool:
                return second.campaign.current is not None

            await _turn(stage, second, taken_over, 8.0)
            assert first.campaign.current is None


async def test_a_leader_that_was_replaced_drops_its_term_at_the_first_refused_write(stage: Stage) -> None:
    async with dispatching(stage) as running:
        await running.leads()
        await stage.world.write("update leadership set holder = 'another', epoch = epoch + 1")
        await stage.world.hub.signals.wake_dispatchers()
        await stage.world.deploy(EVERY_MINUTE)

        async def dropped() -> bool:
            return running.campaign.current is None

        await _turn(stage, running, dropped, 5.0)
        assert await _runs(stage) == 0


async def test_a_failing_duty_stops_no_other(stage: Stage) -> None:
    class Broken:
        async def execute(self, leadership: Leadership) -> int:
            raise ValueError("this duty is broken")

    async with dispatching(stage, wake=Broken(), relay=Broken(), recover=Broken()) as running:
        await running.leads()
        await stage.world.deploy(EVERY_MINUTE)
        await _turn(stage, running, lambda: _has_runs(stage, 2), 121)
        problems = running.health.readyz()
        assert [problem for problem in problems if "'wake'" in problem]
        assert not [problem for problem in problems if "'fire'" in problem]


async def test_a_duty_that_is_stuck_ends_the_process(stage: Stage) -> None:
    class Stuck:
        async def execute(self, leadership: Leadership) -> int:
            await asyncio.Event().wait()
            return 0

    async with dispatching(stage, fire=Stuck()) as running:
        await running.leads()
        await stage.clock.slept_on(STEP_SECONDS)
        assert running.task is not None
        while not running.task.done():
            stage.clock.advance(1.0)
            await running.store.settled()
        with pytest.raises(DutyOverrun, match="fire"):
            await running.task


async def test_a_duty_that_works_through_much_may_take_its_time(stage: Stage) -> None:
    passed = asyncio.Event()

    class Long:
        async def execute(self, leadership: Leadership) -> int:
            for _ in range(5):
                await stage.world.store.transact(leadership.check)
                await stage.clock.sleep(STEP_SECONDS * 0.6)
            passed.set()
            return 1

    async with dispatching(stage, recover=Long()) as running:
        await running.leads()

        async def has_passed() -> bool:
            return passed.is_set()

        await _turn(stage, running, has_passed, 120)


async def _until_taken_back(stage: Stage, running: Running, run_id: str) -> float:
    """Seconds from the lead until the run's task is nobody's any more."""
    await running.leads()

    async def taken_back() -> bool:
        return (await stage.world.states(run_id))["only"] in ("ready", "queued")

    return await _turn(stage, running, taken_back, 20.0)


async def test_a_new_leader_waits_a_lease_before_it_declares_a_worker_dead(stage: Stage) -> None:
    world = stage.world
    await world.deploy(ONE_TASK)
    started = await world.start("one")
    await world.new_worker()
    await world.claim()
    stage.clock.advance(20.0)
    async with dispatching(stage) as running:
        waited = await _until_taken_back(stage, running, started.run_id)
    assert waited >= 15.0


async def test_a_leader_that_follows_another_at_once_need_not_wait(stage: Stage) -> None:
    world = stage.world
    await world.deploy(ONE_TASK)
    started = await world.start("one")
    await world.lead()
    await world.new_worker()
    await world.claim()
    stage.clock.advance(20.0)
    await world.campaign.renew()
    stage.clock.advance(16.0)
    await world.write("update leadership set lease_until = $1", stage.clock.now())
    async with dispatching(stage) as running:
        waited = await _until_taken_back(stage, running, started.run_id)
    assert waited < 5.0


async def test_a_retry_becomes_ready_when_its_pause_is_over(stage: Stage) -> None:
    world = stage.world
    task = {"shell": "false", "retry": {"attempts": 2, "delay": "10s", "jitter": False}}
    await world.deploy({"workflow": "one", "tasks": {"only": task}})
    started = await world.start("one")
    async with dispatching(stage) as running:
        await running.leads()
        [claimed] = await world.claim()
        await world.finish(claimed, Failed(TaskError("exit_code", "no", exit_code=1)))
        await world.announcer.idle()

        async def ready() -> bool:
            return (await world.states(started.run_id))["only"] in ("ready", "queued")

        assert await _turn(stage, running, ready, 10.1) == pytest.approx(10.0, abs=0.01)


async def test_the_relay_looks_often_only_while_something_is_open(stage: Stage) -> None:
    async with dispatching(stage) as running:
        await running.leads()
        await stage.clock.slept_on(5.0)
        await stage.world.deploy(ONE_TASK)
        await stage.world.start("one")
        await stage.world.announcer.idle()
        stage.clock.advance(5.0)
        await stage.clock.slept_on(0.5)


async def test_with_the_store_away_the_process_is_not_ready_and_recovers_by_itself(stage: Stage) -> None:
    async with dispatching(stage) as running:
        await running.leads()
        assert running.health.readyz() == []
        running.store.away = True

        async def unready() -> bool:
            return bool(running.health.readyz())

        await _turn(stage, running, unready, 10.0)
        assert running.health.livez() == []
        running.store.away = False

        async def ready() -> bool:
            return not running.health.readyz()

        await _turn(stage, running, ready, 20.0)


async def test_the_watchdog_tells_what_is_left_lying_about(stage: Stage) -> None:
    world = stage.world
    await world.deploy(EVERY_MINUTE)
    await world.deploy(ONE_TASK)
    await world.start("one")
    dog = Watchdog(NextDue(world.store), world.reader, stage.clock)
    assert await dog.problems() == []
    stage.clock.advance(71.0)
    assert await dog.problems() == ["something has been due for 11 s and no dispatcher saw to it"]
    await world.register_worker.execute(WorkerRow(world.ids.new(), "idle", "0", ["default"], 1))
    assert (await dog.problems())[1:] == [
        "the queue 'default' has waited for 71 s although its workers have free slots"
    ]


async def test_the_watchdog_says_so_when_nobody_can_know() -> None:
    class Away:
        async def execute(self) -> None:
            raise Unavailable("the store is away")

    problems = await Watchdog(Away(), None, None).problems()  # type: ignore[arg-type]
    assert problems == ["nobody knows what is due: the store is away"]


async def test_starting_and_stopping_many_times_leaves_nothing_behind(stage: Stage) -> None:
    before = asyncio.all_tasks()
    for round_ in range(30):
        async with dispatching(stage) as running:
            if round_ % 3:
                await running.leads()
            await running.stopped()
        assert running.campaign.current is None
    assert asyncio.all_tasks() == before
