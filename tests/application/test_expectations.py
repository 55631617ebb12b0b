"""Deadlines: each is judged once by what the store says, and what did not happen raises one alert."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert

from scheduler_application.alert import expectations
from scheduler_application.errors import LeadershipLost
from scheduler_application.paging import PageRequest
from scheduler_application.ports.reading import AlertFilter, AlertView, ExpectationView
from scheduler_application.workflow.authoring import WorkflowCommand
from scheduler_infrastructure.persistence.engine import Statement
from scheduler_infrastructure.persistence.expectation import MET
from scheduler_infrastructure.persistence.tables import runs
from tests.support.flows import failure, flow
from tests.support.world import ACTOR, World

NINE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
"""Where the clock stands when a test begins."""

TEN = NINE + timedelta(hours=1)
MINUTE, HOUR, DAY = 60, 3_600, 86_400
BY_TEN = {"by": "10:00", "name": "by-ten"}


def expecting(*expect: dict[str, Any], name: str = "flow", **more: Any) -> dict[str, Any]:
    return flow(name=name, expect=list(expect), **more)


async def judged(world: World, after: float = 0.0) -> int:
    """Turns the clock and lets the leader judge; how many deadlines were."""
    world.clock.advance(after)
    return (await world.judge_deadlines.execute(await world.lead())).deadlines


async def alerts(world: World, **where: Any) -> list[AlertView]:
    """The earliest first."""
    page = await world.reader.alerts(ACTOR.project, AlertFilter(**where), PageRequest(200))
    return page.items[::-1]


async def expectation(world: World, workflow: str = "flow") -> ExpectationView:
    view = await world.reader.workflow(ACTOR.project, workflow)
    assert view is not None
    (found,) = await world.reader.expectations(ACTOR.project, view.id)
    return found


async def succeed(world: World, after: float = 0.0) -> str:
    """A run that succeeds ``after`` so many seconds; its id."""
    run_id = (await world.start("flow")).run_id
    world.clock.advance(after)
    await world.work()
    return run_id


async def test_a_run_that_did_not_happen_raises_one_alert(world: World) -> None:
    await world.deploy(expecting({**BY_TEN, "timezone": "Europe/Berlin", "by": "11:00"}))
    assert await judged(world, HOUR - 1) == 0
    assert await alerts(world) == []
    assert await judged(world, 1) == 1
    (alert,) = await alerts(world)
    assert (alert.kind, alert.workflow, alert.heartbeat) == ("expectation_missed", "flow", None)
    assert (alert.deadline_at, alert.at, alert.resolved_at) == (TEN, TEN, None)
    assert alert.key == "workflow/flow/expect/by-ten"
    assert alert.message == (
        "flow was to have succeeded by 2026-11-02T11:00:00+01:00, and no run did since 2026-11-01T11:00:00+01:00; "
        "it has never run"
    )
    assert alert.detail == {
        "expectation": "by-ten",
        "state": "succeeded",
        "by": "2026-11-02T11:00:00+01:00",
        "since": "2026-11-01T11:00:00+01:00",
        "last_run": None,
    }
    assert await judged(world, HOUR) == 0
    assert len(await alerts(world)) == 1


async def test_a_run_in_time_meets_the_deadline_and_the_next_one_is_judged_anew(world: World) -> None:
    await world.deploy(expecting(BY_TEN))
    await succeed(world)
    assert await judged(world, HOUR) == 1
    assert await alerts(world) == []
    view = await expectation(world)
    assert (view.last_at, view.last_result, view.next_at) == (TEN, "met", TEN + timedelta(days=1))
    assert await judged(world, DAY) == 1
    assert (await expectation(world)).last_result == "missed"
    assert [alert.deadline_at for alert in await alerts(world)] == [TEN + timedelta(days=1)]


@pytest.mark.parametrize(
    ("finished_after", "alerted"),
    [(0, True), (1, False), (HOUR, False), (HOUR + 1, True)],
)
async def test_the_span_begins_after_its_first_instant_and_ends_with_the_deadline(
    world: World, finished_after: int, alerted: bool
) -> None:
    """From 9:00 to 10:00, by `within`."""
    await world.deploy(expecting({**BY_TEN, "within": "1h"}))
    await succeed(world, finished_after)
    await judged(world, max(0, HOUR - finished_after))
    assert bool(await alerts(world)) is alerted


@pytest.mark.parametrize(
    ("came_to", "met"),
    [
        ("pending", set()),
        ("running", {"started"}),
        ("failed", {"started", "finished"}),
        ("cancelled", {"started", "finished"}),
        ("cancelled while pending", {"finished"}),
        ("succeeded", {"started", "finished", "succeeded"}),
    ],
)
async def test_each_state_asks_for_what_it_says(world: World, came_to: str, met: set[str]) -> None:
    """All that happens to the run happens at 9:31, and the deadline looks back to 9:30."""
    states = ("started", "finished", "succeeded")
    expect = [{"by": "10:00", "state": state, "name": state, "within": "30m"} for state in states]
    await world.deploy(expecting(*expect, concurrency={"limit": 1}))
    if came_to.endswith("pending"):
        await world.start("flow")
    world.clock.advance(31 * MINUTE)
    run_id = (await world.start("flow")).run_id
    match came_to:
        case "failed":
            await world.work(lambda _: failure(retryable=False))
        case "succeeded":
            await world.work()
        case "cancelled" | "cancelled while pending":
            await world.cancel(run_id)
    await judged(world, 29 * MINUTE)
    assert (await world.run(run_id)).state == came_to.split(maxsplit=1)[0]
    assert {alert.detail["state"] for alert in await alerts(world)} == set(states) - met


async def test_a_long_run_counts_when_it_ends_and_not_when_it_was_made(world: World) -> None:
    await world.deploy(expecting({**BY_TEN, "within": "10m"}, {"by": "10:00", "state": "started", "within": "10m"}))
    await succeed(world, 55 * MINUTE)
    await judged(world, 5 * MINUTE)
    assert [alert.detail["state"] for alert in await alerts(world)] == ["started"]


async def test_without_a_length_a_deadline_looks_back_to_the_one_before(world: World) -> None:
    await world.deploy(expecting({"by": "*/30 * * * *"}))
    await succeed(world, 29 * MINUTE)
    assert await judged(world, MINUTE) == 1
    assert await alerts(world) == []
    assert await judged(world, 30 * MINUTE) == 1
    assert [alert.deadline_at for alert in await alerts(world)] == [TEN]


async def test_what_succeeds_in_another_workflow_does_not_count(world: World) -> None:
    await world.deploy(expecting(BY_TEN))
    await world.deploy(flow(name="other"))
    await world.start("other")
    await world.work()
    await judged(world, HOUR)
    assert [alert.workflow for alert in await alerts(world)] == ["flow"]


async def test_a_disabled_or_paused_workflow_still_alerts(world: World) -> None:
    """That somebody switched it off is one of the reasons for which it did not run."""
    await world.deploy(expecting(BY_TEN))
    await world.disable_workflow.execute(WorkflowCommand("flow"), ACTOR)
    assert await judged(world, HOUR) == 1
    assert len(await alerts(world)) == 1


async def test_undeploying_ends_the_expectation_and_its_alerts(world: World) -> None:
    await world.deploy(expecting(BY_TEN))
    await judged(world, HOUR)
    await world.undeploy_workflow.execute(WorkflowCommand("flow"), ACTOR)
    assert [alert.resolved_at for alert in await alerts(world)] == [TEN]
    assert await world.next_due.execute() is None
    assert await judged(world, DAY) == 0
    await world.deploy(expecting(BY_TEN))
    assert (await expectation(world)).next_at == TEN + timedelta(days=2)
    assert await judged(world, DAY) == 1


async def test_a_deleted_workflow_expects_nothing(world: World) -> None:
    """One that nothing triggers may be deleted while it is deployed."""
    await world.deploy(expecting(BY_TEN))
    await world.delete_workflow.execute(WorkflowCommand("flow"), ACTOR)
    assert await judged(world, HOUR) == 0


async def test_a_deploy_keeps_what_stays_and_ends_what_goes(world: World) -> None:
    await world.deploy(expecting(BY_TEN, {"by": "10:00", "name": "goes"}))
    assert await judged(world, HOUR) == 2
    before = await world.rows("select id, name, last_result from expectations order by name")
    await world.deploy(expecting({**BY_TEN, "state": "started", "within": "2h"}, {"by": "11:00", "name": "comes"}))
    after = await world.rows(
        "select id, name, state, within_seconds, last_result, active from expectations order by name"
    )
    assert [(row["name"], bool(row["active"])) for row in after] == [("by-ten", True), ("comes", True), ("goes", False)]
    stays = after[0]
    assert (stays["id"], stays["last_result"]) == (before[0]["id"], "missed")
    assert (stays["state"], stays["within_seconds"]) == ("started", 7_200)
    assert {alert.key.rsplit("/")[-1]: alert.resolved_at for alert in await alerts(world)} == {
        "by-ten": None,
        "goes": TEN,
    }


async def test_a_deploy_does_not_lose_a_deadline_that_nobody_has_judged(world: World) -> None:
    await world.deploy(expecting(BY_TEN))
    world.clock.advance(HOUR + MINUTE)
    await world.deploy(expecting(BY_TEN, description="changed"))
    assert await judged(world) == 1
    assert [alert.deadline_at for alert in await alerts(world)] == [TEN]


async def test_new_deadlines_begin_with_the_deploy(world: World) -> None:
    await world.deploy(expecting(BY_TEN))
    world.clock.advance(HOUR + MINUTE)
    await world.deploy(expecting({**BY_TEN, "by": "09:30"}))
    assert await judged(world) == 0
    assert (await expectation(world)).next_at == NINE + timedelta(days=1, minutes=30)


async def test_an_alert_is_resolved_by_the_next_deadline_that_is_met(world: World) -> None:
    await world.deploy(expecting({"by": "0 * * * *"}))
    await judged(world, HOUR)
    await judged(world, HOUR)
    assert [alert.resolved_at for alert in await alerts(world, open=True)] == [None, None]
    await succeed(world, MINUTE)
    await judged(world, HOUR - MINUTE)
    assert await alerts(world, open=True) == []
    assert [alert.resolved_at for alert in await alerts(world, open=False)] == [TEN + timedelta(hours=2)] * 2


async def test_after_an_outage_each_deadline_is_judged_by_what_happened_in_its_own_time(world: World) -> None:
    await world.deploy(expecting({"by": "0 * * * *"}))
    for hour in range(6):
        world.clock.advance(MINUTE)
        if hour % 2:
            await succeed(world)
        world.clock.advance(HOUR - MINUTE)
    assert await judged(world) == 6
    assert [alert.deadline_at.hour for alert in await alerts(world)] == [10, 12, 14]
    assert await alerts(world, open=True) == []  # the last deadline, at 15:00, was met


async def test_a_long_outage_is_caught_up_in_many_short_transactions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expectations, "DEADLINES_AT_ONCE", 7)
    monkeypatch.setattr(expectations, "EXPECTATIONS_AT_ONCE", 2)
    names = ("a", "b", "c")
    for name in names:
        await world.deploy(expecting({"by": "*/10 * * * *"}, name=name))
    assert await judged(world, 4 * HOUR) == 3 * 24
    found = await alerts(world)
    assert len(found) == len({(alert.workflow, alert.deadline_at) for alert in found}) == 3 * 24
    batches = [line for line in world.metrics.text().decode().splitlines() if 'batch_size_count{batch="judge"}' in line]
    assert float(batches[0].split()[1]) >= 3 * 24 / 7


async def test_a_deadline_that_is_judged_again_raises_nothing_new(world: World) -> None:
    """As after a commit whose answer was lost: the guard is the unique deadline, not the leader's memory."""
    await world.deploy(expecting(BY_TEN))
    await judged(world, HOUR)
    await world.write("update expectations set next_at = $1", TEN)
    assert await judged(world) == 1
    assert len(await alerts(world)) == 1


