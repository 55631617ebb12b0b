"""Faults of disks: that of PostgreSQL is full, that of a worker is full."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import asyncpg

from faults.fault import Recovery, fault
from faults.journal import read_journal
from faults.load import deploy_one
from faults.recovery import NotRecovered, identities, service
from faults.row_faults import start_apart, take_out
from faults.site import AWAY, LOOK_SECONDS, Shape, Site
from faults.small_disk import SmallDisk
from faults.throughput import before_and_after
from tests.support.eventually import eventually
from tests.support.stack import Node

FULL_SECONDS = 15.0
GONE_SECONDS = 3.0
CRAMPED = "cramped"
"""The queue of the worker whose disk is full, and what the names of its workflows begin with."""
WORKERS_MEGABYTES = 8
PAUSE_SECONDS = 4
RECORDED_SECONDS = 10.0
"""Within which what has ended must be recorded."""
PRINTED_BYTES = sum(len(f"{number}\n") for number in range(1, 20_001))
NO_ROOM = "No space left on device"
ASK_SECONDS = 0.3
REFUSED_SECONDS = 20.0
"""Within which something is refused: pages and log segments that exist already may still be written."""
SWITCHES = 20
"""More than there are segments of the log on a disk of this size."""
_STORE = Shape(postgres=("min_wal_size=32MB", "max_wal_size=64MB", "shared_buffers=32MB"), postgres_disk=320)
_TORN = """
    select c.relname, h.blkno, h.msg from pg_class c join pg_namespace n on n.oid = c.relnamespace,
        lateral verify_heapam(c.oid) h
    where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname in ('public', 'witness')"""
_INDEXES = """
    select bt_index_check(i.indexrelid, true) from pg_index i join pg_class c on c.oid = i.indexrelid
        join pg_am a on a.oid = c.relam join pg_namespace n on n.oid = c.relnamespace
    where a.amname = 'btree' and c.relkind = 'i' and i.indisvalid and n.nspname in ('public', 'witness')"""


@fault("F42", "PostgreSQL's disk is full", tier=3, target=15.0, sharp=("I1", "I19", "I22"), needs=_STORE)
async def stores_disk_is_full(site: Site, _chance: Random) -> Recovery:
    """First tables cannot grow and statements fail; then the log cannot either, and the server itself gives up. The
    recovery begins with the room that is there again, and has the server's start in it."""
    assert site.disk is not None  # noqa: S101 - its shape says so
    async with before_and_after(site) as throughput:
        at = site.disturb()
        taken = await asyncio.to_thread(site.disk.fill)
        refused = await _refused(site, at)
        await _ask_until(site, at + FULL_SECONDS)
        gave_up = await _end_the_log(site)
        await _ask_until(site, time.time() + GONE_SECONDS)
        site.disk.free()
        free = throughput.healed_at = site.disturb()
        if not site.postgres.answers(site.postgres.port):
            await asyncio.to_thread(site.postgres.kill)
            await asyncio.to_thread(site.postgres.restart)
        seconds = await service(site, free)
    broken = [*throughput.broken, *await _corruption(site)]
    answers = Counter(exchange.status or 0 for exchange in read_journal(site.journal.file) if at <= exchange.at < free)
    if not answers[503]:
        broken.append(f"F42: nobody was told 503 while the disk was full, but {dict(answers)}")
    figures = {
        "filled_bytes": taken,
        "refused_after_seconds": round(refused, 2),
        **{f"answers_{status}": count for status, count in sorted(answers.items())},
        **throughput.figures,
    }
    what = "the disk was full" + (", and the server gave up" if gave_up else "")
    return Recovery(what, seconds, figures, tuple(broken))


@fault("F52", "a worker's disk is full", tier=3, target=10.0, sharp=("I1", "I16"))
async def workers_disk_is_full(site: Site, _chance: Random) -> Recovery:
    """The only worker of a queue keeps its work folders and its own log on a disk that is filled under its tasks. What
    needs no room succeeds, what needs some fails and says so, all of it is recorded by the worker that ran it. The
    recovery is the time from the room that is there again until a run of each kind has succeeded."""
    name = f"{CRAMPED}-{time.time_ns()}"
    with SmallDisk(WORKERS_MEGABYTES) as disk:
        data = disk.folder / "data"
        worker = await site.start("worker", folder=disk.folder, DATA_DIR=data, WORKER_QUEUES=CRAMPED)
        await worker.ready()
        try:
            await deploy_one(site, _cramped(name))
            before = await start_apart(site, name)
            await _all_run(site, before)
            worker_ids = await identities(site, worker.name)
            at = site.disturb()
            taken = await asyncio.to_thread(disk.fill)
            meanwhile = await start_apart(site, name)
            rows = [*await _outcomes(site, before), *await _outcomes(site, meanwhile)]
            recorded = max(row["finished"] for row in rows) - at
            broken = [*_wrong_outcomes(rows, before), *await _no_longer_serves(site, worker, worker_ids)]
            disk.free()
            healed = site.disturb()
            after = await _outcomes(site, await start_apart(site, name))
            seconds = time.time() - healed
            broken += [
                f"F52: {row['task']} ended as {row['state']} with room again: {row['error']}"
                for row in after
                if row["state"] != "succeeded"
            ]
        finally:
            await take_out(site, CRAMPED)
            worker.terminate()
            await worker.ended(within=60)
            await site.retire(worker)
    failed = sum(row["state"] == "failed" for row in rows)
    figures = {"filled_bytes": taken, "all_recorded_seconds": round(recorded, 1), "failed": failed}
    what = f"a worker's disk was full: {len(rows) - failed} tasks succeeded, {failed} said why not"
    return Recovery(what, seconds - PAUSE_SECONDS, figures, tuple(broken))


