"""What every store promises: transactions that are whole or nothing, guarded writes, claims that nobody wins twice."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from scheduler_application.errors import NotFound, Unavailable
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.rows import AttemptEnd, Resolution, Slot, WorkerRow
from scheduler_application.workflow.authoring import SaveDraftCommand
from scheduler_domain.run.outcome import Cancelled
from scheduler_domain.run.states import FINAL_TASK_STATES, TASK_TRANSITIONS, TaskEvent, TaskState, task_sources
from scheduler_infrastructure.clock import MachineClock
from scheduler_infrastructure.persistence.engine import both, make_database
from scheduler_infrastructure.persistence.guard import StoreGuard
from scheduler_infrastructure.persistence.store import SqlStore
from tests.support.eventually import eventually
from tests.support.flows import flow
from tests.support.world import ACTOR, World, open_world


async def workers(world: World, count: int) -> list[str]:
    found = [world.ids.new() for _ in range(count)]
    for worker_id in found:
        await world.register_worker.execute(WorkerRow(worker_id, "tester", "0", ["default"], 4))
    return found


async def hints(world: World) -> list[tuple[str, int]]:
    return [(row["id"], row["claim_no"]) for row in await world.rows("select id, claim_no from task_runs order by id")]


# Transactions ---------------------------------------------------------------------------------------------------------


async def test_a_transaction_that_raises_leaves_nothing(world: World) -> None:
    async def work(tx: Any) -> None:
        await tx.workers.register(WorkerRow(world.ids.new(), "x", "0", ["default"], 1), 15.0)
        assert await tx.workers.any_live()
        raise NotFound("on second thoughts")

    with pytest.raises(NotFound):
        await world.store.transact(work)
    assert await world.rows("select id from workers") == []


async def test_a_transaction_that_is_cancelled_leaves_nothing_and_hinders_nobody(world: World) -> None:
    inside = asyncio.Event()

    async def work(tx: Any) -> None:
        await tx.workers.register(WorkerRow(world.ids.new(), "x", "0", ["default"], 1), 15.0)
        inside.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(world.store.transact(work))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.rows("select id from workers") == []
    await workers(world, 1)


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancel_at_any_step_leaves_the_store_usable(world: World, steps: int) -> None:
    """The event loop may deliver a cancellation anywhere: while the transaction begins, works, commits."""
    worker_id = world.ids.new()
    task = asyncio.create_task(
        world.store.transact(lambda tx: tx.workers.register(WorkerRow(worker_id, "x", "0", ["default"], 1), 15.0))
    )
    loop = asyncio.get_running_loop()
    for _ in range(steps):
        step = loop.create_future()
        loop.call_soon(step.set_result, None)
        await step
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await workers(world, 1)
    assert len(await world.rows("select id from workers where id <> $1", worker_id)) == 1


async def test_a_statement_that_fails_ends_the_transaction_and_not_the_store(world: World) -> None:
    async def work(tx: Any) -> None:
        await tx.workers.register(WorkerRow(world.ids.new(), "x", "0", ["default"], 1), 15.0)
        await tx._connection.fetch(both("select nonsense from nowhere"))

    with pytest.raises((asyncpg.PostgresError, sqlite3.OperationalError)):
        await world.store.transact(work)
    assert await world.rows("select id from workers") == []
    await workers(world, 1)


async def test_mistakes_of_callers_do_not_close_the_store_to_others(world: World) -> None:
    """Only faults of the store count for its breaker."""

    async def mistake(tx: Any) -> None:
        raise KeyError("a bug")

    async def refused(tx: Any) -> None:
        await tx._connection.fetch(both("update workers set state = 'nonsense'"))

    await workers(world, 1)
    for work in (mistake, refused) * 6:
        with pytest.raises((KeyError, asyncpg.CheckViolationError, sqlite3.IntegrityError)):
            await world.store.transact(work)
    assert await world.store.transact(lambda tx: tx.workers.any_live())


@pytest.mark.parametrize("way", ["fetch", "rows"])
async def test_a_statement_that_takes_too_long_is_an_unavailable_store(world: World, way: str) -> None:
    """Whichever way it went to the driver: each wraps the server's answer differently."""
    if world.database.dialect != "postgresql":
        pytest.skip("SQLite has no limit for one statement")

    async def slow(tx: Any) -> None:
        await tx._connection.fetch(both("set local statement_timeout = '50ms'"))
        sleep = "select pg_sleep(1000)"
        await getattr(tx._connection, way)(both(sleep) if way == "fetch" else text(sleep))

    with pytest.raises(Unavailable, match="did not answer in time"):
        await world.store.transact(slow)


