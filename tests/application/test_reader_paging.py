"""Lists page by cursor: nothing is repeated, nothing is left out, whatever happens between two pages."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scheduler_application.errors import Rejected
from scheduler_application.paging import Page, PageRequest
from scheduler_application.ports.reading import RunFilter
from tests.support.flows import failure, flow, results
from tests.support.world import ACTOR, World

Listing = Callable[[PageRequest], Awaitable[Page[Any]]]
P = ACTOR.project


async def pages(listing: Listing, limit: int, between: Callable[[], Awaitable[object]] | None = None) -> list[Any]:
    """Every item, page by page; ``between`` happens after each page."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = await listing(PageRequest(limit, cursor))
        assert len(page.items) <= limit
        found += page.items
        if page.next_cursor is None:
            return found
        assert page.items
        cursor = page.next_cursor
        if between is not None:
            await between()


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
async def test_runs_are_listed_once_newest_first(world: World, limit: int) -> None:
    await world.deploy(flow())
    runs = [(await world.start("flow")).run_id for _ in range(14)]
    found = await pages(lambda page: world.reader.runs(P, RunFilter(), page), limit)
    assert [run.id for run in found] == runs[::-1]


async def test_runs_that_start_while_somebody_pages_change_no_page(world: World) -> None:
    await world.deploy(flow())
    runs = [(await world.start("flow")).run_id for _ in range(9)]
    found = await pages(lambda page: world.reader.runs(P, RunFilter(), page), 2, lambda: world.start("flow"))
    assert [run.id for run in found] == runs[::-1]


async def test_runs_are_filtered(world: World) -> None:
    await world.deploy(flow(triggers=[{"every": "1m", "name": "tick"}]))
    await world.deploy(flow(name="other"))
    failed = (await world.start("flow")).run_id
    await world.work(results(a=failure()))
    noon = world.clock.now()
    world.clock.advance(60)
    await world.fire_due_schedules.execute(await world.lead())
    other = (await world.start("other")).run_id

    async def ids(where: RunFilter) -> list[str]:
        return [run.id for run in await pages(lambda page: world.reader.runs(P, where, page), 1)]

    (fired,) = await ids(RunFilter(trigger="tick"))
    assert await ids(RunFilter(workflow="other")) == [other]
    assert await ids(RunFilter(states=["failed"])) == [failed]
    assert await ids(RunFilter(states=["failed", "running"], workflow="flow")) == [fired, failed]
    assert await ids(RunFilter(created_after=noon)) == [other, fired]
    assert await ids(RunFilter(created_before=noon)) == []
    assert await ids(RunFilter(workflow="nothing")) == []
    assert (await world.reader.runs(world.ids.new(), RunFilter(), PageRequest())).items == []


async def test_task_runs_are_listed_once_in_the_order_of_their_making(world: World) -> None:
    names = [f"t{number:02}" for number in range(23)]
    await world.deploy(flow(" ".join(names)))
    run_id = (await world.start("flow")).run_id
    found = await pages(lambda page: world.reader.task_runs(P, run_id, page), 5)
    assert [task.task for task in found] == names


async def test_workflows_and_versions_are_listed_once(world: World) -> None:
    names = sorted(["b", "a-b", "a", "a-c", "ab", "b2", "aa", "a1", "z"])
    for name in names:
        await world.deploy(flow(name=name))
    found = [view.name for view in await pages(lambda page: world.reader.workflows(P, page), 3)]
    assert sorted(found) == names
    assert found == [view.name for view in (await world.reader.workflows(P, PageRequest(200))).items]
    deployment = await world.deploy(flow(name="a"))
    for number in range(2, 12):
        await world.deploy(flow(name="a", description=str(number)))
    versions = await pages(lambda page: world.reader.versions(P, deployment.workflow_id, page), 4)
    assert [version.number for version in versions] == list(range(11, 0, -1))


async def test_schedules_are_listed_once(world: World) -> None:
    for name in ("b", "a", "a-b"):
        triggers = [{"every": "1h", "name": f"t{number}"} for number in range(4)]
        await world.deploy(flow(name=name, triggers=[*triggers, {"manual": {}}]))
    found = await pages(lambda page: world.reader.schedules(P, page), 5)
    assert sorted((view.workflow, view.name) for view in found) == sorted(
        (name, f"t{number}") for name in ("b", "a", "a-b") for number in range(4)
    )


async def test_the_ledger_is_listed_once_also_where_many_were_due_at_one_moment(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.deploy(flow(name=name, triggers=[{"schedule": "0 * * * *"}, {"schedule": "0,30 * * * *"}]))
    world.clock.advance(4 * 3_600)
    await world.fire_due_schedules.execute(await world.lead())
    found = await pages(lambda page: world.reader.ledger(P, page), 5)
    keys = [(row.due_at, row.trigger_id) for row in found]
    assert len(keys) == len(set(keys)) == 3 * (4 + 8)
    assert [due for due, _ in keys] == sorted((due for due, _ in keys), reverse=True)
    of_one = await pages(lambda page: world.reader.ledger(P, page, workflow="b"), 5)
    assert len(of_one) == 12
    assert {row.workflow for row in of_one} == {"b"}


@pytest.mark.parametrize("cursor", ["nonsense", "", "1|2|3", "9999999999999", "2026-13-01T00:00:00Z|x", "\0", "ä"])
async def test_a_cursor_of_another_list_is_refused_or_leads_nowhere(world: World, cursor: str) -> None:
    deployment = await world.deploy(flow(triggers=[{"every": "1h"}]))
    run_id = (await world.start("flow")).run_id
    listings: list[Listing] = [
        lambda page: world.reader.runs(P, RunFilter(), page),
        lambda page: world.reader.task_runs(P, run_id, page),
        lambda page: world.reader.versions(P, deployment.workflow_id, page),
        lambda page: world.reader.ledger(P, page),
    ]
    for listing in listings:
        with pytest.raises(Rejected) as refusal:
            await listing(PageRequest(5, cursor))
        assert refusal.value.code == "invalid_cursor"


@pytest.mark.parametrize("cursor", ["\0", "a\0b|c", "", "a|", "\ud800|a"])
async def test_a_cursor_that_no_name_can_be_is_refused(world: World, cursor: str) -> None:
    for listing in (world.reader.workflows, world.reader.schedules):
        with pytest.raises(Rejected) as refusal:
            await listing(P, PageRequest(5, cursor))
        assert refusal.value.code == "invalid_cursor"