async def test_only_the_current_epoch_judges(world: World) -> None:
    await world.deploy(expecting(BY_TEN))
    world.clock.advance(HOUR)
    old = await world.lead()
    await world.write("update leadership set epoch = epoch + 1")
    with pytest.raises(LeadershipLost):
        await world.judge_deadlines.execute(old)
    assert await alerts(world) == []


async def test_one_that_cannot_be_evaluated_is_put_aside_with_the_reason(world: World) -> None:
    for name in ("broken", "sound"):
        await world.deploy(expecting(BY_TEN, name=name))
    broken = await expectation(world, "broken")
    await world.write("update expectations set timezone = 'Gone/Zone' where id = $1", broken.id)
    assert await judged(world, HOUR) == 1
    assert [alert.workflow for alert in await alerts(world)] == ["sound"]
    broken = await expectation(world, "broken")
    assert (broken.next_at, broken.last_result) == (None, None)
    assert "Gone/Zone" in (broken.error or "")
    await world.deploy(expecting(BY_TEN, name="broken"))
    assert (await expectation(world, "broken")).error is None


async def test_the_dispatcher_wakes_at_the_deadline(world: World) -> None:
    await world.deploy(expecting(BY_TEN, {"by": "09:30"}))
    assert await world.next_due.execute() == NINE + timedelta(minutes=30)
    await judged(world, 30 * MINUTE)
    assert await world.next_due.execute() == TEN


