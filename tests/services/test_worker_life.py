"""A worker's life: it takes, gives back, is fenced, drains and stops, and loses nothing of it all."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from scheduler_application.errors import Unavailable
from scheduler_application.ports.execution import ExecutionRequest, LogSink
from scheduler_application.ports.messaging import Lane
from scheduler_application.worker.manage import WorkerCommand
from scheduler_domain.run.outcome import HandedBack, Outcome, Succeeded
from scheduler_domain.workflow.definition import Priority
from scheduler_worker.intake import IntakeBroken
from scheduler_worker.tenure import WorkerStuck
from tests.services.stage import ONE_TASK, Stage, chain, fan
from tests.support.scripted import succeed, until, until_stopped
from tests.support.world import ACTOR

NORMAL = Lane("default", Priority.NORMAL)


async def _start(stage: Stage, document: Mapping[str, Any]) -> str:
    await stage.world.deploy(document)
    return (await stage.world.start(document["workflow"])).run_id


async def test_no_more_execute_at_once_than_there_are_slots(stage: Stage) -> None:
    release = asyncio.Event()
    stage.executors.script = until(release)
    run_id = await _start(stage, fan(10))
    async with stage.worker(slots=3):
        await stage.executors.begun(3)
        await stage.store.settled()
        assert len(stage.executors.requests) == 3
        release.set()
        assert await stage.ended(run_id) == "succeeded"
    assert stage.executors.most_running == 3


async def test_two_workers_share_what_one_message_brought(stage: Stage) -> None:
    stage.executors.script = until_stopped
    await _start(stage, fan(4))
    await stage.world.announcer.idle()
    async with stage.worker(slots=2):
        await stage.executors.begun(2)
        # What it has no room for waits a moment for a slot, and then everybody may have it.
        await stage.clock.slept_on(0.05)
        stage.clock.advance(0.05)
        async with stage.worker(slots=2):
            await stage.executors.begun(4)
    assert {request.task_run_id for request in stage.executors.requests} == {
        row["id"] for row in await stage.world.rows("select id from task_runs")
    }


async def test_short_tasks_of_a_big_fan_go_through_few_claims(stage: Stage) -> None:
    run_id = await _start(stage, fan(300))
    async with stage.worker():
        assert await stage.ended(run_id) == "succeeded"
    assert len(stage.executors.requests) == 300


async def test_ready_successors_do_not_take_the_way_through_the_broker(stage: Stage) -> None:
    run_id = await _start(stage, chain(6))
    async with stage.worker():
        assert await stage.ended(run_id) == "succeeded"
    hinted = await stage.world.rows("select id from task_runs where hinted_at is not null")
    assert hinted == []


async def test_a_step_of_a_chain_is_one_transaction(stage: Stage) -> None:
    async with stage.worker():
        transactions = []
        for length in (3, 13):
            await stage.store.settled()
            before = stage.store.transactions
            assert await stage.ended(await _start(stage, chain(length))) == "succeeded"
            transactions.append(stage.store.transactions - before)
    assert transactions == [1 + 3, 1 + 13]


async def test_hints_from_outside_are_not_starved_by_chains(stage: Stage) -> None:
    """One slot, always busy with the next task of a long chain: another run's task gets its turn all the same."""
    await stage.world.deploy(ONE_TASK)
    run_id = await _start(stage, chain(150))
    async with stage.worker(slots=1):
        await stage.executors.begun(5)
        other = await stage.world.start("one")
        assert await stage.ended(other.run_id) == "succeeded"
        assert (await stage.world.run(run_id)).state == "running"


async def test_what_waits_too_long_behind_a_long_task_goes_back_without_costing_an_attempt(stage: Stage) -> None:
    """Short tasks made the buffer grow, and then a long one took the only slot."""

    async def one_is_long(request: ExecutionRequest, log: LogSink) -> Outcome:
        if len(stage.executors.requests) == 100:
            return await until_stopped(request, log)
        return Succeeded()

    stage.executors.script = one_is_long
    await _start(stage, fan(200))
    async with stage.worker(slots=1):
        await stage.executors.begun(100)

        async def short_ones_are_recorded() -> bool:
            return len(await stage.world.rows("select id from task_runs where state = 'succeeded'")) == 99

        await stage.store.until(short_ones_are_recorded)
        await stage.store.settled()
        held = await stage.world.rows("select id from task_runs where state = 'running'")
        assert len(held) > 1
        stage.clock.advance(1.0)

        async def given_back() -> bool:
            return len(await stage.world.rows("select id from task_runs where state = 'running'")) == 1

        await stage.store.until(given_back)
        tasks = await stage.world.rows("select state, attempt, claim_no from task_runs where claim_no > 0")
        back = [row for row in tasks if row["state"] in ("ready", "queued")]
        assert len(back) == len(held) - 1
        assert {(row["attempt"], row["claim_no"]) for row in back} == {(1, 1)}


