"""However much is due in one place, what is due elsewhere has its turn."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from scheduler_application.errors import LeadershipLost
from scheduler_application.leading import Leadership
from scheduler_application.ports.persistence import Transaction
from scheduler_application.schedule.fire import FIRED_AT_ONCE, FIRING_SECONDS
from scheduler_domain.schedule.cron_parsing import parse_cron
from tests.support.flows import flow
from tests.support.many_schedules import copies
from tests.support.world import ACTOR, World

MINUTE, HOUR, DAY = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Observed(Leadership):
    """A term that tells when a transaction begins."""

    begins: Callable[[], None] = field(compare=False)

    async def check(self, tx: Transaction) -> None:
        self.begins()
        await Leadership.check(self, tx)


async def observed(world: World, begins: Callable[[], None]) -> Observed:
    term = await world.lead()
    return Observed(term.holder, term.epoch, term.trusted_until, term.settled_at, begins)


async def first_transaction(world: World) -> None:
    """Fires what the first transaction of a pass holds, and no more."""
    begun = []

    def begins() -> None:
        begun.append(1)
        if len(begun) > 1:
            raise LeadershipLost("that was the first one")

    with pytest.raises(LeadershipLost):
        await world.fire_due_schedules.execute(await observed(world, begins))


async def by_project(world: World, table: str) -> dict[str, int]:
    rows = await world.rows(
        f"select p.name, count(*) as number from {table} t join projects p on p.id = t.project_id group by p.name"
    )
    return {row["name"]: row["number"] for row in rows}


async def test_a_pass_that_is_full_is_shared_out_by_project(world: World) -> None:
    await world.deploy(flow(triggers=[{"schedule": "0 * * * *"}]))
    await copies(world, 30)
    (first,) = await world.rows("select due_at from triggers where workflow_id = (select id from workflows limit 1)")
    for number, project in enumerate(("small", "smaller"), 1):
        world.clock.advance(number)
        later = first["due_at"].replace(second=number)
        await copies(world, 3 - number, project, due_at=later, next_at=later)
    world.clock.advance(HOUR + MINUTE)
    found = await world.store.transact(lambda tx: tx.triggers.due(world.clock.now(), 12))
    assert len({trigger.id for trigger in found}) == len(found) == 12
    assert [trigger.project_id == ACTOR.project for trigger in found].count(False) == 3
    everything = await world.store.transact(lambda tx: tx.triggers.due(world.clock.now(), 100))
    assert len(everything) == 34
    assert [trigger.due_at for trigger in everything] == sorted(trigger.due_at for trigger in everything)


async def test_the_backlog_of_a_project_does_not_delay_another(world: World) -> None:
    await world.deploy(flow(triggers=[{"schedule": "0 * * * *"}]))
    await copies(world, FIRED_AT_ONCE + 100)
    (first,) = await world.rows("select min(due_at) as due_at from triggers")
    later = first["due_at"].replace(second=5)
    await copies(world, 20, "other", due_at=later, next_at=later)
    world.clock.advance(HOUR + MINUTE / 2)
    await first_transaction(world)
    assert await by_project(world, "ledger") == {"default": FIRED_AT_ONCE - 20, "other": 20}


async def test_a_schedule_that_catches_up_leaves_room_for_those_that_are_on_time(world: World) -> None:
    await world.deploy(flow(triggers=[{"every": "1s"}]))
    (behind,) = await world.rows("select id from triggers")
    world.clock.advance(DAY)
    await copies(world, 10, due_at=world.clock.now(), next_at=world.clock.now())
    await first_transaction(world)
    rows = await world.rows("select trigger_id from ledger")
    assert len({row["trigger_id"] for row in rows} - {behind["id"]}) == 10
    assert any(row["trigger_id"] == behind["id"] for row in rows)


async def test_a_backlog_leaves_the_leaders_other_duties_their_turn(world: World) -> None:
    await world.deploy(flow(triggers=[{"schedule": "0 * * * *"}]))
    await copies(world, 3 * FIRED_AT_ONCE)
    world.clock.advance(HOUR)
    term = await observed(world, lambda: world.clock.advance(0.6 * FIRING_SECONDS))
    assert await world.fire_due_schedules.execute(term) == 2 * FIRED_AT_ONCE
    assert await world.fire_due_schedules.execute(term) == FIRED_AT_ONCE + 1


async def test_a_leader_does_not_wake_itself_for_what_it_has_just_moved(world: World) -> None:
    """It asks what is due next after every pass anyway."""
    woken: list[str] = []
    world.announcer._signals = _Counted(woken)  # type: ignore[assignment]
    await world.deploy(flow(triggers=[{"every": "1s"}]))
    world.clock.advance(1)
    assert await world.fire_due_schedules.execute(await world.lead()) == 1
    await world.announcer.idle()
    assert woken == []


class _Counted:
    def __init__(self, woken: list[str]) -> None:
        self._woken = woken

    async def wake_dispatchers(self) -> None:
        self._woken.append("dispatchers")


def test_an_expression_is_parsed_once_whoever_uses_it() -> None:
    assert parse_cron("15 3 * * mon") is parse_cron(" 15 3 * * mon", "another seed")
    assert parse_cron("H 3 * * *", "a") is parse_cron("H 3 * * *", "a")
    assert parse_cron("H H * * *", "a") is not parse_cron("H H * * *", "b")
