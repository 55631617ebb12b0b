"""A forecast counts what the clock will start, and its advice keeps its promise."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from scheduler_application.errors import Rejected
from scheduler_application.ports.rows import WorkerRow
from scheduler_application.schedule import forecast as forecasting
from scheduler_application.schedule import spreading
from scheduler_application.schedule.expansion import rule_of_row
from scheduler_application.schedule.forecast import Forecast, ForecastCommand
from scheduler_application.schedule.manage import PauseCommand
from scheduler_application.workflow.authoring import WorkflowCommand
from scheduler_application.workflow.document import parse_document
from scheduler_application.workflow.root_queues import root_queues
from scheduler_domain.schedule.timetable import parse_timetable
from scheduler_infrastructure.persistence.engine import Connection
from tests.support.flows import flow, list_days
from tests.support.world import ACTOR, World

NINE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOURLY = {"schedule": "0 * * * *"}


async def forecast(world: World, hours: int = 24, queue: str | None = None) -> Forecast:
    return await world.forecast_starts.execute(ForecastCommand(hours, queue), ACTOR)


async def deploy(world: World, name: str, *triggers: dict[str, Any], **task: Any) -> None:
    await world.deploy(flow({"a": task}, name=name, triggers=list(triggers)))


async def serve(world: World, slots: int, *queues: str) -> str:
    """A live worker."""
    worker_id = world.ids.new()
    await world.register_worker.execute(WorkerRow(worker_id, f"node-{worker_id}", "0", queues or ("default",), slots))
    return worker_id


async def counted(world: World, hours: int) -> Counter[int]:
    """What the leader really starts in the next hours, by minute. Nothing here knows the forecast."""
    begin = world.clock.now()
    world.clock.advance(hours * 3_600 - 1)
    await world.fire_due_schedules.execute(await world.lead())
    rows = await world.rows("select due_at from ledger")
    return Counter((row["due_at"] - begin) // MINUTE for row in rows)


def spread(found: Forecast) -> Counter[int]:
    return Counter({minute: starts for minute, starts in enumerate(found.starts) if starts})


async def test_the_starts_are_those_that_the_leader_then_makes(world: World) -> None:
    schedules = ["*/7 * * * *", "0 * * * *", "0,30 12 * * MON", "H/20 * * * *", "15 2-4 * * *", "59 8 * * *"]
    for number, schedule in enumerate(schedules):
        await deploy(world, f"cron-{number}", {"schedule": schedule, "timezone": "Europe/Berlin"})
    await deploy(world, "often", {"every": "11m"}, {"every": "90s"})
    await deploy(world, "once", {"at": "2026-11-02T20:15:30Z"})
    found = await forecast(world, 24)
    assert (found.planned_from, found.planned_until, found.truncated) == (NINE, NINE + timedelta(days=1), False)
    assert len(found.starts) == len(found.busy) == 24 * 60
    really = await counted(world, 24)
    assert spread(found) == really
    assert found.total == really.total()


async def test_jitter_counts_where_it_starts_also_what_it_holds_back(world: World) -> None:
    await deploy(world, "flow", {**HOURLY, "jitter": "50m"})
    (row,) = await world.rows("select * from triggers")
    later = rule_of_row(row).spread
    world.clock.advance(3_600 + later.total_seconds() / 2)
    begin = world.clock.now().replace(second=0, microsecond=0)
    starts = [NINE + timedelta(hours=hour) + later for hour in range(1, 6)]
    expected = Counter((at - begin) // MINUTE for at in starts if at < begin + timedelta(hours=4))
    assert spread(await forecast(world, 4)) == expected


async def test_a_calendar_leaves_starts_out_and_a_missing_one_leaves_the_trigger_out(world: World) -> None:
    await list_days(world, "closed", date(2026, 11, 2))
    await list_days(world, "gone", date(2026, 1, 1))
    await deploy(world, "open", {**HOURLY, "calendar": {"skip": "closed"}})
    await deploy(world, "lost", {**HOURLY, "calendar": {"skip": "gone"}})
    assert (await forecast(world)).total == 9 + 23
    await world.write("delete from calendars where name = 'gone'")
    found = await forecast(world)
    assert (found.total, found.starts[: 15 * 60]) == (9, [0] * 15 * 60)


async def test_what_starts_nothing_is_not_counted(world: World) -> None:
    for name in ("paused", "disabled", "undeployed", "live"):
        await deploy(world, name, HOURLY)
    await deploy(world, "shadow", {**HOURLY, "shadow": True})
    await deploy(world, "by-hand", {"manual": {}})
    await deploy(world, "broken", HOURLY)
    await world.pause_triggers.execute(PauseCommand("paused"), ACTOR)
    await world.disable_workflow.execute(WorkflowCommand("disabled"), ACTOR)
    await world.undeploy_workflow.execute(WorkflowCommand("undeployed"), ACTOR)
    broken = "select id from workflows where name = 'broken'"
    await world.write(f"update triggers set expression = 'nonsense' where workflow_id = ({broken})")
    assert (await forecast(world)).total == 23


async def test_a_run_counts_in_every_queue_where_its_first_tasks_wait(world: World) -> None:
    tasks = {
        "a": {"queue": "gpu"},
        "b": {"queue": "default"},
        "c": {"queue": "later", "needs": ["a"]},
        "w": {"wait": {"for": "1m"}},
    }
    await world.deploy(flow(tasks, name="both", triggers=[HOURLY]))
    await deploy(world, "plain", {"schedule": "30 * * * *"})
    await serve(world, 3, "gpu", "default")
    await serve(world, 2, "default")
    await serve(world, 9, "later")
    found = await forecast(world, 12)
    queues = {each.queue: (each.slots, each.starts, each.peak.starts) for each in found.queues}
    assert queues == {"default": (5, 23, 1), "gpu": (3, 11, 1)}
    assert (found.slots, found.total) == (5, 23)
    of_one = await forecast(world, 12, "gpu")
    assert (of_one.slots, of_one.total, [each.queue for each in of_one.queues]) == (3, 11, ["gpu"])
    assert (await forecast(world, 12, "nowhere")).total == 0


async def test_only_workers_that_take_work_have_slots(world: World) -> None:
    await deploy(world, "flow", HOURLY)
    assert (await forecast(world)).slots == 0
    one, two = await serve(world, 4), await serve(world, 8)
    assert (await forecast(world)).slots == 12
    await world.leave_worker.execute(one)
    await world.write("update workers set state = 'draining' where id = $1", two)
    assert (await forecast(world)).slots == 0


async def run_for(world: World, seconds: float) -> None:
    """A run of ``flow`` that takes so long."""
    await world.start("flow")
    (task,) = await world.claim()
    world.clock.advance(seconds)
    await world.finish(task)


async def test_busy_slots_follow_how_long_recent_runs_took(world: World) -> None:
    await deploy(world, "flow", HOURLY)
    assert (await forecast(world)).without_history == 1
    for seconds in (3_000.0, *([90.0] * 20)):
        await run_for(world, seconds)
    await world.start("flow")  # still running: it says nothing yet
    world.clock.advance(-(world.clock.now() - NINE).total_seconds())
    found = await forecast(world, 3)
    assert found.without_history == 0
    busy = {minute: share for minute, share in enumerate(found.busy) if share}
    assert busy == pytest.approx({60: 1.0, 61: 0.5, 120: 1.0, 121: 0.5}, abs=0.01)


@contextmanager
def counting_reads(world: World) -> Iterator[list[str]]:
    """Grows by one entry with each statement that only reads."""
    reads: list[str] = []
    original = world.database.reading

    def reading() -> AbstractAsyncContextManager[Connection]:
        reads.append("read")
        return original()

    world.database.reading = reading  # type: ignore[method-assign]
    try:
        yield reads
    finally:
        world.database.reading = original  # type: ignore[method-assign]


async def test_many_workflows_are_as_many_statements_as_two(world: World) -> None:
    costs = []
    for size in (2, 12):
        for number in range(size):
            await deploy(world, f"flow-{number}", HOURLY)
        with counting_reads(world) as reads:
            await forecast(world)
        costs.append(len(reads))
    # Triggers, documents that are not known yet, durations, workers.
    assert costs == [4, 4]
    with counting_reads(world) as reads:
        await forecast(world)
    assert len(reads) == 3


async def follow(world: World, found: Forecast) -> None:
    """Does to the definitions what the advice says."""
    for advice in found.advice:
        view = await world.reader.workflow(ACTOR.project, advice.workflow)
        assert view is not None
        assert view.draft is not None
        triggers = [
            {**trigger, **advice.change} if trigger.get("name", advice.trigger) == advice.trigger else trigger
            for trigger in view.draft["triggers"]
        ]
        await world.deploy({**view.draft, "triggers": triggers})


@pytest.mark.parametrize("named", [{"name": "hourly"}, {}], ids=["named", "unnamed"])
async def test_a_herd_that_follows_the_advice_has_the_promised_peak(world: World, named: dict[str, str]) -> None:
    for number in range(40):
        await deploy(world, f"flow-{number}", {**HOURLY, **named})
    await serve(world, 4)
    found = await forecast(world, 6)
    assert found.peak is not None
    assert (found.peak.starts, found.crowded_total, found.advice_total) == (40, 5, 40)
    assert all(advice.change["schedule"] == "H * * * *" for advice in found.advice)
    identities = {row["id"] for row in await world.rows("select id from triggers")}
    await follow(world, found)
    assert {row["id"] for row in await world.rows("select id from triggers")} == identities
    spread_out = await forecast(world, 6)
    assert spread_out.peak is not None
    assert spread_out.peak.starts == found.advice[-1].peak_after < 10
    assert spread_out.advice == []
    assert max((await counted(world, 6)).values()) == found.advice[-1].peak_after


async def test_each_piece_of_advice_alone_brings_what_it_says(world: World) -> None:
    """The first is told for itself, each further one on top of those before it."""
    for number in range(6):
        await deploy(world, f"flow-{number}", {"schedule": "0 3 * * *"})
        await deploy(world, f"often-{number}", {"every": "5m"})
    before = await forecast(world)
    followed = 0
    for advice in before.advice:
        (alone,) = [each for each in before.advice if each is advice]
        await follow(world, _only(before, alone))
        followed += 1
        found = await forecast(world)
        assert found.peak is not None
        assert found.peak.starts == advice.peak_after
    assert followed == 12
    assert {tuple(advice.change.items()) for advice in before.advice} == {(("jitter", "10m"),), (("jitter", "5m"),)}


def _only(found: Forecast, advice: spreading.Advice) -> Forecast:
    values = {name: getattr(found, name) for name in Forecast.__dataclass_fields__}
    return Forecast(**{**values, "advice": [advice]})


async def test_what_is_spread_already_or_never_crowds_gets_no_advice(world: World) -> None:
    for number in range(20):
        await deploy(world, f"hashed-{number}", {"schedule": "H * * * *"})
        await deploy(world, f"jittered-{number}", {**HOURLY, "jitter": "1m"})
        await deploy(world, f"minutely-{number}", {"schedule": "* * * * *"})
    await deploy(world, "alone", {"schedule": "17 5 * * *"})
    await serve(world, 1)
    found = await forecast(world, 2)
    assert found.crowded_total > 0
    assert found.advice == []


@pytest.mark.parametrize(
    ("schedule", "change"),
    [
        ("@hourly", "H * * * *"),
        ("15 * * * MON-FRI", "H * * * MON-FRI"),
        ("30 0 * * * *", "30 H * * * *"),
    ],
)
async def test_an_hourly_schedule_gets_a_minute_of_its_own(world: World, schedule: str, change: str) -> None:
    for number in range(5):
        await deploy(world, f"flow-{number}", {"name": "t", "schedule": schedule})
    found = await forecast(world)
    assert [advice.change for advice in found.advice] == [{"schedule": change}] * 5


async def test_a_minute_is_crowded_by_slots_or_by_standing_out_of_its_hour(world: World) -> None:
    for number in range(5):
        await deploy(world, f"flow-{number}", {"schedule": "0 12 * * *"})
    for number in range(3):
        await deploy(world, f"few-{number}", {"schedule": "0 15 * * *"})
    noon, three = NINE + timedelta(hours=3), NINE + timedelta(hours=6)
    assert [minute.at for minute in (await forecast(world)).crowded] == [noon]
    await serve(world, 2)
    assert [minute.at for minute in (await forecast(world)).crowded] == [noon, three]
    await serve(world, 100)
    assert [minute.at for minute in (await forecast(world)).crowded] == [noon]


async def test_too_many_due_times_shorten_the_forecast_and_lose_no_trigger(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy(world, "often", {"every": "1s"})
    await deploy(world, "hourly", HOURLY)
    whole = await forecast(world, 4)
    monkeypatch.setattr(forecasting, "MAX_DUE_TIMES", 2 * 3_600 + 90)
    short = await forecast(world, 4)
    assert (whole.truncated, short.truncated) == (False, True)
    assert short.planned_until == NINE + timedelta(hours=2, minutes=1)
    assert short.starts == whole.starts[: len(short.starts)]
    assert len(short.starts) == 121


async def test_too_many_triggers_shorten_the_forecast_to_what_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour in range(10, 20):
        await deploy(world, f"flow-{hour}", {"schedule": f"30 {hour} * * *"})
    whole = await forecast(world)
    monkeypatch.setattr(forecasting, "MAX_TRIGGERS", 4)
    short = await forecast(world)
    assert (short.truncated, short.planned_until) == (True, NINE + timedelta(hours=5, minutes=30))
    assert short.starts == whole.starts[: len(short.starts)]
    assert short.total == 4


async def test_advice_beyond_the_bound_is_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        await deploy(world, f"flow-{number}", {"name": "t", **HOURLY})
    monkeypatch.setattr(spreading, "MAX_ADVICE", 5)
    found = await forecast(world, 2)
    assert (found.advice_total, len(found.advice)) == (12, 5)
    identities = await world.rows(
        "select w.name, t.id from triggers t join workflows w on w.id = t.workflow_id order by w.name"
    )
    minutes = [0] * 12
    expected = []
    for place, row in enumerate(identities[:5]):
        assert found.advice[place].workflow == row["name"]
        moved = parse_timetable("schedule", "H * * * *", "UTC", seed=str(row["id"])).next_after(NINE)
        assert moved is not None
        minutes[place] = moved.minute
        expected.append(max(Counter(minutes).values()))
    assert [advice.peak_after for advice in found.advice] == expected


async def test_nothing_planned_is_an_empty_forecast(world: World) -> None:
    found = await forecast(world, 1)
    assert (found.total, found.peak, found.crowded, found.advice) == (0, None, [], [])
    assert found.starts == [0] * 60


@pytest.mark.parametrize("hours", [0, 169, -1])
async def test_hours_have_bounds(world: World, hours: int) -> None:
    with pytest.raises(Rejected) as refusal:
        await forecast(world, hours)
    assert refusal.value.code == "out_of_range"


def test_root_queues_are_those_of_the_definition() -> None:
    document = parse_document(
        """
workflow: w
defaults: {queue: bulk}
tasks:
  a: {shell: "true"}
  b: {shell: "true", queue: gpu, needs: []}
  c: {shell: "true", queue: later, needs: [a]}
  d: {wait: {for: 1m}}
"""
    )
    roots = [task for task in document.definition.tasks.values() if not task.needs and task.needs_worker]
    assert root_queues(document.content) == {task.queue for task in roots} == {"bulk", "gpu"}
