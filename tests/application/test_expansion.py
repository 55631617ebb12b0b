"""The planned fires of a trigger are those that the leader then decides."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from scheduler_application.schedule.expansion import FireRule, planned_fires, rule_of_row
from scheduler_application.workflow.live_triggers import calendar_rule
from scheduler_application.workflow.policy_text import policy_of
from scheduler_domain.schedule.calendar import CalendarMode, CalendarRule
from scheduler_domain.schedule.fire_policy import FirePolicy
from scheduler_infrastructure.persistence.store import SqlTransaction
from tests.support.flows import flow, list_days
from tests.support.world import ACTOR, World

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
        {"schedule": "DTSTART:20260101T083000\nRRULE:FREQ=DAILY;BYHOUR=8,20", "timezone": "Europe/Berlin"},
        {"schedule": "30 1,2 * * *", "timezone": "America/New_York", "dst": {"repeat": "twice"}},
        {"schedule": "*/30 * * * *", "jitter": "25m"},
        {"schedule": "0 */6 * * *", "calendar": {"skip": "tuesdays"}},
        {"schedule": "0 12 * * *", "calendar": {"only": "tuesdays"}},
        {"schedule": "0 9 * * *", "calendar": {"skip": "tuesdays", "shift": "next"}},
    ],
)
async def test_what_is_planned_is_what_the_leader_decides(world: World, trigger: dict[str, Any]) -> None:
    world.clock.advance(-2 * 86_400)  # a clock change in New York lies ahead
    begin = world.clock.now()
    await list_days(world, "tuesdays", *(date(2026, 11, 3) + week * timedelta(days=7) for week in range(20)))
    await world.deploy(flow(triggers=[{**trigger, "misfire": "fire_all"}]))
    (row,) = await world.rows("select * from triggers")
    policy = policy_of(row["policy"])
    async with world.database.transaction() as connection:
        tx = SqlTransaction(connection)
        rule = rule_of_row(row, await calendar_rule(world.calendars, tx, ACTOR.project, policy))
    planned = list(planned_fires(rule, begin, begin + timedelta(days=4) - rule.spread))
    world.clock.advance(4 * 86_400)
    await world.fire_due_schedules.execute(await world.lead())
    decided = await world.rows("select due_at, outcome, rule from ledger order by due_at")
    assert [fire.due_at for fire in planned] == [row["due_at"] for row in decided]
    left_out = [row["rule"] if row["outcome"] == "skipped" else None for row in decided]
    assert [fire.left_out for fire in planned] == left_out
    assert planned


class Wednesdays:
    """`Calendar`."""

    def contains(self, day: date) -> bool:
        return day.isoweekday() == 3


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
    holiday = CalendarRule("holidays", Wednesdays(), CalendarMode.SKIP)
    fires = list(planned_fires(rule(calendar=holiday), NINE, NINE + timedelta(days=7)))
    assert len(fires) == 7 * 24
    assert Counter(fire.left_out for fire in fires) == {None: 6 * 24, "calendar:holidays": 24}


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
