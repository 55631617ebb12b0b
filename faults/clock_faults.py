"""Faults of clocks: of a dispatcher, of a worker, of the database; a machine that is suspended while they go on; and
the nights on which zones change theirs."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import asyncpg
import httpx2

from faults.fault import Recovery, fault
from faults.load import start
from faults.recovery import NotRecovered, caught_up, next_fire, next_run, service
from faults.site import LOOK_SECONDS, Kind, Shape, Site
from faults.stand_ins import DISPATCHER_END_SECONDS, ended, leave, relaunched
from faults.throughput import before_and_after
from tests.support.faked_clock import FakedClock, faketime_library
from tests.support.private_servers import PrivatePostgres
from tests.support.stack import Node, Stack

HOUR = 3_600.0
DAY = 86_400.0
STEPS = (HOUR, -HOUR, 30 * DAY, -30 * DAY, 0.0)
EACH_SECONDS = 3.0
ALARM_SECONDS = 10.0
ASLEEP_SECONDS = 150.0
"""Longer than every lease, deadline and heartbeat of the product (the longest is the broker's: 60 s, missed twice)."""
DEPLOY_SECONDS = 60.0

VECTORS: Mapping[tuple[str, str], Sequence[str]] = {
    ("Europe/Berlin", "30 2 * * *"): (
        "2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30", "2026-10-24T00:30", "2026-10-25T00:30",
        "2026-10-26T01:30",
    ),
    ("Europe/Berlin", "*/30 * * * *"): (
        "2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30", "2026-10-25T00:00", "2026-10-25T00:30",
        "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00",
    ),
    ("Europe/Berlin", "0 3 * * *"): ("2026-03-29T01:00", "2026-10-25T02:00"),
    ("America/New_York", "30 2 * * *"): ("2026-03-08T07:00",),
    ("America/New_York", "30 1 * * *"): ("2026-11-01T05:30",),
    ("Australia/Lord_Howe", "15 2 * * *"): ("2026-10-03T15:30",),
}  # fmt: skip
"""Due times (UTC) by zone and expression, worked out by hand; within `AROUND` of them there are no others."""
AROUND = timedelta(minutes=40)


class LibraryMissing(Exception):
    """libfaketime is not installed: Debian's package of this name has it."""


@fault("F46", "the clock of the leader's machine is wrong by hours and days", tier=2, sharp=("I3", "I4"))
async def leaders_clock_steps(site: Site, _chance: Random) -> Recovery:
    clock, leader = await _clocked(site, "dispatcher")
    others = [node for node in site.of("dispatcher") if node is not leader]
    await ended(others, within=DISPATCHER_END_SECONDS)
    while await site.leader() is not leader:
        await asyncio.sleep(LOOK_SECONDS)
    worst = 0.0
    for seconds in STEPS:
        at = site.disturb()
        await clock.step(leader.url, seconds)
        worst = max(worst, await next_fire(site, at))
        await asyncio.sleep(EACH_SECONDS)
    await relaunched(others)
    await leave(site, leader)
    return Recovery(f"the leader's clock took {len(STEPS)} steps", worst, {"steps": len(STEPS)})


@fault("F48", "the clock of a worker's machine is wrong by an hour", tier=3, sharp=("I8",))
async def workers_clock_steps(site: Site, _chance: Random) -> Recovery:
    clock, worker = await _clocked(site, "worker")
    lost = "select count(*) as n from attempts where outcome = 'lost'"
    before = (await site.rows(lost))[0]["n"]
    for seconds in (HOUR, -HOUR, 0.0, 1.0, 0.0):
        site.disturb()
        await clock.step(worker.url, seconds)
        await asyncio.gather(*(start(site, "graph") for _ in range(4)))
        await asyncio.sleep(EACH_SECONDS)
    seconds = await next_run(site, time.time())
    taken = (await site.rows(lost))[0]["n"] - before
    await leave(site, worker)
    broken = (f"I8: {taken} attempts were taken away from workers that lived",) if taken else ()
    return Recovery("a worker's clock took 5 steps", seconds, violations=broken)


@fault("F47", "the database's clock goes an hour ahead and back", tier=3, target=60.0, sharp=("I3",))
async def databases_clock_steps(_site: Site, _chance: Random) -> Recovery:
    """On an installation of its own, whose schedules are few: an hour ahead, all are caught up with; an hour back, the
    clock stands still until it is alarmed."""
    _library()
    with TemporaryDirectory(prefix="orrery-clock-") as folder:
        await asyncio.to_thread(Path(folder).chmod, 0o755)
        clock = FakedClock(Path(folder))
        site = Site(Shape(apis=1, dispatchers=1, workers=1))
        site.postgres = _ClockedPostgres(clock.environment, "track_commit_timestamp=on")
        async with site:
            await _deploy(site.stack, "hourly", "*/10 * * * *", "UTC")
            clock.shift(HOUR)
            at = time.time()
            rows = await _ledger_of(site, at_least=1)
            seconds = time.time() - at
            clock.shift(0.0)
            alarmed = await _alarmed(site, within=3 * ALARM_SECONDS)
            later = await _ledger_of(site, at_least=1)
    broken = []
    if len({row["due_at"] for row in rows}) != len(rows) or later[: len(rows)] != rows:
        broken.append("I3: a due time was decided twice when the clock went back")
    if alarmed is None:
        broken.append(f"I3: nobody was told within {3 * ALARM_SECONDS:g} s that the database's clock went back")
    return Recovery(
        "the database's clock went an hour ahead and back",
        seconds,
        {"alarm_after_seconds": round(alarmed or -1.0, 1), "decided": len(rows)},
        tuple(broken),
    )


@fault("F51", "the whole machine is suspended", tier=3, target=30.0, sharp=("I3", "I7", "I22"))
async def the_machine_sleeps(site: Site, chance: Random) -> Recovery:
    """Everything is frozen in the middle of what it does and goes on later than any lease, deadline or heartbeat, in
    any order. The recovery is the time until every due time that passed is decided and a new run has succeeded."""
    async with before_and_after(site) as throughput:
        async with site.suspended(chance) as asleep_at:
            await asyncio.sleep(ASLEEP_SECONDS)
        woke_at = throughput.healed_at = time.time()
        seconds = max(await asyncio.gather(caught_up(site, woke_at), service(site, woke_at)))
    sql = "select outcome from ledger where due_at > to_timestamp($1) and due_at <= to_timestamp($2)"
    outcomes = Counter(row["outcome"] for row in await site.rows(sql, asleep_at, woke_at))
    figures = {"missed_due_times": outcomes.total(), **outcomes, **throughput.figures}
    what = f"everything stood still for {ASLEEP_SECONDS:g} s"
    return Recovery(what, seconds, figures, tuple(throughput.broken))


@fault("F49", "the nights on which zones change their clocks", tier=2, sharp=("I3",))
async def zones_change_their_clocks(_site: Site, _chance: Random) -> Recovery:
    """An installation of its own, whose database lives by a faked clock, is led through the nights of a year: the
    ledger must have the due times of the vectors and none beside them."""
    _library()
    instants = sorted({datetime.fromisoformat(text).replace(tzinfo=UTC) for due in VECTORS.values() for text in due})
    with TemporaryDirectory(prefix="orrery-nights-") as folder:
        await asyncio.to_thread(Path(folder).chmod, 0o755)
        clock = FakedClock(Path(folder))
        clock.shift((datetime(2026, 3, 7, tzinfo=UTC) - datetime.now(UTC)).total_seconds())
        site = Site(Shape(apis=1, dispatchers=1, workers=1))
        site.postgres = _ClockedPostgres(clock.environment, "track_commit_timestamp=on")
        async with site:
            for place, (zone, expression) in enumerate(VECTORS):
                await _deploy(site.stack, f"night-{place}", expression, zone)
            ledger: list[tuple[str, datetime, str]] = []
            for instant in _ends_of_nights(instants):
                clock.shift((instant + timedelta(seconds=5) - datetime.now(UTC)).total_seconds())
                ledger = await _decided_until(site.stack, instant)
    found: dict[str, set[datetime]] = {}
    for workflow, due, outcome in ledger:
        if outcome == "fired" or any(abs(due - instant) <= AROUND for instant in instants):
            found.setdefault(workflow, set()).add(due)
    return Recovery(
        f"{len(instants)} instants of clock changes", None, {"ledger_rows": len(ledger)}, wrong_nights(found, ledger)
    )


def _ends_of_nights(instants: Sequence[datetime]) -> list[datetime]:
    """The last of those that follow one another within half a day: the clock leaps from night to night."""
    later = [*instants[1:], datetime.max.replace(tzinfo=UTC)]
    return [instant for instant, after in zip(instants, later, strict=True) if after - instant > timedelta(hours=12)]


def wrong_nights(found: Mapping[str, set[datetime]], ledger: Sequence[tuple[str, datetime, str]]) -> tuple[str, ...]:
    broken = []
    for place, ((zone, expression), texts) in enumerate(VECTORS.items()):
        wanted = {datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts}
        decided = found.get(f"night-{place}", set())
        near = {due for due in decided if any(abs(due - instant) <= AROUND for instant in wanted)}
        missing, extra = sorted(wanted - decided), sorted(near - wanted - _neighbours(expression, wanted))
        broken += [f"I3: {expression} in {zone} was not due at {due.isoformat()}" for due in missing]
        broken += [f"I3: {expression} in {zone} was due at {due.isoformat()}" for due in extra]
        rows = Counter(due for workflow, due, _ in ledger if workflow == f"night-{place}")
        broken += [f"I3: {due} of night-{place} is there twice" for due, times in rows.items() if times > 1]
    return tuple(broken)


def _neighbours(expression: str, wanted: set[datetime]) -> set[datetime]:
    """Of a half-hourly schedule the instants before and after those of the vectors."""
    if not expression.startswith("*/30"):
        return set()
    half = timedelta(minutes=30)
    return {due + sign * half for due in wanted for sign in (-1, 1)}


class _ClockedPostgres(PrivatePostgres):
    """A server that lives by a faked clock."""

    def __init__(self, environment: Mapping[str, str], *settings: str) -> None:
        super().__init__(*settings)
        self._clock = environment

    def _environment(self) -> dict[str, str]:
        return super()._environment() | dict(self._clock)


def _library() -> None:
    if faketime_library() is None:
        raise LibraryMissing("libfaketime is missing: install Debian's package, or name it by FAKETIME_LIBRARY")


async def _clocked(site: Site, kind: Kind) -> tuple[FakedClock, Node]:
    """One more node that lives by a clock of its own."""
    _library()
    clock = FakedClock(site.folder, f"clock-{time.time_ns()}")
    node = await site.start(kind, clock=clock)
    await node.ready()
    return clock, node


async def _deploy(stack: Stack, name: str, expression: str, zone: str) -> None:
    """A workflow that is due by a cron expression; every missed due time is recorded."""
    trigger = {"name": "clock", "schedule": expression, "timezone": zone, "misfire": "skip"}
    document = {"workflow": name, "triggers": [trigger], "tasks": {"one": {"wait": {"for": "1s"}}}}
    deadline = time.monotonic() + DEPLOY_SECONDS
    while True:
        said = "no answer"
        with contextlib.suppress(httpx2.TimeoutException):
            async with stack.client() as client:
                answer = await client.post("/workflows?deploy=true", json=document)
            if answer.status_code in (200, 201):
                return
            said = answer.text[:300]
        if time.monotonic() > deadline:
            raise NotRecovered(f"{name} was not deployed: {said}")
        await asyncio.sleep(LOOK_SECONDS)


async def _ledger_of(site: Site, *, at_least: int, within: float = 60.0) -> list[dict[str, object]]:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        rows = await site.rows_when_back("select due_at, outcome, run_id::text from ledger order by due_at")
        if len(rows) >= at_least:
            return rows
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"fewer than {at_least} due times were decided within {within:g} s")


