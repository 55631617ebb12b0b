"""History: what is finished moves out of the way unseen, goes when its time is over, and takes nothing along."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler_application.errors import Conflict, LeadershipLost, NotFound
from scheduler_application.paging import PageRequest
from scheduler_application.ports.logs import LogChunk
from scheduler_application.ports.reading import RunFilter, RunView
from scheduler_application.run import prune
from scheduler_application.run.control import RerunCommand
from scheduler_application.run.logs import ReadLogsCommand
from scheduler_application.run.prune import PruneFinished, Retention, Tidied
from scheduler_application.run.start import StartRunCommand
from scheduler_application.why import WhyCommand
from scheduler_domain.run.outcome import Succeeded
from scheduler_infrastructure.persistence import history, partitions
from scheduler_infrastructure.persistence.schema import migrate
from tests.application.test_backfills import backfill, due, finish, look
from tests.application.test_child_runs import child_of, deadlines, parent, stop_only
from tests.application.test_expectations import alerts, expecting, judged, succeed
from tests.application.test_firing import HOUR, MINUTE, fire, timed
from tests.application.test_leadership import campaign, end_of_lease
from tests.support import services, stores
from tests.support.flows import chain, failure, flow, results
from tests.support.invariants import broken_invariants
from tests.support.world import ACTOR, World, at_once, open_world

DAY = 86_400
NINE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
MONTH = Retention(runs=timedelta(days=30), ledger=timedelta(days=30), alerts=timedelta(days=30))


@pytest.fixture(autouse=True)
def few_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock makes leaps here; to make the weeks in between would take most of the time."""
    monkeypatch.setattr(partitions, "LOOKED_BACK", timedelta(0))
    monkeypatch.setattr(partitions, "WEEKS_AHEAD", 1)