async def test_two_transactions_that_read_and_then_write_lose_no_update(world: World) -> None:
    slot = Slot(world.ids.new(), "key")

    async def increment(tx: Any) -> None:
        live = (await tx.runs.lock_slots([slot]))[slot].live
        await tx.runs.set_slots({slot: live + 1})

    await asyncio.gather(*(world.store.transact(increment) for _ in range(40)))
    (row,) = await world.rows("select live from slots")
    assert row["live"] == 40
    await world.write("delete from slots")


async def test_a_reader_sees_what_is_committed_and_waits_for_no_writer(world: World) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def work(tx: Any) -> None:
        await tx.workers.register(WorkerRow(world.ids.new(), "x", "0", ["default"], 1), 15.0)
        inside.set()
        await go_on.wait()

    task = asyncio.create_task(world.store.transact(work))
    await inside.wait()
    assert await world.reader.workers() == []
    go_on.set()
    await task
    assert len(await world.reader.workers()) == 1


async def test_a_store_that_is_not_there_is_unavailable(tmp_path: Any) -> None:
    database = make_database("postgresql://postgres@127.0.0.1:1/x", None)  # type: ignore[arg-type]
    await database.open()
    store = SqlStore(database, StoreGuard(deadline_seconds=1.0))
    with pytest.raises(Unavailable):
        await store.transact(lambda tx: tx.workers.any_live())
    await database.close()


async def test_a_store_that_takes_no_writes_is_unavailable_until_it_does(postgres_url: str) -> None:
    database = make_database(postgres_url, MachineClock())
    guard = StoreGuard(deadline_seconds=1.0)
    admin = await asyncpg.connect(postgres_url)

    async def write() -> None:
        async with database.transaction() as connection:
            await connection.fetch(both("create table written ()"))

    name = await admin.fetchval("select current_database()")
    await admin.execute(f'alter database "{name}" set default_transaction_read_only = on')
    with pytest.raises(Unavailable):
        await guard.run(write)
    await admin.execute(f'alter database "{name}" reset default_transaction_read_only')
    await guard.run(write)
    await admin.close()
    await database.close()


# Answers that got lost ------------------------------------------------------------------------------------------------


class CutAtCommit:
    """A store whose first commit succeeds and is not answered; the guard runs the transaction again."""

    def __init__(self, world: World) -> None:
        self._database = world.database
        self._guard = StoreGuard()
        self.tries = 0

    async def transact(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def once() -> Any:
            self.tries += 1
            inner = SqlStore(self._database, StoreGuard())
            result = await inner.transact(work)
            if self.tries == 1:
                raise ConnectionResetError("the answer of the commit was lost")
            return result

        return await self._guard.run(once)


async def test_a_claim_whose_answer_was_lost_still_belongs_to_its_worker(world: World) -> None:
    await world.deploy(flow("a b"))
    run_id = (await world.start("flow")).run_id
    await world.announcer.idle()
    await world.new_worker()
    world.claim_tasks._store = CutAtCommit(world)
    claimed = await world.claim_tasks.execute(world.worker_id, await hints(world))
    assert [task.row.claim_no for task in claimed] == [1, 1]
    for task in claimed:
        assert await world.finish(task)
    assert (await world.run(run_id)).state == "succeeded"


async def test_what_else_is_tried_again_changes_nothing_twice(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}}, triggers=[{"every": "1m"}]))
    world.start_runs._store = CutAtCommit(world)
    run_id = (await world.start("flow")).run_id
    assert len(await world.rows("select id from runs")) == 1
    (a,) = await world.claim()
    world.record_outcomes._store = CutAtCommit(world)
    await world.finish(a)
    states = await world.states(run_id)
    assert (states["a"], states["b"] in ("ready", "queued")) == ("succeeded", True)
    world.clock.advance(60)
    world.fire_due_schedules._store = CutAtCommit(world)
    await world.fire_due_schedules.execute(await world.lead())
    assert len(await world.rows("select due_at from ledger")) == 1
    assert len(await world.rows("select id from runs")) == 2
    world.stop_runs._store = CutAtCommit(world)
    await world.cancel(run_id)
    assert (await world.run(run_id)).state == "cancelled"


async def test_a_draft_that_must_be_new_is_its_own_after_a_lost_answer(world: World) -> None:
    world.save_draft._store = CutAtCommit(world)
    command = SaveDraftCommand(b"workflow: x\ntasks: {a: {shell: 'true'}}\n", "yaml", must_be_new=True)
    assert (await world.save_draft.execute(command, ACTOR)).name == "x"


async def test_a_reservation_is_its_own_after_a_lost_answer(world: World) -> None:
    world.idempotency_keys._store = CutAtCommit(world)
    assert await world.idempotency_keys.begin(ACTOR, "key", "route", "hash") is None


