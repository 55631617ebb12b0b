"""A machine whose clock is set wrong: schedules go by the store's clock, and fire nothing twice, early or never.

With PostgreSQL that is the database's, which stamps every decision here by itself; with SQLite it is the machine's own.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import Stacks
from tests.support.eventually import eventually
from tests.support.faked_clock import FakedClock
from tests.support.stack import Stack

HOUR, MONTH = 3_600, 30 * 86_400
SECOND = timedelta(seconds=1)

WORKFLOW = """
workflow: ticking
triggers: [{name: interval, every: 1s}, {name: cron, schedule: "* * * * * *"}, {name: hand, manual: {}}]
tasks:
  pause: {wait: {for: 2s}}
  work: {python: {call: "effects:nothing"}}
"""

# The database's own stamp beside what the dispatcher says about the time.
STAMPED = "alter table ledger add column stamped_at timestamptz default clock_timestamp()"


async def test_steps_of_the_dispatchers_clock_fire_nothing_twice_early_or_never(
    distributed: Stacks, tmp_path: Path
) -> None:
    clock = FakedClock(tmp_path)
    stack = distributed()
    assert stack.cli("migrate").returncode == 0
    await stack.rows(STAMPED)
    dispatcher = stack.start("dispatcher", clock=clock)
    for node in (stack.start("api"), stack.start("worker"), dispatcher):
        await node.ready()
    await stack.deploy(WORKFLOW)
    for shift in (0, HOUR, -HOUR, MONTH, -MONTH, 0):
        await clock.step(dispatcher.url, shift)
        await _goes_on(stack)

    by_hand = await stack.run("ticking")
    rows = await stack.rows("select l.*, t.name from ledger l join triggers t on t.id = l.trigger_id order by l.due_at")
    for name in ("interval", "cron"):
        fired = [row for row in rows if row["name"] == name]
        _every_second_once([row["due_at"] for row in fired])
        assert {(row["outcome"], row["rule"], row["epoch"]) for row in fired} == {("fired", "on_time", 1)}
        for row in fired:
            assert timedelta() <= row["stamped_at"] - row["due_at"] < 5 * SECOND
            assert timedelta() <= row["stamped_at"] - row["decided_at"] < 5 * SECOND
    assert {row["due_at"].microsecond for row in rows if row["name"] == "cron"} == {0}
    runs = await stack.rows("select id, due_at from runs where due_at is not null and id < $1 order by id", by_hand)
    assert len(runs) >= len(rows) - 4, "what the API starts now sorts after what the dispatcher started before"
    assert [run["due_at"] for run in runs] == sorted(run["due_at"] for run in runs)


async def test_an_embedded_system_whose_clock_is_set_back_fires_nothing_twice(embedded: Stack, tmp_path: Path) -> None:
    clock = FakedClock(tmp_path)
    node = embedded.start("up", clock=clock)
    await node.ready()
    await embedded.deploy(WORKFLOW)
    await _goes_on(embedded)
    for shift in (-HOUR, -MONTH):
        await clock.step(node.url, shift)
        before = await _fired(embedded)
        # Its wait ends by a pass of the very loop that fires, so that loop has gone by the new time.
        ended = await embedded.finished(await embedded.run("ticking"), within=20)
        assert ended["state"] == "succeeded"
        assert await _fired(embedded) == before

    leapt_from = max(datetime.fromisoformat(row["due_at"]) for row in await _fired(embedded))
    await clock.step(node.url, HOUR)
    await _caught_up(embedded, leapt_from + timedelta(seconds=HOUR))
    rows = await embedded.rows(
        "select l.*, t.name, r.id as run from ledger l join triggers t on t.id = l.trigger_id "
        "left join runs r on r.trigger_id = l.trigger_id and r.due_at = l.due_at order by l.due_at"
    )
    for name in ("interval", "cron"):
        due = [datetime.fromisoformat(row["due_at"]) for row in rows if row["name"] == name]
        _every_second_once(due)
        assert len(due) > HOUR, "the hour that the clock leapt over has its rows"
        missed = [row for row in rows if row["name"] == name and row["outcome"] != "fired"]
        assert {(row["outcome"], row["rule"]) for row in missed} == {("missed", "misfire:fire_once")}
    assert all((row["run"] is not None) == (row["outcome"] == "fired") for row in rows)
    strays = "select id from runs r where due_at is not null and not exists (select 1 from ledger where run_id = r.id)"
    assert await embedded.rows(strays) == []


def _every_second_once(due: Sequence[datetime]) -> None:
    """The oracle: from the first to the last due time of a schedule of a second there is one in every second."""
    seconds = round((due[-1] - due[0]).total_seconds())
    assert list(due) == [due[0] + number * SECOND for number in range(seconds + 1)]


async def _fired(stack: Stack) -> list[dict[str, Any]]:
    return await stack.rows("select trigger_id, due_at, outcome from ledger order by trigger_id, due_at")


async def _caught_up(stack: Stack, after: datetime) -> None:
    """Returns when either schedule has fired on time after ``after``."""

    async def has_caught_up() -> bool:
        rows = await stack.rows("select trigger_id, due_at from ledger where rule = 'on_time'")
        return len({row["trigger_id"] for row in rows if datetime.fromisoformat(row["due_at"]) > after}) == 2

    await eventually(has_caught_up, within=60)


async def _goes_on(stack: Stack) -> None:
    """Returns when either schedule has fired three times more and a run that a fire began has ended since."""
    count = """
        select trigger_id, count(*) as times from runs where due_at is not null and state = 'succeeded' group by 1"""
    before = {row["trigger_id"]: row["times"] for row in await stack.rows(count)}

    async def both_fired() -> bool:
        now = {row["trigger_id"]: row["times"] for row in await stack.rows(count)}
        return len(now) == 2 and all(times >= before.get(key, 0) + 3 for key, times in now.items())

    await eventually(both_fired, within=30)