async def test_a_day_that_the_clock_changes_has_its_deadline_once(world: World) -> None:
    world.clock.advance((datetime(2027, 3, 27, 12, 0, tzinfo=UTC) - NINE).total_seconds())
    await world.deploy(expecting({"by": "02:30", "timezone": "Europe/Berlin"}))
    await judged(world, 3 * DAY)
    assert [alert.detail["by"] for alert in await alerts(world)] == [
        "2027-03-28T03:00:00+02:00",
        "2027-03-29T02:30:00+02:00",
        "2027-03-30T02:30:00+02:00",
    ]


async def test_an_alert_tells_of_the_last_run(world: World) -> None:
    await world.deploy(expecting(BY_TEN))
    run_id = (await world.start("flow")).run_id
    await world.work(lambda _: failure(retryable=False))
    await judged(world, HOUR)
    (alert,) = await alerts(world)
    assert alert.message.endswith(f"its last run {run_id} is failed since 2026-11-02T09:00:00Z")
    assert alert.detail["last_run"] == {"id": run_id, "state": "failed", "created_at": "2026-11-02T09:00:00Z"}


async def test_watchers_and_figures_learn_of_alerts(world: World) -> None:
    subscription = world.live.subscribe(ACTOR.project)
    first = asyncio.ensure_future(anext(subscription))
    await asyncio.wait({first}, timeout=0)
    await world.deploy(expecting(BY_TEN))
    await judged(world, HOUR)
    (alert,) = await alerts(world)
    assert await first == {"project": ACTOR.project, "kind": "alert", "id": alert.id, "state": "open"}
    assert b'orrery_alerts_raised_total{kind="expectation_missed"} 1.0' in world.metrics.text()