async def test_a_cancelled_run_ends_its_task_at_once(stage: Stage) -> None:
    stage.executors.script = until_stopped
    run_id = await _start(stage, ONE_TASK)
    async with stage.worker():
        await stage.executors.begun(1)
        await stage.world.cancel(run_id)
        assert await stage.ended(run_id) == "cancelled"
    assert stage.executors.requests[0].stop_reason == ["cancel"]


async def test_a_heartbeat_brings_the_cancel_that_no_message_brought(stage: Stage) -> None:
    stage.executors.script = until_stopped
    run_id = await _start(stage, ONE_TASK)
    async with stage.worker():
        await stage.executors.begun(1)
        await stage.store.settled()
        await stage.world.write("update runs set state = 'cancelling', stop_reason = 'cancel'")
        stage.clock.advance(3.0)
        assert await stage.ended(run_id) == "cancelled"


async def test_a_cancelled_task_that_waits_for_a_slot_never_begins(stage: Stage) -> None:
    async def one_is_long(request: ExecutionRequest, log: LogSink) -> Outcome:
        if len(stage.executors.requests) == 100:
            return await until_stopped(request, log)
        return Succeeded()

    stage.executors.script = one_is_long
    run_id = await _start(stage, fan(200))
    async with stage.worker(slots=1):
        await stage.executors.begun(100)
        await stage.store.settled()
        await stage.world.cancel(run_id)
        assert await stage.ended(run_id) == "cancelled"
    assert len(stage.executors.requests) == 100


async def test_a_drained_worker_finishes_what_runs_and_leaves(stage: Stage) -> None:
    release = asyncio.Event()
    stage.executors.script = until(release)
    first = await _start(stage, ONE_TASK)
    async with stage.worker() as running:
        await stage.executors.begun(1)
        [(worker_id, _)] = await stage.worker_rows()
        await stage.world.drain_worker.execute(WorkerCommand(worker_id), ACTOR)
        await stage.store.settled()
        second = await stage.world.start("one")
        await stage.store.settled()
        assert not running.task.done()
        release.set()
        await running.task
        assert await stage.worker_rows() == [(worker_id, "gone")]
    assert (await stage.world.run(first)).state == "succeeded"
    assert (await stage.world.states(second.run_id))["only"] in ("ready", "queued")
    assert len(stage.executors.requests) == 1


async def test_a_stopping_worker_lets_what_runs_end_within_its_grace(stage: Stage) -> None:
    release = asyncio.Event()
    stage.executors.script = until(release)
    run_id = await _start(stage, ONE_TASK)
    async with stage.worker() as running:
        await stage.executors.begun(1)
        running.stop.set()
        await stage.clock.slept_on(25.0)
        release.set()
        await running.task
    assert (await stage.world.run(run_id)).state == "succeeded"
    assert [state for _, state in await stage.worker_rows()] == ["gone"]
    assert not stage.executors.is_open


async def test_what_does_not_end_in_the_grace_is_handed_back_without_costing_an_attempt(stage: Stage) -> None:
    stage.executors.script = until_stopped
    run_id = await _start(stage, fan(2))
    async with stage.worker() as running:
        await stage.executors.begun(2)
        running.stop.set()
        await stage.clock.slept_on(25.0)
        await _past(stage, 25.0)
        await running.task
    assert [request.stop_reason for request in stage.executors.requests] == [["shutdown"], ["shutdown"]]
    rows = await stage.world.rows("select state, attempt, worker_losses from task_runs")
    assert {(row["attempt"], row["worker_losses"]) for row in rows} == {(1, 0)}
    assert {row["state"] for row in rows} <= {"ready", "queued"}
    stage.executors.script = succeed
    async with stage.worker():
        assert await stage.ended(run_id) == "succeeded"


async def _past(stage: Stage, seconds: float) -> None:
    """Turns the clock by ``seconds``, in steps that let heartbeats come in time."""
    for _ in range(int(seconds)):
        stage.clock.advance(1.0)
        await stage.store.settled()