@pytest.fixture(params=stores.STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Over a database of its own: partitions come and go."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = stores.copied_sqlite(request.getfixturevalue("sqlite_template"), tmp_path / "store")
        else:
            url = stack.enter_context(services.fresh_database(request.getfixturevalue("postgres_server")))
            await migrate(url)
        async with open_world(url, migrated=True) as opened:
            yield opened


def on_postgres(world: World) -> bool:
    return world.database.dialect == "postgresql"


async def pruned(world: World, after: float = 0.0, retention: Retention = MONTH) -> Tidied:
    """Turns the clock and lets the leader prune."""
    world.clock.advance(after)
    work = PruneFinished(world.store, world.clock, world.metrics, retention, at_once)
    term = await world.lead()
    await world.write("update leadership set lease_until = $1", datetime(2100, 1, 1, tzinfo=UTC))
    return await work.execute(term)


async def listed(world: World, **where: Any) -> list[str]:
    page = await world.reader.runs(ACTOR.project, RunFilter(**where), PageRequest(200))
    return [run.id for run in page.items]


async def in_live_tables(world: World) -> tuple[int, int]:
    runs, task_runs = await world.rows("select id from runs"), await world.rows("select id from task_runs")
    return len(runs), len(task_runs)


async def write_log(world: World, run: RunView, text: bytes = b"hello\n") -> None:
    assert run.tasks
    task = run.tasks[0]
    await world.logs.append([LogChunk(ACTOR.project, run.id, task.id, 1, 1, "stdout", world.clock.now(), text)])


async def log_of(world: World, run_id: str) -> list[str]:
    page = await world.read_logs.execute(ReadLogsCommand(run_id), ACTOR)
    return [line.text for line in page.lines]


async def failed_then_done(world: World) -> str:
    """A run of two tasks, the first of which needed a second attempt, with a log."""
    await world.deploy(flow(chain("a", "b", retry={"attempts": 2, "delay": "1s"})))
    run_id = (await world.start("flow")).run_id
    (first,) = await world.claim()
    await write_log(world, await world.run(run_id))
    await world.finish(first, failure())
    world.clock.advance(2)
    await world.wake_due_tasks.execute(await world.lead())
    await world.work()
    return run_id


async def seen(world: World, run_id: str) -> list[Any]:
    """Everything that people can see of a run."""
    run = await world.run(run_id)
    assert run.tasks is not None
    tasks = [await world.reader.task_run(ACTOR.project, task.id) for task in run.tasks]
    return [run, tasks, await log_of(world, run_id), await listed(world), await listed(world, states=(run.state,))]


async def test_a_run_looks_the_same_after_it_has_moved(world: World) -> None:
    run_id = await failed_then_done(world)
    before = await seen(world, run_id)
    assert [len(task.attempts) for task in before[1]] == [2, 1]
    tidied = await pruned(world, 6 * MINUTE)
    assert await seen(world, run_id) == before
    assert tidied.rows["moved_runs"] == (1 if on_postgres(world) else 0)
    assert await in_live_tables(world) == ((0, 0) if on_postgres(world) else (1, 2))
    assert await broken_invariants(world) == []


async def test_what_lives_or_ended_just_now_does_not_move(world: World) -> None:
    await world.deploy(flow())
    await world.start("flow")
    await pruned(world, HOUR)
    assert await in_live_tables(world) == (1, 1)
    await world.work()
    await pruned(world, 4 * MINUTE)
    assert await in_live_tables(world) == (1, 1)


@pytest.mark.parametrize("away", [6 * MINUTE, 45 * DAY])
async def test_a_child_whose_cancelled_parent_has_moved_or_gone_is_found_all_the_same(
    world: World, away: float
) -> None:
    """Who cancelled the parent died before the child was cancelled, and nobody led for a while."""
    await world.deploy(flow(name="child"))
    await world.deploy(parent())
    run_id = (await world.start("parent")).run_id
    child = await child_of(world, run_id)
    await stop_only(world, run_id)
    tidied = await pruned(world, away)
    assert tidied.rows["moved_runs" if on_postgres(world) and away < DAY else "runs"] == (
        1 if on_postgres(world) or away > DAY else 0
    )
    assert (await world.run(child)).state == "running"
    assert await deadlines(world) == 1
    assert (await world.run(child)).state == "cancelled"
    assert await deadlines(world) == 0


async def test_a_list_names_the_run_that_started_a_child_wherever_that_is(world: World) -> None:
    await world.deploy(flow(name="child"))
    await world.deploy(parent())
    run_id = (await world.start("parent")).run_id
    child = await child_of(world, run_id)
    await world.work()

    async def seen_of_child() -> list[Any]:
        page = await world.reader.runs(ACTOR.project, RunFilter(workflow="child"), PageRequest())
        assert [run.id for run in page.items] == [child]
        return [page.items[0].parent_run_id, (await world.run(child)).parent_run_id]

    assert await seen_of_child() == [run_id, run_id]
    await pruned(world, 6 * MINUTE)
    assert await seen_of_child() == [run_id, run_id]


async def test_a_moved_run_is_run_again_from_what_failed(world: World) -> None:
    await world.deploy(flow(chain("a", "b", "c")))
    former = (await world.start("flow")).run_id
    await world.work(results(b=failure(retryable=False)))
    await pruned(world, HOUR)
    again = await world.rerun_run.execute(RerunCommand(former, from_failed=True), ACTOR)
    assert await world.work() == ["b", "c"]
    assert (await world.run(again.run_id)).rerun_of == former
    with pytest.raises(Conflict):
        await world.cancel(former)


async def test_an_idempotency_key_finds_the_run_that_has_moved_until_the_key_is_forgotten(world: World) -> None:
    await world.deploy(flow())
    keyed = StartRunCommand("flow", {}, idempotency_key="key", request_hash="hash")
    first = await world.start_run.execute(keyed, ACTOR)
    await world.work()
    await pruned(world, 6 * DAY)
    again = await world.start_run.execute(keyed, ACTOR)
    assert (again.run_id, again.state, again.replayed) == (first.run_id, "succeeded", True)
    assert (await pruned(world, 2 * DAY)).rows["idempotency_keys"] == 1
    assert not (await world.start_run.execute(keyed, ACTOR)).replayed


async def test_a_trigger_that_is_set_back_fires_nothing_twice_though_the_runs_have_moved(world: World) -> None:
    await world.deploy(timed({"schedule": "* * * * *"}))
    await fire(world, MINUTE)
    await fire(world, MINUTE)
    await world.work()
    await pruned(world, HOUR)
    await world.write("update triggers set due_at = $1, next_at = $1", NINE + timedelta(minutes=1))
    await fire(world)
    runs = await world.rows("select due_at from all_runs")
    assert len({row["due_at"] for row in runs}) == len(runs) > 2
    decided = await world.rows("select run_id from ledger where outcome = 'fired'")
    assert len(decided) == len(runs)


async def test_a_backfill_that_goes_on_keeps_its_runs_where_they_are_unique(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "name": "hourly"}))
    backfill_id = await backfill(world, hours=3, max_parallel=1)
    await look(world)
    await world.work()
    await pruned(world, HOUR)
    assert len(await due(world)) == 1
    await world.write("update backfills set next_at = from_at where id = $1", backfill_id)
    assert (await finish(world, backfill_id)).started == 3
    await pruned(world, HOUR)
    assert await due(world) == ([] if on_postgres(world) else ["02 06:00", "02 07:00", "02 08:00"])
    assert (await finish(world, backfill_id)).runs == {"succeeded": 3}
    only_missing = await backfill(world, hours=3, only_missing=True)
    assert (await finish(world, only_missing)).started == 0


