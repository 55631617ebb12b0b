"""Races of a cancel with everything that a run does."""

import asyncio
import time
from collections.abc import Mapping
from random import Random

from faults.fault import Recovery, fault
from faults.load import start
from faults.site import Site
from tests.support.eventually import eventually
from tests.support.stack import processes_where

RUNS = 300
AT_ONCE = 6
LONGEST_WAIT = 0.4


@fault("F60", "runs are cancelled at random instants", tier=3, target=5.0, sharp=("I1", "I2"))
async def runs_are_cancelled(site: Site, chance: Random) -> Recovery:
    site.disturb()
    drawn = [
        (chance.choice(("single", "graph", "mixed", "serial")), chance.uniform(0, LONGEST_WAIT)) for _ in range(RUNS)
    ]
    turn = asyncio.Semaphore(AT_ONCE)

    async def race(workflow: str, wait: float) -> tuple[str, float]:
        async with turn:
            run_id = await start(site, workflow)
            await asyncio.sleep(wait)
            async with site.client(site.of("api")[0]) as client:
                await site.journal.ask(client, "POST", f"/runs/{run_id}/cancel")
            return run_id, time.time()

    asked = dict(await asyncio.gather(*(race(*pair) for pair in drawn)))
    sql = "select id::text, state, extract(epoch from finished_at)::float as at from runs where id = any($1::uuid[])"

    async def all_have_ended() -> bool:
        return all(row["at"] is not None for row in await site.rows_when_back(sql, list(asked)))

    await eventually(all_have_ended, within=60)
    rows = await site.rows_when_back(sql, list(asked))
    slowest = max(row["at"] - asked[row["id"]] for row in rows)
    left = await asyncio.to_thread(_alive, set(asked))
    cancelled = sum(row["state"] == "cancelled" for row in rows)
    broken = tuple(f"I18: a process of run {run_id} lives, which has ended" for run_id in left)
    figures = {"runs": len(rows), "cancelled": cancelled, "succeeded": len(rows) - cancelled}
    return Recovery(f"{len(rows)} runs were cancelled, {cancelled} in time", max(slowest, 0.0), figures, broken)


def _alive(run_ids: set[str]) -> list[str]:
    """Those of which a process lives. Every process of the machine is looked at once."""
    living: set[str] = set()

    def note(environ: Mapping[str, str]) -> bool:
        living.add(environ.get("ORRERY_RUN_ID", ""))
        return False

    processes_where(note)
    return sorted(run_ids & living)