def _cramped(name: str) -> dict[str, object]:
    """Tasks that pause, so that the disk can be filled under them, and then print, compute, or write their output."""
    printed = {"call": "effect:show", "args": {"value": "x", "lines": 500}}
    tasks: dict[str, dict[str, object]] = {
        "pauses": {"shell": f"sleep {PAUSE_SECONDS}"},
        "prints": {"shell": f"sleep {PAUSE_SECONDS}; seq 1 20000"},
        "python": {"python": printed},
        "writes": {"shell": f'sleep {PAUSE_SECONDS}; /bin/echo \'{{"one": 1}}\' > "$ORRERY_OUTPUT"'},
    }
    return {
        "workflow": name,
        "triggers": [{"manual": {}}],
        "tasks": {task: {"queue": CRAMPED, **does} for task, does in tasks.items()},
    }


async def _all_run(site: Site, run_id: str) -> None:
    """Until every task of the run has been claimed."""
    sql = "select 1 from task_runs where run_id = $1 and started_at is null"

    async def all_are_claimed() -> bool:
        return not await site.rows(sql, run_id)

    await eventually(all_are_claimed, within=30)


async def _outcomes(site: Site, run_id: str) -> list[dict[str, Any]]:
    """The task runs of a run that has ended, with the bytes of their logs."""
    sql = (
        "select t.run_id::text as run_id, t.task, t.state, t.error, t.claim_no, t.worker_losses,"
        " extract(epoch from t.finished_at)::float as finished, (select coalesce(sum(length(data)), 0)::int from"
        " log_chunks where task_run_id = t.id) as logged from task_runs t where t.run_id = $1 order by t.task"
    )
    rows: list[dict[str, Any]] = []

    async def all_have_ended() -> bool:
        rows[:] = await site.rows(sql, run_id)
        return all(row["finished"] for row in rows)

    await eventually(all_have_ended, within=PAUSE_SECONDS + RECORDED_SECONDS)
    return rows


def _wrong_outcomes(rows: Sequence[Mapping[str, Any]], before: str) -> list[str]:
    broken = []
    for row in rows:
        what = f"{row['task']} of run {row['run_id']}"
        needs_no_room = row["task"] in ("python", "prints", "pauses") and row["run_id"] == before
        if row["claim_no"] != 1 or row["worker_losses"]:
            broken.append(f"F52: {what} was claimed {row['claim_no']} times and lost {row['worker_losses']} workers")
        if needs_no_room and row["state"] != "succeeded":
            broken.append(f"I1: {what} needed no room and ended as {row['state']}: {row['error']}")
        if row["state"] != "succeeded" and NO_ROOM not in (row["error"] or ""):
            broken.append(f"I1: {what} ended as {row['state']} and does not say that the disk is full: {row['error']}")
        if row["task"] == "prints" and row["state"] == "succeeded" and row["logged"] != PRINTED_BYTES:
            broken.append(f"I16: {what} printed {PRINTED_BYTES} bytes, and {row['logged']} are kept")
    return broken


async def _no_longer_serves(site: Site, worker: Node, worker_ids: Sequence[str]) -> list[str]:
    """What a worker without room must not come to: an end, or another identity."""
    if worker.process.poll() is not None:
        return [f"F52: {worker.name} ended with {worker.process.returncode}: {worker.tail()[-300:]}"]
    now = await identities(site, worker.name)
    return [] if now == worker_ids else [f"F52: {worker.name} was {list(worker_ids)} and is {now}"]


async def _refused(site: Site, at: float) -> float:
    """Seconds until a run is refused."""
    async with site.client(site.of("api")[0]) as client:
        while time.time() < at + REFUSED_SECONDS:
            exchange = await site.journal.ask(client, "POST", "/workflows/single/run", body={})
            if exchange.run_id is None:
                return time.time() - at
            await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"runs are accepted {REFUSED_SECONDS:g} s after the disk was full")


async def _ask_until(site: Site, until: float) -> None:
    """Each API, reading and writing: nobody gets a 500."""
    while time.time() < until:
        for api in site.of("api"):
            async with site.client(api) as client:
                await site.journal.ask(client, "POST", "/workflows/graph/run", body={})
                await site.journal.ask(client, "GET", "/runs")
        await asyncio.sleep(ASK_SECONDS)


async def _end_the_log(site: Site) -> bool:
    """Uses up the segments of the log that exist; whether the server ended of it."""
    with contextlib.suppress(*AWAY):
        connection = await site.connect()
        try:
            for _ in range(SWITCHES):
                await connection.execute("select pg_logical_emit_message(false, 'fault', 'a segment is begun')")
                await connection.execute("select pg_switch_wal()")
        finally:
            connection.terminate()
    await asyncio.sleep(LOOK_SECONDS)
    return not site.postgres.answers(site.postgres.port)


async def _corruption(site: Site) -> list[str]:
    """What PostgreSQL itself finds to be wrong with the tables and the indexes."""
    connection = await site.connect()
    try:
        await connection.execute("create extension if not exists amcheck")
        torn = await connection.fetch(_TORN, timeout=60)
        try:
            await connection.fetch(_INDEXES, timeout=60)
        except asyncpg.PostgresError as error:
            return [f"F42: an index is corrupt: {error}"]
    finally:
        await connection.close()
    return [f"F42: block {row['blkno']} of {row['relname']} is corrupt: {row['msg']}" for row in torn]