async def test_a_run_goes_with_everything_when_its_time_is_over(world: World) -> None:
    run_id = await failed_then_done(world)
    tasks = (await world.run(run_id)).tasks
    assert tasks
    await pruned(world, HOUR)
    await pruned(world, 29 * DAY)
    assert await listed(world) == [run_id]
    await pruned(world, 9 * DAY)
    assert await listed(world) == []
    assert await world.reader.run(ACTOR.project, run_id) is None
    assert await world.reader.task_run(ACTOR.project, tasks[0].id) is None
    for refused in (
        world.read_logs.execute(ReadLogsCommand(run_id), ACTOR),
        world.rerun_run.execute(RerunCommand(run_id), ACTOR),
        world.cancel(run_id),
        world.explain.execute(WhyCommand(run_id), ACTOR),
    ):
        with pytest.raises(NotFound):
            await refused


async def test_attempts_and_logs_go_too(world: World) -> None:
    await failed_then_done(world)
    # The partition that a migration makes reaches to the week of the migration.
    for days in (0, 40, 40, 400):
        await pruned(world, days * DAY)
    for table in ("all_runs", "all_task_runs", "attempts", "log_chunks"):
        assert not await world.rows(f"select 1 as one from {table}"), table


async def test_zero_keeps_for_ever(world: World) -> None:
    run_id = await failed_then_done(world)
    await pruned(world, 4_000 * DAY, Retention())
    assert await listed(world) == [run_id]
    assert await log_of(world, run_id) == ["hello"]


async def test_an_open_run_and_its_log_outlive_any_retention(world: World) -> None:
    await world.deploy(flow(chain("a", "b")))
    run_id = (await world.start("flow")).run_id
    await world.finish((await world.claim())[0])
    await write_log(world, await world.run(run_id))
    for _ in range(3):
        await pruned(world, 200 * DAY)
    assert await log_of(world, run_id) == ["hello"]
    assert (await world.run(run_id)).finished_at is None
    await world.work()
    await pruned(world, 29 * DAY)
    assert await log_of(world, run_id) == ["hello"], "it ended only 29 days ago, whenever it began"
    await pruned(world, 2 * DAY)
    assert await listed(world) == []


async def test_the_run_that_met_a_rare_deadline_is_kept_until_that_is_judged(world: World) -> None:
    await world.deploy(expecting({"by": "0 10 1 2 *", "name": "yearly", "within": "365d"}))
    await succeed(world)
    world.clock.advance(MINUTE)
    newest = await succeed(world)
    for days in (1, 40, 40):
        await pruned(world, days * DAY)
    assert await listed(world) == [newest]
    assert await judged(world, 11 * DAY) == 1
    assert await alerts(world) == []


async def test_a_run_that_nobody_asks_about_any_more_goes(world: World) -> None:
    await world.deploy(expecting({"by": "0 10 1 2 *", "name": "yearly", "within": "365d"}))
    await succeed(world)
    for days in (1, 40, 40):
        await pruned(world, days * DAY)
    newer = await succeed(world)
    await pruned(world, HOUR)
    await pruned(world, HOUR)
    assert await listed(world) == [newer]


async def test_decisions_go_when_both_they_and_their_due_times_are_old(world: World) -> None:
    await world.deploy(timed({"schedule": "0 9 * * *", "misfire": "skip"}))
    await fire(world, DAY)
    await pruned(world, 30 * DAY)
    assert len(await world.rows("select due_at from ledger")) == 1
    await fire(world)
    await pruned(world)
    assert len(await world.rows("select due_at from ledger")) == 31
    await world.write("update triggers set active = $1", False)
    for _ in range(3):
        await pruned(world, 40 * DAY)
    assert await world.rows("select due_at from ledger") == []


async def test_an_open_backfill_keeps_the_decisions_that_it_reaches_back_to(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "name": "hourly"}))
    await fire(world, HOUR)
    await world.work()
    await backfill(world, hours=3, only_missing=True)
    await world.write("update triggers set active = $1", False)
    await world.write("update backfills set state = $1", "paused")
    for _ in range(3):
        await pruned(world, 60 * DAY)
    assert len(await world.rows("select due_at from ledger")) == 1
    await world.write("update backfills set state = $1, finished_at = $2", "cancelled", world.clock.now())
    await pruned(world)
    assert await world.rows("select due_at from ledger") == []


