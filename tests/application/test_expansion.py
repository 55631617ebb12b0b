"""The planned fires of a trigger are those that the leader then decides."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from scheduler_application.schedule.expansion import FireRule, planned_fires, rule_of_row
from scheduler_domain.schedule.fire_policy import FirePolicy
from tests.support.flows import flow
from tests.support.world import World

NINE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
MONTH = timedelta(days=30)


def rule(expression: str = "0 * * * *", kind: str = "schedule", seed: str = "t", **more: Any) -> FireRule:
    policy = FirePolicy(jitter=timedelta(seconds=more.pop("jitter", 0)))
    return FireRule(kind, expression, more.pop("timezone", "UTC"), policy, NINE, seed, **more)


@pytest.mark.parametrize(
    "trigger",
    [
        {"schedule": "*/20 * * * *"},
        {"schedule": "H H(0-12)/3 * * *", "timezone": "Europe/Berlin"},
        {"schedule": "30 2 * * *", "timezone": "America/New_York"},
        {"every": "47m"},
        {"at": "2026-11-03T00:00:00+01:00"},
    ],
)
async def test_what_is_planned_is_what_the_leader_decides(world: World, trigger: dict[str, Any]) -> None:
    await world.deploy(flow(triggers=[{**trigger, "misfire": "fire_all"}]))
    (row,) = await world.rows("select * from triggers")
    planned = [fire.due_at for fire in planned_fires(rule_of_row(row), NINE, NINE + timedelta(days=2))]
    world.clock.advance(2 * 86_400)
    await world.fire_due_schedules.execute(await world.lead())
    decided = [row["due_at"] for row in await world.rows("select due_at from ledger order by due_at")]
    assert planned == decided
    assert planned


def test_a_window_begins_after_its_first_moment_and_ends_with_its_last() -> None:
    fires = list(planned_fires(rule(), NINE, NINE + timedelta(hours=3)))
    assert [fire.due_at.hour for fire in fires] == [10, 11, 12]


def test_jitter_moves_the_start_and_not_the_due_time() -> None:
    spread = rule(jitter=600)
    fires = list(planned_fires(spread, NINE, NINE + timedelta(hours=3)))
    assert [fire.due_at.minute for fire in fires] == [0, 0, 0]
    assert {fire.starts_at - fire.due_at for fire in fires} == {spread.spread}
    assert timedelta(0) < spread.spread < timedelta(minutes=10)
    assert rule(jitter=600, seed="another").spread != spread.spread


def test_what_is_left_out_is_told_with_its_rule() -> None:
    weekend = rule(left_out=lambda due_at: "calendar:weekend" if due_at.weekday() > 4 else None)
    fires = list(planned_fires(weekend, NINE, NINE + timedelta(days=7)))
    assert len(fires) == 7 * 24
    assert {fire.due_at.weekday() for fire in fires if fire.left_out} == {5, 6}


def test_a_window_of_millions_is_taken_bit_by_bit() -> None:
    """Whoever asks for two fires of a month pays for two."""
    first = islice(planned_fires(rule("1", kind="every"), NINE, NINE + MONTH), 2)
    assert [fire.due_at for fire in first] == [NINE + timedelta(seconds=1), NINE + timedelta(seconds=2)]


@pytest.mark.parametrize(
    ("expression", "hashed"),
    [
        ("H * * * *", True),
        ("0 h(1-3) * * *", True),
        ("0,H/20 * * * *", True),
        ("0 0 * * THU", False),
        ("@daily", False),
    ],
)
def test_an_expression_says_whether_the_identity_decides(expression: str, hashed: bool) -> None:
    assert rule(expression).hashed is hashed
    if not hashed:
        assert rule(expression, seed="a").timetable() == rule(expression, seed="b").timetable()