async def test_a_task_that_ignores_the_stop_does_not_keep_the_worker_for_ever(stage: Stage) -> None:
    async def ignore(request: ExecutionRequest, log: LogSink) -> Outcome:
        await asyncio.Event().wait()
        return HandedBack()

    stage.executors.script = ignore
    await _start(stage, ONE_TASK)
    async with stage.worker() as running:
        await stage.executors.begun(1)
        running.stop.set()
        await stage.store.settled()
        await _past(stage, 25 + 20 + 1)
        await running.task
    assert stage.executors.cancelled == 1
    assert [state for _, state in await stage.worker_rows()] == ["gone"]


async def test_a_worker_that_cannot_renew_ends_its_tasks_before_its_lease_is_over(stage: Stage) -> None:
    stage.executors.script = until_stopped
    await _start(stage, fan(3))
    async with stage.worker():
        await stage.executors.begun(3)
        await stage.store.settled()
        began = stage.clock.monotonic()
        stage.store.away = True
        while stage.executors.running:
            step = stage.clock.next_wake()
            assert step is not None
            stage.clock.advance(step)
            await stage.store.settled()
        assert 8.0 < stage.clock.monotonic() - began <= 12.0
        assert {request.stop_reason[0] for request in stage.executors.requests} == {"lost"}
        stage.store.away = False
        await _past(stage, 5)
        (old, _), (new, state) = await stage.worker_rows()
        assert old != new
        assert state == "active"
    # Nobody but recovery may touch what the old identity held.
    rows = await stage.world.rows("select state, worker_id from task_runs")
    assert {(row["state"], row["worker_id"]) for row in rows} == {("running", old)}


async def test_a_task_that_ignores_the_loss_is_killed_a_second_later(stage: Stage) -> None:
    async def ignore(request: ExecutionRequest, log: LogSink) -> Outcome:
        await asyncio.Event().wait()
        return Succeeded()

    stage.executors.script = ignore
    await _start(stage, ONE_TASK)
    async with stage.worker():
        await stage.executors.begun(1)
        await stage.store.settled()
        stage.store.away = True
        await _past(stage, 14)
        assert stage.executors.cancelled == 1
        stage.store.away = False


async def test_a_worker_that_was_declared_lost_comes_back_as_another(stage: Stage) -> None:
    stage.executors.script = until_stopped
    await _start(stage, ONE_TASK)
    async with stage.worker():
        await stage.executors.begun(1)
        await stage.store.settled()
        await stage.world.write("update workers set state = 'lost'")
        stage.clock.advance(3.0)
        await stage.executors.until(lambda executor: executor.running == 0)
        await stage.store.settled()
        assert [state for _, state in await stage.worker_rows()] == ["lost", "active"]


async def test_a_worker_that_slept_past_its_lease_starts_nothing(stage: Stage) -> None:
    """As after SIGSTOP and SIGCONT: the time has jumped before anything else could be noticed."""
    stage.executors.script = until_stopped
    await stage.world.deploy(fan(1))
    async with stage.worker():
        await stage.store.settled()
        stage.clock.advance(20.0)
        await stage.world.start("fan")
        await stage.executors.begun(1)
        await stage.store.settled()
        rows = await stage.world.rows("select worker_id from task_runs where state = 'running'")
        (_, _), (new, _) = await stage.worker_rows()
        assert [row["worker_id"] for row in rows] == [new]


async def test_an_outcome_survives_a_store_that_is_away(stage: Stage) -> None:
    async def succeed_without_store(request: ExecutionRequest, log: LogSink) -> Outcome:
        stage.store.away = True
        return Succeeded({"rows": 3})

    stage.executors.script = succeed_without_store
    run_id = await _start(stage, ONE_TASK)
    async with stage.worker():
        await stage.executors.begun(1)
        await _past(stage, 5)
        assert (await stage.world.run(run_id)).state == "running"
        stage.store.away = False
        await _past(stage, 3)
        assert await stage.ended(run_id) == "succeeded"
    assert (await stage.world.tasks(run_id))["only"].output == {"rows": 3}


async def test_an_attempt_that_breaks_the_workers_own_code_has_an_outcome(stage: Stage) -> None:
    async def breaks(request: ExecutionRequest, log: LogSink) -> Outcome:
        raise RuntimeError("a bug")

    stage.executors.script = breaks
    run_id = await _start(stage, ONE_TASK)
    async with stage.worker():
        assert await stage.ended(run_id) == "failed"
    error = (await stage.world.tasks(run_id))["only"].error or {}
    assert error["code"] == "worker_error"