# Claims ---------------------------------------------------------------------------------------------------------------


async def test_two_workers_with_the_same_hints_never_both_win(world: World, store_url: str) -> None:
    """Two processes, each with connections of its own, race for the same task runs."""
    async with open_world(store_url, world.clock, migrated=True) as other:
        await world.deploy(flow(" ".join(f"t{i}" for i in range(200))))
        await world.start("flow")
        await world.announcer.idle()
        one, two = await workers(world, 2)
        wanted = await hints(world)
        claims = await asyncio.gather(
            *(
                each.claim_tasks.execute(worker_id, wanted[start : start + 100])
                for start in (0, 50, 100)
                for each, worker_id in ((world, one), (other, two))
            )
        )
        owners = Counter(task.row.id for claimed in claims for task in claimed)
        assert len(owners) == 200
        assert set(owners.values()) == {1}
        rows = await world.rows("select worker_id, claim_no, state from task_runs")
        assert {(row["claim_no"], row["state"]) for row in rows} == {(1, "running")}
        assert {row["worker_id"] for row in rows} <= {one, two}


async def test_a_claim_needs_the_right_fence_a_live_worker_and_a_claimable_row(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}}))
    await world.start("flow")
    await world.announcer.idle()
    active, draining, gone = await workers(world, 3)
    await world.write("update workers set state = 'draining' where id = $1", draining)
    await world.write("update workers set state = 'gone' where id = $1", gone)
    a, b = await hints(world)
    claim = world.claim_tasks.execute
    for worker_id in (draining, gone, world.ids.new()):
        assert await claim(worker_id, [a, b]) == []
    assert await claim(active, [b, (a[0], 1), (a[0], -1), (world.ids.new(), 0)]) == []
    assert [task.row.task for task in await claim(active, [a, a, b])] == ["a"]
    assert await claim(active, [a, (a[0], 1)]) == []


async def waits_for_a_lock(world: World) -> bool:
    rows = await world.rows(
        "select 1 as found from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    return bool(rows)


class CountedTries:
    """A store that says how often it was tried."""

    def __init__(self, world: World) -> None:
        self._store = world.store
        self.tries = 0

    async def transact(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def once(tx: Any) -> Any:
            self.tries += 1
            return await work(tx)

        return await self._store.transact(once)


async def test_a_cancel_locks_task_runs_in_the_order_of_a_claim(world: World) -> None:
    """Otherwise the two, each with rows that the other wants, wait in a circle until the server ends one of them."""
    if world.database.dialect == "sqlite":
        return  # one writes at a time there
    await world.deploy(flow("d c b a"))
    run_id = (await world.start("flow")).run_id
    await world.announcer.idle()
    first, *_, last = [row["id"] for row in await world.rows("select id from task_runs order by id")]
    # Written anew, the first row comes last in the table, as it does by name: who reads in another order meets it last.
    await world.write("update task_runs set queue = queue, ready_at = null where id = $1", first)
    await world.write("update task_runs set ready_at = $1", world.clock.now())
    lock = both("select id from task_runs where id = $1 for update")
    world.stop_runs._store = cancelling = CountedTries(world)

    async def like_a_claim(tx: Any) -> asyncio.Task[Any]:
        await tx._connection.fetch(lock, first)
        cancel = asyncio.create_task(world.cancel(run_id))
        await eventually(lambda: waits_for_a_lock(world), within=5)
        await tx._connection.fetch(lock, last)
        return cancel

    await (await world.store.transact(like_a_claim))
    assert cancelling.tries == 1
    assert (await world.run(run_id)).state == "cancelled"


# Guards ---------------------------------------------------------------------------------------------------------------


async def a_task_in(world: World, state: TaskState) -> str:
    """The id of a task run in ``state``; made behind the system's back."""
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}}))
    await world.start("flow")
    await world.announcer.idle()
    (row,) = await world.rows("select id from task_runs where task = 'a'")
    finished = world.clock.now() if state in FINAL_TASK_STATES else None
    sql = "update task_runs set state = $1, finished_at = $2, worker_id = $3, claim_no = 5 where id = $4"
    await world.write(sql, state.value, finished, world.ids.new(), row["id"])
    return str(row["id"])


async def forget(world: World) -> None:
    """The states were made up: nothing about the run holds any more."""
    await world.write("delete from task_runs")
    await world.write("delete from runs")


async def _end(tx: Transaction, end: AttemptEnd, now: datetime) -> dict[str, TaskState]:
    return await tx.claims.end_attempts([end], now)


