"""Heartbeats: who is not heard in time raises one alert, and tells when it is back."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler_application.errors import Conflict, LeadershipLost, NotFound, Rejected
from scheduler_application.heartbeat.manage import (
    CreateHeartbeatCommand,
    EditHeartbeatCommand,
    HeartbeatCommand,
    NewAddress,
)
from scheduler_application.heartbeat.ping import MAX_MESSAGE_BYTES, PingCommand, PingSignal
from scheduler_application.paging import PageRequest
from scheduler_application.ports.reading import AlertFilter, AlertView, HeartbeatView
from scheduler_domain.errors import InvalidDefinition
from tests.support.world import ACTOR, World

NINE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
"""Where the clock stands when a test begins."""

MINUTE, HOUR = 60, 3_600
HOURLY = {"name": "backup", "every": "1h", "grace": "5m"}
NIGHTLY = {"name": "backup", "schedule": "0 2 * * *", "timezone": "Europe/Berlin", "grace": "30m"}


def at(hours: float) -> datetime:
    """So many hours after nine."""
    return NINE + timedelta(hours=hours)


async def create(world: World, **settings: Any) -> str:
    """The token of a new heartbeat."""
    return (await made(world, **settings)).token


async def made(world: World, **settings: Any) -> NewAddress:
    return await world.create_heartbeat.execute(CreateHeartbeatCommand({**HOURLY, **settings}), ACTOR)


async def ping(world: World, token: str, signal: str = "ping", body: bytes = b"") -> list[str]:
    """The kinds of alerts that it raised."""
    alerted = await world.ping_heartbeat.execute(PingCommand(token, PingSignal(signal), body))
    return [alert.kind for alert in alerted.raised]


async def judged(world: World, after: float = 0.0) -> list[str]:
    """Turns the clock and lets the leader judge; the kinds of alerts that this raised."""
    world.clock.advance(after)
    alerted = await world.judge_deadlines.execute(await world.lead())
    return [alert.kind for alert in alerted.raised]


async def show(world: World, name: str = "backup") -> HeartbeatView:
    return await world.show_heartbeat.execute(name, ACTOR)


async def alerts(world: World, **where: Any) -> list[AlertView]:
    page = await world.reader.alerts(ACTOR.project, AlertFilter(**where), PageRequest(200))
    return page.items[::-1]


async def test_a_job_that_pings_in_time_is_up_and_raises_nothing(world: World) -> None:
    token = await create(world)
    assert (await show(world)).state == "new"
    for _ in range(5):
        assert await judged(world, HOUR + 4 * MINUTE) == []
        assert await ping(world, token) == []
        assert (await show(world)).state == "up"
    assert await alerts(world) == []


async def test_a_missed_deadline_raises_one_alert_and_the_next_ping_says_that_it_is_back(world: World) -> None:
    token = await create(world)
    world.clock.advance(10 * MINUTE)
    await ping(world, token)
    assert await judged(world, HOUR + 5 * MINUTE - 1) == []
    assert (await show(world)).state == "late"
    assert await judged(world, 1) == ["heartbeat_missed"]
    assert (await show(world)).state == "down"
    assert await judged(world, 100 * HOUR) == []
    (missed,) = await alerts(world)
    assert (missed.heartbeat, missed.workflow, missed.key) == ("backup", None, "heartbeat/backup")
    assert missed.deadline_at == at(1) + timedelta(minutes=10)
    assert missed.message == (
        "the heartbeat backup was due by 2026-11-02T10:10:00+00:00 with a grace of 5m, and did not ping; "
        "its last ping was at 2026-11-02T09:10:00+00:00"
    )
    assert await ping(world, token) == ["heartbeat_recovered"]
    missed, recovered = await alerts(world)
    assert (recovered.kind, missed.resolved_at) == ("heartbeat_recovered", recovered.at)
    assert await alerts(world, open=True) == []
    assert await ping(world, token) == []
    assert await judged(world, 2 * HOUR) == ["heartbeat_missed"]


async def test_one_that_never_pings_is_missed_too(world: World) -> None:
    await create(world)
    assert await judged(world, HOUR + 5 * MINUTE) == ["heartbeat_missed"]
    assert (await alerts(world))[0].message.endswith("it has never pinged")


async def test_a_schedule_is_due_at_its_times_in_its_zone(world: World) -> None:
    token = (await world.create_heartbeat.execute(CreateHeartbeatCommand(NIGHTLY), ACTOR)).token
    view = await show(world)
    assert (view.schedule, view.every, view.timezone, view.grace) == ("0 2 * * *", None, "Europe/Berlin", "30m")
    assert view.due_at == datetime(2026, 11, 3, 1, 0, tzinfo=UTC)
    assert view.down_at == datetime(2026, 11, 3, 1, 30, tzinfo=UTC)
    world.clock.advance(16 * HOUR + 20 * MINUTE)
    assert (await show(world)).state == "late"
    await ping(world, token)
    assert (await show(world)).due_at == datetime(2026, 11, 4, 1, 0, tzinfo=UTC)
    assert await judged(world, 24 * HOUR + 10 * MINUTE) == ["heartbeat_missed"]
    assert "was due by 2026-11-04T02:00:00+01:00 with a grace of 30m" in (await alerts(world))[0].message


async def test_a_job_that_says_that_it_failed_is_down_at_once(world: World) -> None:
    token = await create(world)
    assert await ping(world, token, "fail", b"disk full") == ["heartbeat_failed"]
    view = await show(world)
    assert (view.state, view.down_at, view.last_signal, view.last_message) == ("down", None, "fail", "disk full")
    assert await ping(world, token, "fail", b"still full") == []
    assert await judged(world, 10 * HOUR) == []
    (failed,) = await alerts(world, open=True)
    assert (failed.kind, failed.detail) == ("heartbeat_failed", {"message": "disk full"})
    assert await ping(world, token) == ["heartbeat_recovered"]
    assert await ping(world, token, "fail") == ["heartbeat_failed"]
    assert len(await alerts(world)) == 3


async def test_a_start_meets_no_deadline_and_tells_how_long_the_job_took(world: World) -> None:
    token = await create(world)
    world.clock.advance(HOUR)
    assert await ping(world, token, "start") == []
    view = await show(world)
    assert (view.state, view.started_at, view.last_ping_at, view.last_signal) == ("late", at(1), None, "start")
    world.clock.advance(90.5)
    await ping(world, token)
    view = await show(world)
    assert (view.took_ms, view.started_at, view.last_ping_at) == (90_500, None, at(1) + timedelta(seconds=90.5))
    await ping(world, token)
    assert (await show(world)).took_ms is None
    await ping(world, token, "start")
    assert await judged(world, 2 * HOUR) == ["heartbeat_missed"]


async def test_a_miss_that_no_leader_judged_is_found_by_the_ping_that_came_too_late(world: World) -> None:
    token = await create(world)
    world.clock.advance(3 * HOUR)
    assert await ping(world, token) == ["heartbeat_missed", "heartbeat_recovered"]
    missed, recovered = await alerts(world)
    assert (missed.deadline_at, missed.resolved_at, recovered.at) == (at(1), at(3), at(3))
    assert await judged(world) == []
    assert (await show(world)).state == "up"


async def test_a_leader_and_a_ping_at_the_same_time_judge_a_deadline_once(world: World) -> None:
    token = await create(world)
    term = await world.lead()
    for _ in range(5):
        world.clock.advance(2 * HOUR)
        term = await world.lead()
        await asyncio.gather(world.judge_deadlines.execute(term), *(ping(world, token) for _ in range(3)))
        await world.judge_deadlines.execute(term)
        await ping(world, token)
    kinds = [alert.kind for alert in await alerts(world)]
    assert (kinds.count("heartbeat_missed"), kinds.count("heartbeat_recovered")) == (5, 5)
    assert await alerts(world, open=True) == []


async def test_nothing_is_awaited_of_a_paused_one(world: World) -> None:
    token = await create(world)
    await judged(world, 2 * HOUR)
    paused = await world.pause_heartbeat.execute(HeartbeatCommand("backup"), ACTOR)
    assert (paused.state, paused.down_at) == ("paused", None)
    assert [alert.resolved_at for alert in await alerts(world)] == [at(2)]
    assert await world.next_due.execute() is None
    assert await judged(world, 100 * HOUR) == []
    assert await ping(world, token, "fail", b"noted") == []
    view = await show(world)
    assert (view.state, view.last_message) == ("paused", "noted")
    again = await world.pause_heartbeat.execute(HeartbeatCommand("backup"), ACTOR)
    assert again.updated_at == paused.updated_at
    resumed = await world.resume_heartbeat.execute(HeartbeatCommand("backup"), ACTOR)
    assert (resumed.state, resumed.due_at) == ("new", at(103))
    assert await world.resume_heartbeat.execute(HeartbeatCommand("backup"), ACTOR) == resumed
    assert await judged(world, HOUR + 5 * MINUTE) == ["heartbeat_missed"]


async def test_other_times_count_from_the_edit_and_the_same_ones_move_nothing(world: World) -> None:
    token = await create(world)
    world.clock.advance(30 * MINUTE)
    same = await world.edit_heartbeat.execute(EditHeartbeatCommand("backup", {"every": "60m"}), ACTOR)
    assert (same.due_at, same.updated_at) == (at(1), NINE)
    edited = await world.edit_heartbeat.execute(
        EditHeartbeatCommand("backup", {"name": "backup", "every": "2h", "grace": "0s"}), ACTOR
    )
    assert (edited.every, edited.grace, edited.due_at, edited.down_at) == ("2h", "0s", at(2.5), at(2.5))
    assert await judged(world, 2 * HOUR) == ["heartbeat_missed"]
    down = await world.edit_heartbeat.execute(EditHeartbeatCommand("backup", {"schedule": "@daily"}), ACTOR)
    assert (down.state, down.down_at, down.schedule) == ("down", None, "@daily")
    assert await ping(world, token) == ["heartbeat_recovered"]
    with pytest.raises(Rejected, match="the address names 'backup', the body 'other'"):
        await world.edit_heartbeat.execute(EditHeartbeatCommand("backup", {"name": "other", "every": "1h"}), ACTOR)


async def test_another_token_makes_the_one_before_worthless(world: World) -> None:
    old = await create(world)
    new = (await world.rotate_heartbeat.execute(HeartbeatCommand("backup"), ACTOR)).token
    assert await ping(world, new) == []
    with pytest.raises(NotFound):
        await ping(world, old)


async def test_the_store_holds_a_hash_and_never_the_token(world: World) -> None:
    token = await create(world)
    await ping(world, token)
    rows = [*await world.rows("select * from heartbeats"), *await world.rows("select * from alerts")]
    assert token not in repr(rows)
    assert len(token) == 47


@pytest.mark.parametrize("token", ["", "x", "orh_", "orh_" + "é" * 43, "orh_" + "u" * 43])
async def test_a_token_that_is_none_is_refused_in_the_same_words(world: World, token: str) -> None:
    await create(world)
    with pytest.raises(NotFound, match=r"^there is no such heartbeat$"):
        await ping(world, token)


async def test_a_deleted_one_is_gone_with_its_open_alerts(world: World) -> None:
    token = await create(world)
    await judged(world, 2 * HOUR)
    await world.delete_heartbeat.execute(HeartbeatCommand("backup"), ACTOR)
    with pytest.raises(NotFound):
        await ping(world, token)
    with pytest.raises(NotFound):
        await show(world)
    (alert,) = await alerts(world)
    assert (alert.heartbeat, alert.resolved_at) == ("backup", at(2))
    assert (await made(world)).heartbeat.state == "new"


async def test_a_name_is_taken_once_and_each_command_needs_one_that_exists(world: World) -> None:
    await create(world)
    with pytest.raises(Conflict, match="there is a heartbeat 'backup' already"):
        await create(world)
    for name in ("other", "no name at all\x00"):
        for use_case in (
            world.rotate_heartbeat,
            world.pause_heartbeat,
            world.resume_heartbeat,
            world.delete_heartbeat,
        ):
            with pytest.raises(NotFound):
                await use_case.execute(HeartbeatCommand(name), ACTOR)
        with pytest.raises(NotFound):
            await show(world, name)


@pytest.mark.parametrize(
    ("body", "kept", "truncated"),
    [
        (b"", "", False),
        ("fertig \u2713".encode(), "fertig \u2713", False),
        (b"a" * MAX_MESSAGE_BYTES, "a" * MAX_MESSAGE_BYTES, False),
        (b"a" * (MAX_MESSAGE_BYTES + 1), "a" * MAX_MESSAGE_BYTES, True),
        (b"\x00\xff", "\ufffd\ufffd", False),
    ],
)
async def test_what_a_job_sends_along_is_kept_up_to_a_bound(
    world: World, body: bytes, kept: str, truncated: bool
) -> None:
    token = await create(world)
    await ping(world, token, body=body)
    view = await show(world)
    assert (view.last_message, view.message_truncated) == (kept, truncated)


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        ({}, [("missing_key", ()), ("exactly_one_of", ())]),
        ({"name": "b", "every": "1h", "schedule": "@daily"}, [("exactly_one_of", ())]),
        ({"name": "b", "every": 60}, [("invalid_duration", ("every",))]),
        ({"name": "b", "every": "0s"}, [("duration_out_of_range", ("every",))]),
        ({"name": "b", "every": "1h", "timezone": "UTC"}, [("without_effect", ("timezone",))]),
        ({"name": "b", "schedule": "daily"}, [("invalid_cron", ("schedule",))]),
        ({"name": "b", "schedule": "0 0 30 2 *"}, [("never_fires", ("schedule",))]),
        ({"name": "b", "schedule": 5}, [("string_expected", ("schedule",))]),
        ({"name": "b", "schedule": "@daily", "timezone": "Berlin"}, [("unknown_timezone", ("timezone",))]),
        ({"name": "A B", "every": "1h"}, [("invalid_name", ("name",))]),
        ({"name": "b", "every": "1h", "grace": "5 min"}, [("invalid_duration", ("grace",))]),
        ({"name": "b", "every": "1h", "state": "up"}, [("unknown_key", ("state",))]),
        (
            {"name": 1, "every": "soon", "grace": 5},
            [("string_expected", ("name",)), ("invalid_duration", ("every",)), ("invalid_duration", ("grace",))],
        ),
    ],
)
async def test_wrong_settings_are_refused_with_every_fault(world: World, content: Any, faults: Any) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        await world.create_heartbeat.execute(CreateHeartbeatCommand(content), ACTOR)
    assert [(problem.code, problem.loc) for problem in caught.value.problems] == faults
    assert await world.rows("select id from heartbeats") == []


async def test_the_dispatcher_wakes_when_the_grace_ends(world: World) -> None:
    await create(world)
    await create(world, name="other", every="30m")
    assert await world.next_due.execute() == NINE + timedelta(minutes=35)
    assert await judged(world, 35 * MINUTE) == ["heartbeat_missed"]
    assert await world.next_due.execute() == NINE + timedelta(minutes=65)


async def test_only_the_current_epoch_judges(world: World) -> None:
    await create(world)
    world.clock.advance(2 * HOUR)
    old = await world.lead()
    await world.write("update leadership set epoch = epoch + 1")
    with pytest.raises(LeadershipLost):
        await world.judge_deadlines.execute(old)
    assert (await show(world)).state == "late"


async def test_many_are_listed_by_name_page_by_page_and_none_of_another_project(world: World) -> None:
    for name in ("c", "a", "b"):
        await create(world, name=name)
    first = await world.list_heartbeats.execute(PageRequest(2), ACTOR)
    rest = await world.list_heartbeats.execute(PageRequest(2, first.next_cursor), ACTOR)
    assert [view.name for view in (*first.items, *rest.items)] == ["a", "b", "c"]
    assert rest.next_cursor is None
    foreign = world.ids.new()
    assert (await world.reader.heartbeats(foreign, PageRequest())).items == []
    assert await world.reader.heartbeat(foreign, "a") is None


async def test_more_than_one_transaction_takes_are_all_judged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler_application.alert.heartbeats.HEARTBEATS_AT_ONCE", 2)
    for name in "abcde":
        await create(world, name=name)
    assert await judged(world, 2 * HOUR) == ["heartbeat_missed"] * 5