async def test_the_same_hint_twice_is_one_execution(stage: Stage) -> None:
    run_id = await _start(stage, ONE_TASK)
    await stage.world.announcer.idle()
    delivery = (await _one_take(stage))[0]
    await stage.world.hub.publisher.publish(NORMAL, [*delivery, *delivery])
    await stage.world.hub.publisher.publish(NORMAL, delivery)
    async with stage.worker():
        assert await stage.ended(run_id) == "succeeded"
        await stage.store.settled()
    assert len(stage.executors.requests) == 1


async def _one_take(stage: Stage) -> list[Any]:
    source = stage.world.hub.source()
    await source.open(["default"])
    deliveries = await source.take(10)
    await source.close()
    return [delivery.hints for delivery in deliveries]


async def test_a_worker_waits_for_a_store_that_is_away_at_its_start(stage: Stage) -> None:
    stage.store.away = True
    run_id = await _start(stage, ONE_TASK)
    async with stage.worker():
        await _past(stage, 3)
        assert stage.health.readyz() == ["the worker is not registered yet"]
        stage.store.away = False
        await _past(stage, 6)
        assert await stage.ended(run_id) == "succeeded"
        assert stage.health.readyz() == []


async def test_a_broker_that_sees_no_consumers_is_opened_again_and_then_given_up(stage: Stage) -> None:
    inner = stage.world.hub.source()

    class Blind:
        opened = 0

        async def open(self, queues: Any) -> None:
            self.opened += 1
            await inner.open(queues)

        async def healthy(self) -> bool:
            return False

        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

    source = Blind()
    async with stage.worker(source=source) as running:
        await stage.store.settled()
        assert source.opened == 1
        await _past(stage, 15)
        assert source.opened == 2
        await _past(stage, 15)
        with pytest.raises(IntakeBroken):
            await running.task
    assert [state for _, state in await stage.worker_rows()] == ["gone"]


async def test_a_broker_that_is_away_costs_the_running_tasks_nothing(stage: Stage) -> None:
    release = asyncio.Event()
    inner = stage.world.hub.source()

    class Away:
        is_away = False

        async def healthy(self) -> bool:
            if self.is_away:
                raise Unavailable("the broker is away")
            return True

        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

    stage.executors.script = until(release)
    run_id = await _start(stage, chain(2))
    source = Away()
    async with stage.worker(source=source):
        await stage.executors.begun(1)
        source.is_away = True
        await _past(stage, 90)
        release.set()
        assert await stage.ended(run_id) == "succeeded"
        source.is_away = False
        again = await stage.world.start("chain")
        await _past(stage, 10)
        assert await stage.ended(again.run_id) == "succeeded"


async def test_an_executor_that_does_not_even_obey_a_kill_ends_the_process(stage: Stage) -> None:
    done = asyncio.Event()

    async def deaf(request: ExecutionRequest, log: LogSink) -> Outcome:
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:
                continue
        return Succeeded()

    stage.executors.script = deaf
    await _start(stage, ONE_TASK)
    async with stage.worker() as running:
        await stage.executors.begun(1)
        running.stop.set()
        await stage.store.settled()
        await _past(stage, 25 + 20 + 12)
        with pytest.raises(WorkerStuck):
            await running.task
        done.set()


async def test_starting_and_stopping_many_times_loses_nothing(stage: Stage) -> None:
    run_id = await _start(stage, fan(60))
    await stage.world.announcer.idle()
    before = {task for task in asyncio.all_tasks() if not task.done()}
    for round_ in range(40):
        async with stage.worker() as running:
            if round_ % 4:
                await stage.executors.begun(min(round_, 60))
            await running.stopped()
    async with stage.worker():
        assert await stage.ended(run_id) == "succeeded"
    assert asyncio.all_tasks() == before
    tasks = await stage.world.rows("select attempt, worker_losses from task_runs")
    assert {(row["attempt"], row["worker_losses"]) for row in tasks} == {(1, 0)}


async def test_readiness_says_why(stage: Stage) -> None:
    assert stage.health.readyz() == ["the worker is not registered yet"]
    async with stage.worker() as running:
        await stage.store.settled()
        assert (stage.health.livez(), stage.health.readyz()) == ([], [])
        stage.store.away = True
        await _past(stage, 9)
        assert stage.health.readyz() == ["the store has not renewed the lease for 9 s"]
        stage.store.away = False
        await _past(stage, 2)
        await running.stopped()
        assert stage.health.readyz() == ["the worker is leaving"]
    stage.clock.advance(31.0)
    assert stage.health.livez() != []