async def _alarmed(site: Site, *, within: float) -> float | None:
    """Seconds until a process says that the database's clock went back."""
    started = time.monotonic()
    while time.monotonic() - started < within:
        for node in site.of("dispatcher") + site.of("api"):
            if any(line["seconds"] < 0 for line in node.lines("the database's clock made a step")):
                return time.monotonic() - started
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def _decided_until(stack: Stack, instant: datetime, *, within: float = 60.0) -> list[tuple[str, datetime, str]]:
    """The ledger as (workflow, due time, outcome), once every trigger is due later than ``instant``."""
    sql = (
        "select w.name as workflow, l.due_at as due_at, l.outcome as outcome from ledger l"
        " join workflows w on w.id = l.workflow_id"
    )
    deadline = time.monotonic() + within
    late: list[str] = []
    while time.monotonic() < deadline:
        try:
            triggers = await stack.rows("select due_at, error from triggers")
            rows = await stack.rows(sql)
        except (OSError, asyncpg.PostgresError):
            triggers, rows = [], []
        late = [str(row) for row in triggers if row["error"] or row["due_at"] <= instant]
        if triggers and not late:
            return [(row["workflow"], row["due_at"], row["outcome"]) for row in rows]
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"not everything is decided until {instant.isoformat()}: {late[:3]}")
