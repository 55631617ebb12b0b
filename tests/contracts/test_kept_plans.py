"""A busy session keeps the plans of statements that go by keys: which, for how long, and that they are right."""

import importlib
import pkgutil
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from scheduler_application.run.start import StartRunCommand
from scheduler_infrastructure import persistence
from scheduler_infrastructure.persistence.engine import Statement, both
from scheduler_infrastructure.persistence.planning import (
    BEGIN_WITH_KEPT_PLANS,
    BEGIN_WITH_OWN_PLANS,
    FEW,
    OWN_FIRST,
    Plans,
    are_few,
)
from tests.support.flows import chain, flow
from tests.support.world import ACTOR, World, open_world

RUNS = 300

_SCAN_BY_KEY = re.compile(
    r"Index Scan (?:Backward )?using (?:pk|uq)_\w+ on (?:task_)?runs .*\n\s+Index Cond: .*(?:run_)?id = "
)


def _statements_by_key() -> dict[str, Statement]:
    found: dict[str, Statement] = {}
    for module in pkgutil.iter_modules(persistence.__path__):
        named = vars(importlib.import_module(f"{persistence.__name__}.{module.name}"))
        found |= {f"{module.name}.{name}": value for name, value in named.items() if isinstance(value, Statement)}
    return {name: value for name, value in found.items() if value.by_key}


BY_KEY = _statements_by_key()


@pytest.fixture
async def world(postgres_url: str) -> AsyncIterator[World]:
    async with open_world(postgres_url) as opened:
        yield opened


def test_the_statements_of_starting_claiming_and_recording_go_by_keys() -> None:
    assert {"run_rows._INSERT_RUNS", "claims._CLAIM", "claims._END_ATTEMPTS", "graph_rows._RESOLVE"} <= BY_KEY.keys()


@pytest.mark.parametrize("analyzed", [False, True])
async def test_they_find_runs_and_task_runs_by_keys_whatever_the_planner_knows(
    world: World, postgres_url: str, analyzed: bool
) -> None:
    """It knows nothing, or what was so when nothing ran and nothing was blocked."""
    await world.deploy(flow(chain("a", "b")))
    await world.start_runs.execute([StartRunCommand("flow", {})] * RUNS, ACTOR)
    await world.work()
    for table in ("runs", "task_runs"):
        forget = f"delete from pg_statistic where starelid = '{table}'::regclass"
        await world.write(f"analyze {table}" if analyzed else forget)
    session = await asyncpg.connect(postgres_url)
    await session.execute(BEGIN_WITH_KEPT_PLANS)
    number_of = "select cardinality(parameter_types) from pg_prepared_statements where name = $1"
    for number, (name, statement) in enumerate(sorted(BY_KEY.items())):
        await session.execute(f"prepare kept_{number} as {statement.postgres}")
        nulls = ", ".join(["null"] * await session.fetchval(number_of, f"kept_{number}"))
        plan = "\n".join(row[0] for row in await session.fetch(f"explain execute kept_{number}({nulls})"))
        scans = re.findall(r"Scan.* on (?:task_)?runs ", plan)
        by_key = _SCAN_BY_KEY.findall(plan)
        assert len(by_key) == len(scans), f"{name}: {plan}"
        assert not re.search("Join Filter|Hash|Merge", plan), f"{name}: {plan}"
    await session.close()


def test_a_session_keeps_plans_while_it_is_busy_and_for_a_second() -> None:
    plans = Plans()
    own = [plans.begin(0.1 * number) for number in range(OWN_FIRST)]
    assert own == [(BEGIN_WITH_OWN_PLANS, False)] * OWN_FIRST
    assert plans.begin(0.5) == ("discard plans; " + BEGIN_WITH_KEPT_PLANS, True)
    assert plans.begin(0.9) == (BEGIN_WITH_KEPT_PLANS, True)
    assert plans.begin(1.0) == (BEGIN_WITH_OWN_PLANS, False)


def test_many_rows_are_worth_a_plan_of_their_own() -> None:
    assert are_few([["a"] * FEW, "text" * FEW, None])
    assert not are_few([["a"], ("b",) * (FEW + 1)])


_MODE = both("select current_setting('plan_cache_mode') as mode")
_MODE_BY_KEY = Statement(
    "select current_setting('plan_cache_mode') as mode from unnest($1::int[])", sqlite="", by_key=True
)


async def test_a_transaction_stops_using_kept_plans_at_the_first_statement_that_has_none(world: World) -> None:
    async def modes(*statements: tuple[Statement, list[int]]) -> list[str]:
        async with world.database.transaction() as connection:
            return [
                (await connection.fetch(statement, *([rows] if rows else [])))[0]["mode"]
                for statement, rows in statements
            ]

    for _ in range(OWN_FIRST):
        await modes((_MODE_BY_KEY, [1]))
    few, many, other = (_MODE_BY_KEY, [1]), (_MODE_BY_KEY, [1] * 100), (_MODE, list[int]())
    kept, own = "force_generic_plan", "force_custom_plan"
    assert await modes(few, few) == [kept, kept]
    assert await modes(few, many, few) == [kept, own, own]
    assert await modes(few, other, few) == [kept, own, own]
