"""Faults of the processes of a task: frozen, deaf to signals, run away."""

import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import psutil

from faults.fault import Recovery, fault
from faults.load import deploy_one
from faults.recovery import NotRecovered
from faults.row_faults import start_apart, take_out
from faults.site import LOOK_SECONDS, Site

LIMIT_SECONDS = 5
"""The time limit of the tasks."""
GRACE_SECONDS = 10.0
"""Between TERM and KILL, as the product has it where nothing else is set."""
OVER_SECONDS = 2.0
LONG_SECONDS = 600
TREE = "tree"


@fault("F14", "a task's processes are frozen past its time limit", tier=3, target=10.0, sharp=("I18",))
async def tasks_processes_are_frozen(site: Site, chance: Random) -> Recovery:
    """The recovery begins with the time limit."""
    mark = f"frozen-{chance.randrange(10**9)}"
    # The pause of the shell is a child of its own, with the mark as its fraction of a second.
    script = f"sh -c 'sleep {LONG_SECONDS}; : {mark}' & wait"
    return await _past_its_limit(site, mark, script, least=1, freeze=True)


@fault(
    "F15",
    "a task ignores SIGTERM, forks twice, leaves its session, and keeps its output open",
    tier=3,
    target=GRACE_SECONDS + OVER_SECONDS,
    sharp=("I18",),
)
async def task_does_not_want_to_end(site: Site, chance: Random) -> Recovery:
    """The recovery begins with the time limit."""
    mark = f"stubborn-{chance.randrange(10**9)}"
    script = f"trap '' TERM\npython3 -S \"$ORRERY_SOURCE/stubborn.py\" {mark} {LONG_SECONDS}"
    return await _past_its_limit(site, mark, script, least=2, freeze=False)


async def _past_its_limit(site: Site, mark: str, script: str, *, least: int, freeze: bool) -> Recovery:
    """Runs ``script``, which starts at least so many processes with ``mark`` among their arguments; seconds after its
    time limit until none of them lives and the task has its outcome."""
    name = f"{TREE}-{mark}"
    task = {"shell": script, "timeout": f"{LIMIT_SECONDS}s"}
    await deploy_one(site, {"workflow": name, "triggers": [{"manual": {}}], "tasks": {"one": task}})
    try:
        run_id = await start_apart(site, name)
        processes = await _started(mark, least)
        site.disturb()
        if freeze:
            processes += [child for process in processes for child in process.children(recursive=True)]
            for process in processes:
                process.suspend()
        row = await _ended(site, run_id)
        lived = await _gone(processes, mark)
    finally:
        await take_out(site, TREE)
    over = max(row["finished"], lived) - (row["started"] + LIMIT_SECONDS)
    broken = []
    if row["state"] != "timed_out":
        broken.append(f"I18: a task past its time limit ended as {row['state']}")
    if over < 0:
        broken.append(f"I18: the task ended {-over:.1f} s before its time limit")
    what = f"{len(processes)} processes {'were frozen' if freeze else 'did not want to end'}"
    figures = {"processes": len(processes), "recorded_after_seconds": round(row["finished"] - row["started"], 2)}
    return Recovery(what, over, figures, tuple(broken))


async def _started(mark: str, least: int, *, within: float = 30.0) -> list[psutil.Process]:
    deadline = time.monotonic() + within
    while len(found := _marked(mark)) < least:
        if time.monotonic() > deadline:
            raise NotRecovered(f"{len(found)} of {least} processes of the task are there after {within:g} s")
        await asyncio.sleep(LOOK_SECONDS)
    return found


async def _ended(site: Site, run_id: str, *, within: float = 60.0) -> dict[str, Any]:
    """The task run, once it has an outcome."""
    sql = (
        "select state, extract(epoch from started_at)::float as started, extract(epoch from finished_at)::float as"
        " finished from task_runs where run_id = $1 and finished_at is not null"
    )
    deadline = time.monotonic() + within
    while not (rows := await site.rows_when_back(sql, run_id)):
        if time.monotonic() > deadline:
            raise NotRecovered(f"the task has no outcome {within:g} s after it was started")
        await asyncio.sleep(LOOK_SECONDS)
    return rows[0]


async def _gone(processes: Sequence[psutil.Process], mark: str, *, within: float = 30.0) -> float:
    """When none of them lives any more, nor any other with the mark; epoch seconds."""
    deadline = time.monotonic() + within
    while any(process.is_running() for process in processes) or _marked(mark):
        if time.monotonic() > deadline:
            raise NotRecovered(f"processes {[process.pid for process in _marked(mark)]} of the task live")
        await asyncio.sleep(LOOK_SECONDS)
    return time.time()


def _marked(mark: str) -> list[psutil.Process]:
    """Living processes that have ``mark`` among their arguments, whatever became of their parents and environments."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or ()
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(mark in word for word in words):
            found.append(process)
    return found