async def test_alerts_page_from_the_newest_and_filter(world: World) -> None:
    for name in ("one", "two"):
        await world.deploy(expecting({"by": "*/10 * * * *"}, name=name))
    await judged(world, HOUR)
    seen: list[str] = []
    cursor = None
    while True:
        page = await world.reader.alerts(ACTOR.project, AlertFilter(workflow="two"), PageRequest(4, cursor))
        seen += [alert.deadline_at.strftime("%H:%M") for alert in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ["10:00", "09:50", "09:40", "09:30", "09:20", "09:10"]
    assert await alerts(world, workflow="three") == []
    assert await alerts(world, kind="heartbeat_missed") == []
    assert len(await alerts(world, kind="expectation_missed")) == 12
    newest = (await alerts(world))[-1]
    assert await world.reader.alert(ACTOR.project, newest.id) == newest
    other = world.ids.new()
    assert await world.reader.alert(other, newest.id) is None
    assert await world.reader.alert(ACTOR.project, other) is None
    assert (await world.reader.alerts(other, AlertFilter(), PageRequest())).items == []


async def test_each_question_is_one_look_into_an_index(world: World) -> None:
    """Whatever the history: neither the runs of others nor those that failed are looked at."""
    await world.deploy(expecting(BY_TEN))
    run_id = (await world.start("flow")).run_id
    await world.work(lambda _: failure(retryable=False))
    (row,) = await world.rows("select * from runs where id = $1", run_id)
    question: list[Any] = [0, row["workflow_id"], "succeeded", NINE, TEN]
    async with world.database.transaction() as connection:
        for _ in range(21):  # Each statement is soon made: the server waits 3 s for the next one.
            await connection.run(insert(runs).values([{**row, "id": world.ids.new()} for _ in range(100)]))
        if connection.dialect == "postgresql":
            rows = await connection.fetch(Statement(f"explain {MET.postgres}", ""), *([part] for part in question))
        else:
            rows = await connection.fetch(Statement("", f"explain query plan {MET.sqlite}"), [question])
        plan = " ".join(str(value) for row in rows for value in row.values())
        await connection.run(delete(runs).where(runs.c.id != run_id))
    assert plan.count("ix_runs_ended") == 2
    assert plan.count("ix_runs_started") == 1
