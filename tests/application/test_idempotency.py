"""Idempotency keys: the same request twice is one effect and one answer."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from scheduler_application.errors import Conflict, NotFound, Rejected
from scheduler_application.run.start import StartedRun, StartRunCommand
from scheduler_domain.errors import InvalidDefinition
from tests.support.flows import flow
from tests.support.world import ACTOR, World

KEYED = StartRunCommand("flow", {}, idempotency_key="key", request_hash="hash")


async def start(world: World, command: StartRunCommand = KEYED, actor: Any = ACTOR) -> StartedRun:
    return await world.start_run.execute(command, actor)


async def runs(world: World) -> int:
    return len(await world.rows("select id from runs"))


async def test_the_same_key_starts_one_run_and_says_how_it_stands(world: World) -> None:
    await world.deploy(flow())
    first, second = await start(world), await start(world)
    assert (first.replayed, second.replayed) == (False, True)
    assert first.run_id == second.run_id
    await world.work()
    assert (await start(world)).state == "succeeded"
    assert await runs(world) == 1


async def test_the_same_key_at_once_starts_one_run(world: World) -> None:
    await world.deploy(flow())
    answers = await asyncio.gather(*(start(world) for _ in range(20)))
    assert len({answer.run_id for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert await runs(world) == 1


async def test_the_same_key_in_two_processes_starts_one_run(world: World) -> None:
    await world.deploy(flow())
    starts = world.start_runs
    orders = [starts._order(KEYED, ACTOR) for _ in range(4)]
    answers = await asyncio.gather(*(starts._start([order]) for order in orders))
    assert len({answer.run_id for (answer,) in answers if isinstance(answer, StartedRun)}) == 1
    assert await runs(world) == 1


@pytest.mark.parametrize("change", [{"request_hash": "other"}, {"workflow": "second"}])
async def test_a_key_of_another_request_is_refused(world: World, change: dict[str, Any]) -> None:
    await world.deploy(flow())
    await world.deploy(flow(name="second"))
    await start(world)
    with pytest.raises(Rejected) as refusal:
        await start(world, replace(KEYED, **change))
    assert refusal.value.code == "idempotency_mismatch"
    assert await runs(world) == 1


async def test_keys_of_different_callers_are_different_keys(world: World) -> None:
    await world.deploy(flow())
    mine, theirs = await start(world), await start(world, actor=replace(ACTOR, principal="key:other000"))
    assert mine.run_id != theirs.run_id


async def test_a_refused_request_keeps_no_key_and_may_be_corrected(world: World) -> None:
    with pytest.raises(NotFound):
        await start(world)
    await world.deploy(flow(inputs={"n": {"type": "integer"}}))
    with pytest.raises(InvalidDefinition):
        await start(world)
    assert (await start(world, replace(KEYED, inputs={"n": 1}))).replayed is False
    assert await runs(world) == 1


async def test_a_repeat_in_the_batch_of_a_refused_request_is_refused_too(world: World) -> None:
    await world.deploy(flow(inputs={"n": {"type": "integer"}}))
    answers = await world.start_runs.execute([KEYED, KEYED, replace(KEYED, request_hash="other")], ACTOR)
    assert [type(answer) for answer in answers] == [InvalidDefinition, InvalidDefinition, Rejected]
    assert await runs(world) == 0
    assert await world.rows("select key from idempotency_keys") == []


async def test_a_skipped_start_keeps_no_key(world: World) -> None:
    await world.deploy(flow(concurrency={"limit": 1, "on_conflict": "skip"}))
    await world.start("flow")
    with pytest.raises(Conflict):
        await start(world)
    await world.work()
    assert (await start(world)).replayed is False


# Other writes ---------------------------------------------------------------------------------------------------------

REQUEST = ("the-key", "PUT /workflows/x", "hash")


async def test_an_answer_is_given_again_word_for_word(world: World) -> None:
    keys = world.idempotency_keys
    assert await keys.begin(ACTOR, *REQUEST) is None
    await keys.finish(ACTOR, REQUEST[0], REQUEST[1], 201, b'{"a": "\xc3\xa4"}')
    answer = await keys.begin(ACTOR, *REQUEST)
    assert answer is not None
    assert (answer.status, answer.body) == (201, b'{"a": "\xc3\xa4"}')


async def test_a_request_that_is_under_way_is_a_conflict_and_an_abandoned_one_is_not(world: World) -> None:
    keys = world.idempotency_keys
    await keys.begin(ACTOR, *REQUEST)
    world.clock.advance(59)
    with pytest.raises(Conflict) as refusal:
        await keys.begin(ACTOR, *REQUEST)
    assert refusal.value.code == "idempotency_in_progress"
    world.clock.advance(2)
    assert await keys.begin(ACTOR, *REQUEST) is None


async def test_a_failed_request_may_be_sent_again(world: World) -> None:
    keys = world.idempotency_keys
    await keys.begin(ACTOR, *REQUEST)
    await keys.abandon(ACTOR, REQUEST[0], REQUEST[1])
    assert await keys.begin(ACTOR, *REQUEST) is None


@pytest.mark.parametrize("other", [("the-key", "PUT /other", "hash"), ("the-key", "PUT /workflows/x", "other")])
async def test_a_key_used_for_something_else_is_refused(world: World, other: tuple[str, str, str]) -> None:
    await world.idempotency_keys.begin(ACTOR, *REQUEST)
    with pytest.raises(Rejected) as refusal:
        await world.idempotency_keys.begin(ACTOR, *other)
    assert refusal.value.code == "idempotency_mismatch"


async def test_of_many_at_once_one_is_carried_out(world: World) -> None:
    answers = await asyncio.gather(
        *(world.idempotency_keys.begin(ACTOR, *REQUEST) for _ in range(8)), return_exceptions=True
    )
    assert answers.count(None) == 1
    assert sum(isinstance(answer, Conflict) for answer in answers) == 7
