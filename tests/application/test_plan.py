"""A plan says what a deploy at the same moment then does, and changes nothing itself."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from scheduler_application.schedule import plan as planning
from scheduler_application.schedule.expansion import planned_fires, rule_of_row
from scheduler_application.schedule.manage import PauseCommand
from scheduler_application.schedule.plan import Plan, PlanCommand, TriggerPlan
from scheduler_application.workflow.authoring import WorkflowCommand
from scheduler_application.workflow.changes import Change
from scheduler_domain.errors import InvalidDefinition
from tests.support.flows import flow, list_days
from tests.support.world import ACTOR, World

NINE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
NIGHTLY = {"name": "nightly", "schedule": "30 2 * * *", "timezone": "Europe/Berlin"}


async def plan(world: World, document: dict[str, Any], source: str | None = None) -> Plan:
    text = msgspec.json.encode(document)
    return await world.plan_workflow.execute(PlanCommand(text, "json", source), ACTOR)


def only(found: Plan) -> TriggerPlan:
    (trigger,) = found.triggers
    return trigger


def totals(trigger: TriggerPlan) -> tuple[int, int, int, int]:
    """Appear, vanish, move, stay."""
    fires = trigger.fires
    return fires.appear_total, fires.vanish_total, fires.move_total, fires.unchanged


async def starts(world: World, days: int = 30) -> set[datetime]:
    """When everything that is deployed starts, by the rows that the leader reads."""
    rows = await world.rows("select * from triggers where active and due_at is not null")
    until = world.clock.now() + days * DAY
    return {fire.starts_at for row in rows for fire in planned_fires(rule_of_row(row), world.clock.now(), until)}


async def test_a_new_workflow_appears_wholly(world: World) -> None:
    found = await plan(world, flow(triggers=[NIGHTLY, {"manual": {}}]))
    assert (found.live_version, found.version, found.creates_version, found.unchanged) == (None, 1, True, False)
    trigger = only(found)
    assert (trigger.trigger, trigger.change, totals(trigger)) == ("nightly", Change.ADDED, (30, 0, 0, 0))
    first = trigger.fires.appear[0]
    assert first.at == datetime(2026, 11, 3, 1, 30, tzinfo=UTC)
    assert first.local.isoformat() == "2026-11-03T02:30:00+01:00"
    assert {change.path for change in found.definition} == {("workflow",), ("tasks",), ("triggers",)}


async def test_what_is_live_already_changes_nothing(world: World) -> None:
    document = flow(triggers=[NIGHTLY, {"every": "1h"}])
    await world.deploy(document, source="/code")
    found = await plan(world, document, "/code")
    assert (found.unchanged, found.creates_version, found.version) == (True, False, 1)
    assert found.definition == []
    assert [totals(trigger) for trigger in found.triggers] == [(0, 0, 0, 30), (0, 0, 0, 720)]
    moved = await plan(world, document, "/elsewhere")
    assert (moved.unchanged, moved.version) == (False, 2)
    assert [change.path for change in moved.definition] == [("source",)]


async def test_a_named_trigger_that_fires_later_moves_day_by_day(world: World) -> None:
    await world.deploy(flow(triggers=[NIGHTLY]))
    trigger = only(await plan(world, flow(triggers=[{**NIGHTLY, "schedule": "45 3 * * *"}])))
    assert (trigger.change, totals(trigger)) == (None, (0, 0, 30, 0))
    assert len(trigger.fires.days) == 30
    pair = trigger.fires.move[0]
    assert (pair.before.local.hour, pair.after.local.hour) == (2, 3)
    assert pair.before.local.date() == pair.after.local.date()


async def test_a_day_with_more_or_fewer_fires_than_before_appears_or_vanishes(world: World) -> None:
    await world.deploy(flow(triggers=[{**NIGHTLY, "schedule": "0 6,18 * * *"}]))
    weekdays = await plan(world, flow(triggers=[{**NIGHTLY, "schedule": "0 6,18 * * MON-FRI"}]))
    # Four weekends lie in the thirty days, and the fifth begins when they end.
    assert totals(only(weekdays)) == (0, 16, 0, 44)
    more = await plan(world, flow(triggers=[{**NIGHTLY, "schedule": "0 6,12,18 * * *"}]))
    assert totals(only(more)) == (30, 0, 0, 60)


async def test_an_unnamed_trigger_with_another_expression_is_another_trigger(world: World) -> None:
    await world.deploy(flow(triggers=[{"schedule": "0 2 * * *"}]))
    found = await plan(world, flow(triggers=[{"schedule": "0 3 * * *"}]))
    changes = {trigger.change: totals(trigger) for trigger in found.triggers}
    assert changes == {Change.ADDED: (30, 0, 0, 0), Change.REMOVED: (0, 30, 0, 0)}


async def test_jitter_moves_the_starts_by_what_the_identity_decides(world: World) -> None:
    await world.deploy(flow(triggers=[NIGHTLY]))
    trigger = only(await plan(world, flow(triggers=[{**NIGHTLY, "jitter": "1h"}])))
    assert totals(trigger) == (0, 0, 30, 0)
    assert len({pair.after.at - pair.before.at for pair in trigger.fires.move}) == 1
    assert trigger.note is None


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ({"schedule": "H 2 * * *"}, ["identity"]),
        ({"schedule": "0 2 * * *", "jitter": "5m"}, ["identity"]),
        ({"every": "1h"}, ["counts from the deploy"]),
        ({"every": "1h", "jitter": "5m"}, ["counts from the deploy", "identity"]),
        ({"schedule": "0 2 * * *"}, []),
    ],
)
async def test_what_only_the_first_deploy_decides_is_said(
    world: World, trigger: dict[str, Any], words: list[str]
) -> None:
    document = flow(triggers=[trigger])
    note = only(await plan(world, document)).note or ""
    assert all(word in note for word in words)
    assert bool(note) == bool(words)
    await world.deploy(document)
    assert only(await plan(world, document)).note is None


CHANGES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "another time": ([NIGHTLY], [{**NIGHTLY, "schedule": "0 4 * * *"}]),
    "another zone": ([NIGHTLY], [{**NIGHTLY, "timezone": "America/New_York"}]),
    "H for a name that is known": ([NIGHTLY], [{**NIGHTLY, "schedule": "H H * * *"}]),
    "jitter": ([NIGHTLY], [{**NIGHTLY, "jitter": "2h"}]),
    "another kind": ([NIGHTLY], [{"name": "nightly", "every": "5h"}]),
    "another interval": ([{"name": "n", "every": "5h"}], [{"name": "n", "every": "4h"}]),
    "one goes and one comes": ([NIGHTLY], [{"schedule": "0 12 * * *"}]),
    "none left": ([NIGHTLY], []),
    "a clock trigger becomes manual": ([NIGHTLY], [{"name": "nightly", "manual": {}}]),
    "an instant": ([NIGHTLY], [NIGHTLY, {"at": "2026-11-20T00:00:00Z"}]),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_the_deploy_then_does_what_the_plan_says(world: World, change: str) -> None:
    before, after = CHANGES[change]
    await world.deploy(flow(triggers=before))
    world.clock.advance(3_600)
    old = await starts(world)
    document = flow(triggers=after)
    fires = [trigger.fires for trigger in (await plan(world, document)).triggers]
    await world.deploy(document)
    gone = {time.at for each in fires for time in each.vanish} | {
        pair.before.at for each in fires for pair in each.move
    }
    come = {time.at for each in fires for time in each.appear} | {pair.after.at for each in fires for pair in each.move}
    limited = {each.appear_total + each.vanish_total + each.move_total for each in fires}
    assert max(limited) <= 50 or change in ("another kind", "another interval")
    if max(limited) <= 50:
        assert (old - gone) | come == await starts(world)
    assert sum(each.unchanged + each.appear_total + each.move_total for each in fires) == len(await starts(world))


async def test_a_trigger_that_comes_back_keeps_its_phase(world: World) -> None:
    document = flow(triggers=[{"name": "often", "every": "7h"}])
    await world.deploy(document)
    was = await starts(world)
    await world.deploy(flow())
    trigger = only(await plan(world, document))
    assert (trigger.change, trigger.note) == (Change.ADDED, None)
    assert [time.at for time in trigger.fires.appear] == sorted(was)[:50]


async def test_what_jitter_still_holds_back_is_lost_by_a_deploy_that_changes_the_times(world: World) -> None:
    document = flow(triggers=[{**NIGHTLY, "schedule": "0 * * * *", "jitter": "30m"}])
    await world.deploy(document)
    (row,) = await world.rows("select * from triggers")
    spread = rule_of_row(row).spread
    world.clock.advance(3_600 + spread.total_seconds() / 2)
    held_back = NINE + timedelta(hours=1) + spread
    same = only(await plan(world, {**document, "description": "two"}))
    assert totals(same)[:3] == (0, 0, 0)
    other = only(await plan(world, flow(triggers=[{**NIGHTLY, "schedule": "0 * * * *"}])))
    assert held_back in {other.fires.vanish[0].at, other.fires.move[0].before.at if other.fires.move else None}


async def test_paused_shadowed_and_quarantined_triggers(world: World) -> None:
    document = flow(triggers=[NIGHTLY])
    await world.deploy(document)
    await world.pause_triggers.execute(PauseCommand("flow"), ACTOR)
    assert only(await plan(world, document)).paused
    shadow = only(await plan(world, flow(triggers=[{**NIGHTLY, "shadow": True}])))
    assert totals(shadow) == (0, 30, 0, 0)
    await world.write("update triggers set due_at = null, next_at = null, error = 'it was put aside'")
    again = await plan(world, document)
    assert (again.creates_version, again.unchanged, totals(only(again))) == (False, False, (30, 0, 0, 0))
    await world.write("update triggers set error = null, expression = 'nonsense'")
    assert totals(only(await plan(world, document))) == (30, 0, 0, 0)


async def test_a_calendar_takes_fire_times_away_and_one_that_is_missing_is_told(world: World) -> None:
    await list_days(world, "closed", date(2026, 11, 3), date(2026, 11, 4))
    await world.deploy(flow(triggers=[NIGHTLY]))
    closed = only(await plan(world, flow(triggers=[{**NIGHTLY, "calendar": {"skip": "closed"}}])))
    assert totals(closed) == (0, 2, 0, 28)
    shifted = only(await plan(world, flow(triggers=[{**NIGHTLY, "calendar": {"skip": "closed", "shift": "next"}}])))
    assert totals(shifted) == (0, 2, 0, 28)
    with pytest.raises(InvalidDefinition) as refusal:
        await plan(world, flow(triggers=[{**NIGHTLY, "calendar": {"skip": "gone"}}]))
    assert [(problem.code, problem.loc) for problem in refusal.value.problems] == [
        ("unknown_calendar", ("triggers", 0, "calendar"))
    ]


async def test_the_version_is_the_one_that_the_deploy_then_makes_live(world: World) -> None:
    one, two = flow(), flow(description="two")
    for document, made in ((one, True), (two, True), (one, False), (two, False)):
        found = await plan(world, document)
        deployment = await world.deploy(document)
        assert (found.version, found.creates_version) == (deployment.version, deployment.created)
        assert deployment.created is made
    await world.undeploy_workflow.execute(WorkflowCommand("flow"), ACTOR)
    await world.disable_workflow.execute(WorkflowCommand("flow"), ACTOR)
    found = await plan(world, two)
    assert (found.live_version, found.version, found.creates_version, found.enabled) == (None, 2, False, False)
    assert not found.unchanged


async def test_the_definition_is_compared_path_by_path(world: World) -> None:
    before = flow(
        {"a": {"timeout": "10m"}, "b": {"needs": ["a"]}, "c": {"env": {"N": "1"}}},
        inputs={"day": {"type": "string", "default": "x"}},
        triggers=[{"manual": {}}, {**NIGHTLY, "jitter": "5m"}],
        concurrency={"limit": 1},
    )
    after = flow(
        {"a": {"timeout": "20m"}, "d": {}, "c": {"env": {"N": 1}, "queue": "gpu"}},
        triggers=[NIGHTLY, {"manual": {}}, {"every": "1h", "name": "often"}],
        concurrency={"limit": 2, "on_conflict": "skip"},
        labels=["x"],
    )
    after["tasks"]["c"]["env"]["N"] = "2"
    await world.deploy(before)
    found = await plan(world, after)
    assert {(".".join(change.path), change.change.value) for change in found.definition} == {
        ("tasks.a.timeout", "changed"),
        ("tasks.b", "removed"),
        ("tasks.d", "added"),
        ("tasks.c.env.N", "changed"),
        ("tasks.c.queue", "added"),
        ("inputs", "removed"),
        ("triggers.nightly.jitter", "removed"),
        ("triggers.often", "added"),
        ("concurrency.limit", "changed"),
        ("concurrency.on_conflict", "added"),
        ("labels", "added"),
    }
    timeout = next(change for change in found.definition if change.path[-1] == "timeout")
    assert (timeout.before, timeout.after) == ('"10m"', '"20m"')


async def test_many_changes_and_long_values_are_cut_off_and_counted(world: World) -> None:
    await world.deploy(flow(" ".join(f"t{number}" for number in range(300))))
    found = await plan(world, flow({f"u{number}": {"shell": "x" * 1_000} for number in range(300)}))
    assert (found.definition_total, len(found.definition)) == (600, planning.MAX_CHANGES)
    assert max(len(change.after or "") for change in found.definition) == 200


async def test_a_wrong_document_is_told_wholly(world: World) -> None:
    wrong = flow({"a": {"needs": ["b"]}}, triggers=[{"schedule": "0 0 30 2 *"}, {"schedule": "* * * * *", "gap": 1}])
    with pytest.raises(InvalidDefinition) as refusal:
        await plan(world, wrong)
    assert {problem.code for problem in refusal.value.problems} == {"never_fires", "unknown_task", "unknown_key"}


async def test_a_dense_trigger_is_cut_off_and_takes_nothing_from_the_others(world: World) -> None:
    await world.deploy(flow(triggers=[{"every": "1s", "name": "a"}, {**NIGHTLY, "name": "z"}]))
    found = await plan(world, flow(triggers=[{"every": "2s", "name": "a"}, {**NIGHTLY, "name": "z", "jitter": "5m"}]))
    dense, sparse = found.triggers
    assert (dense.truncated, sparse.truncated) == (True, False)
    assert totals(sparse) == (0, 0, 30, 0)
    old_fires = (planning.MAX_DUE_TIMES - 60) // 2
    assert sum(totals(dense)[1:]) == old_fires
    assert NINE + timedelta(seconds=old_fires) <= dense.fires.until < NINE + timedelta(seconds=old_fires + 1)


async def test_a_plan_writes_nothing(world: World) -> None:
    await world.deploy(flow(triggers=[NIGHTLY]))

    async def contents() -> list[Any]:
        tables = ("workflows", "versions", "triggers", "ledger", "runs")
        return [[dict(row) for row in await world.rows(f"select * from {table} order by 1")] for table in tables]

    before = await contents()
    await plan(world, flow(triggers=[{"every": "1m"}], description="other"))
    await plan(world, flow(name="new", triggers=[NIGHTLY]))
    assert await contents() == before
