"""Faults of what tasks meet and do: servers that misbehave, floods of output; and of settings that are wrong."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Any

import psutil

from faults.fault import Recovery, fault
from faults.load import deploy_one, start
from faults.recovery import NotRecovered, next_run
from faults.row_faults import start_apart, take_out
from faults.site import LOOK_SECONDS, Site
from scheduler_domain.run.states import FINAL_RUN_STATES

TIMEOUT_SECONDS = 3.0
OVER_SECONDS = 2.0
"""How much longer than its timeout a task may be in the worker's hands: the deadline and the writing of its outcome."""
FLOOD_BYTES = 200_000_000
MORE_BYTES = 64 * 1024 * 1024
CONFIG_SECONDS = 15.0
"""Most of it is the start of the interpreter."""
TRICKY = "tricky"

Misbehaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


@fault("F62", "http tasks against servers that misbehave", tier=3, target=TIMEOUT_SECONDS + OVER_SECONDS, sharp=("I8",))
async def servers_misbehave(site: Site, _chance: Random) -> Recovery:
    names = {way: f"{TRICKY}-{place}" for place, way in enumerate(MISBEHAVIOURS)}
    async with _tricky_server() as url:
        try:
            for way, name in names.items():
                task = {"http": {"method": "GET", "url": f"{url}/{way}"}, "timeout": f"{TIMEOUT_SECONDS:g}s"}
                await deploy_one(site, {"workflow": name, "triggers": [{"manual": {}}], "tasks": {"ask": task}})
            site.disturb()
            runs = {await start_apart(site, name): way for way, name in names.items()}
            rows = await _ended(site, list(runs))
            broken = [
                f"I8: '{runs[row['run_id']]}' ended as {row['state']}" for row in rows if row["state"] == "succeeded"
            ]
            worst = max(row["seconds"] for row in rows)
        finally:
            await take_out(site, TRICKY)
    return Recovery(f"{len(names)} servers misbehaved", worst, {"ways": len(names)}, tuple(broken))


@fault("F53", "a task prints 200 MB without a newline", tier=3, sharp=("I8", "I16"))
async def output_floods(site: Site, _chance: Random) -> Recovery:
    script = f"head -c {FLOOD_BYTES} /dev/zero | tr '\\0' 'x'"
    document = {"workflow": "flood", "triggers": [{"manual": {}}], "tasks": {"print": {"shell": script}}}
    await deploy_one(site, document)
    before = {node.name: psutil.Process(node.process.pid).memory_info().rss for node in site.of("worker")}
    at = site.disturb()
    run_id = await start(site, "flood")
    grown, silent = 0, 0.0
    while not await site.rows("select 1 from runs where id = $1 and finished_at is not null", run_id):
        for node in site.of("worker"):
            grown = max(grown, psutil.Process(node.process.pid).memory_info().rss - before[node.name])
        leases = await site.rows(
            "select extract(epoch from max(clock_timestamp() - lease_until))::float as late from workers"
            " where state = 'active'"
        )
        silent = max(silent, leases[0]["late"] or 0.0)
        if time.time() - at > 120:
            raise NotRecovered("the flood does not end")
        await asyncio.sleep(LOOK_SECONDS)
    kept = await site.rows(
        "select coalesce(sum(length(data)), 0)::int as bytes, bool_or(truncated) as truncated from log_chunks"
        " where task_run_id in (select id from task_runs where run_id = $1)",
        run_id,
    )
    broken = [f"F53: a worker grew by {grown} bytes"] if grown > MORE_BYTES else []
    broken += [f"I8: a worker's lease was over for {silent:.1f} s"] if silent > 0 else []
    broken += [] if kept[0]["truncated"] else ["I16: the log of a flood is not marked as truncated"]
    figures = {"log_bytes": kept[0]["bytes"], "worker_grew_bytes": grown}
    return Recovery("a task flooded its log", await next_run(site, time.time()), figures, tuple(broken))


@fault("F64", "a start with wrong settings", tier=3, target=CONFIG_SECONDS, sharp=("I8",))
async def settings_are_wrong(site: Site, _chance: Random) -> Recovery:
    """Each wrong setting ends its process at once, with one line that names it and a status other than 0."""
    wrong = (
        ("api", {"API_PORT": "no port"}),
        ("dispatcher", {"DATABASE_URL": "oracle://nowhere"}),
        ("worker", {"BROKER_URL": "http://nowhere"}),
        ("worker", {"WORKER_SLOTS": "-1"}),
        ("worker", {"WORKER_SLOTZ": "4"}),
    )
    broken, worst = [], 0.0
    for command, settings in wrong:
        at = site.disturb()
        ended = await asyncio.to_thread(partial(site.stack.cli, command, **dict[str, Any](settings)))
        worst = max(worst, time.time() - at)
        (name,) = settings
        lines = [line for line in (ended.stderr + ended.stdout).splitlines() if line.strip()]
        if ended.returncode == 0 or not any(f"ORRERY_{name}" in line for line in lines):
            broken.append(f"F64: {command} with {settings} ended with {ended.returncode}: {lines[-1:]}")
        if any("Traceback" in line for line in lines):
            broken.append(f"F64: {command} with {settings} prints a traceback")
    return Recovery(f"{len(wrong)} starts with wrong settings", worst, {"starts": len(wrong)}, tuple(broken))


async def _ended(site: Site, runs: list[str], *, within: float = 60.0) -> list[dict[str, Any]]:
    """The task runs of ``runs`` once all have ended, with their seconds in a worker's hands."""
    sql = (
        "select t.run_id::text as run_id, t.state, r.state as run_state,"
        " extract(epoch from t.finished_at - t.started_at)::float as seconds"
        " from task_runs t join runs r on r.id = t.run_id where t.run_id = any($1::uuid[])"
    )
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        rows = await site.rows(sql, runs)
        if all(row["run_state"] in FINAL_RUN_STATES for row in rows):
            return rows
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"tasks hang on servers that misbehave: {rows}")


async def _trickle(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(1.0)


async def _endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    number = 0
    while True:
        number += 1
        writer.write(f"X-{number}: {'h' * 1_000}\r\n".encode())
        await writer.drain()
        await asyncio.sleep(0.001)


async def _huge_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def _bomb(writer: asyncio.StreamWriter) -> None:
    body = gzip.compress(bytes(100_000_000), 9)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def _redirect(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: /redirect\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _silence(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff" * 100)
    await writer.drain()


MISBEHAVIOURS: Mapping[str, Misbehaviour] = {
    "trickle": _trickle,
    "headers": _endless_headers,
    "huge": _huge_body,
    "bomb": _bomb,
    "redirect": _redirect,
    "reset": _reset,
    "silence": _silence,
    "garbage": _no_http,
}
"""What a server does by the path that it is asked for. None of it is an answer."""


@asynccontextmanager
async def _tricky_server() -> AsyncIterator[str]:
    serving: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is one
        serving.add(task)
        task.add_done_callback(serving.discard)
        # Cancelled is who serves when the fault is over: asyncio would print that as an error.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            line = await reader.readline()
            await reader.readuntil(b"\r\n\r\n")
            await MISBEHAVIOURS[line.split()[1].decode().strip("/")](writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