async def test_resolved_alerts_go_and_open_ones_stay(world: World) -> None:
    await world.deploy(expecting({"by": "10:00", "name": "by-ten"}))
    await judged(world, 2 * HOUR)
    await pruned(world, 100 * DAY)
    assert len(await alerts(world)) == 1
    await world.write("update alerts set resolved_at = $1", world.clock.now())
    await pruned(world, 29 * DAY)
    assert len(await alerts(world)) == 1
    assert (await pruned(world, 2 * DAY)).rows["alerts"] == 1
    assert await alerts(world) == []


async def test_pages_are_small_and_nothing_is_left_between_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "RUNS_AT_ONCE", 3)
    monkeypatch.setattr(history, "TASK_RUNS_AT_ONCE", 4)
    await world.deploy(flow(chain("a", "b")))
    for _ in range(8):
        await world.start("flow")
    await world.work()
    open_run = (await world.start("flow")).run_id
    world.clock.advance(HOUR)
    shown = await listed(world)
    await pruned(world)
    assert await in_live_tables(world) == ((1, 2) if on_postgres(world) else (9, 18))
    assert await listed(world) == shown
    await pruned(world, 45 * DAY)
    assert await listed(world) == [open_run]


async def test_pages_of_a_list_meet_every_run_once_wherever_it_is(world: World) -> None:
    await world.deploy(flow())
    either = RunFilter(states=("succeeded", "running"))
    for _ in range(4):
        await world.start("flow")
        await world.work()
        await pruned(world, 3 * DAY)
    await world.start("flow")
    page = await world.reader.runs(ACTOR.project, either, PageRequest(2))
    found = [run.id for run in page.items]
    while page.next_cursor is not None:
        page = await world.reader.runs(ACTOR.project, either, PageRequest(2, page.next_cursor))
        found += [run.id for run in page.items]
    assert found == sorted(await listed(world), reverse=True)
    assert len(found) == 5


async def test_every_filter_finds_its_runs_however_many_weeks_ago(world: World) -> None:
    """Spans of weeks are asked one after the other; what they leave out would be missed here."""
    await world.deploy(flow())
    await world.deploy(flow(name="other"))
    made: list[RunView] = []
    for number in range(6):
        for name in ("flow", "other"):
            run_id = (await world.start(name)).run_id
            outcome = failure() if number % 2 else Succeeded(1)
            await world.work(results(a=outcome))
            made.append(await world.run(run_id))
        await pruned(world, 13 * DAY, Retention())
    made.append(await world.run((await world.start("flow")).run_id))
    newest_first = made[::-1]
    moments = [made[0].created_at, made[5].created_at, made[-1].created_at]
    filters = [
        RunFilter(),
        RunFilter(workflow="other"),
        RunFilter(states=("failed",)),
        RunFilter(states=("running",)),
        RunFilter(states=("failed", "running"), workflow="flow"),
        *(RunFilter(created_after=moment) for moment in moments),
        *(RunFilter(created_before=moment, states=("succeeded",)) for moment in moments),
        RunFilter(created_after=moments[0], created_before=moments[2]),
    ]
    for where in filters:
        wanted = [
            run.id
            for run in newest_first
            if (not where.states or run.state in where.states)
            and where.workflow in (None, run.workflow)
            and (where.created_after is None or run.created_at > where.created_after)
            and (where.created_before is None or run.created_at < where.created_before)
        ]
        for limit in (1, 2, 50):
            found: list[str] = []
            page = await world.reader.runs(ACTOR.project, where, PageRequest(limit))
            found += [run.id for run in page.items]
            while page.next_cursor is not None:
                page = await world.reader.runs(ACTOR.project, where, PageRequest(limit, page.next_cursor))
                found += [run.id for run in page.items]
            assert found == wanted, (where, limit)


@pytest.mark.parametrize("digit", ["0", "f"])
async def test_an_id_of_no_time_is_no_run_and_a_page_all_the_same(world: World, digit: str) -> None:
    await world.deploy(flow())
    run_id = (await world.start("flow")).run_id
    strange = f"{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}"
    assert await world.reader.run(ACTOR.project, strange) is None
    assert await world.reader.task_run(ACTOR.project, strange) is None
    page = await world.reader.runs(ACTOR.project, RunFilter(), PageRequest(5, strange))
    assert [run.id for run in page.items] == ([run_id] if digit == "f" else [])


async def test_only_the_current_epoch_prunes(world: World) -> None:
    await world.deploy(flow())
    await world.start("flow")
    await world.work()
    deposed = await campaign(world).renew()
    assert deposed is not None
    await end_of_lease(world)
    await campaign(world).renew()
    world.clock.advance(60 * DAY)
    work = PruneFinished(world.store, world.clock, world.metrics, MONTH, at_once)
    with pytest.raises(LeadershipLost):
        await work.execute(deposed)
    assert await in_live_tables(world) == (1, 1)