@pytest.mark.parametrize("state", list(TaskState))
async def test_only_a_running_attempt_can_be_ended_and_only_with_its_fence(world: World, state: TaskState) -> None:
    task_run_id = await a_task_in(world, state)
    now = world.clock.now()
    for claim_no in (4, 6, 5):
        end = AttemptEnd(task_run_id, claim_no, TaskState.SUCCEEDED, None, None, None)
        written = await world.store.transact(partial(_end, end=end, now=now))
        possible = state is TaskState.RUNNING and claim_no == 5
        assert written == ({task_run_id: TaskState.SUCCEEDED} if possible else {})
    await forget(world)


@pytest.mark.parametrize("state", list(TaskState))
async def test_only_what_nothing_runs_of_can_be_resolved_and_finals_absorb(world: World, state: TaskState) -> None:
    task_run_id = await a_task_in(world, state)
    resolution = Resolution(task_run_id, TaskState.FAILED)
    written = await world.store.transact(lambda tx: tx.graph.resolve([resolution], world.clock.now()))
    allowed = TaskEvent.FAIL in TASK_TRANSITIONS[state] and state is not TaskState.RUNNING
    assert written == ({task_run_id} if allowed else set())
    await forget(world)


@pytest.mark.parametrize("state", list(TaskState))
async def test_only_what_may_be_claimed_is_hinted_and_claimed(world: World, state: TaskState) -> None:
    task_run_id = await a_task_in(world, state)
    (worker_id,) = await workers(world, 1)
    now = world.clock.now()
    await world.store.transact(lambda tx: tx.claims.mark_hinted([(task_run_id, 5), (task_run_id, 4)], now))
    (row,) = await world.rows("select state from task_runs where id = $1", task_run_id)
    claimable = state in task_sources(TaskEvent.CLAIM)
    assert row["state"] == ("queued" if claimable else state)
    claimed = await world.claim_tasks.execute(worker_id, [(task_run_id, 5)])
    assert len(claimed) == claimable
    await forget(world)


@pytest.mark.parametrize("state", list(TaskState))
async def test_only_what_is_idle_is_cancelled_without_its_worker(world: World, state: TaskState) -> None:
    task_run_id = await a_task_in(world, state)
    cancelled = await world.store.transact(lambda tx: tx.upkeep.cancel_idle_task(task_run_id, world.clock.now()))
    idle = TaskEvent.CANCEL in TASK_TRANSITIONS[state] and state is not TaskState.RUNNING
    assert [task.id for task in cancelled] == ([task_run_id] if idle else [])
    await forget(world)


async def test_the_database_itself_refuses_states_that_cannot_be(world: World) -> None:
    await world.deploy(flow())
    await world.start("flow")
    await world.announcer.idle()
    impossible = [
        "update task_runs set state = 'finished'",
        "update task_runs set state = 'succeeded'",
        "update task_runs set state = 'running'",
        "update task_runs set needs_left = -1",
        "update runs set state = 'succeeded'",
        "update runs set tasks_left = -1",
        "update runs set tasks_left = 2",
        "insert into slots (workflow_id, slot_key, live) select id, '', -1 from workflows",
    ]
    for statement in impossible:
        with pytest.raises((asyncpg.CheckViolationError, sqlite3.IntegrityError)):
            await world.write(statement)


async def test_locks_in_one_order_let_everything_at_once_through(world: World, store_url: str) -> None:
    """Parents, children, slots, cancels and outcomes from two processes: slow is allowed, stuck or lost is not."""
    child = flow(name="child", concurrency={"limit": 2})
    each = {"needs": ["make"], "for_each": "${{ [1, 2, 3] }}", "workflow": {"name": "child"}}
    parent = flow({"make": {}, "each": each, "plain": {}}, name="parent", concurrency={"limit": 3})
    async with open_world(store_url, world.clock, migrated=True) as other:
        await world.deploy(child)
        await world.deploy(parent)
        runs = [started.run_id for started in await asyncio.gather(*(world.start("parent") for _ in range(8)))]
        other.worker_id = (await workers(world, 1))[0]
        for _ in range(60):
            claims = await asyncio.gather(world.claim(12), other.claim(12))
            if not any(claims):
                break
            cancels = [each.cancel(runs.pop()) for each in (world, other) if len(runs) > 4]
            reports = [
                each.finish(task) for each, claimed in zip((world, other), claims, strict=True) for task in claimed
            ]
            await asyncio.gather(*reports, *cancels, return_exceptions=False)
        await world.enforce_run_deadlines.execute(await world.lead())
        for task in [*await world.claim(), *await other.claim()]:
            await world.finish(task, Cancelled())
        await other.announcer.idle()
    counts = await world.rows("select state, count(*) as number from runs group by state")
    assert {row["state"] for row in counts} <= {"succeeded", "cancelled"}
