"""Backfills: past due times get their runs, a few at a time, each at most once."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from scheduler_application.errors import ApplicationError, Conflict, LeadershipLost, NotFound, Rejected
from scheduler_application.paging import PageRequest
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.reading import BackfillView, RunFilter
from scheduler_application.ports.rows import LedgerRow
from scheduler_application.schedule.backfill_orders import BackfillRef
from scheduler_application.schedule.backfill_plan import BackfillCommand, BackfillPreview
from scheduler_application.schedule.freeze import FreezeCommand
from scheduler_application.schedule.manage import PauseCommand
from scheduler_application.why import WhyCommand
from scheduler_application.workflow.authoring import WorkflowCommand
from scheduler_domain.errors import InvalidDefinition
from tests.application.test_calendars_in_use import listed
from tests.application.test_firing import HOUR, fire, timed
from tests.application.test_leadership import campaign, end_of_lease
from tests.support.flows import failure, flow, slots
from tests.support.world import ACTOR, World

NINE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
HOURLY = {"schedule": "0 * * * *", "name": "hourly"}


def ordered(hours: int = 4, **more: Any) -> BackfillCommand:
    """The due times of so many hours before now: on the hour, the last at eight."""
    return BackfillCommand(**{"workflow": "flow", "from_at": NINE - timedelta(hours=hours), "to_at": NINE, **more})


async def backfill(world: World, command: BackfillCommand | None = None, **more: Any) -> str:
    view = await world.start_backfill.execute(command or ordered(**more), ACTOR)
    return view.id


async def look(world: World) -> int:
    """One pass of the leader."""
    return (await world.advance_backfills.execute(await world.lead())).done


async def view(world: World, backfill_id: str) -> BackfillView:
    found = await world.reader.backfill(ACTOR.project, backfill_id)
    assert found is not None
    return found


async def due(world: World, where: str = "backfill_id is not null") -> list[str]:
    """The due times of runs as ``day hour:minute``, in the order of their starts."""
    rows = await world.rows(f"select due_at from runs where {where} order by id")
    return [row["due_at"].strftime("%d %H:%M") for row in rows]


async def live(world: World) -> int:
    rows = await world.rows("select id from runs where backfill_id is not null and finished_at is null")
    return len(rows)


async def finish_one(world: World) -> None:
    claimed = await world.claim(1)
    await world.finish(claimed[0])


async def finish(world: World, backfill_id: str) -> BackfillView:
    """Passes and work in turn until the backfill is over."""
    for _ in range(1_000):
        if (await view(world, backfill_id)).finished_at is not None:
            return await view(world, backfill_id)
        await look(world)
        await world.work()
    raise AssertionError("the backfill does not end")


async def test_every_due_time_of_the_range_gets_one_run_in_order(world: World) -> None:
    inputs = {"day": {"type": "string"}, "by": {"type": "string"}}
    given = {"day": "${{ run.scheduled_for }}", "by": "${{ run.started_by }}"}
    await world.deploy(timed({**HOURLY, "timezone": "Europe/Berlin", "inputs": given}, inputs=inputs))
    backfill_id = await backfill(world)
    over = await finish(world, backfill_id)
    assert await due(world) == ["02 05:00", "02 06:00", "02 07:00", "02 08:00"]
    assert (over.state, over.total, over.started, over.skipped, over.next_at) == ("finished", 4, 4, 0, None)
    assert over.runs == {"succeeded": 4}
    first = (await world.rows("select * from runs order by id"))[0]
    assert (first["trigger_id"], first["scheduled_for"]) == (None, "2026-11-02T06:00:00+01:00")
    run = await world.run(first["id"])
    assert (run.started_by, run.priority) == (f"backfill:{backfill_id}", "low")
    assert run.inputs == {"day": "2026-11-02T06:00:00+01:00", "by": f"backfill:{backfill_id}"}
    assert {row["priority"] for row in await world.rows("select priority from task_runs")} == {first["priority"]}
    assert await look(world) == 0


async def test_a_range_begins_with_its_start_and_ends_before_its_end(world: World) -> None:
    await world.deploy(timed(HOURLY))
    command = ordered(from_at=NINE - timedelta(hours=2), to_at=NINE - timedelta(hours=1))
    await finish(world, await backfill(world, command))
    assert await due(world) == ["02 07:00"]


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_runs_than_allowed_are_live_at_a_time(world: World, most: int) -> None:
    await world.deploy(timed(HOURLY))
    backfill_id = await backfill(world, hours=10, max_parallel=most)
    seen = set()
    while (await view(world, backfill_id)).finished_at is None:
        await look(world)
        await look(world)
        seen.add(await live(world))
        if await live(world):
            await finish_one(world)
    assert max(seen) == most
    assert len(await due(world)) == 10


async def test_a_backfill_waits_for_free_slots_and_never_in_line_before_the_clock(world: World) -> None:
    await world.deploy(timed(HOURLY, concurrency={"limit": 1, "on_conflict": "queue"}))
    backfill_id = await backfill(world, hours=3, max_parallel=3)
    await look(world)
    assert (await due(world), await slots(world)) == (["02 06:00"], {"": 1})
    await fire(world, HOUR)
    assert await due(world, "state = 'pending'") == ["02 10:00"]
    await finish_one(world)
    await look(world)
    # The clock's run has the slot now.
    assert await due(world, "finished_at is null") == ["02 10:00"]
    over = await finish(world, backfill_id)
    assert (over.started, over.skipped) == (3, 0)
    assert await due(world) == ["02 06:00", "02 07:00", "02 08:00"]


@pytest.mark.parametrize("on_conflict", ["skip", "cancel_running"])
async def test_the_workflows_concurrency_loses_no_due_time_of_a_backfill(world: World, on_conflict: str) -> None:
    await world.deploy(timed(HOURLY, concurrency={"limit": 2, "on_conflict": on_conflict}))
    over = await finish(world, await backfill(world, hours=5, max_parallel=4))
    assert (over.started, over.runs) == (5, {"succeeded": 5})


async def test_keys_that_are_taken_hold_up_their_own_due_times_and_none_runs_twice(world: World) -> None:
    inputs = {"at": {"type": "string", "default": "${{ run.scheduled_for }}"}}
    concurrency = {"limit": 1, "key": "${{ inputs.at == '2026-11-02T06:00:00+00:00' }}", "on_conflict": "skip"}
    await world.deploy(timed(HOURLY, inputs=inputs, concurrency=concurrency))
    backfill_id = await backfill(world, hours=4, max_parallel=4)
    await look(world)
    assert await due(world) == ["02 05:00", "02 06:00"]
    await look(world)
    over = await finish(world, backfill_id)
    assert (over.started, over.runs) == (4, {"succeeded": 4})
    assert sorted(await due(world)) == ["02 05:00", "02 06:00", "02 07:00", "02 08:00"]


async def test_only_what_an_outage_left_out_is_started(world: World) -> None:
    await world.deploy(timed({**HOURLY, "misfire": "skip"}))
    await fire(world, HOUR)
    await fire(world, 5 * HOUR)
    await fire(world, HOUR)
    fired = await due(world, "backfill_id is null")
    assert fired == ["02 10:00", "02 15:00", "02 16:00"]
    command = ordered(from_at=NINE, to_at=world.clock.now(), only_missing=True, max_parallel=2)
    preview = await world.plan_backfill.execute(command, ACTOR)
    assert (preview.due_times, preview.missing, preview.to_start) == (7, 5, 5)
    over = await finish(world, await backfill(world, command))
    assert await due(world) == ["02 09:00", "02 11:00", "02 12:00", "02 13:00", "02 14:00"]
    assert (over.total, over.started, over.skipped) == (7, 5, 2)
    again = await finish(world, await backfill(world, command))
    assert (again.started, again.skipped) == (0, 7)


async def test_without_only_missing_a_due_time_that_had_a_run_gets_another(world: World) -> None:
    await world.deploy(timed(HOURLY))
    await fire(world, HOUR)
    await world.work()
    await finish(world, await backfill(world, ordered(from_at=NINE, to_at=NINE + timedelta(seconds=HOUR))))
    ten = ordered(from_at=NINE, to_at=world.clock.now())
    await finish(world, await backfill(world, ten))
    counted = Counter(await due(world, "true"))
    assert counted == {"02 10:00": 1, "02 09:00": 2}


async def test_what_was_cancelled_with_its_backfill_is_missing(world: World) -> None:
    await world.deploy(timed(HOURLY))
    first = await backfill(world, hours=3)
    await look(world)
    await world.cancel_backfill.execute(BackfillRef(first), ACTOR)
    await look(world)
    over = await finish(world, await backfill(world, hours=3, only_missing=True))
    assert (over.started, over.skipped) == (3, 0)


async def test_a_pass_that_was_committed_and_is_done_again_starts_nothing_twice(world: World) -> None:
    await world.deploy(timed(HOURLY))
    backfill_id = await backfill(world, hours=6, max_parallel=2)
    term = await world.lead()
    steps: list[Any] = []
    real = world.store.transact

    async def twice(work: Any) -> Any:
        await real(work)
        steps.append(work)
        return await real(work)

    world.advance_backfills._store = type("Twice", (), {"transact": staticmethod(twice)})()
    await world.advance_backfills.execute(term)
    assert steps
    assert (await live(world), (await view(world, backfill_id)).started) == (2, 2)
    assert await due(world) == ["02 03:00", "02 04:00"]


async def test_a_due_time_cannot_have_two_runs_of_one_backfill_even_when_the_place_is_lost(world: World) -> None:
    await world.deploy(timed(HOURLY))
    backfill_id = await backfill(world, hours=3, max_parallel=5)
    await look(world)
    await world.write("update backfills set next_at = from_at where id = $1", backfill_id)
    over = await finish(world, backfill_id)
    assert await due(world) == ["02 06:00", "02 07:00", "02 08:00"]
    assert over.started == 3


async def test_a_leader_that_lost_the_lead_starts_nothing_and_its_successor_goes_on(world: World) -> None:
    await world.deploy(timed(HOURLY))
    backfill_id = await backfill(world, hours=4, max_parallel=2)
    deposed = await campaign(world).renew()
    assert deposed is not None
    await world.advance_backfills.execute(deposed)
    await end_of_lease(world)
    successor = await campaign(world).renew()
    assert successor is not None
    await world.work()
    with pytest.raises(LeadershipLost):
        await world.advance_backfills.execute(deposed)
    assert len(await due(world)) == 2
    while (await view(world, backfill_id)).finished_at is None:
        await world.advance_backfills.execute(successor)
        await world.work()
    assert await due(world) == ["02 05:00", "02 06:00", "02 07:00", "02 08:00"]


async def test_a_lead_that_is_lost_between_two_steps_stops_the_pass(world: World) -> None:
    await world.deploy(timed(HOURLY))
    await backfill(world, hours=3)
    term = await campaign(world).renew()
    assert term is not None
    real = world.store.transact

    async def deposed_after_the_first(work: Any) -> Any:
        answer = await real(work)
        await end_of_lease(world)
        await campaign(world).renew()
        return answer

    fake = type("Deposed", (), {"transact": staticmethod(deposed_after_the_first)})()
    world.advance_backfills._store = fake
    with pytest.raises(LeadershipLost):
        await world.advance_backfills.execute(term)
    assert await due(world) == []


async def test_a_paused_backfill_starts_nothing_until_it_is_resumed(world: World) -> None:
    await world.deploy(timed(HOURLY))
    ref = BackfillRef(await backfill(world, hours=3))
    await look(world)
    for _ in range(2):
        paused = await world.pause_backfill.execute(ref, ACTOR)
        assert (paused.state, paused.reason) == ("paused", "paused by key:tester00")
    await world.work()
    assert await look(world) == 0
    assert await due(world) == ["02 06:00"]
    for _ in range(2):
        resumed = await world.resume_backfill.execute(ref, ACTOR)
        assert (resumed.state, resumed.reason) == ("running", None)
    assert (await finish(world, ref.backfill_id)).runs == {"succeeded": 3}


async def test_a_cancelled_backfill_ends_its_runs(world: World) -> None:
    await world.deploy(timed(HOURLY))
    ref = BackfillRef(await backfill(world, hours=9, max_parallel=3))
    await look(world)
    (claimed,) = await world.claim(1)
    for _ in range(2):
        assert (await world.cancel_backfill.execute(ref, ACTOR)).state == "cancelling"
    await look(world)
    assert (await view(world, ref.backfill_id)).runs == {"cancelled": 2, "cancelling": 1}
    assert (await view(world, ref.backfill_id)).state == "cancelling"
    await world.finish(claimed, failure())
    await look(world)
    over = await view(world, ref.backfill_id)
    assert (over.state, over.runs) == ("cancelled", {"cancelled": 3})
    assert over.finished_at is not None
    for switch in (world.pause_backfill, world.resume_backfill, world.cancel_backfill):
        with pytest.raises(Conflict) as refused:
            await switch.execute(ref, ACTOR)
        assert refused.value.code == "already_finished"


async def test_the_leader_ends_the_runs_of_a_cancelled_backfill_where_nobody_else_did(world: World) -> None:
    await world.deploy(timed(HOURLY))
    backfill_id = await backfill(world, hours=9, max_parallel=3)
    await look(world)
    await world.write("update backfills set state = 'cancelling' where id = $1", backfill_id)
    await look(world)
    await look(world)
    assert (await view(world, backfill_id)).runs == {"cancelled": 3}
    assert (await view(world, backfill_id)).state == "cancelled"


@pytest.mark.parametrize("hindrance", ["undeploy_workflow", "disable_workflow"])
async def test_a_workflow_that_may_not_start_pauses_its_backfill(world: World, hindrance: str) -> None:
    await world.deploy(timed(HOURLY))
    ref = BackfillRef(await backfill(world, hours=2))
    await getattr(world, hindrance).execute(WorkflowCommand("flow"), ACTOR)
    await look(world)
    paused = await view(world, ref.backfill_id)
    words = {"undeploy_workflow": "the workflow is not deployed", "disable_workflow": "the workflow is disabled"}
    assert (paused.state, paused.reason) == ("paused", words[hindrance])
    assert await due(world) == []
    with pytest.raises(Conflict) as refused:
        await world.resume_backfill.execute(ref, ACTOR)
    assert refused.value.code == "hindered"


async def test_a_deploy_without_the_trigger_pauses_and_one_with_it_lets_it_go_on_with_the_live_version(
    world: World,
) -> None:
    await world.deploy(timed(HOURLY))
    ref = BackfillRef(await backfill(world, hours=2))
    await look(world)
    await world.work()
    await world.deploy(flow())
    await look(world)
    assert (await view(world, ref.backfill_id)).reason == "the live version has no trigger 'hourly'"
    await world.deploy(timed(HOURLY, description="third"))
    await world.resume_backfill.execute(ref, ACTOR)
    await finish(world, ref.backfill_id)
    page = await world.reader.runs(ACTOR.project, RunFilter(backfill=ref.backfill_id), PageRequest())
    assert [run.version for run in page.items] == [3, 1]


async def test_inputs_that_cannot_be_rendered_pause_the_backfill_with_the_reason(world: World) -> None:
    inputs = {"n": {"type": "integer"}}
    await world.deploy(timed({**HOURLY, "inputs": {"n": "${{ run.scheduled_for }}"}}, inputs=inputs))
    backfill_id = await backfill(world, hours=2)
    await look(world)
    paused = await view(world, backfill_id)
    assert paused.state == "paused"
    assert paused.reason is not None
    assert paused.reason.startswith("the run for 2026-11-02T07:00:00+00:00 cannot be started: ")
    assert paused.next_at == NINE - timedelta(hours=2)
    assert await due(world) == []


@pytest.mark.parametrize(
    ("schedule", "day", "expected"),
    [
        # 02:30 does not exist on 29 March: the run is due at the first instant after the gap.
        ("30 2 * * *", datetime(2026, 3, 28, tzinfo=UTC), ["28 01:30", "29 01:00", "30 00:30"]),
        # 02:30 comes twice on 25 October: it is due once, the first time.
        ("30 2 * * *", datetime(2026, 10, 24, tzinfo=UTC), ["24 00:30", "25 00:30", "26 01:30"]),
    ],
)
async def test_nights_of_clock_changes_are_as_the_clock_has_them(
    world: World, schedule: str, day: datetime, expected: list[str]
) -> None:
    await world.deploy(timed({"schedule": schedule, "timezone": "Europe/Berlin"}))
    command = ordered(from_at=day, to_at=day + timedelta(days=3), max_parallel=3)
    await finish(world, await backfill(world, command))
    assert await due(world) == expected


async def test_the_preview_tells_what_it_would_cost_and_changes_nothing(world: World) -> None:
    await world.deploy(timed(HOURLY, concurrency={"limit": 2}))
    await world.new_worker()
    await world.start("flow")
    claimed = await world.claim()
    world.clock.advance(30)
    await world.finish(claimed[0])
    preview = await world.plan_backfill.execute(ordered(hours=5, max_parallel=4), ACTOR)
    assert isinstance(preview, BackfillPreview)
    assert (preview.workflow, preview.trigger) == ("flow", "hourly")
    assert (preview.due_times, preview.missing, preview.to_start, preview.at_a_time) == (5, 5, 5, 2)
    assert (preview.mean_run_seconds, preview.expected_seconds) == (30.0, 90.0)
    assert (preview.first_at, preview.last_at) == (NINE - timedelta(hours=5), NINE - timedelta(hours=1))
    assert [(queue.name, queue.slots, queue.workers) for queue in preview.queues] == [("default", 4, 1)]
    assert await world.rows("select id from backfills") == []


async def test_a_workflow_that_never_ran_and_a_queue_that_nobody_serves_are_told(world: World) -> None:
    await world.deploy(timed(HOURLY))
    preview = await world.plan_backfill.execute(ordered(), ACTOR)
    assert (preview.mean_run_seconds, preview.expected_seconds) == (None, None)
    assert [(queue.name, queue.workers) for queue in preview.queues] == [("default", 0)]


async def refusal(world: World, command: BackfillCommand) -> str:
    with pytest.raises(ApplicationError) as refused:
        await world.start_backfill.execute(command, ACTOR)
    return refused.value.code


async def test_wrong_ranges_and_numbers_are_refused_all_at_once(world: World) -> None:
    await world.deploy(timed(HOURLY))
    later = NINE + timedelta(days=1)
    with pytest.raises(InvalidDefinition) as refused:
        await backfill(world, ordered(from_at=later, to_at=later, max_parallel=0, priority="urgent"))
    codes = [problem.code for problem in refused.value.problems]
    assert codes == ["invalid_window", "in_the_future", "number_out_of_range", "unknown_priority"]
    with pytest.raises(InvalidDefinition) as refused:
        await backfill(world, ordered(from_at=NINE - timedelta(days=4_000)))
    assert [problem.code for problem in refused.value.problems] == ["range_too_long"]


async def test_what_cannot_be_backfilled_is_refused(world: World) -> None:
    assert await refusal(world, ordered()) == "reference_not_found"
    await world.deploy(timed({"manual": {}}))
    assert await refusal(world, ordered()) == "no_schedule"
    await world.deploy(timed(HOURLY, {"schedule": "* * * * *", "name": "minutely"}))
    assert await refusal(world, ordered()) == "trigger_needed"
    assert await refusal(world, ordered(trigger="daily")) == "reference_not_found"
    assert await refusal(world, ordered(trigger="hourly", from_at=NINE - timedelta(minutes=5))) == "nothing_due"
    await world.disable_workflow.execute(WorkflowCommand("flow"), ACTOR)
    assert await refusal(world, ordered()) == "disabled"
    await world.undeploy_workflow.execute(WorkflowCommand("flow"), ACTOR)
    assert await refusal(world, ordered()) == "not_deployed"
    assert await world.rows("select id from backfills") == []
    with pytest.raises(NotFound):
        await world.pause_backfill.execute(BackfillRef(world.ids.new()), ACTOR)


async def test_more_due_times_than_accepted_are_refused_with_their_number(world: World) -> None:
    await world.deploy(timed({"schedule": "* * * * *"}))
    with pytest.raises(Rejected, match=r"about 525,600 due times; at most 100,000") as refused:
        await backfill(world, ordered(from_at=NINE - timedelta(days=365)))
    assert refused.value.code == "too_many_runs"


async def test_two_backfills_of_one_trigger_do_not_overlap(world: World) -> None:
    await world.deploy(timed(HOURLY))
    first = await backfill(world, hours=4)
    assert await refusal(world, ordered(hours=2)) == "overlapping_backfill"
    await backfill(world, ordered(from_at=NINE - timedelta(hours=6), to_at=NINE - timedelta(hours=4)))
    await finish(world, first)
    await backfill(world, hours=2)


async def test_due_times_that_have_runs_are_passed_over_quickly(world: World) -> None:
    await world.deploy(timed({"every": "1m", "name": "each"}))
    world.clock.advance(3_000 * 60)
    command = ordered(from_at=NINE, to_at=world.clock.now(), only_missing=True)
    (row,) = await world.rows("select id, workflow_id, project_id from triggers")
    plan = await world.plan_backfill.plan(command, ACTOR)

    async def fill(tx: Transaction) -> None:
        about = (row["project_id"], row["workflow_id"], "fired", "on_time")
        rows = [LedgerRow(row["id"], at, *about, world.ids.new(), at, 1) for at in plan.due_ats[:-1]]
        await tx.triggers.record(rows)

    await world.store.transact(fill)
    backfill_id = await backfill(world, command)
    await look(world)
    seen = await view(world, backfill_id)
    assert (seen.started, seen.skipped, seen.total) == (1, 2_998, 2_999)


async def test_a_run_says_which_backfill_started_it(world: World) -> None:
    await world.deploy(timed(HOURLY))
    backfill_id = await backfill(world, hours=1)
    await look(world)
    (row,) = await world.rows("select id from runs")
    explanation = await world.explain.execute(WhyCommand(run_id=row["id"]), ACTOR)
    (fact,) = [fact for fact in explanation.facts if fact["code"] == "backfill"]
    assert (fact["backfill_id"], fact["due_at"]) == (backfill_id, "2026-11-02T08:00:00+00:00")
    assert explanation.summary == fact["text"]


async def test_backfills_are_listed_newest_first_and_only_to_their_project(world: World) -> None:
    await world.deploy(timed(HOURLY))
    first = await backfill(world, ordered(from_at=NINE - timedelta(hours=6), to_at=NINE - timedelta(hours=4)))
    second = await backfill(world, hours=2)
    page = await world.reader.backfills(ACTOR.project, PageRequest(1))
    assert [item.id for item in page.items] == [second]
    rest = await world.reader.backfills(ACTOR.project, PageRequest(1, page.next_cursor), workflow="flow")
    assert ([item.id for item in rest.items], rest.next_cursor) == ([first], None)
    assert (await world.reader.backfills(world.ids.new(), PageRequest())).items == []
    assert await world.reader.backfill(world.ids.new(), first) is None


async def test_the_clock_fires_beside_a_backfill_and_its_overlap_does_not_count_it(world: World) -> None:
    await world.deploy(timed({**HOURLY, "overlap": "skip"}))
    await backfill(world, hours=2)
    await look(world)
    await fire(world, HOUR)
    assert await due(world, "trigger_id is not null and finished_at is null") == ["02 10:00"]


async def test_days_that_a_calendar_leaves_out_get_no_run(world: World) -> None:
    await listed(world, "holidays", [date(2026, 10, 31)])
    await world.deploy(timed({"schedule": "0 6 * * *", "calendar": {"skip": "holidays"}}))
    command = ordered(hours=4 * 24, only_missing=True, max_parallel=9)
    preview = await world.plan_backfill.execute(command, ACTOR)
    assert (preview.due_times, preview.missing) == (3, 3)
    over = await finish(world, await backfill(world, command))
    assert await due(world) == ["30 06:00", "01 06:00", "02 06:00"]
    assert (over.total, over.started, over.skipped) == (3, 3, 0)


async def test_what_a_calendar_moves_is_started_where_it_is_moved_to(world: World) -> None:
    await listed(world, "holidays", [date(2026, 10, 31)])
    await world.deploy(timed({"schedule": "0 6 * * SAT", "calendar": {"skip": "holidays", "shift": "previous"}}))
    await finish(world, await backfill(world, ordered(hours=10 * 24)))
    assert await due(world) == ["24 06:00", "30 06:00"]


async def test_a_calendar_that_is_gone_pauses_the_backfill(world: World) -> None:
    await listed(world, "holidays", [date(2026, 10, 31)])
    await world.deploy(timed({"schedule": "0 6 * * *", "calendar": {"skip": "holidays"}}))
    backfill_id = await backfill(world, hours=4 * 24)
    await world.write("delete from calendars")
    await look(world)
    paused = await view(world, backfill_id)
    assert (paused.state, paused.reason) == (
        "paused",
        "the due times cannot be computed: there is no calendar 'holidays'",
    )
    assert await due(world) == []


async def test_a_schedule_that_runs_twice_in_a_repeated_hour_does_so_in_a_backfill(world: World) -> None:
    dst = {"gap": "skip", "repeat": "twice"}
    await world.deploy(timed({"schedule": "30 2 * * *", "timezone": "Europe/Berlin", "dst": dst}))
    autumn = datetime(2026, 10, 24, 12, tzinfo=UTC)
    await finish(world, await backfill(world, ordered(from_at=autumn, to_at=autumn + timedelta(days=1))))
    spring = datetime(2026, 3, 28, 12, tzinfo=UTC)
    await finish(world, await backfill(world, ordered(from_at=spring, to_at=spring + timedelta(days=2))))
    assert await due(world) == ["25 00:30", "25 01:30", "30 00:30"]


async def test_what_holds_the_clock_does_not_hold_a_backfill(world: World) -> None:
    await world.deploy(timed({**HOURLY, "shadow": True}))
    await world.pause_triggers.execute(PauseCommand("flow"), ACTOR)
    now = world.clock.now()
    await world.freeze_schedules.execute(FreezeCommand("year end", now + timedelta(days=1)), ACTOR)
    over = await finish(world, await backfill(world, hours=2))
    assert over.runs == {"succeeded": 2}
